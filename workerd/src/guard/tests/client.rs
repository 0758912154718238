//! The client's side of a job: files that change between jobs, outputs that are merged,
//! files that are not served, input on demand, programs that must not start here.

use super::bench::{Bench, update, with_client};
use super::repeat::repeat;
use crate::slot::tests::bed::this;
use crate::slot::{JobFd, SlotStatus};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use termite_types::{Abandon, Stdin, Use};

fn work() -> (tempfile::TempDir, impl Fn(&str) -> PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().to_path_buf();
    (dir, move |name: &str| base.join(name))
}

#[test]
fn merged_outputs_serve_the_next_job_without_a_question() {
    with_client(this!(merged_outputs_serve_the_next_job_without_a_question), |bench| {
        let (dir, at) = work();
        fs::write(at("old"), "old").unwrap();
        fs::write(at("log"), "first\n").unwrap();
        let mirror = bench.mirror();
        let script = "cat old log > /dev/null; mkdir -p out/sub; echo new > out/sub/new; ln out/sub/new out/twin; \
                      seq 100000 > big; echo more >> log; rm old; ln -s out/sub/new link; : > nothing";
        let ran = bench.run(&mirror, bench.script(dir.path(), script));
        assert_eq!(ran.end.status, SlotStatus::Exited(0), "{}", ran.output);
        repeat(&ran);
        let updates: Vec<_> = ran.harvest.changes.iter().map(|change| update(&change.path)).collect();
        mirror.merge(&ran.harvest.outputs, &updates).unwrap();
        assert_eq!(
            ran.harvest
                .outputs
                .read(&termite_types::BlobHash([0; 32]), 0, 1)
                .unwrap(),
            None
        );

        let asked = bench.files.asked();
        let look = "cat out/sub/new out/twin log link old nothing; tail -n1 big; ls out/sub; stat -c '%h %s' out/twin; echo x >> out/twin";
        let ran = bench.run(&mirror, bench.script(dir.path(), look));
        assert_eq!(
            ran.output,
            "new\nnew\nfirst\nmore\nnew\ncat: old: No such file or directory\n100000\nnew\n1 4\n"
        );
        assert_eq!(ran.changes(), [format!("a {}", at("out/twin").display())]);
        assert_eq!(ran.content(&at("out/twin")), b"new\nx\n");
        // The programs of this script, and nothing of the first one's outputs.
        assert!(
            bench.files.asked() - asked < 12,
            "{} questions",
            bench.files.asked() - asked
        );
        assert!(
            !ran.trace
                .iter()
                .any(|item| item.used == Use::Read(None) && item.path.ends_with("log"))
        );
    });
}

#[test]
fn what_changed_on_the_client_is_seen_by_the_next_job() {
    with_client(this!(what_changed_on_the_client_is_seen_by_the_next_job), |bench| {
        let (dir, at) = work();
        fs::create_dir_all(at("d/e")).unwrap();
        for name in ["read", "unread", "gone", "d/e/deep", "becomes-dir", "same"] {
            fs::write(at(name), format!("old {name}\n")).unwrap();
        }
        let mirror = bench.mirror();
        let look = "cat read unread gone d/e/deep becomes-dir becomes-dir/in same new d/new 2>&1; ls d . ";
        bench.run(
            &mirror,
            bench.script(dir.path(), "cat read gone d/e/deep becomes-dir same; ls unread d d/e"),
        );
        fs::write(at("read"), "changed and longer\n").unwrap();
        fs::write(at("unread"), "changed too\n").unwrap();
        fs::remove_file(at("gone")).unwrap();
        fs::remove_dir_all(at("d/e")).unwrap();
        fs::write(at("d/new"), "new in d\n").unwrap();
        fs::write(at("new"), "new\n").unwrap();
        fs::remove_file(at("becomes-dir")).unwrap();
        fs::create_dir(at("becomes-dir")).unwrap();
        fs::write(at("becomes-dir/in"), "inside\n").unwrap();
        let names = [
            "",
            "read",
            "unread",
            "gone",
            "d",
            "d/e",
            "d/e/deep",
            "d/new",
            "new",
            "becomes-dir",
            "same",
        ];
        let updates: Vec<_> = names
            .iter()
            .map(|name| update(&dir.path().join(name).components().collect::<PathBuf>()))
            .collect();
        mirror.apply(&updates).unwrap();
        let asked = bench.files.asked();
        let ran = bench.run(&mirror, bench.script(dir.path(), look));
        let here = std::process::Command::new("sh")
            .args(["-c", look])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert_eq!(ran.output, String::from_utf8_lossy(&here.stdout));
        assert!(
            bench.files.asked() - asked < 12,
            "{} questions",
            bench.files.asked() - asked
        );
    });
}

#[test]
fn a_file_that_vanishes_or_changes_before_it_is_read_is_as_the_client_has_it() {
    with_client(
        this!(a_file_that_vanishes_or_changes_before_it_is_read_is_as_the_client_has_it),
        |bench| {
            let (dir, at) = work();
            for name in ["gone", "other", "dir"] {
                fs::write(at(name), "before\n").unwrap();
            }
            let mirror = bench.mirror();
            bench.run(&mirror, bench.script(dir.path(), "ls"));
            fs::remove_file(at("gone")).unwrap();
            fs::write(at("other"), "after!\n").unwrap();
            fs::remove_file(at("dir")).unwrap();
            fs::create_dir(at("dir")).unwrap();
            let ran = bench.run(&mirror, bench.script(dir.path(), "cat gone other 2>&1; wc -c < other"));
            assert_eq!(ran.output, "cat: gone: No such file or directory\nafter!\n7\n");
            let ran = bench.run(
                &mirror,
                bench.script(dir.path(), "cat dir; test -e gone || echo none; echo x > dir/x; ls dir"),
            );
            assert!(
                ran.output.ends_with("none\nx\n") || ran.output.contains("Is a directory"),
                "{}",
                ran.output
            );
        },
    );
}

