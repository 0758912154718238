//! Jobs that need something of the client's own machine go home by themselves: what they
//! leave is as without termite, and `termite last` has the reason. A build has the workers
//! that it names, and no others.

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use termite_e2e::process::{PATIENCE, Program, wait_until};
use termite_e2e::{Client, Mode, Scene, Topology, User, Way};

/// Targets, their commands, and what a reason of the build must hold.
const NEEDING: [(&str, &str, &[&str]); 7] = [
    ("fifo", "mkfifo $@", &["a FIFO, socket or device at"]),
    (
        "socket",
        "python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('$@')\"",
        &["a FIFO, socket or device at"],
    ),
    (
        "pid",
        "sleep 100 > /dev/null 2>&1 & echo $$! > $@",
        &["a process that goes on when it has ended"],
    ),
    (
        "shared",
        "echo $@ > /dev/shm/termite-e2e-$$$$ && echo /dev/shm/termite-e2e-$$$$ > $@",
        &["shared memory or an object of System V IPC that it leaves"],
    ),
    (
        "queue",
        "ipcmk -Q | sed 's/[^0-9]*//' > $@",
        &["shared memory or an object of System V IPC that it leaves"],
    ),
    ("keyed", "touch $@", &["the daemon of fakeroot"]),
    (
        "listed",
        "touch $@; setfacl -m u:0:r $@",
        &["the extended attribute system.posix_acl_access", "an access list on"],
    ),
];

#[test]
fn what_needs_the_machine_goes_home() -> Result<()> {
    for user in [User::Me, User::Ordinary] {
        let scene = Scene::new(user)?;
        for mode in Mode::all(&scene, Topology::Embedded)? {
            let dir = scene.dir(&format!("p/{mode}"))?;
            let running = mode.start(&scene, 4)?;
            check_needs(&running.client, &dir)
                .and_then(|()| check_left_objects(&running.client, &dir, mode))
                .with_context(|| format!("user {}, {mode}", scene.uid()))?;
            running.stop()?;
        }
        scene.finish()?;
    }
    Ok(())
}

fn check_needs(client: &Client, dir: &Path) -> Result<()> {
    let names: Vec<_> = NEEDING.iter().map(|(name, ..)| *name).collect();
    let mut makefile = format!(
        "all: {} plain\nplain: ; @mkfifo gone; rm gone; ipcrm -q $$(ipcmk -Q | tr -dc 0-9); touch $@\n\
         takes: ; @ipcrm -q $$(cat queue) && touch $@\n\
         keyed: export FAKEROOTKEY = 1\nopens: ; @cat $(shell cat shared 2>&1) > $@\n",
        names.join(" ")
    );
    for (name, command, _) in NEEDING {
        makefile += &format!("{name}: ; @{command}\n");
    }
    fs::write(dir.join("Makefile"), makefile)?;
    client.drive(Way::Env, dir, "make").arg("-j4").run()?.success()?;
    let pid: i32 = fs::read_to_string(dir.join("pid"))?.trim().parse()?;
    let pid = Pid::from_raw(pid).context("no pid")?;
    test_kill_process(pid).context("the process that was left is gone")?;
    kill_process(pid, Signal::KILL)?;
    let kind = |name: &str| fs::symlink_metadata(dir.join(name)).map(|file| file.file_type());
    ensure!(kind("fifo")?.is_fifo() && kind("socket")?.is_socket() && kind("plain")?.is_file());
    let listed = client.bare(dir, "/usr/bin/getfacl").arg("listed").run()?.success()?;
    ensure!(listed.out().contains("\nuser:root:r"), "{}", listed.describe());
    let last = client.last(dir)?;
    ensure!((last.jobs.local, last.jobs.remote) == (7, 1), "{last:?}");
    for (name, _, reasons) in NEEDING {
        let has = |reason: &&&str| last.local_reasons.keys().any(|known| known.contains(**reason));
        ensure!(reasons.iter().any(|reason| has(&reason)), "{name}: {last:?}");
    }
    Ok(())
}

