//! Files of the client's that were changed in place.

use super::{Bench, OLD, base, content, edit, hash};
use crate::commit::planted::{Fault, plant};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;
use termite_types::{Alter, Change, ChangeKind, Seen, SetTime, Xattr};

/// Sets an attribute of the user's; `None`: the file system has none.
fn set_xattr(path: &std::path::Path) -> Option<()> {
    match rustix::fs::setxattr(path, "user.termite", b"value", rustix::fs::XattrFlags::empty()) {
        Ok(()) => Some(()),
        Err(rustix::io::Errno::NOTSUP) => None,
        Err(errno) => panic!("{errno}"),
    }
}

fn xattr(path: &std::path::Path) -> Vec<u8> {
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(path, "user.termite", &mut value[..]).expect("an attribute");
    value[..length].to_vec()
}

#[test]
fn a_file_that_is_written_over_stays_the_same_file() {
    let bench = Bench::new();
    bench.write("a", b"a longer content");
    fs::set_permissions(bench.path("a"), fs::Permissions::from_mode(0o604)).unwrap();
    fs::hard_link(bench.path("a"), bench.path("b")).unwrap();
    // ext4 has such attributes, and tmpfs since Linux 6.6.
    set_xattr(&bench.path("a")).expect("user attributes in the directory for temporary files");
    let inode = bench.inode("a");
    let committed = bench
        .commit(vec![bench.edit("a", b"a longer content", b"short")])
        .unwrap();
    assert_eq!(
        (bench.read("a"), bench.read("b")),
        (b"short".to_vec(), b"short".to_vec())
    );
    assert_eq!(
        (bench.inode("a"), bench.mode("a"), bench.stat("a").nlink()),
        (inode, 0o604, 2)
    );
    assert_eq!(xattr(&bench.path("a")), b"value");
    assert_eq!(committed.paths[0].hash, Some(hash(b"short")));
    assert_eq!(committed.paths[0].stamp, crate::tree::Stamp::at_path(&bench.path("a")));
    // One that was removed and made anew is another file, as it would be here.
    bench.commit(vec![bench.file("a", b"another")]).unwrap();
    assert_eq!(
        (bench.read("a"), bench.read("b")),
        (b"another".to_vec(), b"short".to_vec())
    );
}

#[test]
fn only_what_is_given_is_touched() {
    let bench = Bench::new();
    bench.write("f", b"of another job");
    let time = bench.mtime("f");
    // The mode only: another job's content stays.
    let committed = bench.commit(vec![bench.chmod("f", 0o4711)]).unwrap();
    assert_eq!(
        (bench.read("f"), bench.mode("f"), bench.mtime("f")),
        (b"of another job".to_vec(), 0o4711, time)
    );
    assert_eq!(committed.paths[0].hash, None);
    // The time only.
    let alter = Alter {
        mtime: Some(SetTime {
            time: OLD,
            explicit: true,
        }),
        ..Alter::default()
    };
    bench.commit(vec![bench.alter("f", alter)]).unwrap();
    assert_eq!(
        (bench.read("f"), bench.mode("f"), bench.mtime("f")),
        (b"of another job".to_vec(), 0o4711, OLD)
    );
    // The content only: its time is when it was committed.
    bench.commit(vec![bench.edit("f", b"x", b"new")]).unwrap();
    assert_eq!((bench.read("f"), bench.mode("f")), (b"new".to_vec(), 0o4711));
    assert!(bench.mtime("f") > time);
    // All at once.
    let alter = Alter {
        mode: Some(0o600),
        owner: Some((rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())),
        mtime: Some(SetTime {
            time: OLD,
            explicit: false,
        }),
        content: Some(edit(b"new", b"newer", false)),
    };
    bench.commit(vec![bench.alter("f", alter)]).unwrap();
    assert_eq!(
        (bench.read("f"), bench.mode("f"), bench.mtime("f")),
        (b"newer".to_vec(), 0o600, OLD)
    );
}

#[test]
fn owners_are_changed_by_root() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let bench = Bench::new();
    bench.write("f", b"x");
    fs::set_permissions(bench.path("f"), fs::Permissions::from_mode(0o4755)).unwrap();
    let alter = Alter {
        owner: Some((1234, 2345)),
        ..Alter::default()
    };
    bench.commit(vec![bench.alter("f", alter)]).unwrap();
    let stat = bench.stat("f");
    assert_eq!((stat.uid(), stat.gid(), bench.mode("f")), (1234, 2345, 0o4755));
}

#[test]
fn what_is_altered_has_to_be_there() {
    let bench = Bench::new();
    fs::create_dir(bench.path("d")).unwrap();
    std::os::unix::fs::symlink("d", bench.path("l")).unwrap();
    let found = |change| {
        let conflict = bench.conflict(vec![bench.file("new", b""), change], vec![]);
        (conflict.seen, conflict.found)
    };
    let any = "a file or a directory".to_string();
    assert_eq!(found(bench.chmod("none", 0o600)), (any.clone(), "nothing".into()));
    assert_eq!(found(bench.chmod("l", 0o600)), (any, "a symlink".into()));
    let file = "a file".to_string();
    assert_eq!(found(bench.edit("none", b"", b"x")), (file.clone(), "nothing".into()));
    assert_eq!(found(bench.edit("d", b"", b"x")), (file, "a directory".into()));
    bench.commit(vec![bench.chmod("d", 0o711)]).unwrap();
    assert_eq!(bench.mode("d"), 0o711);
}

