//! An independent suite of POSIX file system cases in a slot: what passes on a bare
//! overlayfs passes there too, whoever serves the faults.

use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use termite_e2e::posix::{self, Verdict, Verdicts};
use termite_e2e::{Client, Fleet, Scene, User};

/// Cases that make block devices: the kernel lets nobody in a user namespace make a
/// device. The same cases fail in `unshare --user --map-root-user` without termite.
const BLOCK_DEVICES: [&str; 43] = [
    "chmod::change_perm",
    "chmod::enotdir_component",
    "chmod::failed_chmod_unchanged_ctime",
    "chmod::update_ctime",
    "chown::enotdir_component",
    "chown::lchown::enotdir_component",
    "link::changed_ctime_success",
    "link::eexist_dest_exists",
    "link::enotdir_component_either",
    "link::remove_link",
    "link::share_metadata",
    "link::unchanged_ctime_fails",
    "mkdir::eexist_file_exists",
    "mkdir::enotdir_component",
    "mkfifo::eexist_file_exists",
    "mkfifo::enotdir_component",
    "mknod::changed_times_success",
    "mknod::device_files",
    "mknod::eexist_file_exists",
    "mknod::enotdir_comp_char_block",
    "mknod::enotdir_component",
    "mknod::privileged::eexist_file_exists",
    "open::eexist_file_exists",
    "rename::changed_ctime_success",
    "rename::eexist_enotempty_to_non_empty",
    "rename::eisdir_to_dir_from_not_dir",
    "rename::enotdir_component_either",
    "rename::enotdir_from_dir_to_not_dir",
    "rename::preserve_metadata",
    "rename::to_multiply_linked",
    "rename::unchanged_ctime_failed",
    "rmdir::eexist_enotempty_non_empty_dir",
    "rmdir::enotdir_component",
    "symlink::create_symlink",
    "symlink::eexist_file_exists",
    "symlink::enotdir_component",
    "truncate::enotdir_component",
    "unlink::enotdir_component",
    "unlink::remove_type",
    "unlink::unchanged_ctime_failed",
    "unlink::update_ctime_success",
    "unlink::update_mtime_ctime_success_folder",
    "utimensat::changes_timestamps",
];
/// The cases that make character devices other than 0:0, which fail for the same reason.
/// All others make 0:0, which is a whiteout to an overlayfs, here and there.
const CHARACTER_DEVICES: [&str; 2] = ["mknod::changed_times_success::char", "mknod::device_files::char"];
/// Cases that mount a file system, for which a job goes home: they are not tried in a slot.
const MOUNTS: [&str; 1] = ["rmdir::ebusy"];

fn exceptions() -> BTreeSet<String> {
    let block = BLOCK_DEVICES.iter().map(|case| format!("{case}::block"));
    let others = CHARACTER_DEVICES.iter().chain(&MOUNTS).map(|&case| case.to_owned());
    block.chain(others).collect()
}

/// Mounts an overlay of two empty directories in a mount namespace of its own.
const ON_OVERLAY: &str = "set -e; cd \"$1\"; shift; mount -t tmpfs tmpfs .; cd \"$PWD\"; mkdir l u w m; \
    mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w m; mkdir m/t; exec \"$@\"";

fn on_overlay(scene: &Scene, client: &Client, program: &Path) -> Result<Verdicts> {
    let dir = scene.dir("p/bare")?;
    let outcome = client
        .bare(&dir, "unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", ON_OVERLAY, "sh"])
        .arg(&dir)
        .arg(program)
        .args(posix::arguments(&dir.with_extension("toml"), &dir.join("m/t"))?)
        .run()?;
    posix::read(&outcome.out()).with_context(|| outcome.describe())
}

/// Runs the suite but for the cases that would send the whole job home.
fn in_slot(scene: &Scene, program: &Path, fault: &str, all: &Verdicts) -> Result<Verdicts> {
    let fleet = Fleet::start_with(scene, 1, 2, &["--fault", fault])?;
    let client = Client::new(scene, &format!("c-{fault}"), &fleet.addresses())?;
    let dir = scene.dir("p/slot")?;
    let kept = all.keys().filter(|name| !MOUNTS.contains(&name.as_str()));
    let outcome = client
        .termite(&dir, ["run", "--"])
        .arg(program)
        .args(posix::arguments(&dir.with_extension("toml"), &dir)?)
        .arg("--exact")
        .args(kept.map(|name| format!("pjdfstest::tests::{name}")))
        .run()?;
    let verdicts = posix::read(&outcome.out()).with_context(|| outcome.describe())?;
    client.all_remote(&dir)?;
    client.stop()?;
    fleet.stop()?;
    Ok(verdicts)
}

/// What passes on the overlay and does not in the slot, by name, with how it ended there.
fn lost<'a>(bare: &'a Verdicts, slot: &'a Verdicts) -> BTreeMap<&'a str, Option<&'a Verdict>> {
    let passed = bare.iter().filter(|(_, verdict)| **verdict == Verdict::Passed);
    passed
        .map(|(name, _)| (name.as_str(), slot.get(name)))
        .filter(|(_, verdict)| *verdict != Some(&Verdict::Passed))
        .collect()
}

fn passed(verdicts: &Verdicts) -> usize {
    verdicts.values().filter(|verdict| **verdict == Verdict::Passed).count()
}

#[test]
fn what_passes_on_an_overlay_passes_in_a_slot() -> Result<()> {
    let scene = Scene::new(User::Me)?;
    if !scene.is_root() {
        // A quarter of the cases changes users.
        let required = std::env::var("TERMITE_REQUIRE").unwrap_or_default();
        ensure!(required.is_empty(), "pjdfstest needs root");
        println!("this host lacks root for pjdfstest");
        return scene.finish();
    }
    let program = posix::install()?;
    let client = Client::new(&scene, "a", "")?;
    let bare = on_overlay(&scene, &client, &program)?;
    println!(
        "pjdfstest: {} of {} pass on a bare overlayfs",
        passed(&bare),
        bare.len()
    );
    ensure!(passed(&bare) >= 342, "{bare:#?}");
    for fault in ["shim,guard", "guard"] {
        let slot = in_slot(&scene, &program, fault, &bare)?;
        println!("pjdfstest: {} of {} pass in a slot, {fault}", passed(&slot), slot.len());
        let lost = lost(&bare, &slot);
        let expected = exceptions();
        let found: BTreeSet<_> = lost.keys().map(|name| (*name).to_owned()).collect();
        ensure!(found == expected, "{fault}: exceptions {expected:#?}, found {lost:#?}");
    }
    scene.finish()
}
