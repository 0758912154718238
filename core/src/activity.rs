//! How busy processes are, by what proc_pid_stat(5) tells of each. Knows neither processes nor
//! clocks: somebody looks every now and then.

use std::time::Duration;

/// Ticks of a processor in a second, as that file counts them.
const TICKS: u64 = 100;
/// Processes count as asleep that used less than one in so many of a processor's ticks.
const DROWSY: u64 = 10;

/// What processes do at the moment of a look.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Activity {
    /// Ticks of a processor that they have used so far.
    pub spent: u64,
    /// One of them has a processor, or waits for one.
    pub runs: bool,
}

impl Activity {
    /// Of one process, with those of its children that it has waited for. Fields: the state (3), and
    /// utime, stime, cutime and cstime (14 to 17).
    pub fn of_stat(stat: &str) -> Self {
        let fields = stat.rsplit_once(')').map_or("", |(_, behind_name)| behind_name);
        let fields: Vec<_> = fields.split_ascii_whitespace().collect();
        let times = fields.iter().skip(14 - 3).take(4);
        Self {
            spent: times.filter_map(|time| time.parse::<u64>().ok()).sum(),
            runs: matches!(fields.first(), Some(&("R" | "D"))),
        }
    }

    /// Of both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            spent: self.spent.saturating_add(other.spent),
            runs: self.runs || other.runs,
        }
    }

    /// Whether they do nothing now, and did next to nothing since an earlier look, so long ago.
    pub fn sleeps_since(self, before: Self, time: Duration) -> bool {
        let ticks = time.as_millis() as u64 * TICKS / 1000;
        !self.runs && self.spent.saturating_sub(before.spent) * DROWSY < ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_read_behind_a_name_with_a_parenthesis() {
        let stat = "7 (a) R b) S 1 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 5 6 7";
        let sleeps = Activity {
            spent: 100,
            runs: false,
        };
        assert_eq!(Activity::of_stat(stat), sleeps);
        assert!(Activity::of_stat("7 (a) D 1").runs);
        for none in ["", "7", "7 (a)", "7 (a) S x"] {
            assert_eq!(Activity::of_stat(none), Activity::default(), "{none}");
        }
    }

    #[test]
    fn who_uses_a_tenth_of_a_processor_does_not_sleep() {
        let at = |spent| Activity { spent, runs: false };
        let second = Duration::from_secs(1);
        assert!(at(9).sleeps_since(at(0), second));
        assert!(!at(10).sleeps_since(at(0), second));
        let runs = Activity { spent: 0, runs: true };
        assert!(!runs.sleeps_since(at(0), second));
    }
}
