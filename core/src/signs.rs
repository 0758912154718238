//! Signs: what a command needed that only the client's own machine has, so that the next run of
//! it is not sent to a worker in vain.
//!
//! A sign that names something which can be asked for (a service, a socket) holds as long as that
//! is there. Another one holds for 19 runs: the 20th tries the fleet again; so does one of a
//! service whose port is another one each time. Each is forgotten after a week.
//!
//! Knows commands as numbers; does not know the machine, the disk or the clock.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use termite_types::{Abandon, Resource};

/// Commands that are remembered.
const MOST: usize = 1 << 14;
/// Of this many runs one tries the fleet, where nothing else tells whether the sign holds.
const TRIED_EVERY: u32 = 20;
/// Seconds after which a sign is forgotten.
const WEEK: u64 = 7 * 24 * 3600;

/// What sent a command home.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sign {
    /// For people.
    pub reason: String,
    /// What it needs, where that can be asked for again.
    pub needs: Option<Resource>,
    /// It started a driver: on the client what it starts are jobs.
    pub as_driver: bool,
    /// When it showed, in seconds since 1970.
    pub since: u64,
    /// Runs that went home by it since.
    pub runs: u32,
    /// The command line, for people.
    pub command: String,
}

/// The signs of all commands.
#[derive(Default, Debug)]
pub struct Signs {
    by_command: HashMap<u128, Sign>,
    /// Services by whose absence a sign was forgotten last.
    gone: HashMap<u128, SocketAddr>,
    unsaved: BTreeSet<u128>,
}

impl Sign {
    /// Of a job that was given up, if it would be so again.
    pub fn of(why: &Abandon, since: u64, command: String) -> Option<Self> {
        let needs = match why {
            // The next run looks for another process.
            Abandon::Needs(
                Resource::Process(_)
                | Resource::Target(_)
                | Resource::Object(..)
                | Resource::NameServices
                | Resource::Writable(_),
            ) => None,
            Abandon::Needs(resource) => Some(resource.clone()),
            Abandon::Machine(_) | Abandon::Unsupported(_) | Abandon::Driver(_) => None,
            _ => return None,
        };
        Some(Self {
            reason: why.to_string(),
            needs,
            as_driver: matches!(why, Abandon::Driver(_)),
            since,
            runs: 0,
            command,
        })
    }
}

impl Signs {
    /// What an earlier daemon knew.
    pub fn saved(by_command: HashMap<u128, Sign>) -> Self {
        Self {
            by_command,
            ..Self::default()
        }
    }

    /// The commands of which something else is known than on disk; `None`: nothing any more.
    pub fn take_unsaved(&mut self) -> Vec<(u128, Option<Sign>)> {
        let unsaved = std::mem::take(&mut self.unsaved);
        let known = |command| (command, self.by_command.get(&command).cloned());
        unsaved.into_iter().map(known).collect()
    }

    /// A sign showed in a run of a command.
    pub fn note(&mut self, command: u128, mut sign: Sign) {
        if let (Some(gone), Some(Resource::Service(now))) = (self.gone.remove(&command), &sign.needs)
            && gone.ip() == now.ip()
            && gone.port() != now.port()
        {
            sign.needs = None;
        }
        if self.by_command.len() < MOST || self.by_command.contains_key(&command) {
            self.by_command.insert(command, sign);
            self.unsaved.insert(command);
        }
    }

    /// The sign by which a command is to go home at once; `holds` tells whether what it needs is
    /// there. One that does not hold any more is forgotten.
    pub fn heed(&mut self, command: u128, now: u64, holds: impl FnOnce(&Resource) -> bool) -> Option<&Sign> {
        let sign = self.by_command.get_mut(&command)?;
        self.unsaved.insert(command);
        sign.runs += 1;
        let is_old = now.saturating_sub(sign.since) >= WEEK;
        let lasts = match &sign.needs {
            Some(resource) => holds(resource),
            None => sign.runs < TRIED_EVERY,
        };
        if is_old || !lasts {
            let forgotten = self.by_command.remove(&command);
            if let Some(Resource::Service(gone)) = forgotten.and_then(|sign| sign.needs)
                && self.gone.len() < MOST
            {
                self.gone.insert(command, gone);
            }
        }
        self.by_command.get(&command)
    }

