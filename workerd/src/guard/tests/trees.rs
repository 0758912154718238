//! What jobs do to trees, told back right: each script runs here in one copy of a tree
//! and in a slot over another; what the slot's job left, repeated on that other, must give
//! the same tree and the same words.

use super::bench::{Bench, Ran, update, with_client};
use super::repeat::{repeat, snapshot};
use crate::slot::tests::bed::this;
use crate::view::Mirror;
use std::process::Command;
use std::sync::Arc;
use termite_types::ChangeKind;

fn same(bench: &Bench, make: &str, script: &str) -> Ran {
    same_over(bench, &bench.mirror(), make, script)
}

/// Makes the tree, runs the script on both sides and compares.
pub(super) fn same_over(bench: &Bench, mirror: &Arc<Mirror>, make: &str, script: &str) -> Ran {
    let (local, remote) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&local, &remote] {
        let made = Command::new("sh")
            .args(["-ec", make])
            .current_dir(dir.path())
            .status()
            .unwrap();
        assert!(made.success(), "{make}");
    }
    let merged = format!("exec 2>&1\n{script}");
    let here = Command::new("sh")
        .args(["-c", &merged])
        .env("LC_ALL", "C")
        .current_dir(local.path())
        .output()
        .unwrap();
    mirror.apply(&[update(remote.path().parent().unwrap())]).unwrap();
    let ran = bench.run(mirror, bench.script(remote.path(), &merged));
    assert_eq!(*ran.events.abandoned.lock(), None, "{script}");
    let said = String::from_utf8_lossy(&here.stdout);
    assert_eq!(
        ran.output
            .replace(remote.path().to_str().unwrap(), local.path().to_str().unwrap()),
        said,
        "{script}"
    );
    repeat(&ran);
    assert_eq!(
        snapshot(remote.path()),
        snapshot(local.path()),
        "{script}\n{:#?}",
        ran.changes()
    );
    ran
}

/// Names of the changes below the only directory that a script works in.
fn told(ran: &Ran) -> Vec<String> {
    let changes = ran.changes();
    let names = changes.iter().map(|change| {
        let (kind, path) = change.split_once(' ').unwrap();
        (kind, path.rsplit('/').next().unwrap())
    });
    // The job's own directory has a name by chance.
    let named = names.filter(|(_, name)| !name.starts_with(".tmp"));
    named.map(|(kind, name)| format!("{kind} {name}")).collect()
}

const TREE: &str = "
    mkdir -p a/b/c d; echo one > a/one; echo two > a/b/two; echo three > a/b/c/three
    echo four > d/four; ln -s ../a/b d/link; ln -s four d/to; ln -s /nowhere d/dead
    seq 1 20000 > big; chmod 600 a/one; chmod 755 a/b/two; : > empty; ln -s d/link/c/three deep";

