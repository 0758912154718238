//! What cannot be committed whole is refused before anything is changed.

use super::{Bench, attr, base, hash};
use crate::commit::CommitError;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;
use termite_types::{Change, ChangeKind, Node};

/// Commits `bad` after changes that could be made, and expects none of them.
fn refused(bench: &Bench, bad: Change) -> String {
    fs::create_dir_all(bench.path("dir")).unwrap();
    bench.write("dir/old", b"old");
    let before = bench.tree();
    let changes = vec![
        bench.remove("dir/old"),
        bench.file("dir/new", b"new"),
        bench.dir("made", 0o755),
        bad,
    ];
    let error = bench.commit(changes).unwrap_err();
    assert!(matches!(error, CommitError::Refused { .. }), "{error}");
    assert!(error.is_untouched());
    assert_eq!(bench.tree(), before, "{error}");
    error.to_string()
}

#[test]
fn hidden_paths_and_odd_spellings_are_refused() {
    let bench = Bench::new();
    let file = bench.file("x", b"");
    let at = |path: &str| Change {
        path: path.into(),
        kind: file.kind.clone(),
    };
    for path in [
        "/root/.ssh/authorized_keys",
        "/etc/shadow",
        "/proc/self/mem",
        "/dev/null",
    ] {
        assert!(refused(&bench, at(path)).contains("hidden"), "{path}");
    }
    for path in ["relative", "/tmp/../etc/x", "/tmp/./x", "/tmp//x"] {
        assert!(refused(&bench, at(path)).contains("canonical"), "{path}");
    }
    assert!(refused(&bench, at("/")).contains("root"));
    assert!(refused(&bench, bench.file("id_rsa", b"")).contains("hidden"));
    // What is hidden does not come to light by another name, nor by a comparison.
    bench.write("id_rsa", b"secret");
    assert!(refused(&bench, bench.name("public", "id_rsa")).contains("hidden"));
    let seen = termite_types::Seen::Content(base(b"secret"));
    let error = bench.commit_if(vec![], vec![("id_rsa", seen)]).unwrap_err();
    assert!(error.to_string().contains("hidden"), "{error}");
}

#[test]
fn what_has_no_directory_is_a_conflict() {
    let bench = Bench::new();
    bench.write("file", b"");
    symlink("/tmp", bench.path("link")).unwrap();
    fs::create_dir(bench.path("dir")).unwrap();
    let found = |changes| {
        let conflict = bench.conflict(changes, vec![]);
        assert_eq!(conflict.seen, "its directory");
        conflict.found
    };
    assert_eq!(found(vec![bench.file("none/x", b"")]), "nothing");
    assert_eq!(found(vec![bench.file("file/x", b"")]), "a file");
    assert_eq!(found(vec![bench.file("link/x", b"")]), "a symlink");
    assert_eq!(found(vec![bench.symlink("link/x", "to")]), "a symlink");
    assert_eq!(found(vec![bench.dir("none/x/y", 0o755)]), "nothing");
    assert_eq!(found(vec![bench.name("none/x", "file")]), "nothing");
    // Removed by the very same list.
    assert_eq!(
        found(vec![bench.remove_dir("dir"), bench.symlink("dir/x", "to")]),
        "nothing"
    );
}

#[test]
fn a_list_that_contradicts_itself_is_refused() {
    let bench = Bench::new();
    bench.write("file", b"");
    refused(&bench, bench.link("hard", "none"));
    refused(&bench, bench.link("hard", "made"));
    refused(&bench, bench.link("hard", "file"));
    refused(&bench, bench.file("dir/new/below", b""));
    assert!(refused(&bench, bench.file("made", b"")).contains("twice"));
}

#[test]
fn a_fifo_is_neither_opened_nor_replaced() {
    let bench = Bench::new();
    let fifo = bench.path("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    for change in [
        bench.file("fifo", b""),
        bench.log("fifo", b""),
        bench.dir("fifo", 0o755),
        bench.remove("fifo"),
        bench.name("x", "fifo"),
        bench.edit("fifo", b"", b"x"),
    ] {
        assert!(refused(&bench, change).contains("FIFO"));
    }
}

#[test]
fn attributes_of_another_kind_are_refused() {
    let bench = Bench::new();
    let dir = attr(0o755, Node::Dir);
    let content = termite_types::Content::Inline(Vec::new());
    let kind = ChangeKind::File {
        attr: dir,
        explicit_mtime: false,
        content,
        if_present: termite_types::IfPresent::Replace,
    };
    let error = bench
        .commit(vec![Change {
            path: bench.path("x"),
            kind,
        }])
        .unwrap_err();
    assert!(error.is_untouched(), "{error}");
}

