//! Programs that ask for hard links, and the names that they looked at; renames of one name
//! to another.

use super::Bench;
use crate::commit::CommitError;
use crate::commit::links::check_links;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use termite_types::{Premises, TraceItem, Use};

/// `a` and `d/b` are one file, of which `l` leads to the latter; `alone` is another one.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("a", b"");
    bench.write("alone", b"");
    fs::create_dir(bench.path("d")).unwrap();
    fs::hard_link(bench.path("a"), bench.path("d/b")).unwrap();
    symlink("d/b", bench.path("l")).unwrap();
    bench
}

/// Of a job that ran a program and used these paths.
fn check(bench: &Bench, program: &str, used: &[(&str, Use)]) -> Result<(), PathBuf> {
    let item = |path: &Path, used| TraceItem {
        path: path.to_owned(),
        used,
    };
    let mut trace = vec![item(Path::new(program), Use::Read(None))];
    trace.extend(used.iter().map(|(name, used)| item(&bench.path(name), *used)));
    match check_links(&trace, &bench.path("")) {
        Ok(()) => Ok(()),
        Err(CommitError::Refused { path, .. }) => Err(path),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn two_names_of_one_file_are_refused_where_a_program_takes_them_for_one() {
    let bench = bench();
    let both = [("a", Use::Read(None)), ("d/b", Use::Stat)];
    for program in ["/bin/tar", "/usr/bin/cp", "/usr/bin/["] {
        let refused = check(&bench, program, &both).unwrap_err();
        assert!([bench.path("a"), bench.path("d/b")].contains(&refused), "{refused:?}");
    }
    for program in ["/usr/bin/cc", "/w/cp/cc", "/w/tar.c"] {
        assert_eq!(check(&bench, program, &both), Ok(()));
    }
}

#[test]
fn other_uses_are_not_refused() {
    let bench = bench();
    for used in [
        &[("a", Use::Read(None)), ("a", Use::Stat)][..],
        &[("d/b", Use::Read(None)), ("l", Use::Stat)],
        &[("d/../d/b", Use::Read(None)), ("d/b", Use::Stat)],
        &[("a", Use::Read(None)), ("d/b", Use::Missing), ("d/b", Use::Write)],
        &[
            ("a", Use::Read(None)),
            ("alone", Use::Read(None)),
            ("d", Use::Stat),
            ("none", Use::Stat),
        ],
    ] {
        assert_eq!(check(&bench, "/bin/tar", used), Ok(()), "{used:?}");
    }
}

#[test]
fn one_name_is_refused_where_a_program_counts_them() {
    let bench = bench();
    assert_eq!(
        check(&bench, "/usr/bin/stat", &[("a", Use::Stat)]),
        Err(bench.path("a"))
    );
    let others = [("alone", Use::Stat), ("d", Use::Stat), ("a", Use::Read(None))];
    assert_eq!(check(&bench, "/usr/bin/stat", &others), Ok(()));
    assert_eq!(
        check(&bench, "/usr/bin/gzip", &[("a", Use::Read(None))]),
        Err(bench.path("a"))
    );
}

#[test]
fn programs_and_libraries_may_have_several_names() {
    let bench = bench();
    let item = |name: &str, used| TraceItem {
        path: bench.path(name),
        used,
    };
    let cwd = bench.path("d");
    let mut trace = vec![
        item("tar", Use::Read(None)),
        item("a", Use::Stat),
        item("d/b", Use::Stat),
    ];
    check_links(&trace, &cwd).unwrap();
    // Unless they are listed.
    trace.push(item("", Use::Listed));
    check_links(&trace, &cwd).unwrap_err();
}

#[test]
fn unseen_calls_may_have_renamed_one_name_to_another() {
    let unseen = || Premises {
        unseen: true,
        ..Premises::default()
    };
    let renamed_over = |bench: &Bench| vec![bench.remove("d/b"), bench.file("a", b"new")];
    let seen = bench();
    seen.commit_by(renamed_over(&seen), Premises::default()).unwrap();
    let bench = bench();
    let refused = bench.commit_by(renamed_over(&bench), unseen());
    assert!(matches!(refused, Err(CommitError::Refused { path, .. }) if path == bench.path("a")));
    let both_anew = ["a", "d/b"].map(|name| [bench.remove(name), bench.file(name, b"new")]);
    bench.commit_by(both_anew.concat(), unseen()).unwrap();
}