/// What two of them left outlives them, and is found by its name.
fn check_left_objects(client: &Client, dir: &Path, mode: Mode) -> Result<()> {
    let takes = client.drive(Way::Env, dir, "make").arg("takes").run()?;
    let queue = fs::read_to_string(dir.join("queue"))?;
    let removal = client.bare(dir, "/usr/bin/ipcrm").args(["-q", queue.trim()]).run()?;
    let is_gone = removal.status.code() != Some(0);
    ensure!(
        is_gone == (mode.fault != "fuse"),
        "{} {}",
        takes.describe(),
        removal.describe()
    );
    let shared = fs::read_to_string(dir.join("shared"))?;
    let shared = shared.trim();
    let opened = client.drive(Way::Env, dir, "make").arg("opens").run()?;
    fs::remove_file(shared)?;
    if mode.fault == "fuse" {
        // No call is seen there, and the job fails.
        return Ok(());
    }
    ensure!(
        fs::read_to_string(dir.join("opens"))? == "shared\n",
        "{}",
        opened.describe()
    );
    let last = client.last(dir)?;
    let is_told = last.local_reasons.keys().any(|reason| reason.contains(shared));
    ensure!(is_told, "{last:?} {}", opened.describe());
    Ok(())
}

/// Descriptors above 2 that make was started with, one of them by an oversight.
const INHERITING: &str = "\
all: writes reads leaves
writes: ; @echo $@ >&3
reads: ; @read line <&4; echo $$line > $@
leaves: ; @cat < Makefile > $@; { echo >&5; } 2> /dev/null || touch closed
";

/// What a program does with descriptor 3 that a job has no place for, in Python.
const USING: [&str; 6] = [
    "import os; os.fchmod(3, 0o640)",
    "import os; os.utime(3, (1, 1))",
    "import fcntl; fcntl.flock(3, fcntl.LOCK_EX | fcntl.LOCK_NB)",
    "import fcntl; fcntl.lockf(3, fcntl.LOCK_EX | fcntl.LOCK_NB)",
    "open('/dev/fd/3', 'a').write('x')",
    "import os; os.stat('.', dir_fd=3) if os.path.isdir('/dev/fd/3') else os.write(3, b'x')",
];

#[test]
fn what_uses_an_inherited_descriptor_goes_home() -> Result<()> {
    for user in [User::Me, User::Ordinary] {
        let scene = Scene::new(user)?;
        for mode in Mode::all(&scene, Topology::TwoWorkers)? {
            let dir = scene.dir(&format!("p/{mode}"))?;
            let running = mode.start(&scene, 4)?;
            fs::write(dir.join("Makefile"), INHERITING)?;
            fs::write(dir.join("in"), "first\nsecond\n")?;
            let make = "exec 3> log 4< in 7< /dev/null; make -j3 && cat <&4";
            let outcome = running
                .client
                .drive(Way::Env, &dir, "bash")
                .args(["-c", make])
                .run()?
                .success()?;
            ensure!(outcome.out() == "second\n", "{mode}: {}", outcome.describe());
            let written = |name: &str| fs::read_to_string(dir.join(name));
            ensure!(
                written("log")? == "writes\n" && written("reads")? == "first\n",
                "{mode}"
            );
            ensure!(written("leaves")? == INHERITING, "{mode}");
            let last = running.client.last(&dir)?;
            ensure!((last.jobs.local, last.jobs.remote) == (2, 1), "{mode}: {last:?}");
            let has = |part: &str| last.local_reasons.keys().any(|reason| reason.contains(part));
            ensure!(has("the descriptors that it inherited"), "{mode}: {last:?}");
            running.stop()?;
        }
        scene.finish()?;
    }
    Ok(())
}