#[test]
fn reading_changes_nothing() {
    with_client(this!(reading_changes_nothing), |bench| {
        let ran = same(bench, TREE, "
            cat deep d/link/two d/to a/../d/link/../one ./a//b/./two; ls -a a/b/. d/link/ d; cat d/dead a/none a/one/x
            stat -c '%a %s %F %h' a/one big empty d/link; stat -c '%a %F %h' a/b/c; readlink d/link deep; cd a/b; cat ../../d/link/c/three ../one
            cat /proc/self/cwd/two; exec 7< two; cat /dev/fd/7 /proc/self/fd/7; md5sum ../../big; pwd");
        assert!(ran.changes().is_empty(), "{:?}", ran.changes());
    });
}

#[test]
fn files_of_the_client_are_changed_with_their_content() {
    with_client(this!(files_of_the_client_are_changed_with_their_content), |bench| {
        let ran = same(
            bench,
            TREE,
            "
            echo more >> a/one; chmod 640 a/b/two; echo new > a/b/c/three; ln d/four d/five; mv big a/large
            : > d/trunc; truncate -s 3 a/b/c/three; cat a/one a/b/two a/b/c/three d/five; wc -l < a/large; rm empty",
        );
        assert_eq!(
            told(&ran),
            [
                "a a", "a three", "a two", "n large", "a one", "- big", "a d", "n five", "f trunc", "- empty"
            ]
        );
        same(
            bench,
            TREE,
            "cp -a a copy; cp -p big big2; rm -r a; ln -sfn copy a; cat a/b/two; ls copy/b",
        );
        same(
            bench,
            TREE,
            "chmod 700 a/b; mkdir -m 711 x x/y; chmod 500 x; touch -h d/dead; chmod 600 x/y",
        );
    });
}

#[test]
fn a_file_that_was_only_opened_for_writing_is_no_change() {
    with_client(this!(a_file_that_was_only_opened_for_writing_is_no_change), |bench| {
        let ran = same(bench, TREE, ": >> a/one; exec 3<> big; chmod 600 a/one");
        assert!(ran.changes().is_empty(), "{:?}", ran.changes());
    });
}

#[test]
fn directories_are_removed_replaced_and_moved() {
    with_client(this!(directories_are_removed_replaced_and_moved), |bench| {
        same(bench, TREE, "rm -r a; mkdir a; echo other > a/one; ls -R a");
        same(
            bench,
            TREE,
            "rm -r a/b; ln -s ../d a/b; cat a/b/four; cat a/b/two; ls a/b/link; ls a",
        );
        same(
            bench,
            TREE,
            "cat a/b/two; mv a/b e; cat e/two e/c/three; ls -R e; cat a/b/two; mkdir a/b; ls a/b",
        );
        same(
            bench,
            TREE,
            "mv a e; echo x >> e/b/two; rm e/one; mv e/b/c e/c2; cat e/c2/three; mkdir a; echo q > a/one",
        );
        same(bench, TREE, "mv a e; mv e f; mv f a; cat a/b/c/three; ls -R a");
        same(
            bench,
            TREE,
            "mv d a/b/c/d; cat a/b/c/d/four; ls a/b/c/d/link; rmdir a/b/c; rm -r a/b",
        );
        same(
            bench,
            TREE,
            "rm -r d; echo file > d; rm a/one; mkdir a/one; echo x > a/one/x; mv a/one a/b/one",
        );
        same(
            bench,
            TREE,
            "mkdir n; mv n a/n; mv a/n a/m; rmdir a/m; mv -T d a/b/c || echo refused; mv a a/b; rmdir a/b",
        );
    });
}

#[test]
fn links_fifos_and_times_are_told_as_they_are() {
    with_client(this!(links_fifos_and_times_are_told_as_they_are), |bench| {
        let ran = same(
            bench,
            TREE,
            "echo x > n1; ln n1 n2; ln n2 a/n3; mkfifo fifo a/fifo; rm fifo a/fifo; ln -s fifo to-fifo; mkfifo d/f && rm d/f",
        );
        // Names that came and went gave both another time.
        assert_eq!(
            told(&ran),
            ["a a", "f n3", "a d", "h n1", "h n2", "l to-fifo"].map(String::from)
        );
        let ran = same(
            bench,
            TREE,
            "touch -d '2001-02-03 04:05:06.789' a/one; cp -p big copy; echo > natural; touch natural2",
        );
        let explicit = |name: &str| {
            ran.harvest.changes.iter().any(|change| {
                change.path.ends_with(name)
                    && match &change.kind {
                        ChangeKind::File { explicit_mtime, .. } => *explicit_mtime,
                        ChangeKind::Alter(alter) => alter.mtime.is_some_and(|set| set.explicit),
                        _ => false,
                    }
            })
        };
        assert_eq!(
            [
                explicit("one"),
                explicit("copy"),
                explicit("natural"),
                explicit("natural2")
            ],
            [true, true, false, false]
        );
    });
}

#[test]
fn scripts_find_their_interpreters() {
    with_client(this!(scripts_find_their_interpreters), |bench| {
        let make = r##"mkdir -p bin tools/deep; printf '#!/bin/sh\necho inner "$@"\n' > tools/deep/inner
            printf '#!tools/deep/inner  first\n' > bin/outer; printf '#!/nowhere/sh\n' > bin/lost
            printf '#!/usr/bin/env sh\necho env\n' > bin/env; chmod 755 bin/* tools/deep/inner"##;
        let ran = same(
            bench,
            make,
            "bin/env; bin/lost || echo $?; cp bin/env moved; ./moved; mkdir -p later; cp bin/env later/x; later/x; bin/outer",
        );
        assert!(ran.output.contains("inner first bin/outer"), "{}", ran.output);
    });
}

#[test]
fn nothing_leads_out_of_the_view_and_nothing_hangs() {
    with_client(this!(nothing_leads_out_of_the_view_and_nothing_hangs), |bench| {
        let own = bench.entered.store.root.join("secret");
        std::fs::write(&own, "secret").unwrap();
        let script = format!(
            "ln -s {0} s; cat s; ln -s /../../../..{0} t; cat t; mkfifo bin; mkfifo x; chmod 755 x; (./x) & ln -s x y; stat -c %F y x; kill $!; wait; rm bin x",
            own.display()
        );
        let work = tempfile::tempdir().unwrap();
        let ran = bench.run(&bench.mirror(), bench.script(work.path(), &script));
        assert!(!ran.output.contains("secret\n"), "{}", ran.output);
        assert_eq!(told(&ran), ["l s", "l t", "l y"]);
    });
}

#[test]
fn the_shim_is_told_spellings_of_complete_directories_for_an_epoch() {
    with_client(
        this!(the_shim_is_told_spellings_of_complete_directories_for_an_epoch),
        |bench| {
            let work = tempfile::tempdir().unwrap();
            let at = |name: &str| work.path().join(name);
            for name in ["d/e", "listed", "opened"] {
                std::fs::create_dir_all(at(name)).unwrap();
            }
            std::fs::write(at("d/e/file"), "x").unwrap();
            std::os::unix::fs::symlink("d", at("link")).unwrap();
            let look = "cat link/e/../e/file; ls listed/; ls opened; test -e none/such; cat d/e/file/";
            let ran = bench.run(&bench.mirror(), bench.script(work.path(), look));
            let known = ["", "link/e/../e", "opened", "none"]
                .map(|name| ran.knows(at(name).to_str().unwrap().trim_end_matches('/').as_ref()));
            assert_eq!(known, [true; 4]);
            let unknown = ["link", "listed", "link/e", "d", "d/e/file"].map(|name| ran.knows(&at(name)));
            assert_eq!(unknown, [false; 5]);
            for end in ["mv d x", "rm link", "ln -s d new", "rmdir listed", "rm -r d"] {
                let ran = bench.run(&bench.mirror(), bench.script(work.path(), &format!("{look}; {end}")));
                assert!(!ran.knows(&at("link/e/../e")) && !ran.knows(&at("opened")), "{end}");
            }
        },
    );
}

#[test]
fn many_processes_share_a_view() {
    with_client(this!(many_processes_share_a_view), |bench| {
        let make = "for n in 1 2 3 4 5 6 7 8; do mkdir -p d$n/e; seq $n 50000 > d$n/e/large; done";
        let script = "for n in 1 2 3 4 5 6 7 8; do
            (md5sum d*/e/large > sums$n; mv d$n/e m$n; md5sum < m$n/large > own$n; ln -s m$n l$n; cat l$n/large > copy$n) 2>/dev/null &
            done; wait; cat own*; cat copy* | md5sum; rm sums*";
        same(bench, make, script);
    });
}
