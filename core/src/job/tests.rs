//! Each way through the machine, action by action.

use super::*;
use std::path::Path;

type W = u8;

fn job() -> Job<W> {
    Job::new(Policy::PLAIN)
}

fn remote() -> Event<W> {
    Event::Asked(Verdict::Remote {
        why: "no rule".into(),
        whole: false,
    })
}

fn placed(worker: W) -> Event<W> {
    Event::Placed {
        worker,
        address: format!("w{worker}"),
    }
}

fn conflict(path: &str) -> Conflict {
    Conflict::new(Path::new(path), "1", "2")
}

fn finished(attempt: u32, succeeded: bool, has_changes: bool) -> Event<W> {
    Event::Finished {
        attempt: Attempt(attempt),
        succeeded,
        has_changes,
    }
}

fn lost(attempt: u32) -> Event<W> {
    Event::Lost {
        attempt: Attempt(attempt),
        why: "gone".into(),
    }
}

fn given_up(attempt: u32, why: Abandon) -> Event<W> {
    Event::GivenUp {
        attempt: Attempt(attempt),
        why,
    }
}

/// What a job does about these events, one after another.
fn does(job: &mut Job<W>, events: impl IntoIterator<Item = Event<W>>) -> Vec<Action<W>> {
    events.into_iter().for_each(|event| job.handle(event));
    std::iter::from_fn(|| job.poll()).collect()
}

/// A job that runs on worker 1.
fn running() -> Job<W> {
    let mut job = job();
    let began = does(&mut job, [remote(), Event::Claimed, placed(1)]);
    let (avoid, worker, attempt) = (vec![], 1, Attempt(1));
    assert_eq!(
        began,
        [
            Action::Claim(BTreeSet::new()),
            Action::Place { avoid },
            Action::Send { worker, attempt }
        ]
    );
    job
}

fn home(reason: &str, as_driver: bool, fault: bool) -> Action<W> {
    Action::GoHome(Home {
        reason: reason.into(),
        as_driver,
        fault,
    })
}

fn claim(paths: &[&str]) -> Action<W> {
    Action::Claim(paths.iter().map(PathBuf::from).collect())
}

#[test]
fn rules_keep_a_job_on_the_client() {
    for (verdict, as_driver) in [
        (Verdict::Local { why: "why".into() }, false),
        (Verdict::Driver { why: "why".into() }, true),
    ] {
        let mut job = job();
        assert_eq!(does(&mut job, [Event::Asked(verdict)]), [home("why", as_driver, false)]);
        assert_eq!(does(&mut job, [Event::HomeEnded]), [Action::Release]);
        assert_eq!(job.state(), State::Ended);
    }
}

#[test]
fn a_job_is_committed_and_its_caller_told() {
    let mut job = running();
    let committed = [finished(1, true, true), Event::Committed(Attempt(1))];
    let tells = [Action::Release, Action::Answer(Answer::AsItEnded)];
    assert_eq!(
        does(&mut job, committed),
        [&[Action::Commit(Attempt(1))], &tells[..]].concat()
    );
    let mut job = running();
    assert_eq!(
        does(&mut job, [finished(1, false, false)]),
        [&[Action::Discard(Attempt(1))], &tells[..]].concat(),
        "nothing to commit"
    );
}

#[test]
fn a_job_goes_to_other_workers_and_home_after_the_third() {
    let mut job = running();
    let place = |avoid: &[W]| Action::Place { avoid: avoid.to_vec() };
    let record = |fault: &str| Action::RecordFault(fault.into());
    assert_eq!(does(&mut job, [lost(1)]), [record("w1: gone"), place(&[1])]);
    let full = given_up(2, Abandon::Full("x".into()));
    let (worker, attempt) = (2, Attempt(2));
    assert_eq!(
        does(&mut job, [placed(2), full]),
        [
            Action::Send { worker, attempt },
            record("w2: the worker is full: x"),
            place(&[1, 2])
        ]
    );
    let last = does(&mut job, [placed(3), lost(3)]);
    assert_eq!(last[1..], [record("w3: gone"), home("w3: gone", false, true)]);
}