#[test]
fn whatever_is_done_with_an_inherited_descriptor_sends_a_job_home() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    for mode in Mode::all(&scene, Topology::Embedded)? {
        // There locks are not seen.
        let using = USING
            .iter()
            .filter(|using| mode.fault != "fuse" || !using.contains("fcntl"));
        let dir = scene.dir(&format!("p/{mode}"))?;
        let running = mode.start(&scene, 4)?;
        let rules: String = using
            .clone()
            .enumerate()
            .map(|(at, using)| format!("t{at}: ; @python3 -c \"{using}\"\n"))
            .collect();
        let count = using.count();
        let names: Vec<_> = (0..count).map(|at| format!("t{at}")).collect();
        fs::write(dir.join("Makefile"), format!("all: {}\n{rules}", names.join(" ")))?;
        let make = running.client.drive(Way::Env, &dir, "bash");
        make.args(["-c", "make 3>> log"]).run()?.success()?;
        let log = fs::metadata(dir.join("log"))?;
        ensure!(log.len() == 2 && log.mode() & 0o777 == 0o640, "{mode}: {log:?}");
        let last = running.client.last(&dir)?;
        ensure!(last.jobs.local == count as u64, "{mode}: {last:?}");
        running.stop()?;
    }
    scene.finish()
}

/// Lines of a file that is make's standard input. Who leaves some of them seeks back.
const SHARING: &str = "\
first: ; @head -n1 > $@
second: first ; @sed q > $@
third: second ; @read line; echo $$line > $@
rest: third ; @cat > $@
";

#[test]
fn a_file_that_is_standard_input_is_read_as_on_one_machine() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    // Where no call is seen, nobody hears of the seeking.
    for mode in Mode::all(&scene, Topology::Embedded)?
        .into_iter()
        .filter(|mode| mode.fault != "fuse")
    {
        let running = mode.start(&scene, 4)?;
        let client = &running.client;
        let read = |name: &str, shell: &dyn Fn(&Path) -> Program| -> Result<_> {
            let dir = scene.dir(&format!("p/{mode}-{name}"))?;
            fs::write(dir.join("Makefile"), SHARING)?;
            fs::write(dir.join("lines"), "1\n2\n3\n4\n5\n")?;
            shell(&dir).args(["-c", "make rest < lines"]).run()?.success()?;
            let parts = ["first", "second", "third", "rest"].map(|part| fs::read_to_string(dir.join(part)));
            Ok((dir, parts.into_iter().collect::<std::io::Result<Vec<_>>>()?))
        };
        let (_, plain) = read("plain", &|dir| client.bare(dir, "/usr/bin/bash"))?;
        let (dir, shared) = read("shared", &|dir| client.drive(Way::Env, dir, "bash"))?;
        ensure!(shared == plain, "{mode}: {shared:?} instead of {plain:?}");
        let last = client.last(&dir)?;
        ensure!(last.jobs.remote >= 1, "who reads on reads it there: {last:?}");
        running.stop()?;
    }
    scene.finish()
}

/// Recipes that meet at FIFOs, one that was there before and one that a recipe made.
const MEETING: &str = "\
all: old new plain listed
old: ; @test -p fifo && cat fifo > $@
new: made reads writes
made: ; @mkfifo made
reads: made ; @cat made > $@
writes: made ; @echo $@ > made
plain: ; @touch $@
listed: made ; @ls > $@
";

#[test]
fn who_looks_for_a_fifo_goes_home() -> Result<()> {
    for user in [User::Me, User::Ordinary] {
        let scene = Scene::new(user)?;
        for mode in Mode::all(&scene, Topology::TwoWorkers)? {
            let dir = scene.dir(&format!("p/{mode}"))?;
            let running = mode.start(&scene, 4)?;
            fs::write(dir.join("Makefile"), MEETING)?;
            scene.give(&dir)?;
            let meet = "mkfifo fifo; echo fed > fifo & make -j4";
            running
                .client
                .drive(Way::Env, &dir, "bash")
                .args(["-c", meet])
                .run()?
                .success()?;
            let written = |name: &str| fs::read_to_string(dir.join(name));
            ensure!(written("old")? == "fed\n" && written("reads")? == "writes\n", "{mode}");
            let last = running.client.last(&dir)?;
            ensure!((last.jobs.local, last.jobs.remote) == (4, 2), "{mode}: {last:?}");
            let listed = written("listed")?;
            let has = |name: &str| listed.lines().any(|line| line == name);
            ensure!(has("fifo") && has("made"), "{mode}: {listed}");
            running.stop()?;
        }
        scene.finish()?;
    }
    Ok(())
}

