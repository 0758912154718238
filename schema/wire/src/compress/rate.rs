//! How fast a link takes bytes. Knows the time; knows nothing of what is sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Bytes that one look at the link is about.
const SAMPLE: usize = 256 << 10;
/// Looks that count. The fastest of them tells: a peer that has no processor at hand for a
/// moment makes any link look slow.
const SAMPLES: usize = 6;
/// After a pause like this the buffers on the way are empty.
const PAUSE: Duration = Duration::from_millis(5);
/// Bytes that such buffers may take at once, as fast on any link: no look is taken at them.
const BUFFERED: usize = 1 << 20;

/// Looks at a link while bytes wait for it.
#[derive(Default)]
pub(super) struct RateEstimator {
    waiting_since: Option<Instant>,
    idle_since: Option<Instant>,
    /// Bytes since the last pause.
    flow: usize,
    bytes: usize,
    busy: Duration,
    /// Bytes a second, the newest last.
    samples: VecDeque<f64>,
}

impl RateEstimator {
    /// Bytes begin to wait for the link.
    pub(super) fn begins(&mut self) {
        if self.idle_since.is_none_or(|since| since.elapsed() >= PAUSE) {
            self.flow = 0;
        }
        self.waiting_since = Some(Instant::now());
    }

    /// All that waited have left: so many.
    pub(super) fn ends(&mut self, bytes: usize) {
        let now = Instant::now();
        let waited = self.waiting_since.take().map(|since| now - since);
        self.passed(bytes, waited.unwrap_or_default());
        self.idle_since = Some(now);
    }

    fn passed(&mut self, bytes: usize, took: Duration) {
        self.flow += bytes;
        if self.flow <= BUFFERED {
            return;
        }
        self.bytes += bytes;
        self.busy += took;
        if self.bytes < SAMPLE {
            return;
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        let seconds = self.busy.as_secs_f64().max(1e-9);
        self.samples.push_back(self.bytes as f64 / seconds);
        (self.bytes, self.busy) = (0, Duration::ZERO);
    }

    /// Whether every look found the link slower than `speed`, in bytes a second. `None`:
    /// there were not enough yet.
    pub(super) fn link_is_slower_than(&self, speed: f64) -> Option<bool> {
        let enough = self.samples.len() == SAMPLES;
        enough.then(|| self.samples.iter().all(|sample| *sample < speed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_slow_if_it_never_was_fast() {
        let mut rate = RateEstimator::default();
        let slow = Duration::from_millis(20);
        rate.passed(BUFFERED, Duration::ZERO);
        for _ in 0..SAMPLES {
            assert_eq!(rate.link_is_slower_than(1e8), None, "too early to tell");
            rate.passed(SAMPLE / 2, slow / 2);
            rate.passed(SAMPLE / 2, slow / 2);
        }
        assert_eq!(rate.link_is_slower_than(1e8), Some(true));
        assert_eq!(rate.link_is_slower_than(1e7), Some(false));
        rate.passed(SAMPLE, Duration::from_micros(50));
        assert_eq!(rate.link_is_slower_than(1e8), Some(false));
        (1..SAMPLES).for_each(|_| rate.passed(SAMPLE, slow));
        assert_eq!(rate.link_is_slower_than(1e8), Some(false));
        rate.passed(SAMPLE, slow);
        assert_eq!(rate.link_is_slower_than(1e8), Some(true));
    }

    #[test]
    fn what_buffers_take_after_a_pause_tells_nothing() {
        let mut rate = RateEstimator::default();
        for _ in 0..3 * SAMPLES {
            rate.begins();
            rate.ends(BUFFERED);
            rate.idle_since = Instant::now().checked_sub(PAUSE);
        }
        assert_eq!(rate.link_is_slower_than(1e8), None);
    }
}
