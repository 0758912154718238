//! Random jobs on random trees, committed to trees that others have changed meanwhile: what
//! is there afterwards is what a model says, or the commit is a conflict and the tree is as
//! it was. `TERMITE_SEED` replays a run.

mod model;

use super::{Bench, edit, hash};
use crate::commit::CommitError;
use crate::commit::planted::{Fault, plant};
use crate::tree::Stamp;
use model::{Model, Node, Step, parent, step};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use termite_types::{Alter, Change, ChangeKind, IfPresent};

/// Some seconds.
const CASES: u32 = 300;

/// What a worker would tell of a job that found `before` and left `after`.
fn list(bench: &Bench, before: &Model, after: &Model, odd: bool) -> Vec<Change> {
    let changed = after.changed_since(before);
    let old_name = |inode: usize| before.names.iter().find(|(_, node)| **node == Node::Leaf(inode));
    let mut alters = Vec::new();
    for (name, node) in &before.names {
        let (Node::Dir(inode) | Node::Leaf(inode)) = *node;
        let is_dir = matches!(node, Node::Dir(_));
        if !is_dir && old_name(inode).is_none_or(|(first, _)| first != name) {
            continue;
        }
        let (old, new) = (&before.inodes[inode], &after.inodes[inode]);
        let alter = Alter {
            mode: new.chmodded.then_some(new.mode),
            content: (new.written || new.appended).then(|| edit(&old.content, &new.content, !new.written)),
            ..Alter::default()
        };
        if !alter.is_empty() {
            alters.push(bench.alter(name, alter));
        }
    }
    let mut removes = Vec::new();
    for name in changed.iter().rev() {
        // Of a file in the place of a file, in the same directory, no removal has to be told.
        let is_replaced = matches!(
            (before.names.get(*name), after.names.get(*name)),
            (Some(Node::Leaf(_)), Some(Node::Leaf(_)))
        );
        match before.names.get(*name) {
            Some(Node::Dir(_)) => removes.push(bench.remove_dir(name)),
            Some(Node::Leaf(_)) if odd || !is_replaced || changed.contains(parent(name)) => {
                removes.push(bench.remove(name));
            }
            _ => {}
        }
    }
    let mut puts = Vec::new();
    let mut made: HashMap<usize, &str> = HashMap::new();
    for name in &changed {
        let Some(node) = after.names.get(*name) else { continue };
        let (Node::Dir(number) | Node::Leaf(number)) = *node;
        let inode = &after.inodes[number];
        puts.push(match (node, old_name(number), made.get(&number)) {
            (Node::Dir(_), ..) => bench.dir(name, inode.mode),
            (_, Some((from, _)), _) => {
                let mut change = bench.name(name, from);
                if let ChangeKind::Name { hash: known, .. } = &mut change.kind {
                    *known = Some(hash(&inode.content)).filter(|_| odd);
                }
                change
            }
            (_, None, Some(first)) => bench.link(name, first),
            _ if inode.is_symlink => bench.symlink(name, &String::from_utf8_lossy(&inode.content)),
            _ => {
                let mut change = bench.file(name, &inode.content);
                if let ChangeKind::File { attr, if_present, .. } = &mut change.kind {
                    attr.mode = inode.mode;
                    if odd && !inode.written {
                        *if_present = IfPresent::Append;
                    }
                }
                change
            }
        });
        made.entry(number).or_insert(name);
    }
    if odd {
        [alters, removes, puts].concat()
    } else {
        [removes, puts, alters].concat()
    }
}

/// Makes a tree. Returns its inode numbers by the model's.
fn build(bench: &Bench, model: &Model) -> HashMap<usize, u64> {
    let mut made = HashMap::new();
    for (name, node) in &model.names {
        let path = bench.path(name);
        let (Node::Dir(number) | Node::Leaf(number)) = *node;
        let inode = &model.inodes[number];
        let first = model.names.iter().find(|(_, other)| *other == node);
        match (node, first) {
            (Node::Dir(_), _) => fs::create_dir(&path).unwrap(),
            (Node::Leaf(_), Some((first, _))) if first != name => fs::hard_link(bench.path(first), &path).unwrap(),
            _ if inode.is_symlink => symlink(&*String::from_utf8_lossy(&inode.content), &path).unwrap(),
            _ => fs::write(&path, &inode.content).unwrap(),
        }
        if !inode.is_symlink {
            fs::set_permissions(&path, fs::Permissions::from_mode(inode.mode)).unwrap();
        }
        made.insert(number, bench.inode(name));
    }
    made
}

