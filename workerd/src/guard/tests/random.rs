//! Random command lines over a random tree: a slot must leave what this machine leaves.

use super::bench::with_client;
use super::trees::same_over;
use crate::slot::tests::bed::this;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};

const CASES: usize = 12;
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(select(NAMES.to_vec()), 1..4).prop_map(|names| names.join("/"))
}

/// A path that may be spelled in a roundabout way.
fn spelled() -> impl Strategy<Value = String> {
    (
        path(),
        select(vec!["", "./", "a/../", "b/../", "c//./"]),
        select(vec!["", "", "", "/", "/."]),
    )
        .prop_map(|(path, before, after)| format!("{before}{path}{after}"))
}

fn seed_command() -> impl Strategy<Value = String> {
    (path(), path(), 0..4).prop_map(|(path, target, kind)| match kind {
        0 => format!("mkdir -p {path}"),
        1 => format!("ln -s {}{target} {path}", "../".repeat(path.matches('/').count())),
        _ => format!("mkdir -p $(dirname {path}) && echo content of {path} > {path}"),
    })
}

fn command() -> impl Strategy<Value = String> {
    (spelled(), spelled(), 0..16).prop_map(|(one, two, kind)| match kind {
        0 => format!("mkdir {one}"),
        1 => format!("rm -rf {one}"),
        2 => format!("rm {one}"),
        3 => format!("rmdir {one}"),
        4 => format!("mv -T {one} {two}"),
        5 => format!("ln {one} {two}"),
        6 => format!("ln -s {} {two}", one.trim_end_matches(['/', '.'])),
        7 => format!("echo more >> {one}"),
        8 => format!("echo new > {one}"),
        9 => format!("chmod 750 {one}"),
        // Not below itself: what that copies depends on the order of the listing.
        10 => format!("cp -r {one} copy"),
        11 => format!("(cd {one} && cat ../{two}; ls)"),
        12 => format!("ls {one} | sort"),
        13 => format!("truncate -s 3 {one}"),
        _ => format!("cat {one}"),
    })
}

#[test]
fn random_commands_leave_the_same_tree() {
    with_client(this!(random_commands_leave_the_same_tree), |bench| {
        // A failing case prints its commands, which the other tests can run by hand.
        let seed = std::env::var("TERMITE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(random);
        println!("TERMITE_SEED={seed}");
        let mut runner = TestRunner::new(Config {
            rng_seed: RngSeed::Fixed(seed),
            ..Config::default()
        });
        let commands = (
            prop::collection::vec(seed_command(), 4..16),
            prop::collection::vec(command(), 4..24),
        );
        let mirrors = [bench.mirror(), bench.sparse_mirror()];
        for mirror in mirrors.iter().cycle().take(CASES) {
            let (make, script) = commands.new_tree(&mut runner).unwrap().current();
            let make: String = make
                .iter()
                .map(|line| format!("{{ {line}; }} 2>/dev/null || :\n"))
                .collect();
            same_over(bench, mirror, &make, &script.join("\n"));
        }
    });
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
    u64::from_le_bytes(bytes)
}
