//! What a job sees around itself: identity, descriptors, terminal, limits, `/dev`, `/proc`.

use super::bed::{USER, in_worker, this};
use crate::slot::{JobFd, SlotStatus};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use termite_types::{Jobserver, Limit, Owner, PidRange, TerminalSize};

#[test]
fn a_job_is_its_owner_without_powers() {
    in_worker(this!(a_job_is_its_owner_without_powers), |bed| {
        let caps = "while read -r name value; do case $name in CapEff:|CapBnd:|NoNewPrivs:) echo $value;; esac; done < /proc/self/status";
        let none = "0000000000000000";
        let mut plan = bed.script(&format!("id -u; id -g; id -G; {caps}; echo > /work/mine"));
        let root_user = bed.entered.store.root_user;
        if root_user {
            plan.spec.owner.groups = vec![USER, 7];
        }
        let ran = bed.run(plan);
        let groups = if root_user { "1000 7" } else { "1000" };
        // As an ordinary user the host's other groups show as the overflow group.
        assert!(ran.output.starts_with("1000\n1000\n1000"), "{}", ran.output);
        assert!(
            !root_user || ran.output.contains(&format!("\n{groups}\n")),
            "{}",
            ran.output
        );
        assert!(
            ran.output.contains(&format!("\n{none}\n")) && ran.output.ends_with("\n1\n"),
            "{}",
            ran.output
        );
        if root_user {
            let owner =
                std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(ran.dir.join("upper/work/mine")).unwrap());
            assert_eq!(owner, USER);
        }

        let mut plan = bed.script(&format!(
            "id -u; {caps}; echo > /proc/sys/kernel/hostname || echo refused"
        ));
        plan.spec.owner = Owner {
            uid: 0,
            gid: 0,
            groups: Vec::new(),
        };
        let output = bed.run(plan).output;
        // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID, MKNOD.
        let kept = "00000000080000db";
        assert!(output.starts_with(&format!("0\n{kept}\n{kept}\n1\n")), "{output}");
        assert!(output.ends_with("refused\n"), "{output}");
    });
}

#[test]
fn a_job_has_its_descriptors_and_no_other() {
    in_worker(this!(a_job_has_its_descriptors_and_no_other), |bed| {
        // The shell has its directory open while it expands the pattern.
        let list = "echo /proc/self/fd/*";
        assert_eq!(
            bed.run_script(list).output,
            "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2\n"
        );

        let mut plan = bed.script("read token <&9; echo $token; echo back >&5; echo /proc/self/fd/*");
        let (read, write) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut write.try_clone().unwrap(), b"token\n").unwrap();
        plan.spec.jobserver = Some(Jobserver { read: 9, write: 5 });
        plan.jobserver = Some((read.try_clone().unwrap().into(), write.into()));
        let output = bed.run(plan).output;
        let fds = ["0", "1", "2", "5", "9"]
            .map(|fd| format!("/proc/self/fd/{fd}"))
            .join(" ");
        assert_eq!(output, format!("token\n{fds}\n"));
        let mut back = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(read), &mut back).unwrap();
        assert_eq!(back, "back\n");
    });
}

#[test]
fn a_job_has_the_process_numbers_that_were_asked_for() {
    in_worker(this!(a_job_has_the_process_numbers_that_were_asked_for), |bed| {
        let limit = crate::slot::pid_limit(&bed.entered.spawner).unwrap().unwrap();
        assert!(limit >= 32_768, "{limit}");
        // The shell forks for its second command only where it is not the last one.
        let script = "echo $$; sh -c 'echo $$'; sh -c 'echo $$'; read -r pid rest < /proc/self/stat; echo $pid";
        for first in [300, 20_000, limit - 3] {
            let mut plan = bed.script(script);
            plan.spec.pids = Some(PidRange { first, count: 3 });
            let output = bed.run(plan).output;
            assert_eq!(output, format!("{first}\n{}\n{}\n{first}\n", first + 1, first + 2));
        }
        // Past the last number the kernel begins anew.
        let mut plan = bed.script("echo $$; sh -c 'echo $$'; :");
        plan.spec.pids = Some(PidRange {
            first: limit - 1,
            count: 1,
        });
        assert_eq!(bed.run(plan).output, format!("{}\n300\n", limit - 1));
        assert_eq!(bed.run_script("echo $$").output, "2\n");
    });
}

#[test]
fn a_number_that_the_worker_does_not_take_is_left_out() {
    in_worker(this!(a_number_that_the_worker_does_not_take_is_left_out), |bed| {
        let mut plan = bed.script("echo $$");
        plan.spec.pids = Some(PidRange {
            first: u32::MAX,
            count: 1,
        });
        assert_eq!(bed.run(plan).output, "2\n");
    });
}