/// What finds an answer in its slot stays there, also where the answer is that there is none.
const STAYING: [&str; 4] = [
    "python3 -c \"import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())\"",
    "python3 -c \"import socket; socket.getaddrinfo('localhost', 80)\"",
    "python3 -c \"import socket; assert socket.socket().connect_ex(('127.0.0.1', 1)) == 111\"",
    "python3 -c \"import os; p = os.fork() or os._exit(0); os.waitpid(p, 0); \
        os.kill(p, 0)\" 2> /dev/null; [ $$? = 1 ]",
];

/// A server in a thread of the test's: its answers on a socket of either kind.
#[test]
fn services_and_processes_of_the_machine_are_reached_from_home() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    for mode in Mode::all(&scene, Topology::TwoWorkers)? {
        // There no call is seen.
        if mode.fault == "fuse" {
            continue;
        }
        let running = mode.start(&scene, 4)?;
        let dir = scene.dir(&format!("p/{mode}"))?;
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let unix = UnixListener::bind(dir.join("s"))?;
        let port = tcp.local_addr()?.port();
        let ask = |family: &str, at: &str| {
            format!(
                "python3 -c \"import socket; s = socket.socket(socket.{family}); s.connect({at}); print(s.recv(9))\""
            )
        };
        let alive = format!("python3 -c 'import os; os.kill({}, 0)'", std::process::id());
        let leaving = [
            ask("AF_INET", &format!("('127.0.0.1', {port})")),
            ask("AF_UNIX", "'s'"),
            format!("[ -d /proc/{} ]", std::process::id()),
        ];
        let staying = STAYING.into_iter().map(str::to_owned).chain([alive]);
        let commands: Vec<_> = leaving.iter().cloned().chain(staying).collect();
        let rules: String = commands
            .iter()
            .enumerate()
            .map(|(at, command)| format!("t{at}: ; @{command}\n"))
            .collect();
        let names: Vec<_> = (0..commands.len()).map(|at| format!("t{at}")).collect();
        fs::write(dir.join("Makefile"), format!("all: {}\n{rules}", names.join(" ")))?;
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| tcp.accept().and_then(|(mut peer, _)| peer.write_all(b"tcp")));
            scope.spawn(|| unix.accept().and_then(|(mut peer, _)| peer.write_all(b"unix")));
            running.client.drive(Way::Env, &dir, "make").arg("-j2").run()?.success()
        })?;
        ensure!(
            outcome.out().contains("b'tcp'") && outcome.out().contains("b'unix'"),
            "{}",
            outcome.describe()
        );
        let last = running.client.last(&dir)?;
        let expected = (leaving.len() as u64, (commands.len() - leaving.len()) as u64);
        ensure!((last.jobs.local, last.jobs.remote) == expected, "{mode}: {last:?}");
        ensure!(
            last.local_reasons
                .contains_key(&format!("it needs a service at 127.0.0.1:{port}")),
            "{last:?}"
        );
        running.stop()?;
    }
    scene.finish()
}

/// Recipes of which every other one needs the client: a service, a FIFO that it makes, and make.
fn needing_again(port: u16) -> String {
    format!(
        "all: service plain fifo other sub\n\
         service: ; @python3 -c \"import socket; socket.create_connection(('127.0.0.1', {port}))\" || :\n\
         fifo: ; @rm -f f; mkfifo f\n\
         sub: ; @sh -c 'exec make -f /dev/null -q nothing 2> /dev/null' || :\n\
         plain other: ; @touch $@; rm $@\n"
    )
}