#[test]
fn without_a_worker_the_last_fault_is_the_reason() {
    let mut job = job();
    let none = || Event::NoWorker("none".into());
    let actions = does(&mut job, [remote(), Event::Claimed, none()]);
    assert_eq!(actions.last(), Some(&home("none", false, true)));
    let mut job = running();
    let actions = does(&mut job, [lost(1), none()]);
    assert_eq!(actions.last(), Some(&home("w1: gone", false, true)));
}

#[test]
fn a_job_whose_output_was_shown_goes_home() {
    let mut job = running();
    let actions = does(&mut job, [Event::Shown, lost(1)]);
    assert_eq!(actions.last(), Some(&home("w1: gone", false, true)));
}

#[test]
fn a_job_whose_input_cannot_be_given_again_goes_home() {
    let actions = does(&mut running(), [Event::InputLost, lost(1)]);
    assert_eq!(actions.last(), Some(&home("w1: gone", false, true)));
    let mut job = running();
    let torn = given_up(1, Abandon::Conflict(conflict("n")));
    assert_eq!(does(&mut job, [Event::InputLost, torn]).last(), Some(&claim(&["n"])));
    assert!(matches!(does(&mut job, [Event::Claimed])[..], [Action::GoHome(_)]));
}

#[test]
fn what_no_worker_can_do_goes_home_at_once() {
    let of = |why| does(&mut running(), [given_up(1, why)]);
    assert_eq!(
        of(Abandon::Driver("/b/make".into())),
        [home("it starts /b/make", true, false)]
    );
    assert_eq!(
        of(Abandon::Denied("/k".into())),
        [home("/k is not served", false, true)]
    );
    let io = Abandon::Unsupported("io_uring".into());
    assert_eq!(of(io), [home("io_uring is not possible in a view", false, true)]);
    // The command gets the same error there, so that nobody has to be told.
    let start = Abandon::Start("its program: Exec format error".into());
    let reason = "it cannot be started: its program: Exec format error";
    assert_eq!(of(start), [home(reason, false, false)]);
}

#[test]
fn a_refused_commit_goes_home() {
    let mut job = running();
    let actions = does(
        &mut job,
        [finished(1, true, true), Event::Refused(Attempt(1), "no".into())],
    );
    assert_eq!(actions[1..], [Action::Discard(Attempt(1)), home("no", false, true)]);
}

#[test]
fn a_job_that_is_committed_by_halves_runs_nowhere_again() {
    let half = || Event::HalfCommitted(Attempt(1), "full".into());
    let ends = [Action::Discard(Attempt(1)), Action::Release];
    let ways: [(&[Event<W>], Action<W>); 3] = [
        (&[], Action::Answer(Answer::HalfCommitted("full".into()))),
        (
            &[Event::Interrupted(2)],
            Action::Answer(Answer::HalfCommitted("full".into())),
        ),
        (&[Event::CallerLeft], Action::Leave),
    ];
    for (before, told) in ways {
        let mut job = running();
        does(
            &mut job,
            [finished(1, true, true)].into_iter().chain(before.iter().cloned()),
        );
        assert_eq!(does(&mut job, [half()]), [&ends[..], &[told]].concat());
        assert_eq!(job.state(), State::Ended);
        assert_eq!(does(&mut job, [half(), Event::Committed(Attempt(1))]), []);
    }
    let mut job = running();
    does(&mut job, [lost(1), placed(2), finished(2, true, true)]);
    assert_eq!(does(&mut job, [half()]), [], "of another attempt");
}

