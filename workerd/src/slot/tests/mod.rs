//! Slots as they really run, each test in a worker of its own, as root and as an
//! ordinary user.

pub(crate) mod bed;
mod guarded;
mod surroundings;

use super::*;
use bed::{Bed, in_worker, this};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::{Duration, Instant};

#[test]
fn a_job_runs_and_its_status_comes_back() {
    in_worker(this!(a_job_runs_and_its_status_comes_back), |bed| {
        let ran = bed.run_script("echo hello; pwd; exit 3");
        assert_eq!(ran.output, "hello\n/work\n");
        assert_eq!(ran.end.status, SlotStatus::Exited(3));
        assert_eq!((ran.end.exec_errno, ran.end.cwd_errno), (None, None));
        assert!(ran.end.cpu_us > 0);
        assert_eq!(bed.run_script("kill -9 $$").end.status, SlotStatus::Signaled(9));
    });
}

#[test]
fn what_a_job_writes_is_in_its_upper_layer_alone() {
    in_worker(this!(what_a_job_writes_is_in_its_upper_layer_alone), |bed| {
        let ran = bed.run_script("echo out > /work/out; echo changed > /etc/new 2>/dev/null || exit 0");
        assert_eq!(ran.end.status, SlotStatus::Exited(0));
        assert_eq!(std::fs::read(ran.dir.join("upper/work/out")).unwrap(), b"out\n");
        assert!(!bed.mirror.join("work/out").exists());
        let mut names: Vec<_> = std::fs::read_dir(ran.dir.join("upper"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert!(names.iter().all(|name| name == "work" || name == "etc"), "{names:?}");
        std::fs::remove_dir_all(&ran.dir).unwrap();
    });
}

#[test]
fn a_command_that_cannot_be_executed_gives_its_errno() {
    in_worker(this!(a_command_that_cannot_be_executed_gives_its_errno), |bed| {
        let ran = bed.run(bed.plan("/bin/none", &["none"]));
        assert_eq!(ran.end.exec_errno, Some(libc::ENOENT));
        std::fs::write(bed.mirror.join("bin/text"), "text").unwrap();
        let ran = bed.run(bed.plan("/bin/text", &["text"]));
        assert_eq!(ran.end.exec_errno, Some(libc::EACCES));
        let mut plan = bed.script("exit 0");
        plan.spec.cwd = "/gone".into();
        let end = bed.run(plan).end;
        assert_eq!((end.cwd_errno, end.exec_errno), (Some(libc::ENOENT), None));
    });
}

#[test]
fn an_environment_of_three_megabytes_arrives() {
    in_worker(this!(an_environment_of_three_megabytes_arrives), |bed| {
        let mut plan = bed.script("echo ${#V7} ${#V29} $#");
        plan.spec
            .env
            .extend((0..30).map(|n| format!("V{n}={}", "x".repeat(100_000)).into()));
        plan.spec.argv.extend((0..1000).map(|n| n.to_string().into()));
        let stack = 64 << 20;
        plan.spec.limits.push(termite_types::Limit {
            resource: libc::RLIMIT_STACK,
            soft: stack,
            hard: stack,
        });
        assert_eq!(bed.run(plan).output, "100000 100000 999\n");
    });
}

#[test]
fn signals_reach_the_whole_process_group() {
    in_worker(this!(signals_reach_the_whole_process_group), |bed| {
        let mut plan = bed.script("trap 'echo caught; exit 7' TERM; sleep 1000 & echo ready; wait; wait");
        let (from, to) = std::io::pipe().unwrap();
        plan.stdio[1] = JobFd::Open(to.into());
        let (mut slot, _) = bed.go(plan);
        let mut lines = BufReader::new(from).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        slot.signal(libc::SIGTERM as u8).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "caught");
        assert_eq!(slot.wait().unwrap().status, SlotStatus::Exited(7));
        slot.signal(libc::SIGTERM as u8).unwrap();
        // A sleep that had outlived the signal would have cost the ten seconds of grace.
        let soon = Instant::now() + Duration::from_secs(5);
        while slots_running(bed) > 0 {
            assert!(Instant::now() < soon, "a slot is left");
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn a_slot_that_is_killed_or_dropped_leaves_no_process() {
    in_worker(this!(a_slot_that_is_killed_or_dropped_leaves_no_process), |bed| {
        let script = "sleep 1000 & echo ready; trap '' TERM; wait";
        for kill in [true, false] {
            let mut plan = bed.script(script);
            let (from, to) = std::io::pipe().unwrap();
            plan.stdio[1] = JobFd::Open(to.into());
            let (mut slot, _) = bed.go(plan);
            let mut from = BufReader::new(from);
            from.read_line(&mut String::new()).unwrap();
            assert!(slots_running(bed) > 0);
            if kill {
                slot.kill().unwrap();
                assert_eq!(slot.wait().unwrap().status, SlotStatus::InitDied);
            } else {
                drop(slot);
            }
            // The end of the pipe is the end of everything that held it.
            from.read_to_end(&mut Vec::new()).unwrap();
        }
        let unborn = bed.entered.spawner.start(bed.script("exit 0")).unwrap();
        drop(unborn);
    });
}

#[test]
fn what_a_job_left_running_may_finish() {
    in_worker(this!(what_a_job_left_running_may_finish), |bed| {
        let ran = bed.run_script("(sleep 0.2; echo late > /work/late) >/dev/null 2>&1 & exit 4");
        assert_eq!(ran.end.status, SlotStatus::Exited(4));
        assert_eq!(std::fs::read(ran.dir.join("upper/work/late")).unwrap(), b"late\n");
    });
}

#[test]
fn slots_start_from_many_threads_and_leak_no_descriptor() {
    in_worker(this!(slots_start_from_many_threads_and_leak_no_descriptor), |bed| {
        let spawner = children_of(bed, 1).into_iter().next().expect("the spawner");
        let open = |pid: &str| {
            std::fs::read_dir(bed.entered.store.proc.join(pid).join("fd"))
                .unwrap()
                .count()
        };
        let before = (open(&spawner), open("self"));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for job in 0..8 {
                        let ran = bed.run_script(&format!("echo {thread}.{job}"));
                        assert_eq!(ran.output, format!("{thread}.{job}\n"));
                    }
                });
            }
        });
        assert_eq!((open(&spawner), open("self")), before);
    });
}

