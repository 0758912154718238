//! A mirror that is told what changed is equal to the client again, whatever changed and
//! however much of it was known before.

use super::Pair;
use crate::view::mirror::PathFact;
use crate::view::{Files, Mirror};
use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use termite_types::{Expected, Update};

#[derive(Clone, Debug)]
enum Act {
    Write(PathBuf, u8),
    MakeDir(PathBuf),
    Link(PathBuf, PathBuf),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
    Chmod(PathBuf, u32),
    /// The mirror lists a directory.
    Complete(PathBuf),
    /// The mirror looks for a name.
    Look(PathBuf),
    /// The mirror fills a file.
    Fill(PathBuf),
    /// The mirror brings a file, and all directories down to it, ahead.
    Bring(PathBuf),
    /// So many bytes of content are taken from the mirror.
    Evict(u64),
    /// The mirror starts anew.
    Forget,
    /// The mirror is told everything so far.
    Tell,
}

fn path() -> impl Strategy<Value = PathBuf> {
    prop::collection::vec(select(vec!["a", "b", "c"]), 1..4).prop_map(|names| names.iter().collect())
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (path(), any::<u8>()).prop_map(|(path, byte)| Act::Write(path, byte)),
        3 => path().prop_map(Act::MakeDir),
        1 => (path(), path()).prop_map(|(path, target)| Act::Link(path, target)),
        2 => path().prop_map(Act::Remove),
        2 => (path(), path()).prop_map(|(from, to)| Act::Rename(from, to)),
        1 => (path(), select(vec![0o600, 0o644, 0o755])).prop_map(|(path, mode)| Act::Chmod(path, mode)),
        4 => path().prop_map(Act::Complete),
        4 => path().prop_map(Act::Look),
        4 => path().prop_map(Act::Fill),
        3 => path().prop_map(Act::Bring),
        2 => (0..3 * 4096u64).prop_map(Act::Evict),
        1 => Just(Act::Forget),
        2 => Just(Act::Tell),
    ]
}

/// Does it here if it can be done; returns the paths that a watching client names: the
/// changed names and their directories.
fn perform(pair: &Pair, act: &Act) -> Vec<PathBuf> {
    let root = pair.client.path().canonicalize().unwrap();
    let here = |path: &PathBuf| root.join(path);
    // A rename may move what its other path leads through, so this is asked before.
    let before = |path: &PathBuf| {
        let whole = here(path);
        let parent = whole.parent().unwrap().canonicalize().ok()?;
        Some(parent.join(whole.file_name().unwrap()))
    };
    let places: Vec<_> = match act {
        Act::Write(path, _) | Act::MakeDir(path) | Act::Link(path, _) | Act::Remove(path) | Act::Chmod(path, _) => {
            vec![before(path)]
        }
        Act::Rename(from, to) => vec![before(from), before(to)],
        Act::Complete(_) | Act::Look(_) | Act::Fill(_) | Act::Bring(_) | Act::Evict(_) | Act::Forget | Act::Tell => {
            Vec::new()
        }
    };
    let done = match act {
        Act::Write(path, byte) => fs::write(here(path), vec![*byte; usize::from(*byte % 7)]).is_ok(),
        Act::MakeDir(path) => fs::create_dir(here(path)).is_ok(),
        Act::Link(path, target) => symlink(target, here(path)).is_ok(),
        Act::Remove(path) => fs::remove_file(here(path)).is_ok() || fs::remove_dir_all(here(path)).is_ok(),
        Act::Rename(from, to) => fs::rename(here(from), here(to)).is_ok(),
        Act::Chmod(path, mode) => {
            // Directories stay accessible for a test that is not run by root.
            let mode = if here(path).is_dir() { 0o755 } else { *mode };
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            fs::set_permissions(here(path), mode).is_ok()
        }
        Act::Complete(path) => {
            look_into(&pair.mirror, path);
            false
        }
        Act::Look(path) => {
            look_for(&pair.mirror, path);
            false
        }
        Act::Fill(path) => {
            look_for(&pair.mirror, path);
            if let Ok(meta) = fs::symlink_metadata(pair.mirror.root().join(path)) {
                // A file that is not what the mirror holds any more is no concern here.
                let _ = pair.mirror.fill(meta.ino());
            }
            false
        }
        Act::Bring(path) => {
            pair.mirror.prefetch(&expected(path));
            false
        }
        Act::Evict(bytes) => {
            pair.mirror.evict(*bytes);
            false
        }
        Act::Forget => {
            assert_eq!(pair.mirror.forget(), Ok(true));
            false
        }
        Act::Tell => false,
    };
    if !done {
        return Vec::new();
    }
    let follows = matches!(act, Act::Write(..) | Act::Chmod(..));
    let places = places.into_iter().map(|place| {
        let place = place.unwrap();
        let changed = if follows { place.canonicalize().unwrap() } else { place };
        changed.strip_prefix(&root).unwrap().to_path_buf()
    });
    places
        .flat_map(|path| [path.parent().unwrap().to_path_buf(), path])
        .collect()
}