#[test]
fn standard_input_is_asked_for_when_it_is_read() {
    with_client(this!(standard_input_is_asked_for_when_it_is_read), |bench| {
        let (dir, at) = work();
        fs::write(at("file"), "of a file\n").unwrap();
        let mirror = bench.mirror();
        for (script, wanted, said) in [
            ("cat file; cat < file", 0, "of a file\nof a file\n"),
            ("read line; echo \"$line\"; cat", 1, "first\nsecond\n"),
            ("cat /dev/stdin", 1, "first\nsecond\n"),
            ("exec 5<&0; cat <&5", 1, "first\nsecond\n"),
        ] {
            let (read, mut write) = std::io::pipe().unwrap();
            write.write_all(b"first\nsecond\n").unwrap();
            drop(write);
            let mut spec = bench.script(dir.path(), script);
            spec.stdio.stdin = Stdin::Pipe;
            let ran = bench.run_with(&mirror, spec, JobFd::Open(read.into()), None);
            assert_eq!(
                (
                    ran.output.as_str(),
                    ran.events.wanted.load(std::sync::atomic::Ordering::Relaxed)
                ),
                (said, wanted),
                "{script}"
            );
        }
    });
}

fn abandoned(bench: &Bench, dir: &Path, script: &str, drivers: &[&str]) -> Option<Abandon> {
    let mut spec = bench.script(dir, script);
    spec.drivers = drivers.iter().map(Into::into).collect();
    let ran = bench.run(&bench.mirror(), spec);
    ran.events.abandoned.lock().clone()
}

#[test]
fn a_job_that_starts_a_driver_is_given_up() {
    with_client(this!(a_job_that_starts_a_driver_is_given_up), |bench| {
        let (dir, at) = work();
        fs::write(at("configure"), "#!/bin/sh\necho configured\n").unwrap();
        fs::set_permissions(at("configure"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let drivers = ["make", "configure"];
        assert_eq!(
            abandoned(bench, dir.path(), "./configure", &drivers),
            Some(Abandon::Driver("./configure".into()))
        );
        assert_eq!(
            abandoned(bench, dir.path(), "cat configure; sh configure", &drivers),
            None
        );
    });
}

#[test]
fn ld_so_finds_the_preload_file_that_the_guard_gives_it() {
    with_client(this!(ld_so_finds_the_preload_file_that_the_guard_gives_it), |bench| {
        let (dir, at) = work();
        let source = "#include <unistd.h>\n__attribute__((constructor)) static void said(void) { write(1, \"preloaded\\n\", 10); }\n";
        fs::write(at("p.c"), source).unwrap();
        let gcc = ["-shared", "-fPIC", "-o", "p.so", "p.c"];
        assert!(
            std::process::Command::new("gcc")
                .args(gcc)
                .current_dir(dir.path())
                .status()
                .unwrap()
                .success()
        );
        let preload = bench.entered.store.root.join("preload");
        fs::write(&preload, format!("{}\n", at("p.so").display())).unwrap();
        let spec = bench.script(
            dir.path(),
            "env -i /bin/echo hello; cat /etc/ld.so.preload 2>/dev/null | wc -l",
        );
        let ran = bench.run_with(&bench.mirror(), spec, JobFd::Null, Some(preload));
        assert!(ran.output.contains("preloaded\nhello\n"), "{}", ran.output);
    });
}

#[test]
fn a_directory_lists_in_the_order_of_the_client() {
    with_client(this!(a_directory_lists_in_the_order_of_the_client), |bench| {
        let (dir, at) = work();
        for number in 0..5000u32 {
            fs::write(at(&format!("{}", number.wrapping_mul(2_654_435_761))), "").unwrap();
        }
        let here = std::process::Command::new("ls")
            .arg("-U")
            .current_dir(dir.path())
            .output()
            .unwrap();
        let ran = bench.run(&bench.mirror(), bench.script(dir.path(), "ls -U"));
        assert!(ran.output.as_bytes() == here.stdout, "another order");
        println!("5000 names: {:?}", ran.wall);
    });
}

#[test]
fn of_a_large_directory_a_job_has_what_it_looks_for() {
    with_client(this!(of_a_large_directory_a_job_has_what_it_looks_for), |bench| {
        let (dir, at) = work();
        fs::create_dir(at("large")).unwrap();
        for number in 0..5000 {
            fs::write(at(&format!("large/{number}")), number.to_string()).unwrap();
        }
        let mirror = bench.mirror();
        let script = "cat large/7; cat large/none || echo >>large/8; mv large/9 large/new; rm large/10; cat large/11";
        let ran = bench.run(&mirror, bench.script(dir.path(), script));
        assert!(ran.output.ends_with("11"), "{}", ran.output);
        println!("few of 5000 names: {:?}", ran.wall);
        assert_eq!(mirror.count_unmade(), 5000 - 5);
        let mut paths: Vec<_> = ran.harvest.changes.iter().map(|change| change.path.clone()).collect();
        paths.sort();
        let names = ["10", "8", "9", "new"].map(|name| at("large").join(name));
        assert_eq!(paths, [&[at("large")], &names[..]].concat());
        let ran = bench.run(&mirror, bench.script(dir.path(), "ls large | wc -l"));
        assert_eq!(ran.output, "5000\n");
        assert_eq!(mirror.count_unmade(), 0);
    });
}
