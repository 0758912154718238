package org.example;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** Starts. */
public class Main {
    /** The program. */
    public static void main(String[] args) throws Exception {
        var stones = List.of(new Stone.One(Stone.Kind.PEBBLE, 3), new Stone.One(Stone.Kind.BOULDER, 900),
            new Stone.One(Stone.Kind.PEBBLE, 4));
        Files.writeString(Path.of("weights.txt"), Stone.weights(stones) + "\n");
        System.out.println(Main.class.getResource("/org/example/words.txt") != null);
    }
}
