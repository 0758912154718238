//! What a commit tells before and after it does something, and what is cleared away after
//! one that was killed.

use super::{Bench, temporaries};
use crate::commit::{CommitError, CommitLog, Leftovers, clear};
use crate::temporary_name::{is_temporary, mark, temporary_name};
use parking_lot::Mutex;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use termite_types::ChangeKind;

/// Remembers what it is told.
#[derive(Default)]
pub(crate) struct Log {
    told: Mutex<Vec<Told>>,
    /// Refuses the call of this number.
    refused: Mutex<Option<usize>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Told {
    Staging(Vec<PathBuf>),
    Begun(PathBuf, usize),
    Moving(PathBuf, PathBuf),
    Undone,
    Done,
}

impl Log {
    fn tell(&self, told: Told) -> io::Result<()> {
        let mut all = self.told.lock();
        all.push(told);
        match *self.refused.lock() == Some(all.len()) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl CommitLog for Log {
    fn staging(&self, dirs: &[&Path]) -> io::Result<()> {
        self.tell(Told::Staging(dirs.iter().map(|dir| dir.to_path_buf()).collect()))
    }

    fn begun(&self, path: &Path, others: usize) -> io::Result<()> {
        self.tell(Told::Begun(path.to_owned(), others))
    }

    fn moving(&self, from: &Path, temporary: &Path, to: &Path) -> io::Result<()> {
        assert!(is_temporary(temporary.file_name().unwrap()));
        self.tell(Told::Moving(from.to_owned(), to.to_owned()))
    }

    fn undone(&self) {
        self.told.lock().push(Told::Undone);
    }

    fn done(&self) {
        self.told.lock().push(Told::Done);
    }
}

#[test]
fn each_step_is_told_before_it_is_done() {
    let bench = Bench::new();
    bench.write("g", b"1");
    let list = vec![
        bench.dir("d", 0o755),
        bench.file("d/f", b"1"),
        bench.name("d/h", "g"),
        bench.remove("g"),
    ];
    bench.commit(list).unwrap();
    let told = std::mem::take(&mut *bench.log.told.lock());
    let dirs = vec![bench.top.clone(), bench.path("d")];
    let moving = Told::Moving(bench.path("g"), bench.path("d/h"));
    let begun = Told::Begun(bench.path("d"), 3);
    assert_eq!(told, [Told::Staging(dirs), begun, moving, Told::Done]);
    bench.commit(vec![bench.chmod("d", 0o700)]).unwrap();
    let told = std::mem::take(&mut *bench.log.told.lock());
    assert_eq!(told, [Told::Begun(bench.path("d"), 0), Told::Done], "no temporary file");
}

#[test]
fn what_cannot_be_told_is_not_done() {
    let bench = Bench::new();
    bench.write("g", b"1");
    let list = || vec![bench.file("f", b"1"), bench.name("h", "g"), bench.remove("g")];
    let before = bench.tree();
    for refused in 1..=3 {
        *bench.log.refused.lock() = Some(refused);
        let error = bench.commit(list()).unwrap_err();
        assert!(error.is_untouched(), "{error}");
        assert_eq!(bench.tree(), before);
        let told = std::mem::take(&mut *bench.log.told.lock());
        let ends_undone = told.last() == Some(&Told::Undone);
        assert_eq!(
            (told.len(), ends_undone),
            (refused + usize::from(refused > 1), refused > 1)
        );
    }
    *bench.log.refused.lock() = None;
    bench.commit(list()).unwrap();
}

/// What the log refuses stands for any call that fails in the middle.
#[test]
fn a_commit_that_fails_halfway_says_what_is_changed() {
    let bench = Bench::new();
    bench.write("f", b"1");
    bench.write("g", b"2");
    let list = vec![
        bench.append("f", b"1", b"1+"),
        bench.name("d/h", "g"),
        bench.remove("g"),
        bench.dir("d", 0o755),
    ];
    *bench.log.refused.lock() = Some(3);
    let error = bench.commit(list).unwrap_err();
    assert!(!error.is_untouched());
    let said = error.to_string();
    assert!(
        said.contains(&format!("about {}: ", bench.path("g").display())),
        "{said}"
    );
    assert!(
        said.ends_with(&format!("; {} is changed already", bench.path("f").display())),
        "{said}"
    );
    assert_eq!((&bench.read("f")[..], &bench.read("g")[..]), (&b"1+"[..], &b"2"[..]));
    let told = std::mem::take(&mut *bench.log.told.lock());
    assert_eq!(told.len(), 3, "neither done nor undone: {told:?}");
}

#[test]
fn a_conflict_ends_undone() {
    let bench = Bench::new();
    let error = bench.commit(vec![bench.edit("f", b"1", b"2")]).unwrap_err();
    assert!(matches!(error, CommitError::Conflict(_)), "{error}");
    let told = std::mem::take(&mut *bench.log.told.lock());
    assert_eq!(told, [Told::Staging(vec![bench.top.clone()]), Told::Undone]);
}

/// Of another daemon.
const DEAD: u64 = 0x0123_4567_89ab_cdef;

fn dead(number: u32) -> String {
    format!(".termite-commit-{DEAD:016x}{number:08x}")
}

#[test]
fn only_the_dead_ones_files_are_removed() {
    let bench = Bench::new();
    let other = format!(".termite-commit-{:016x}00000001", DEAD + 1);
    let longer = format!("{}0", dead(1));
    fs::create_dir(bench.path("d")).unwrap();
    let own = temporary_name();
    assert_ne!(mark(), DEAD);
    let stay = [&other[..], &longer[..], own.to_str().unwrap(), "f"];
    for name in stay.iter().copied().chain([&dead(1)[..], &format!("d/{}", dead(2))]) {
        bench.write(name, b"1");
    }
    std::os::unix::fs::symlink("f", bench.path(&dead(3))).unwrap();
    std::os::unix::fs::symlink("d", bench.path("l")).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(9);
    fs::File::open(bench.path("d")).unwrap().set_modified(old).unwrap();
    let before = fs::metadata(bench.path("d")).unwrap().mtime();
    let dirs = ["", "d", "l", "none", "f"].map(|name| bench.path(name).components().collect());
    clear(&Leftovers {
        mark: DEAD,
        dirs: dirs.into(),
        moves: Vec::new(),
    });
    for name in stay {
        assert!(bench.path(name).exists(), "{name}");
        fs::remove_file(bench.path(name)).unwrap();
    }
    assert_eq!(temporaries(&bench.top), Vec::<PathBuf>::new());
    assert_eq!(fs::metadata(bench.path("d")).unwrap().mtime(), before);
}

#[test]
fn a_file_of_the_clients_gets_one_of_its_names_back() {
    let held = dead(7);
    // Which of both names are taken by other files, and where the file is then.
    for (taken, found) in [(&[][..], "from"), (&["from"], "to"), (&["from", "to"], &held[..])] {
        let bench = Bench::new();
        taken.iter().for_each(|name| bench.write(name, b"other"));
        bench.write(&held, b"mine");
        let left = Leftovers {
            mark: DEAD,
            dirs: [bench.top.clone()].into(),
            moves: vec![["from", &held, "to"].map(|name| bench.path(name))],
        };
        clear(&left);
        assert_eq!(bench.read(found), b"mine");
        assert_eq!(bench.path(&held).exists(), found == held);
        clear(&left);
        assert_eq!(bench.read(found), b"mine", "again");
    }
    let bench = Bench::new();
    bench.write("to", b"mine");
    fs::hard_link(bench.path("to"), bench.path(&held)).unwrap();
    clear(&Leftovers {
        mark: DEAD,
        moves: vec![["from", &held, "to"].map(|name| bench.path(name))],
        ..Leftovers::default()
    });
    assert!(bench.path("to").exists() && !bench.path(&held).exists() && !bench.path("from").exists());
}

#[test]
fn a_list_of_links_names_their_directories() {
    let bench = Bench::new();
    let link = bench.change("l", ChangeKind::Link { to: bench.path("f") });
    bench.commit(vec![bench.file("f", b"1"), link]).unwrap();
    let told = std::mem::take(&mut *bench.log.told.lock());
    assert_eq!(told[0], Told::Staging(vec![bench.top.clone()]));
}