#[test]
fn a_conflict_claims_the_path_and_runs_again_anywhere() {
    let mut job = running();
    let conflicts = [finished(1, true, true), Event::Conflicted(Attempt(1), conflict("n"))];
    assert_eq!(
        does(&mut job, conflicts)[1..],
        [
            Action::Discard(Attempt(1)),
            Action::RecordConflict(conflict("n")),
            claim(&["n"])
        ]
    );
    assert_eq!(job.state(), State::Claiming);
    let again = does(&mut job, [Event::Claimed, placed(1)]);
    assert_eq!(again[0], Action::Place { avoid: vec![] });
    let torn = given_up(2, Abandon::Conflict(conflict("m")));
    let found = does(&mut job, [Event::Shown, torn]);
    assert_eq!(found, [Action::RecordConflict(conflict("m")), claim(&["m", "n"])]);
    let done = does(
        &mut job,
        [
            Event::Claimed,
            placed(1),
            finished(3, true, true),
            Event::Committed(Attempt(3)),
        ],
    );
    assert_eq!(
        done[2..],
        [
            Action::Commit(Attempt(3)),
            Action::Release,
            Action::Answer(Answer::AsItEnded)
        ]
    );
}

#[test]
fn a_job_without_changes_can_conflict_too() {
    let conflicted = Event::Conflicted(Attempt(1), conflict("n"));
    assert_eq!(
        does(&mut running(), [conflicted]),
        [
            Action::Discard(Attempt(1)),
            Action::RecordConflict(conflict("n")),
            claim(&["n"])
        ]
    );
}

#[test]
fn after_six_conflicts_it_goes_home_with_its_claim() {
    let mut job = running();
    for attempt in 1..6 {
        let conflicted = Event::Conflicted(Attempt(attempt), conflict("n"));
        does(&mut job, [finished(attempt, true, true), conflicted, Event::Claimed]);
        does(&mut job, [placed(1)]);
    }
    let last = [finished(6, true, true), Event::Conflicted(Attempt(6), conflict("n"))];
    assert_eq!(does(&mut job, last).last(), Some(&claim(&["n"])));
    let reason = "it conflicted 6 times, last on n: the job saw 1, at its commit there was 2";
    assert_eq!(does(&mut job, [Event::Claimed]), [home(reason, false, true)]);
    assert_eq!(does(&mut job, [Event::CallerLeft]), [], "it may be running");
    assert_eq!(does(&mut job, [Event::HomeEnded]), [Action::Release]);
}

#[test]
fn the_first_conflict_on_a_path_is_progress() {
    let mut job = running();
    let most = Policy::PLAIN.most_contended as u32;
    for attempt in 1..=most {
        let why = Abandon::Conflict(conflict(&attempt.to_string()));
        does(&mut job, [given_up(attempt, why)]);
        let placing = Action::Place { avoid: vec![] };
        assert_eq!(does(&mut job, [Event::Claimed, placed(1)])[0], placing);
    }
    does(&mut job, [given_up(most + 1, Abandon::Conflict(conflict("n")))]);
    let reason = "it conflicted 17 times, last on n: the job saw 1, at its commit there was 2";
    assert_eq!(does(&mut job, [Event::Claimed]), [home(reason, false, true)]);
}

#[test]
fn what_was_interrupted_is_kept_where_the_driver_waits_for_that() {
    let mut job = Job::new(Policy {
        keeps_interrupted: true,
        ..Policy::PLAIN
    });
    does(&mut job, [remote(), Event::Claimed, placed(1)]);
    let actions = does(&mut job, [Event::Interrupted(2), finished(1, false, true)]);
    assert_eq!(actions, [Action::Commit(Attempt(1))]);
    let actions = does(&mut job, [Event::Conflicted(Attempt(1), conflict("n"))]);
    assert_eq!(actions[2..], [Action::Release, Action::Answer(Answer::Signaled(2))]);
}

#[test]
fn who_is_interrupted_leaves_nothing_unless_it_ends_well() {
    let mut job = running();
    let actions = does(&mut job, [Event::Interrupted(2), finished(1, false, true)]);
    assert_eq!(actions[0], Action::Discard(Attempt(1)));
    let mut job = running();
    let actions = does(&mut job, [Event::Interrupted(2), finished(1, true, true)]);
    assert_eq!(actions, [Action::Commit(Attempt(1))]);
    let actions = does(&mut job, [Event::Conflicted(Attempt(1), conflict("n"))]);
    assert_eq!(actions[2..], [Action::Release, Action::Answer(Answer::Signaled(2))]);
}

