//! Looks whether jobs, and commands at home, do anything, and calls those jobs home for which others
//! may wait. Whom, `core` decides.

use crate::build::UnderWay;
use crate::daemon::Daemon;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;
use termite_core::activity::Activity;
use termite_core::standstill::{Look, Standstill};
use termite_types::{BuildId, JobId};

/// Who does next to nothing for so long may wait for somebody else.
const LOOK: Duration = Duration::from_secs(2);

/// Looks at all builds. Never resolves.
pub(crate) async fn watch(daemon: &Daemon) {
    let mut standstill = Standstill::new();
    let mut at_home = daemon.room.activity();
    loop {
        let (looks, now) = look(daemon, &at_home).await;
        at_home = now;
        for (build, number) in standstill.called(&looks) {
            daemon.fleet.send_home(JobId { build, number });
        }
    }
}

/// The commands at home, by number.
type AtHome = HashMap<u64, (BuildId, Activity)>;

/// Looks for as long as [`LOOK`] at the builds that have had more than one job or command. `before`:
/// what commands at home had done when that began; returned is what they have done by its end.
async fn look(daemon: &Daemon, before: &AtHome) -> (Vec<(BuildId, Look)>, AtHome) {
    let is_at_home = |build: &BuildId| before.values().any(|(other, _)| other == build);
    let mut jobs = daemon.builds.jobs();
    jobs.retain(|build, (jobs, so_far)| {
        let is_old = |job: &UnderWay| job.is_on_worker && job.since >= LOOK;
        jobs.iter().any(is_old) && (*so_far > 1 || is_at_home(build))
    });
    let asked = daemon.fleet.idle(jobs.keys().copied(), LOOK);
    let (idle, ()) = tokio::join!(asked, tokio::time::sleep(LOOK));
    let now = daemon.room.activity();
    let sleeps = |id: &u64| {
        let (now, before) = (now.get(id)?.1, before.get(id)?.1);
        Some(now.sleeps_since(before, LOOK))
    };
    let asleep = now.iter().filter(|(id, _)| sleeps(id) == Some(true));
    let asleep: HashSet<_> = asleep.map(|(_, (build, _))| *build).collect();
    let look = |(build, (jobs, so_far)): (BuildId, (Vec<UnderWay>, u32))| {
        let on_workers = jobs.iter().filter(|job| job.is_on_worker);
        let on_workers: BTreeSet<_> = on_workers.map(|job| job.number).collect();
        let is_idle = |number: &u32| idle.contains(&JobId { build, number: *number });
        let look = Look {
            idle: on_workers.iter().copied().filter(is_idle).collect(),
            on_workers,
            sleeps_at_home: asleep.contains(&build),
            jobs: so_far,
        };
        (build, look)
    };
    (jobs.into_iter().map(look).collect(), now)
}
