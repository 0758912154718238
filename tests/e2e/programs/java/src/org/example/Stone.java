package org.example;

import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;

/** Counts stones. */
public class Stone {
    /** A kind of stone. */
    public enum Kind { PEBBLE, BOULDER }

    /** One stone. */
    public record One(Kind kind, int weight) {}

    private native int lift(int weight);

    /** Weights by kind. */
    public static Map<Kind, Integer> weights(List<One> stones) {
        return stones.stream().collect(Collectors.groupingBy(One::kind, TreeMap::new, Collectors.summingInt(One::weight)));
    }
}
