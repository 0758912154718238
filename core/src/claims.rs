//! Claims: which job may change a contended path next.
//!
//! A path is contended once a job conflicted on it. The jobs that are known to change it
//! then start one after another. A job is granted all of its paths at once or waits and
//! holds none, so holders never wait and no deadlock is possible. Of the jobs that wait
//! for a path the oldest is next, and a younger job takes no path that an older one waits
//! for, so no job waits for ever.
//!
//! Knows paths and the age of jobs; does not know commands, workers or why a path is
//! contended.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

/// Names a job among the claims. Older ones are less.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Claimant(u64);

/// All claims that are held or waited for.
#[derive(Default, Debug)]
pub struct Claims {
    joined: u64,
    /// In the order of age.
    requests: BTreeMap<Claimant, Request>,
}

/// Of a job that asked for at least one path.
#[derive(Debug)]
struct Request {
    paths: BTreeSet<PathBuf>,
    is_granted: bool,
}

impl Claims {
    /// A name for a job that comes. It is younger than all before.
    pub fn join(&mut self) -> Claimant {
        self.joined += 1;
        Claimant(self.joined)
    }

    /// Asks for all of `paths`, in place of what the job held or asked for before. Returns
    /// the jobs whose requests are granted by that, this one among them if nothing is in
    /// its way.
    pub fn ask(&mut self, claimant: Claimant, paths: BTreeSet<PathBuf>) -> Vec<Claimant> {
        if paths.is_empty() {
            let mut granted = self.release(claimant);
            granted.push(claimant);
            return granted;
        }
        let is_granted = false;
        self.requests.insert(claimant, Request { paths, is_granted });
        self.grant()
    }

    /// Gives back what a job holds, or ends its wait. Returns the jobs whose requests are
    /// granted by that.
    pub fn release(&mut self, claimant: Claimant) -> Vec<Claimant> {
        match self.requests.remove(&claimant) {
            Some(_) => self.grant(),
            None => Vec::new(),
        }
    }

    /// Whether a job holds a claim.
    pub fn holds_any(&self, claimant: Claimant) -> bool {
        let request = self.requests.get(&claimant);
        request.is_some_and(|request| request.is_granted)
    }

    /// Whether no job holds or waits for a claim.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    fn grant(&mut self) -> Vec<Claimant> {
        let held = self.requests.values().filter(|request| request.is_granted);
        let mut taken: HashSet<&Path> = held.flat_map(Request::paths).collect();
        let mut granted = Vec::new();
        for (claimant, request) in self.requests.iter().filter(|(_, request)| !request.is_granted) {
            if request.paths().all(|path| !taken.contains(path)) {
                granted.push(*claimant);
            }
            taken.extend(request.paths());
        }
        for claimant in &granted {
            if let Some(request) = self.requests.get_mut(claimant) {
                request.is_granted = true;
            }
        }
        granted
    }
}

impl Request {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(paths: &str) -> BTreeSet<PathBuf> {
        paths.split_whitespace().map(PathBuf::from).collect()
    }

    #[test]
    fn jobs_of_one_path_go_one_after_another_by_age() {
        let mut claims = Claims::default();
        let [a, b, c] = std::array::from_fn(|_| claims.join());
        assert_eq!(claims.ask(b, set("p")), [b]);
        assert_eq!(claims.ask(c, set("p")), []);
        assert_eq!(claims.ask(a, set("p")), []);
        assert_eq!(claims.release(b), [a]);
        assert!(claims.holds_any(a) && !claims.holds_any(c));
        assert_eq!(claims.release(a), [c]);
        assert_eq!(claims.release(c), []);
        assert!(claims.is_empty());
    }

    #[test]
    fn a_job_without_paths_is_never_held_up() {
        let mut claims = Claims::default();
        let [a, b] = std::array::from_fn(|_| claims.join());
        claims.ask(a, set("p"));
        assert_eq!(claims.ask(b, set("")), [b]);
        assert!(!claims.holds_any(b));
    }

    #[test]
    fn who_waits_holds_nothing_and_is_not_passed_by() {
        let mut claims = Claims::default();
        let [a, b, c, d] = std::array::from_fn(|_| claims.join());
        claims.ask(a, set("p"));
        assert_eq!(claims.ask(b, set("p q")), []);
        assert_eq!(claims.ask(c, set("q")), [], "an older job waits for q");
        assert_eq!(claims.ask(d, set("r")), [d]);
        assert_eq!(claims.release(b), [c], "it left while it waited");
        assert_eq!(claims.release(a), []);
    }

    #[test]
    fn more_paths_are_asked_for_by_giving_all_back() {
        let mut claims = Claims::default();
        let [a, b] = std::array::from_fn(|_| claims.join());
        claims.ask(a, set("p"));
        claims.ask(b, set("q"));
        assert_eq!(claims.ask(b, set("p q")), []);
        assert_eq!(
            claims.ask(a, set("p q")),
            [a],
            "the older one is first, and neither waits for ever"
        );
        assert_eq!(claims.release(a), [b]);
    }
}
