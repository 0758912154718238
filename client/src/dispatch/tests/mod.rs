//! Conflicts from a worker's double through a whole daemon to its callers.

mod double;

use crate::history::{History, JobRecord, Site};
use double::{BUILD, Scene, with_daemon};
use std::time::Duration;
use termite_types::JobId;
use termite_wire::frame::{ToCaller, ToDaemon};

const EXITED: ToCaller = ToCaller::Exited {
    status: 0,
    read_input: 0,
};

fn output(fd: u8, text: &str) -> ToCaller {
    ToCaller::Output { fd, bytes: text.into() }
}

/// What the history keeps of a job of the build.
async fn record(scene: &Scene, number: u32) -> JobRecord {
    scene.daemon.builds.settled().await;
    let history = History::new(scene.daemon.config.history_dir());
    let job = JobId { build: BUILD, number };
    history.job(job).unwrap().unwrap().0
}

#[test]
fn a_storm_on_one_counter_needs_few_executions() {
    const JOBS: u32 = 200;
    with_daemon(8, async |scene| {
        let mut askers = Vec::new();
        for number in 0..JOBS {
            askers.push(scene.ask(&["count", &number.to_string()], false).await);
        }
        for mut asker in askers {
            assert_eq!(asker.rest().await.last(), Some(&EXITED));
        }
        let double = &scene.double;
        assert_eq!(double.counter.get(), JOBS);
        assert!(double.runs.get() <= JOBS * 3 / 2, "{} runs", double.runs.get());
        scene.daemon.builds.settled().await;
        let last = scene.daemon.builds.last(&scene.dir).unwrap().unwrap();
        assert_eq!(last.reruns, u64::from(double.runs.get() - JOBS));
        assert_eq!((last.jobs.remote, last.jobs.local), (JOBS.into(), 0));
    });
}

#[test]
fn what_a_storm_taught_outlives_the_daemon() {
    with_daemon(8, async |scene| {
        for round in 0..2 {
            let mut askers = Vec::new();
            for number in 0..9 {
                askers.push(scene.ask(&["count", &format!("{round}.{number}")], false).await);
            }
            for mut asker in askers {
                asker.rest().await;
            }
        }
        let before = scene.double.runs.get();
        assert!(before < 9 * 3, "the second round needs no reruns: {before} runs");
        let known = scene.daemon.contention.take_unsaved();
        assert_eq!(known.len(), 1);
        scene.daemon.forecasts.save_contended(&known);
        assert_eq!(
            scene.daemon.forecasts.load_contended().into_iter().collect::<Vec<_>>(),
            known
        );
    });
}

#[test]
fn a_conflict_is_explained_and_what_the_attempt_said_is_dropped() {
    with_daemon(1, async |scene| {
        let mut asker = scene.ask(&["conflict", "2"], false).await;
        assert_eq!(asker.rest().await, [output(2, "run 3\n"), EXITED]);
        let record = record(scene, 1).await;
        assert_eq!(
            (record.site, record.exit, record.attempts.len()),
            (Site::Worker, Some(0), 0)
        );
        let [first, second] = &record.conflicts[..] else {
            panic!("{record:?}")
        };
        assert_eq!(first.path, scene.dir.join("counter").display().to_string());
        assert_eq!((&first.seen[..], &second.seen[..]), ("1", "2"));
        assert_eq!(first.changed_by, None, "no job changed it");
    });
}

#[test]
fn the_job_that_changed_the_path_is_named() {
    with_daemon(2, async |scene| {
        let mut askers = [
            scene.ask(&["count", "a"], false).await,
            scene.ask(&["count", "b"], false).await,
        ];
        for asker in &mut askers {
            assert_eq!(asker.rest().await.last(), Some(&EXITED));
        }
        let records = [record(scene, 1).await, record(scene, 2).await];
        let (winner, loser) = match records[0].conflicts.is_empty() {
            true => (&records[0], &records[1]),
            false => (&records[1], &records[0]),
        };
        assert_eq!((winner.conflicts.len(), loser.conflicts.len()), (0, 1));
        assert_eq!(loser.conflicts[0].changed_by.as_ref(), Some(&winner.job));
    });
}

#[test]
fn input_that_was_taken_is_given_again() {
    with_daemon(1, async |scene| {
        let mut asker = scene.ask(&["read"], false).await;
        assert_eq!(asker.next().await, Some(ToCaller::WantInput));
        asker.say(ToDaemon::Input(b"typed once".to_vec())).await;
        let rest = asker.rest().await;
        assert_eq!(rest.last(), Some(&EXITED), "{rest:?}");
        let heard = scene.double.heard.borrow();
        assert_eq!(heard[..2], [b"typed once", b"typed once"].map(Vec::from));
    });
}

#[test]
fn what_a_terminal_showed_is_shown_once() {
    with_daemon(1, async |scene| {
        let frames = scene.ask(&["say"], true).await.rest().await;
        let said: Vec<_> = frames
            .iter()
            .filter_map(|frame| match frame {
                ToCaller::Output { fd: 1, bytes } => Some(String::from_utf8_lossy(bytes)),
                _ => None,
            })
            .collect();
        assert_eq!(said, ["one\n", "two, run 1\n", "2\n"], "{frames:?}");
        assert_eq!(frames.last(), Some(&EXITED));
    });
}

#[test]
fn without_progress_the_client_runs_it_and_keeps_the_claim() {
    with_daemon(2, async |scene| {
        let told = scene.ask(&["conflict", "9"], false).await.next().await;
        let Some(ToCaller::Local { reason, as_driver, .. }) = told else {
            panic!("{told:?}");
        };
        assert!(reason.contains("conflicted 6 times") && !as_driver, "{reason}");
        let record = record(scene, 1).await;
        assert_eq!((record.site, record.conflicts.len()), (Site::Client, 6));
        // The caller of the first is this process, which lives.
        let mut asker = scene.ask(&["conflict", "9"], false).await;
        let runs = scene.double.runs.get();
        let waits = tokio::time::timeout(Duration::from_millis(100), asker.next()).await;
        assert!(waits.is_err() && scene.double.runs.get() == runs, "{waits:?}");
        // A signal ends its wait.
        asker.say(ToDaemon::Signal(2)).await;
        let ended = asker.rest().await;
        let signaled = ToCaller::Signaled {
            signal: 2,
            read_input: 0,
        };
        assert_eq!(ended, [signaled]);
    });
}

#[test]
fn a_caller_that_leaves_holds_nobody_up() {
    with_daemon(1, async |scene| {
        // Both are known to change the counter from here on.
        let teaches = scene.ask(&["conflict", "1"], false).await.rest().await;
        assert_eq!(teaches.last(), Some(&EXITED));
        let waits = scene.ask(&["wait"], false).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut later = scene.ask(&["conflict", "0"], false).await;
        drop(waits);
        assert_eq!(later.rest().await.last(), Some(&EXITED));
    });
}