    /// Forgets the signs that `is_meant` picks, and returns their command lines.
    pub fn forget(&mut self, is_meant: impl Fn(&Sign) -> bool) -> Vec<String> {
        let meant = self.by_command.iter().filter(|(_, sign)| is_meant(sign));
        let meant: Vec<_> = meant.map(|(command, _)| *command).collect();
        self.unsaved.extend(&meant);
        let forgotten = meant.iter().filter_map(|command| self.by_command.remove(command));
        let mut lines: Vec<_> = forgotten.map(|sign| sign.command).collect();
        lines.sort();
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(why: &Abandon) -> Sign {
        Sign::of(why, 1000, "cc x.c".into()).unwrap()
    }

    #[test]
    fn what_can_be_asked_for_is_asked_for_again() {
        let mut signs = Signs::default();
        let service = Resource::Socket("/s".into());
        signs.note(1, sign(&Abandon::Needs(service.clone())));
        for _ in 0..100 {
            let reason = signs.heed(1, 1001, |asked| *asked == service).unwrap().reason.clone();
            assert_eq!(reason, "it needs the socket /s");
        }
        assert_eq!(signs.heed(2, 1001, |_| true), None, "another command");
        assert_eq!(signs.heed(1, 1001, |_| false), None);
        assert_eq!(signs.heed(1, 1001, |_| true), None, "it is forgotten");
    }

    #[test]
    fn what_cannot_be_asked_for_is_tried_every_twentieth_time() {
        let mut signs = Signs::default();
        for why in [
            Abandon::Machine("a FIFO".into()),
            Abandon::Unsupported("x".into()),
            Abandon::Driver("/usr/bin/make".into()),
            Abandon::Needs(Resource::Process(77)),
        ] {
            signs.note(1, sign(&why));
            let is_heeded: Vec<_> = (0..20).map(|_| signs.heed(1, 1000, |_| true).is_some()).collect();
            assert_eq!(is_heeded.iter().filter(|heeded| **heeded).count(), 19, "{why}");
            assert!(!is_heeded[19], "{why}");
        }
    }

    #[test]
    fn a_service_that_is_elsewhere_each_time_cannot_be_asked_for() {
        let mut signs = Signs::default();
        let at = |port: u16| sign(&Abandon::Needs(Resource::Service(([127, 0, 0, 1], port).into())));
        signs.note(1, at(4000));
        assert_eq!(signs.heed(1, 1000, |_| false), None, "the next run listens elsewhere");
        signs.note(1, at(4001));
        assert!(signs.heed(1, 1000, |_| false).is_some());
    }

    #[test]
    fn a_week_later_all_are_tried() {
        let mut signs = Signs::default();
        signs.note(1, sign(&Abandon::Machine("a FIFO".into())));
        signs.note(2, sign(&Abandon::Needs(Resource::Name("/n".into()))));
        for command in [1, 2] {
            assert!(signs.heed(command, 1000 + WEEK - 1, |_| true).is_some());
            assert!(signs.heed(command, 1000 + WEEK, |_| true).is_none());
            assert!(signs.heed(command, 1000, |_| true).is_none(), "it is forgotten");
        }
    }

    #[test]
    fn what_may_go_otherwise_the_next_time_is_none() {
        for why in [
            Abandon::Full("inodes".into()),
            Abandon::Cancelled,
            Abandon::Files("gone".into()),
        ] {
            assert_eq!(Sign::of(&why, 0, String::new()), None, "{why}");
        }
    }

    #[test]
    fn what_is_forgotten_is_told_and_saved_as_nothing() {
        let mut signs = Signs::default();
        signs.note(1, sign(&Abandon::Machine("a FIFO".into())));
        assert_eq!(signs.take_unsaved().len(), 1);
        assert_eq!(signs.forget(|sign| sign.command == "ld"), Vec::<String>::new());
        assert_eq!(signs.forget(|sign| sign.command.starts_with("cc")), ["cc x.c"]);
        assert_eq!(signs.take_unsaved(), [(1, None)]);
        assert_eq!(signs.take_unsaved(), []);
    }
}
