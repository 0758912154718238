//! From a worker's clock to the client's. Pure but for one look at the clock, when a
//! shift is made and when it is used.

use std::time::{SystemTime, UNIX_EPOCH};
use termite_types::FileTime;

/// Less than this is noise of the measurement, nanoseconds.
const NOISE: i128 = 2_000_000;

/// What to add to a time that a worker's kernel wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClockShift {
    nanos: i128,
}

impl ClockShift {
    /// From the worker's clock as it sent its answer, which has just come. The way of the
    /// answer makes times later than they were, never earlier: what the next job writes
    /// is not older than what it read.
    pub fn between(worker_now: FileTime, same_machine: bool) -> Self {
        let nanos = if same_machine {
            0
        } else {
            to_nanos(now()) - to_nanos(worker_now)
        };
        Self {
            nanos: if nanos.abs() < NOISE { 0 } else { nanos },
        }
    }

    /// A time by the client's clock, never one to come.
    pub fn shift(&self, time: FileTime) -> FileTime {
        from_nanos((to_nanos(time) + self.nanos).min(to_nanos(now())))
    }
}

/// The client's clock.
fn now() -> FileTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    FileTime {
        sec: now.as_secs() as i64,
        nsec: now.subsec_nanos(),
    }
}

fn to_nanos(time: FileTime) -> i128 {
    i128::from(time.sec) * 1_000_000_000 + i128::from(time.nsec)
}

fn from_nanos(nanos: i128) -> FileTime {
    FileTime {
        sec: nanos.div_euclid(1_000_000_000) as i64,
        nsec: nanos.rem_euclid(1_000_000_000) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ago(seconds: i64) -> FileTime {
        FileTime {
            sec: now().sec - seconds,
            nsec: 5,
        }
    }

    #[test]
    fn a_worker_that_is_late_is_brought_forward_and_order_stays() {
        let shift = ClockShift::between(ago(100), false);
        let (first, second) = (shift.shift(ago(110)), shift.shift(ago(109)));
        assert!(first < second);
        assert!((to_nanos(first) - to_nanos(ago(10))).abs() < 2_000_000_000);
    }

    #[test]
    fn no_time_is_in_the_future() {
        let shift = ClockShift::between(ago(100), false);
        assert!(shift.shift(ago(50)) <= now());
        assert!(shift.shift(ago(-1000)) <= now());
    }

    #[test]
    fn the_same_machine_and_noise_shift_nothing() {
        let time = FileTime { sec: -3, nsec: 7 };
        assert_eq!(ClockShift::between(ago(100), true).shift(time), time);
        assert_eq!(ClockShift::between(now(), false).shift(time), time);
    }
}
