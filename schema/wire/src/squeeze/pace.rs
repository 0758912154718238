//! How fast a link takes bytes. Knows the time; knows nothing of what is sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Bytes that one look at the link is about.
const SAMPLE: usize = 256 << 10;
/// Looks that count. The fastest of them tells: a peer that has no processor at hand for a
/// moment makes any link look slow.
const SAMPLES: usize = 6;

/// Looks at a link while bytes wait for it.
#[derive(Default)]
pub struct Pace {
    waiting_since: Option<Instant>,
    bytes: usize,
    busy: Duration,
    /// Bytes a second, the newest last.
    samples: VecDeque<f64>,
}

impl Pace {
    /// Bytes begin to wait for the link.
    pub fn begins(&mut self) {
        self.waiting_since = Some(Instant::now());
    }

    /// All that waited have left: so many.
    pub fn ends(&mut self, bytes: usize) {
        let waited = self.waiting_since.take().map(|since| since.elapsed());
        self.passed(bytes, waited.unwrap_or_default());
    }

    fn passed(&mut self, bytes: usize, took: Duration) {
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

    /// Whether every look found the link slower than `speed`, in bytes a second. No before
    /// there were enough.
    pub fn link_is_slower_than(&self, speed: f64) -> bool {
        self.samples.len() == SAMPLES && self.samples.iter().all(|sample| *sample < speed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_slow_if_it_never_was_fast() {
        let mut pace = Pace::default();
        let slow = Duration::from_millis(20);
        for _ in 0..SAMPLES {
            assert!(!pace.link_is_slower_than(1e8), "too early to tell");
            pace.passed(SAMPLE / 2, slow / 2);
            pace.passed(SAMPLE / 2, slow / 2);
        }
        assert!(pace.link_is_slower_than(1e8) && !pace.link_is_slower_than(1e7));
        pace.passed(SAMPLE, Duration::from_micros(50));
        assert!(!pace.link_is_slower_than(1e8));
        (1..SAMPLES).for_each(|_| pace.passed(SAMPLE, slow));
        assert!(!pace.link_is_slower_than(1e8));
        pace.passed(SAMPLE, slow);
        assert!(pace.link_is_slower_than(1e8));
    }
}