#[test]
fn the_spawner_refuses_what_is_not_in_the_store() {
    in_worker(this!(the_spawner_refuses_what_is_not_in_the_store), |bed| {
        let mut plan = bed.script("exit 0");
        plan.lower = "/etc".into();
        assert!(matches!(
            bed.entered.spawner.start(plan),
            Err(SlotError::OutsideStore(_))
        ));
        let mut plan = bed.script("exit 0");
        plan.lower = bed.entered.store.root.join("no-mirror");
        let error = bed.entered.spawner.start(plan).unwrap_err();
        assert!(
            error.to_string().contains("directories in the store: No such file"),
            "{error}"
        );
    });
}

#[test]
fn overlayfs_behaves_as_views_need() {
    in_worker(this!(overlayfs_behaves_as_views_need), |bed| {
        self_test(&bed.entered.spawner, &bed.entered.store.root).unwrap();
        self_test(&bed.entered.spawner, &bed.entered.store.root).unwrap();
    });
}

#[test]
fn the_cost_of_a_slot() {
    in_worker(this!(the_cost_of_a_slot), |bed| {
        let rounds = 50;
        let (mut start, mut whole) = (0, 0);
        for _ in 0..rounds {
            let plan = bed.script("exit 0");
            let at = std::time::Instant::now();
            let Started {
                mut slot,
                listener,
                root,
                upper,
                ..
            } = bed.entered.spawner.start(plan).unwrap();
            start += at.elapsed().as_micros();
            drop((root, upper));
            let guard = bed::let_all_go_on(listener.unwrap());
            slot.go().unwrap();
            slot.wait().unwrap();
            whole += at.elapsed().as_micros();
            guard.join().unwrap();
        }
        println!(
            "slot: ready {} us, until the end of `sh -c exit` {} us",
            start / rounds,
            whole / rounds
        );
    });
}

/// What the test binary does as a job: see [`Bed::itself`].
#[test]
fn job_side() {
    if let Ok(job) = std::env::var(bed::JOB) {
        guarded::run_job(&job);
    }
}

/// Inits of slots: children of the spawner.
fn slots_running(bed: &Bed) -> usize {
    let spawners = children_of(bed, 1);
    let inits = spawners.iter().flat_map(|pid| children_of(bed, pid.parse().unwrap()));
    inits.count()
}

fn children_of(bed: &Bed, parent: u32) -> Vec<String> {
    let line = format!("PPid:\t{parent}");
    let is_child = |path: &Path| {
        std::fs::read_to_string(path.join("status")).is_ok_and(|status| status.lines().any(|l| l == line))
    };
    let entries = std::fs::read_dir(&bed.entered.store.proc)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter(|path| is_child(path))
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect()
}