/// A file, and the directories that it is in.
fn expected(path: &Path) -> Expected {
    let file = Path::new("/").join(path);
    let mut dirs: Vec<_> = file.ancestors().skip(1).map(Path::to_path_buf).collect();
    dirs.reverse();
    Expected {
        dirs,
        files: vec![file],
    }
}

/// Completes every directory down to this one, as a walk does.
fn look_into(mirror: &Mirror, path: &Path) {
    let whole = Path::new("/").join(path);
    for dir in whole.ancestors().collect::<Vec<_>>().into_iter().rev() {
        if mirror.complete(dir).is_err() {
            return;
        }
    }
}

/// Looks for every name down to this one, as a walk does. False: it found no way.
fn look_for(mirror: &Mirror, path: &Path) -> bool {
    let mut dir = PathBuf::from("/");
    path.iter().all(|name| {
        let looked = mirror.complete_name(&dir, name).is_ok();
        dir.push(name);
        looked
    })
}

pub(super) fn tell(pair: &Pair, paths: &mut Vec<PathBuf>) {
    // The parents first, and each as it is at last: what a drained queue gives.
    paths.sort();
    paths.dedup();
    let updates: Vec<_> = paths
        .drain(..)
        .map(|path| {
            let path = Path::new("/").join(path);
            let attr = match (path.parent(), path.file_name()) {
                (Some(parent), Some(name)) => pair.files.files.read_dir(parent).ok().and_then(|listing| {
                    listing
                        .entries
                        .into_iter()
                        .find(|entry| entry.name == name)
                        .map(|entry| entry.attr)
                }),
                _ => pair.files.files.read_dir(&path).ok().map(|listing| listing.attr),
            };
            Update::new(path.components().collect::<PathBuf>(), attr)
        })
        .collect();
    pair.mirror.apply(&updates).unwrap();
}

/// Whether a spelling without symlinks leads through complete directories only, as far as
/// the mirror has it.
fn leads(mirror: &Mirror, path: &Path) -> bool {
    let mut at = mirror.root().to_path_buf();
    let mut names = path.iter().skip(1);
    loop {
        let Ok(meta) = fs::symlink_metadata(&at) else {
            return true;
        };
        if !meta.is_dir() {
            return !meta.is_symlink();
        }
        if !mirror.dir_at(meta.ino()).is_some_and(|(_, complete)| complete) {
            return false;
        }
        match names.next() {
            Some(name) => at.push(name),
            None => return true,
        }
    }
}