#[test]
fn the_old_file_of_a_name_is_changed_before_it_goes() {
    let bench = Bench::new();
    for name in ["removed", "replaced"] {
        bench.write(name, b"old");
        fs::hard_link(bench.path(name), bench.path(&format!("{name}2"))).unwrap();
    }
    let changes = vec![
        bench.edit("removed", b"old", b"1"),
        bench.remove("removed"),
        bench.chmod("replaced", 0o600),
        bench.file("replaced", b"2"),
    ];
    let committed = bench.commit(changes).unwrap();
    assert!(!bench.path("removed").exists());
    assert_eq!(bench.read("removed2"), b"1");
    assert_eq!((bench.read("replaced"), bench.mode("replaced")), (b"2".to_vec(), 0o640));
    assert_eq!(
        (bench.read("replaced2"), bench.mode("replaced2")),
        (b"old".to_vec(), 0o600)
    );
    let stamps: Vec<_> = committed.paths.iter().map(|done| done.stamp.is_some()).collect();
    assert_eq!(stamps, [false, true]);
}

#[test]
fn an_appended_content_that_was_read_before_needs_its_base() {
    let bench = Bench::new();
    bench.write("f", b"base and more");
    let change = bench.append("f", b"base", b"base and more");
    // Another job appended the very same: nothing tells whether this one is to be there twice.
    let seen = Seen::Content(base(b"base"));
    bench.conflict(vec![change], vec![("f", seen)]);
}

#[test]
fn a_program_that_runs_is_replaced() {
    for appended in [true, false] {
        let bench = Bench::new();
        fs::create_dir(bench.path("d")).unwrap();
        let program = bench.path("d/program");
        // Written by another process: no descriptor of this one keeps it from being executed.
        let copied = Command::new("cp").arg("/bin/sleep").arg(&program).status().unwrap();
        assert!(copied.success());
        fs::set_permissions(&program, fs::Permissions::from_mode(0o751)).unwrap();
        set_xattr(&program).expect("user attributes in the directory for temporary files");
        let mut child = Command::new(&program).arg("60").spawn().unwrap();
        bench.make_old("d");
        let before = bench.read("d/program");
        let after = [if appended { &before[..] } else { b"" }, b"another end"].concat();
        let mut change = bench.alter("d/program", content(edit(&before, &after, appended)));
        if let ChangeKind::Alter(alter) = &mut change.kind {
            let time = OLD;
            alter.mtime = Some(SetTime { time, explicit: true });
        }
        let committed = bench.commit(vec![change]).unwrap();
        assert_eq!(bench.read("d/program"), after);
        assert_eq!(committed.paths[0].hash, Some(hash(&after)));
        assert_eq!((bench.mode("d/program"), bench.mtime("d/program")), (0o751, OLD));
        assert_eq!(xattr(&program), b"value");
        assert_eq!(bench.mtime("d"), OLD, "for the job its names stayed what they were");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_mode_that_takes_the_content_back_is_found() {
    for (fault, content) in [(None, b"2"), (Some(Fault::ContentReverted), b"1")] {
        let bench = Bench::new();
        bench.write("f", b"1");
        plant(fault);
        bench.commit(vec![bench.edit("f", b"1", b"2")]).unwrap();
        bench.commit(vec![bench.chmod("f", 0o600)]).unwrap();
        plant(None);
        assert_eq!(bench.read("f"), content, "{fault:?}");
    }
}

/// The change that gives a file such an attribute.
fn xattr_set(bench: &Bench, name: &str) -> Change {
    let xattr = Xattr {
        name: "user.termite".into(),
        value: b"value".into(),
    };
    bench.change(name, ChangeKind::SetXattrs(vec![xattr]))
}

#[test]
fn extended_attributes_need_something_to_be_set_on() {
    let bench = Bench::new();
    bench.write("f", b"");
    symlink("f", bench.path("l")).unwrap();
    for name in ["none", "l"] {
        let conflict = bench.conflict(vec![bench.file("new", b""), xattr_set(&bench, name)], vec![]);
        assert_eq!(conflict.path, bench.path(name));
    }
    let removed = vec![bench.remove("f"), xattr_set(&bench, "f"), bench.file("new", b"")];
    assert_eq!(bench.conflict(removed, vec![]).path, bench.path("f"));
}

#[test]
fn what_gets_extended_attributes_may_be_read_only() {
    let bench = Bench::new();
    bench.write("f", b"");
    if set_xattr(&bench.path("f")).is_none() {
        return;
    }
    fs::remove_file(bench.path("f")).unwrap();
    bench.write("f", b"");
    let mut made = bench.file("new", b"");
    if let ChangeKind::File { attr, .. } = &mut made.kind {
        attr.mode = 0o444;
    }
    let changes = ["new", "f"].map(|name| xattr_set(&bench, name));
    bench
        .commit([vec![made, bench.chmod("f", 0o444)], changes.into()].concat())
        .unwrap();
    for name in ["new", "f"] {
        assert_eq!(
            (xattr(&bench.path(name)), bench.mode(name)),
            (b"value".to_vec(), 0o444),
            "{name}"
        );
    }
}

#[test]
fn bytes_that_the_job_did_not_change_are_not_written() {
    use crate::commit::apply::differing;
    assert!(differing(b"", b"abc").is_empty());
    assert!(differing(b"abc", b"abc").is_empty());
    assert_eq!(differing(b"aXcYZf", b"abcdef"), [1..2, 3..5]);
    assert_eq!(differing(b"abXcd", b"ab"), vec![2..5]);
    let (new, here) = (vec![1; 4096], [1, 0].repeat(2048));
    let runs = differing(&new, &here);
    assert!(runs.len() <= 256);
    let mut written = here;
    runs.into_iter().for_each(|run| written[run].fill(1));
    assert_eq!(written, new);
}