#[test]
fn a_signal_ends_the_wait_for_a_claim_and_not_the_first_one_for_a_slot() {
    let ends = [Action::Cancel, Action::Release, Action::Answer(Answer::Signaled(2))];
    let mut waiting = job();
    does(&mut waiting, [remote()]);
    assert_eq!(does(&mut waiting, [Event::Interrupted(2)]), ends);
    let mut first = job();
    does(&mut first, [remote(), Event::Claimed]);
    assert_eq!(does(&mut first, [Event::Interrupted(2)]), []);
    let actions = does(&mut first, [placed(1), finished(1, false, true)]);
    assert_eq!(actions[1], Action::Discard(Attempt(1)));
    let mut again = running();
    does(
        &mut again,
        [given_up(1, Abandon::Conflict(conflict("n"))), Event::Claimed],
    );
    assert_eq!(does(&mut again, [Event::Interrupted(2)]), ends);
}

#[test]
fn a_caller_that_leaves_ends_all_but_a_commit() {
    let leaves = [Action::Cancel, Action::Release, Action::Leave];
    let ways: [&[Event<W>]; 4] = [
        &[],
        &[remote()],
        &[remote(), Event::Claimed],
        &[remote(), Event::Claimed, placed(1)],
    ];
    for way in ways {
        let mut job = job();
        does(&mut job, way.iter().cloned());
        assert_eq!(does(&mut job, [Event::CallerLeft]), leaves, "{way:?}");
        assert_eq!(does(&mut job, [Event::Claimed, placed(1), finished(1, true, true)]), []);
    }
    let committing = || {
        let mut job = running();
        does(&mut job, [finished(1, true, true)]);
        assert_eq!(
            does(&mut job, [Event::CallerLeft, Event::CallerLeft]),
            [Action::HurryCommit]
        );
        job
    };
    let ended = does(&mut committing(), [Event::Committed(Attempt(1))]);
    assert_eq!(ended, [Action::Release, Action::Leave]);
    for event in [
        Event::Refused(Attempt(1), "no".into()),
        Event::Conflicted(Attempt(1), conflict("n")),
    ] {
        let ended = does(&mut committing(), [event]);
        assert_eq!(ended[0], Action::Discard(Attempt(1)));
        assert_eq!(ended[ended.len() - 3..], leaves);
    }
}

#[test]
fn late_answers_are_ignored() {
    let mut job = running();
    does(&mut job, [lost(1), placed(2)]);
    let late = [
        finished(1, true, true),
        lost(1),
        Event::Committed(Attempt(1)),
        placed(3),
    ];
    assert_eq!(does(&mut job, late), []);
    assert_eq!(job.state(), State::Running(Attempt(2)));
}

#[test]
fn where_the_daemon_is_stopped_a_job_goes_home_unless_it_is_committed() {
    let stopped = home("the daemon was stopped", false, true);
    let mut claiming = job();
    does(&mut claiming, [remote()]);
    let mut placing = job();
    does(&mut placing, [remote(), Event::Claimed]);
    for mut job in [claiming, placing, running()] {
        assert_eq!(does(&mut job, [Event::Stopped]), [Action::Cancel, stopped.clone()]);
        assert_eq!(does(&mut job, [Event::Stopped]), [Action::Release]);
        assert_eq!(job.state(), State::Ended);
    }
    let mut committing = running();
    does(&mut committing, [finished(1, true, true)]);
    assert_eq!(does(&mut committing, [Event::Stopped]), []);
    let mut interrupted = running();
    let actions = does(&mut interrupted, [Event::Interrupted(2), Event::Stopped]);
    assert_eq!(actions[2], Action::Answer(Answer::Signaled(2)));
}
