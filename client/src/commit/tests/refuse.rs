//! What cannot be committed whole is refused before anything is changed.

use super::{Bench, attr, base, hash};
use crate::commit::CommitError;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
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
}

#[test]
fn what_has_no_directory_is_refused() {
    let bench = Bench::new();
    bench.write("file", b"");
    symlink("/tmp", bench.path("link")).unwrap();
    refused(&bench, bench.file("none/x", b""));
    refused(&bench, bench.file("file/x", b""));
    refused(&bench, bench.file("link/x", b""));
    refused(&bench, bench.dir("none/x/y", 0o755));
    refused(&bench, bench.link("hard", "none"));
    refused(&bench, bench.link("hard", "dir"));
    // Removed by the very same list.
    let changes = vec![bench.remove("dir"), bench.file("dir/x", b"")];
    bench.commit(changes).unwrap_err();
    assert!(bench.path("dir").exists());
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
    let change = bench.file("fifo", b"");
    let error = bench.commit(vec![change]).unwrap_err();
    assert!(error.to_string().contains("FIFO"), "{error}");
}

#[test]
fn attributes_of_another_kind_are_refused() {
    let bench = Bench::new();
    let dir = attr(0o755, Node::Dir);
    let content = termite_types::Content::Inline(Vec::new());
    let kind = ChangeKind::File {
        attr: dir,
        explicit_mtime: false,
        base: None,
        content,
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
    refused(&bench, bench.remove("closed"));
    refused(&bench, bench.dir("closed/made", 0o755));
    // The job removed it and made it anew, or its kernel let it write.
    bench
        .commit(vec![bench.changed("locked", b"y", base(b"x", false))])
        .unwrap();
    assert_eq!(bench.read("locked"), b"y");
    if let Some(of_root) = inner() {
        let file = std::path::Path::new(&of_root).join("file");
        let sticky = |kind: ChangeKind| Change {
            path: file.clone(),
            kind,
        };
        refused(&bench, sticky(ChangeKind::Remove));
        refused(&bench, sticky(bench.file("x", b"mine").kind));
        let open = std::path::Path::new(&of_root).with_file_name("open/file");
        let change = bench.changed("x", b"mine", base(b"root's", false));
        refused(
            &bench,
            Change {
                path: open,
                kind: change.kind,
            },
        );
    }
    fs::set_permissions(bench.path("closed"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// On a file system of 1 MiB in a mount namespace of its own, made by the shell.
#[test]
fn a_full_disk_leaves_all_as_it_was() {
    let Some(top) = inner() else {
        let can_unshare = Command::new("unshare").args(["-Ur", "--mount", "true"]).status();
        assert!(
            can_unshare.is_ok_and(|status| status.success()),
            "user namespaces are needed"
        );
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let script = format!("mount -t tmpfs -o size=1m none {path} && exec \"$@\"");
        let args = ["-Ur", "--mount", "sh", "-c", &script, "sh"];
        again(
            "unshare",
            &args,
            "commit::tests::refuse::a_full_disk_leaves_all_as_it_was",
            path,
        );
        return;
    };
    let mut bench = Bench::new();
    bench.top = std::path::PathBuf::from(top).canonicalize().unwrap();
    bench.write("old", b"old");
    let before = bench.tree();
    let big = vec![7; 3 << 20];
    let changes = vec![
        bench.remove("old"),
        bench.file("new", b""),
        bench.remote("big", &big, None),
    ];
    let error = bench.commit(changes).unwrap_err();
    assert!(error.is_untouched(), "{error}");
    assert!(error.to_string().contains("No space left"), "{error}");
    assert_eq!(bench.tree(), before);
    // The tail fits beside the log, but not behind it.
    bench.write("log", &vec![1; 400 << 10]);
    let longer = [vec![1; 400 << 10], vec![2; 400 << 10]].concat();
    let change = bench.changed("log", &longer, base(&longer[..400 << 10], true));
    let error = bench.commit(vec![change]).unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    assert_eq!(
        hash(&bench.read("log")),
        hash(&longer[..400 << 10]),
        "nothing of the tail stays"
    );
}