/// Everything that a job could see, all of it fetched.
fn whole(root: &Path, dir: &Path, mirror: Option<&Mirror>, found: &mut BTreeMap<PathBuf, String>) {
    if let Some(mirror) = mirror {
        mirror.complete(dir).unwrap();
    }
    let at = root.join(dir.strip_prefix("/").unwrap());
    for entry in fs::read_dir(&at).unwrap() {
        let entry = entry.unwrap();
        let name = dir.join(entry.file_name());
        if mirror.is_some() && ["/proc", "/dev", "/sys"].iter().any(|own| name == Path::new(own)) {
            continue;
        }
        let meta = fs::symlink_metadata(entry.path()).unwrap();
        let looks = format!("{:o} {}.{}", meta.mode(), meta.mtime(), meta.mtime_nsec());
        if meta.is_dir() {
            found.insert(name.clone(), format!("dir {:o}", meta.mode()));
            whole(root, &name, mirror, found);
        } else if meta.is_symlink() {
            found.insert(
                name,
                format!("{looks} -> {}", fs::read_link(entry.path()).unwrap().display()),
            );
        } else {
            if let Some(mirror) = mirror {
                mirror.fill(meta.ino()).unwrap();
            }
            found.insert(name, format!("{looks} {:?}", fs::read(entry.path()).unwrap()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn a_mirror_that_is_told_is_equal(acts in prop::collection::vec(act(), 1..60), is_sparse: bool) {
        let pair = Pair::maybe_sparse(is_sparse);
        let mut changed = Vec::new();
        for act in &acts {
            changed.extend(perform(&pair, act));
            if matches!(act, Act::Tell) {
                tell(&pair, &mut changed);
            }
        }
        tell(&pair, &mut changed);
        let names = ["a", "b", "c"];
        for path in names.iter().flat_map(|dir| names.map(|name| Path::new(dir).join(name))) {
            let kind = |root: &Path| fs::symlink_metadata(root.join(&path)).ok().map(|meta| meta.file_type());
            if look_for(&pair.mirror, &path) {
                prop_assert_eq!(kind(pair.mirror.root()), kind(pair.client.path()), "{}", path.display());
            }
        }
        let (mut here, mut there) = (BTreeMap::new(), BTreeMap::new());
        whole(pair.client.path(), Path::new("/"), None, &mut here);
        whole(pair.mirror.root(), Path::new("/"), Some(&pair.mirror), &mut there);
        prop_assert_eq!(there, here);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn what_jobs_learnt_is_true_of_the_mirror(acts in prop::collection::vec(act(), 1..60), is_sparse: bool) {
        let pair = Pair::maybe_sparse(is_sparse);
        let mut changed = Vec::new();
        for act in &acts {
            changed.extend(perform(&pair, act));
            let mut learnt = None;
            match act {
                Act::Tell => tell(&pair, &mut changed),
                Act::Complete(path) => {
                    let spelled = Path::new("/").join(path);
                    let turn = pair.mirror.recall(|_, _| {});
                    if leads(&pair.mirror, &spelled) {
                        let bytes = spelled.as_os_str().as_bytes();
                        pair.mirror.learn(turn, PathFact::Dir, bytes, Some(&spelled));
                        let known = pair.mirror.leads_to_dir(turn, bytes);
                        prop_assert_eq!(known.as_deref(), Some(&*spelled));
                        learnt = Some(spelled);
                    }
                    pair.mirror.learn(turn.wrapping_sub(1), PathFact::Dir, b"/too/late", None);
                }
                _ => {}
            }
            let mut recalled = Vec::new();
            pair.mirror.recall(|_, spelled| recalled.push(PathBuf::from(OsStr::from_bytes(spelled))));
            prop_assert!(learnt.is_none_or(|spelled| recalled.contains(&spelled)), "not learnt: {act:?}");
            recalled.retain(|spelled| spelled.starts_with("/too") || !leads(&pair.mirror, spelled));
            prop_assert!(recalled.is_empty(), "after {act:?}: {recalled:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    /// The client changes, and tells it, while its answer to the last question is under way.
    #[test]
    fn an_answer_that_is_overtaken_by_news_is_not_believed(
        before in prop::collection::vec(act(), 1..40),
        target in path(),
        meanwhile in prop::collection::vec(act(), 1..20),
        is_sparse: bool,
    ) {
        let pair = Arc::new(Pair::maybe_sparse(is_sparse));
        let changed = Arc::new(Mutex::new(Vec::new()));
        let play = |acts: &[Act], pair: &Pair, changed: &Mutex<Vec<PathBuf>>| {
            // Whoever asks now waits for the answer that is under way, and nothing is evicted.
            let is_mirrors = |act: &&Act| {
                matches!(
                    act,
                    Act::Complete(_)
                        | Act::Look(_)
                        | Act::Fill(_)
                        | Act::Bring(_)
                        | Act::Evict(_)
                        | Act::Forget
                )
            };
            for act in acts.iter().filter(|act| !is_mirrors(act)) {
                changed.lock().extend(perform(pair, act));
            }
            tell(pair, &mut changed.lock());
        };
        for act in &before {
            changed.lock().extend(perform(&pair, act));
        }
        tell(&pair, &mut changed.lock());
        *pair.files.meanwhile.lock() = Some(Box::new({
            let (pair, changed) = (pair.clone(), changed.clone());
            move || play(&meanwhile, &pair, &changed)
        }));
        let Expected { dirs, .. } = expected(&target);
        pair.mirror.prefetch(&Expected { dirs, files: Vec::new() });
        // What would have happened had there been nothing to ask.
        let left = pair.files.meanwhile.lock().take();
        left.into_iter().for_each(|happen| happen());
        let (mut here, mut there) = (BTreeMap::new(), BTreeMap::new());
        whole(pair.client.path(), Path::new("/"), None, &mut here);
        whole(pair.mirror.root(), Path::new("/"), Some(&pair.mirror), &mut there);
        prop_assert_eq!(there, here);
    }
}

#[test]
fn a_directory_moved_over_another_shows_its_own_names() {
    let pair = Pair::new();
    let acts = [
        Act::MakeDir("b".into()),
        Act::MakeDir("c".into()),
        Act::Write("b/a".into(), 1),
        Act::Complete("c".into()),
        Act::Complete("b".into()),
    ];
    acts.iter().for_each(|act| drop(perform(&pair, act)));
    let mut changed = perform(&pair, &Act::Rename("b".into(), "c".into()));
    tell(&pair, &mut changed);
    look_into(&pair.mirror, Path::new("c"));
    assert!(pair.there("c/a").exists() && !pair.there("b").exists());
}

/// Trees that were unpacked have files of one time.
#[test]
fn a_directory_that_took_the_place_of_another_shows_its_own_files() {
    let pair = Pair::new();
    for (dir, content) in [("one", "old"), ("two", "new")] {
        fs::create_dir(pair.here(dir)).unwrap();
        fs::write(pair.here(dir).join("file"), content).unwrap();
        let file = fs::File::options()
            .write(true)
            .open(pair.here(dir).join("file"))
            .unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    pair.mirror.complete(Path::new("/")).unwrap();
    pair.mirror.complete(Path::new("/one")).unwrap();
    pair.fill("one/file").unwrap();
    fs::rename(pair.here("one"), pair.here("former")).unwrap();
    fs::rename(pair.here("two"), pair.here("one")).unwrap();
    let mut paths = ["one", "two", "former"].map(PathBuf::from).to_vec();
    tell(&pair, &mut paths);
    pair.mirror.complete(Path::new("/one")).unwrap();
    pair.fill("one/file").unwrap();
    assert_eq!(fs::read(pair.there("one/file")).unwrap(), b"new");
}