/// Runs one test of this program again in other surroundings.
fn again(program: &str, args: &[&str], test: &str, inner: &str) {
    let me = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    command
        .args(args)
        .arg(me)
        .args(["--exact", test, "--nocapture"])
        .env("TERMITE_TEST_INNER", inner);
    let output = command.output().expect(program);
    let said = [output.stdout, output.stderr]
        .map(|said| String::from_utf8_lossy(&said).into_owned())
        .concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn inner() -> Option<OsString> {
    std::env::var_os("TERMITE_TEST_INNER")
}

/// Permissions do not bind root: the test runs itself as somebody else.
#[test]
fn permissions_of_an_ordinary_user_are_heeded() {
    if inner().is_none() && rustix::process::geteuid().is_root() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let args = ["--reuid", "1000", "--regid", "1000", "--clear-groups"];
        let me = "commit::tests::refuse::permissions_of_an_ordinary_user_are_heeded";
        // The build directory may be closed to others.
        let exe = dir.path().join("test");
        fs::copy(std::env::current_exe().unwrap(), &exe).unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        fs::write(dir.path().join("root/file"), "root's").unwrap();
        fs::set_permissions(dir.path().join("root"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::create_dir(dir.path().join("open")).unwrap();
        fs::write(dir.path().join("open/file"), "root's").unwrap();
        fs::write(dir.path().join("open/writable"), "root's").unwrap();
        fs::set_permissions(dir.path().join("open/writable"), fs::Permissions::from_mode(0o666)).unwrap();
        fs::set_permissions(dir.path().join("open"), fs::Permissions::from_mode(0o777)).unwrap();
        let mut command = Command::new("setpriv");
        command.args(args).arg(&exe).args(["--exact", me]);
        command
            .env("TERMITE_TEST_INNER", dir.path().join("root"))
            .env("TMPDIR", dir.path());
        let output = command.output().expect("setpriv");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let bench = Bench::new();
    fs::create_dir_all(bench.path("closed/sub")).unwrap();
    bench.write("closed/file", b"x");
    bench.write("locked", b"x");
    fs::set_permissions(bench.path("locked"), fs::Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(bench.path("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    refused(&bench, bench.file("closed/new", b""));
    refused(&bench, bench.remove("closed/file"));
    refused(&bench, bench.remove_dir("closed/sub"));
    refused(&bench, bench.dir("closed/made", 0o755));
    refused(&bench, bench.name("closed/named", "locked"));
    // Its kernel let the job write.
    bench.commit(vec![bench.edit("locked", b"x", b"y")]).unwrap();
    bench.commit(vec![bench.append("locked", b"y", b"yz")]).unwrap();
    assert_eq!(bench.read("locked"), b"yz");
    assert_eq!(bench.mode("locked"), 0o444);
    if let Some(of_root) = inner() {
        files_of_root_are_heeded(&bench, std::path::Path::new(&of_root));
    }
    fs::set_permissions(bench.path("closed"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// A sticky directory of root's, and one that all may write in beside it.
fn files_of_root_are_heeded(bench: &Bench, of_root: &std::path::Path) {
    let file = of_root.join("file");
    let sticky = |kind: ChangeKind| Change {
        path: file.clone(),
        kind,
    };
    refused(bench, sticky(ChangeKind::Remove { dir: false }));
    refused(bench, sticky(bench.file("x", b"mine").kind));
    let open = of_root.with_file_name("open");
    let at = |name: &str, kind: ChangeKind| Change {
        path: open.join(name),
        kind,
    };
    refused(bench, at("file", bench.edit("x", b"root's", b"mine").kind));
    refused(bench, at("file", bench.append("x", b"root's", b"root's, mine").kind));
    refused(bench, at("file", bench.log("x", b"mine").kind));
    refused(bench, at("writable", bench.chmod("x", 0o600).kind));
    let kept = fs::metadata(open.join("writable")).unwrap();
    let mut change = at("writable", bench.edit("x", b"root's", b"mine").kind);
    if let ChangeKind::Alter(alter) = &mut change.kind {
        let time = super::OLD;
        alter.mtime = Some(termite_types::SetTime { time, explicit: true });
    }
    bench.commit(vec![change]).unwrap();
    let is = fs::metadata(open.join("writable")).unwrap();
    assert_eq!(fs::read(open.join("writable")).unwrap(), b"mine");
    assert_eq!((is.uid(), is.ino(), is.mode()), (0, kept.ino(), kept.mode()));
    assert!(is.mtime() > super::OLD.sec);
}

/// Runs a test of this program again with a file system of 1 MiB in a mount namespace of
/// its own, made by the shell. Returns the path of that where this is the second run.
pub(super) fn on_a_small_disk(test: &str) -> Option<std::path::PathBuf> {
    if let Some(top) = inner() {
        return Some(std::path::PathBuf::from(top).canonicalize().unwrap());
    }
    let can_unshare = Command::new("unshare").args(["-Ur", "--mount", "true"]).status();
    assert!(
        can_unshare.is_ok_and(|status| status.success()),
        "user namespaces are needed"
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let script = format!("mount -t tmpfs -o size=1m none {path} && exec \"$@\"");
    let args = ["-Ur", "--mount", "sh", "-c", &script, "sh"];
    again("unshare", &args, test, path);
    None
}

#[test]
fn a_full_disk_leaves_all_as_it_was() {
    let me = "commit::tests::refuse::a_full_disk_leaves_all_as_it_was";
    let Some(top) = on_a_small_disk(me) else { return };
    let mut bench = Bench::new();
    bench.top = top;
    bench.write("old", b"old");
    let before = bench.tree();
    let big = vec![7; 3 << 20];
    let changes = vec![bench.remove("old"), bench.file("new", b""), bench.remote("big", &big)];
    let error = bench.commit(changes).unwrap_err();
    assert!(error.is_untouched(), "{error}");
    assert!(error.to_string().contains("No space left"), "{error}");
    assert_eq!(bench.tree(), before);
    // The tail fits beside the log, but not behind it.
    bench.write("log", &vec![1; 400 << 10]);
    let longer = [vec![1; 400 << 10], vec![2; 400 << 10]].concat();
    let change = bench.append("log", &longer[..400 << 10], &longer);
    let error = bench.commit(vec![change]).unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    assert_eq!(
        hash(&bench.read("log")),
        hash(&longer[..400 << 10]),
        "nothing of the tail stays"
    );
    // Nor is a content lost for a longer one that does not fit.
    let longer = vec![3; 600 << 10];
    let change = bench.edit("log", &[1; 400 << 10], &longer);
    let error = bench.commit(vec![change]).unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    assert!(error.is_untouched());
    assert_eq!(hash(&bench.read("log")), hash(&[1; 400 << 10]));
    // Of several, none is begun where one does not fit.
    bench.write("first", b"1");
    bench.make_old("first");
    let appended = bench.append("log", &[1; 400 << 10], &[[1; 400 << 10], [2; 400 << 10]].concat());
    let error = bench
        .commit(vec![bench.append("first", b"1", b"12"), appended])
        .unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    assert!(error.is_untouched(), "{error}");
    assert_eq!(
        (&bench.read("first")[..], bench.mtime("first")),
        (&b"1"[..], super::OLD)
    );
}

/// What cannot be reserved are inodes: there are as many as the file system was made with.
#[test]
fn without_inodes_a_commit_stops_halfway_and_says_so() {
    let me = "commit::tests::refuse::without_inodes_a_commit_stops_halfway_and_says_so";
    let Some(top) = on_a_small_disk(me) else { return };
    let mut bench = Bench::new();
    bench.top = top;
    bench.write("log", b"1");
    let taken = (0..).take_while(|number| fs::create_dir(bench.path(&format!("taken{number}"))).is_ok());
    let taken = taken.count();
    for number in 0..2 {
        fs::remove_dir(bench.path(&format!("taken{}", taken - 1 - number))).unwrap();
    }
    let dirs = (0..3).map(|number| bench.dir(&format!("d{number}"), 0o755));
    let changes: Vec<_> = dirs.chain([bench.append("log", b"1", b"12")]).collect();
    let error = bench.commit(changes).unwrap_err();
    assert!(!error.is_untouched(), "{error}");
    let said = error.to_string();
    let place = |name: &str| bench.path(name).display().to_string();
    let parts = [
        format!("cannot make {}: No space left", place("d2")),
        format!("; {} and 2 more are changed already", place("d0")),
    ];
    parts.iter().for_each(|part| assert!(said.contains(part), "{said}"));
    assert_eq!(bench.read("log"), b"12");
}