#[test]
fn standard_input_is_read() {
    in_worker(this!(standard_input_is_read), |bed| {
        let mut plan = bed.script("cat; echo end");
        let (read, mut write) = std::io::pipe().unwrap();
        plan.stdio[0] = JobFd::Open(read.into());
        std::io::Write::write_all(&mut write, b"one\n").unwrap();
        drop(write);
        assert_eq!(bed.run(plan).output, "one\nend\n");
    });
}

#[test]
fn a_terminal_is_the_controlling_one() {
    in_worker(this!(a_terminal_is_the_controlling_one), |bed| {
        let mut plan = bed.script("tty; stty size; echo direct > /dev/tty; exit 5");
        plan.stdio = [JobFd::Terminal, JobFd::Terminal, JobFd::Terminal];
        plan.spec.stdio.size = Some(TerminalSize { rows: 33, cols: 77 });
        let (mut slot, terminal) = bed.go(plan);
        let output = read_terminal(terminal.unwrap());
        assert_eq!(output, "/dev/pts/0\n33 77\ndirect\n");
        assert_eq!(slot.wait().unwrap().status, SlotStatus::Exited(5));
    });
}

/// Reads until every slave is closed, which a master tells by EIO.
fn read_terminal(master: OwnedFd) -> String {
    let mut output = Vec::new();
    let mut master = std::fs::File::from(master);
    let error = master.read_to_end(&mut output).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    String::from_utf8(output).unwrap()
}

#[test]
fn what_a_process_inherits_is_the_clients() {
    in_worker(this!(what_a_process_inherits_is_the_clients), |bed| {
        let mut plan = bed.script(
            "while read -r what is; do [ $what != SigIgn: ] || echo $((0x$is & 0xffff)); done < /proc/self/status
            read -r stat < /proc/self/stat; set -- $stat; echo ${19}; umask; ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -Ht",
        );
        plan.spec.umask = 0o027;
        plan.spec.nice = 7;
        plan.spec.ignored = 1 << (libc::SIGHUP - 1) | 1 << (libc::SIGPIPE - 1);
        plan.spec.limits = vec![
            Limit {
                resource: libc::RLIMIT_NOFILE,
                soft: 64,
                hard: 128,
            },
            Limit {
                resource: libc::RLIMIT_CORE,
                soft: 0,
                hard: 0,
            },
            // More than anybody has.
            Limit {
                resource: libc::RLIMIT_CPU,
                soft: 1 << 40,
                hard: u64::MAX,
            },
            Limit {
                resource: libc::RLIMIT_NPROC,
                soft: 0,
                hard: 0,
            },
            // A resource that this kernel does not know.
            Limit {
                resource: 77,
                soft: 0,
                hard: 0,
            },
        ];
        let output = bed.run(plan).output;
        assert_eq!(output, "4097\n7\n0027\n64\n128\n0\nunlimited\n");
    });
}

#[test]
fn devices_are_minimal_and_cannot_be_changed() {
    in_worker(this!(devices_are_minimal_and_cannot_be_changed), |bed| {
        let script = "cd /dev; echo *; [ -c null ] && echo x > null && [ -c tty ] && echo nodes
            (echo > own) 2>/dev/null || echo read-only
            echo memory > shm/m; cat shm/m; cat .termite/shared; echo; cat /dev/fd/0 < /dev/.termite/shared; echo
            [ -e /sys/kernel ] || echo no sys; [ -e /proc/self/status ] && echo proc; hostname";
        let output = bed.run_script(script).output;
        let names = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero";
        assert_eq!(
            output,
            format!("{names}\nnodes\nread-only\nmemory\nshared\nshared\nno sys\nproc\nclient\n")
        );
    });
}

#[test]
fn the_root_that_workerd_gets_is_the_jobs() {
    in_worker(this!(the_root_that_workerd_gets_is_the_jobs), |bed| {
        let started = bed.entered.spawner.start(bed.script("echo > /work/seen")).unwrap();
        let mut slot = started.slot;
        let exists = |name: &str| rustix::fs::statat(started.root.as_fd(), name, rustix::fs::AtFlags::empty()).is_ok();
        assert!(exists("bin/sh") && exists("dev/null") && exists("proc/1/stat") && !exists("work/seen"));
        let guard = super::bed::let_all_go_on(started.listener.unwrap());
        slot.go().unwrap();
        slot.wait().unwrap();
        guard.join().unwrap();
        assert!(exists("work/seen"));
        assert!(rustix::fs::statat(&started.upper, "work/seen", rustix::fs::AtFlags::empty()).is_ok());
    });
}