#[test]
fn what_went_home_before_does_so_at_once() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let client = Client::new(&scene, "c", "")?;
    let dir = scene.dir("p/again")?;
    let tcp = TcpListener::bind("127.0.0.1:0")?;
    let port = tcp.local_addr()?.port();
    fs::write(dir.join("Makefile"), needing_again(port))?;
    let service = format!("it needs a service at 127.0.0.1:{port}");
    let fifo = "it needs a FIFO, socket or device at";
    // What it went home for, and how many jobs stayed on the worker.
    let build = |reasons: &[String], remote: u64| {
        client.drive(Way::Env, &dir, "make").arg("-j1").run()?.success()?;
        let last = client.last(&dir)?;
        let is_one = |reason: &String| {
            reasons
                .iter()
                .any(|known| reason.starts_with(known) && reason.contains("as before") == known.contains("as before"))
        };
        ensure!(
            last.jobs.remote == remote
                && last.local_reasons.len() == reasons.len()
                && last.local_reasons.keys().all(is_one),
            "expected {reasons:?}, {remote}: {last:?}"
        );
        anyhow::Ok(())
    };
    let made = format!("{fifo} {}/f", dir.display());
    build(&[service.clone(), made.clone()], 2)?;
    let before = [format!("{service}, as before"), format!("{made}, as before")];
    build(&before, 2)?;
    // Another daemon knows it, too.
    client.stop()?;
    build(&before, 2)?;
    let forgot = client.termite(&dir, ["forget", "mkfifo"]).run()?.success()?;
    ensure!(forgot.out().contains("rm -f f; mkfifo f"), "{}", forgot.describe());
    build(&[before[0].clone(), made], 2)?;
    drop(tcp);
    build(&before[1..], 3)?;
    ensure!(client.termite(&dir, ["forget", "mkfifoo"]).run()?.code() == 1);
    client.termite(&dir, ["forget"]).run()?.success()?;
    client.stop()?;
    scene.finish()
}

#[test]
fn a_build_has_the_workers_that_it_names() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let client = Client::new(&scene, "c", "")?;
    let dir = scene.dir("p/named")?;
    let nowhere = format!("unix:{}", scene.base().join("nowhere.sock").display());
    let named = ["--workers", &nowhere, "make"];
    // The usual worker, which runs by then, takes none of its jobs, and those of the next build.
    for (args, expected) in [(&["make"][..], (0, 1)), (&named, (1, 0)), (&["make"], (0, 1))] {
        fs::write(dir.join("Makefile"), "all: ; @touch $@; rm -f all\n")?;
        client.termite_env(&dir, args).run()?.success()?;
        let jobs = client.last(&dir)?.jobs;
        ensure!((jobs.local, jobs.remote) == expected, "{args:?}: {jobs:?}");
    }
    client.stop()?;
    scene.finish()
}

/// Each of the recipes runs for a while, and counts how many do so at the moment.
const BUSY: &str = "T := $(shell seq 9)\nall: $(T)\n$(T): ; \
    @mkdir on.$@; ls -d on.* | wc -l >> counts; i=0; while [ $$i -lt 60000 ]; do i=$$((i+1)); done; rmdir on.$@\n";

#[test]
fn as_many_run_on_the_client_as_there_are_processors() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    let client = Client::new(&scene, "a", "")?;
    let dir = scene.dir("p/busy")?;
    fs::write(dir.join("Makefile"), BUSY)?;
    fs::write(
        dir.join(".termite.toml"),
        "[[rule]]\nregex = \"mkdir\"\nrun = \"local\"\n",
    )?;
    scene.give(&dir)?;
    client.drive(Way::Env, &dir, "make").arg("-j9").run()?.success()?;
    let counts = fs::read_to_string(dir.join("counts"))?;
    let most = std::thread::available_parallelism()?.get();
    let counts: Vec<usize> = counts.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    ensure!(counts.len() == 9, "{counts:?}");
    ensure!(counts.iter().all(|count| *count <= most), "{counts:?} of {most}");
    ensure!(client.last(&dir)?.jobs.local == 9);

    // Interrupted while most wait for room: none of those begins.
    fs::remove_file(dir.join("counts"))?;
    let build = client.drive(Way::Preload, &dir, "make").arg("-j9").start()?;
    wait_until("one to begin", PATIENCE, || dir.join("counts").exists())?;
    build.signal(Signal::INT)?;
    ensure!(!build.wait()?.status.success());
    let counts = fs::read_to_string(dir.join("counts"))?;
    ensure!(counts.lines().count() <= most, "{counts:?}");
    client.stop()?;
    scene.finish()
}
