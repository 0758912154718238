//! Recipes that run beside each other and meet at something that one of them makes: a FIFO, a
//! socket, a service, a process. On workers they would not see each other; so who waits goes home,
//! and for whom it waits does, too.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Instant;
use termite_e2e::{Client, Mode, Scene, Topology, User, Way};

/// What meets; what the one does that offers it, `%`, which nobody sees in its slot, and the other.
const MEETING: [(&str, &str, &str); 6] = [
    (
        "fifo",
        "mkfifo %.fifo; echo met > %.fifo",
        "while [ ! -p %.fifo ]; do sleep 0.1; done; cat %.fifo > $@",
    ),
    ("socket", "python3 serve.py %.socket", "python3 ask.py %.socket > $@"),
    ("service", "python3 serve.py PORT", "python3 ask.py PORT > $@"),
    (
        "flag",
        "echo met > %.flag; while [ ! -f %.seen ]; do sleep 0.1; done",
        "while [ ! -s %.flag ]; do sleep 0.1; done; cat %.flag > $@; touch %.seen",
    ),
    (
        "content",
        "sleep 1; echo met > content",
        "until grep -q met content; do sleep 0.1; done; cat content > $@",
    ),
    (
        "process",
        "echo $$$$ > %.pid; trap 'echo met > %.told; exit 0' USR1; while :; do sleep 0.1; done",
        "while [ ! -s %.pid ]; do sleep 0.1; done; /bin/kill -USR1 $$(cat %.pid); \
         while [ ! -s %.told ]; do sleep 0.1; done; cat %.told > $@",
    ),
];

/// Gives one who connects to a path or port a line.
const SERVE: &str = "\
import socket, sys
at = sys.argv[1]
family, at = (socket.AF_INET, ('127.0.0.1', int(at))) if at.isdigit() else (socket.AF_UNIX, at)
listener = socket.socket(family)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(at)
listener.listen()
listener.accept()[0].sendall(b'met\\n')
";

/// Connects as soon as that can be, and shows what it is given.
const ASK: &str = "\
import socket, sys, time
at = sys.argv[1]
family, at = (socket.AF_INET, ('127.0.0.1', int(at))) if at.isdigit() else (socket.AF_UNIX, at)
while True:
    asks = socket.socket(family)
    try:
        asks.connect(at)
        break
    except OSError:
        time.sleep(0.1)
print(asks.recv(100).decode(), end='')
";

#[test]
fn who_waits_for_another_meets_it_at_home() -> Result<()> {
    for user in [User::Me, User::Ordinary] {
        let scene = Scene::new(user)?;
        for place in [Topology::Embedded, Topology::TwoWorkers] {
            for mode in Mode::all(&scene, place)? {
                let dir = scene.dir(&format!("p/{mode}"))?;
                let running = mode.start(&scene, 2 * MEETING.len())?;
                // The second time what waited and what was waited for begin there.
                for time in ["first", "second"] {
                    let begun = Instant::now();
                    check(&scene, &running.client, &dir)
                        .with_context(|| format!("user {}, {mode}, {time} time", scene.uid()))?;
                    eprintln!("{mode}, {time} time: {:.1?}", begun.elapsed());
                }
                running.stop()?;
            }
        }
        scene.finish()?;
    }
    Ok(())
}

fn check(scene: &Scene, client: &Client, dir: &Path) -> Result<()> {
    fs::remove_dir_all(dir)?;
    fs::create_dir(dir)?;
    // Nobody else is given the number before it is used.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let mut makefile = String::new();
    for (name, offers, asks) in MEETING {
        // No rule makes the one wait for the other.
        let rules = format!("all: {name}-offers {name}-asks\n{name}-offers: ; @{offers}\n{name}-asks: ; @{asks}\n");
        makefile += &rules.replace('%', name).replace("PORT", &port);
    }
    let files = [
        ("Makefile", &makefile[..]),
        ("serve.py", SERVE),
        ("ask.py", ASK),
        ("content", "not yet\n"),
    ];
    for (file, text) in files {
        fs::write(dir.join(file), text)?;
    }
    scene.give(dir)?;
    let jobs = format!("-j{}", 2 * MEETING.len());
    client.drive(Way::Env, dir, "make").arg(jobs).run()?.success()?;
    for (name, ..) in MEETING {
        let met = fs::read_to_string(dir.join(format!("{name}-asks")))?;
        ensure!(met == "met\n", "{name}: {met:?}");
    }
    Ok(())
}