/// A tree on the disk, as [`Model::described`] describes one.
fn described(bench: &Bench) -> BTreeMap<String, (String, String)> {
    let mut first = HashMap::new();
    let mut found = BTreeMap::new();
    let mut names: Vec<String> = bench.tree().into_iter().map(|(path, _)| short(bench, &path)).collect();
    names.sort();
    for name in names {
        let (stat, mode) = (bench.stat(&name), bench.mode(&name));
        let leaf = |kind: &str, content: &[u8]| format!("{kind} {mode:o} {}", String::from_utf8_lossy(content));
        let is = if stat.is_dir() {
            (format!("dir {mode:o}"), String::new())
        } else {
            let same = first.entry(stat.ino()).or_insert_with(|| name.clone()).clone();
            let target = fs::read_link(bench.path(&name));
            match target {
                Ok(target) => (leaf("link", target.as_os_str().as_encoded_bytes()), same),
                Err(_) => (leaf("file", &bench.read(&name)), same),
            }
        };
        found.insert(name, is);
    }
    found
}

fn short(bench: &Bench, path: &Path) -> String {
    let short = path.strip_prefix(&bench.top).expect("below the top");
    short.to_str().expect("text").to_owned()
}

/// Steps before a job, of the job, and of others while it runs.
type Case = (Vec<Step>, Vec<Step>, Vec<Step>, bool);

/// Returns whether there was a conflict.
fn check((seed, job, others, odd): &Case) -> Result<bool, TestCaseError> {
    let bench = Bench::new();
    let mut before = Model::default();
    seed.iter().for_each(|step| before.step(step));
    for inode in &mut before.inodes {
        (inode.written, inode.appended, inode.chmodded) = (false, false, false);
    }
    let (mut after, mut there) = (before.clone(), before.clone());
    job.iter().for_each(|step| after.step(step));
    others.iter().for_each(|step| there.step(step));
    let list = list(&bench, &before, &after, *odd);
    let name = |path: &Path| short(&bench, path);
    if others.is_empty() {
        let model = there.committed(&list, name).expect("what the job did can be done");
        prop_assert_eq!(model.described(), after.described(), "the model itself");
    }
    let inodes = build(&bench, &there);
    let expected = there.committed(&list, name);
    let may_be_refused = there.is_moved_onto_itself(&list, name);
    match (bench.commit(list), expected) {
        (Ok(committed), Some(expected)) => {
            prop_assert_eq!(described(&bench), expected.described());
            for (name, node) in &expected.names {
                let (Node::Dir(number) | Node::Leaf(number)) = node;
                if let Some(inode) = inodes.get(number) {
                    prop_assert_eq!(bench.inode(name), *inode, "{} is another file", name);
                }
            }
            for done in &committed.paths {
                prop_assert_eq!(done.stamp, Stamp::at_path(&done.path), "{:?}", &done.path);
                if let Some(known) = done.hash {
                    prop_assert_eq!(known, hash(&fs::read(&done.path).unwrap()));
                }
            }
            Ok(false)
        }
        (Err(CommitError::Conflict(_)), None) => {
            prop_assert_eq!(described(&bench), there.described());
            Ok(true)
        }
        (Err(CommitError::Refused { .. }), _) if may_be_refused => {
            prop_assert_eq!(described(&bench), there.described());
            Ok(false)
        }
        (Ok(_), None) => Err(TestCaseError::fail("committed in spite of a conflict")),
        (Err(error), expected) => Err(TestCaseError::fail(format!("{error}, expected: {expected:?}"))),
    }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
    u64::from_le_bytes(bytes)
}

fn cases() -> impl Strategy<Value = Case> {
    let steps = |least, most| prop::collection::vec(step(), least..most);
    let others = prop_oneof![1 => Just(Vec::new()), 3 => steps(1, 16)];
    (steps(20, 60), steps(6, 30), others, any::<bool>())
}

fn runner(cases: u32) -> TestRunner {
    let number = |name| std::env::var(name).ok()?.parse().ok();
    let seed = number("TERMITE_SEED").unwrap_or_else(random);
    println!("TERMITE_SEED={seed}");
    TestRunner::new(Config {
        cases: number("TERMITE_CASES").map_or(cases, |cases| cases as u32),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    })
}

#[test]
fn random_lists_do_what_the_job_did() {
    let conflicts = std::cell::Cell::new(0);
    let found = runner(CASES).run(&cases(), |case| {
        conflicts.set(conflicts.get() + u32::from(check(&case)?));
        Ok(())
    });
    match found {
        Err(TestError::Fail(why, case)) => panic!("{case:#?}\n{why}"),
        found => found.unwrap(),
    }
    println!("{} conflicts", conflicts.get());
    assert!(conflicts.get() > 0, "some are expected");
}

/// The model finds commits wrong that are. It knows neither premises nor two commits, whose
/// faults other tests find.
#[test]
fn planted_faults_are_found() {
    for fault in [Fault::AppendOverwrites, Fault::RemovalTakesAll, Fault::InodeReplaced] {
        plant(Some(fault));
        let mut runner = runner(20 * CASES);
        let mut cases = (0..20 * CASES).map(|_| cases().new_tree(&mut runner).unwrap().current());
        let found = cases.position(|case| check(&case).is_err());
        plant(None);
        println!("{fault:?}: found by case {found:?}");
        assert!(found.is_some(), "{fault:?}");
    }
}
