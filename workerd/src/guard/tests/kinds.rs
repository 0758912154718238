//! What a job's trace says of each path: found or not, read or changed, also where the
//! call failed or the job itself has changed what is there.

use super::bench::with_client;
use crate::slot::tests::bed::this;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::Ordering;
use termite_abi::TRACE_LEN;
use termite_types::{BlobHash, Use};

/// A script, and after it the kinds of use of each path in the order of [`Use`]:
/// Read, Stat, Missing, Listed, Write.
const CASES: [(&str, &[(&str, &str)]); 12] = [
    ("mkdir new there", &[("new", "w"), ("there", "s")]),
    ("mkdir none/new", &[("none/new", "m")]),
    ("rm -f file none", &[("file", "w"), ("none", "m")]),
    ("rmdir empty none", &[("empty", "lw"), ("none", "m")]),
    ("ln file twin", &[("file", "r"), ("twin", "w")]),
    ("ln none twin", &[("none", "m")]),
    ("mv file moved", &[("file", "w"), ("moved", "w")]),
    ("chmod 600 file none", &[("file", "w"), ("none", "m")]),
    ("set -C; echo x > made", &[("made", "mw")]),
    ("echo x >> none/made", &[("none/made", "m")]),
    // A use that was answered once is looked at anew when the job has changed what is there.
    ("cat made; echo x > made; cat made", &[("made", "rmw")]),
    ("cat file; rm file; cat file", &[("file", "rmw")]),
];

#[test]
fn each_use_has_its_kind() {
    with_client(this!(each_use_has_its_kind), |bench| {
        for (script, expected) in CASES {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("file"), "file\n").unwrap();
            fs::create_dir_all(dir.path().join("there")).unwrap();
            fs::create_dir_all(dir.path().join("empty")).unwrap();
            let ran = bench.run(&bench.mirror(), bench.script(dir.path(), script));
            for (name, kinds) in expected {
                let kind_of = |used: Use| match used {
                    Use::Read(_) => 'r',
                    Use::Stat => 's',
                    Use::Missing => 'm',
                    Use::Listed => 'l',
                    Use::Write => 'w',
                };
                let at = dir.path().join(name);
                let items = ran.trace.iter().filter(|item| item.path == at);
                let used: Vec<_> = items.map(|item| kind_of(item.used)).collect();
                for kind in ['r', 'm', 'l', 'w'] {
                    assert_eq!(
                        used.contains(&kind),
                        kinds.contains(kind),
                        "{script}: {name} {kind}\n{}",
                        ran.output
                    );
                }
                if *kinds == "s" {
                    assert!(used.contains(&'s'), "{script}: {name} was found");
                }
            }
        }
    });
}

#[test]
fn a_read_content_has_its_hash_through_links() {
    with_client(this!(a_read_content_has_its_hash_through_links), |bench| {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("sub/deep")).unwrap();
        fs::write(at("file"), "file\n").unwrap();
        symlink("file", at("link")).unwrap();
        symlink("../../link", at("sub/deep/link")).unwrap();
        symlink(at("sub"), at("way")).unwrap();
        symlink("way/deep", at("deep")).unwrap();
        let names = ["file", "link", "way/deep/link", "deep/link"];
        let script = format!("cat {} && ln -s file own && cat own", names.join(" "));
        let ran = bench.run(&bench.mirror(), bench.script(dir.path(), &script));
        let hash_of = |name: &str| {
            let mut items = ran.trace.iter().filter(|item| matches!(item.used, Use::Read(_)));
            let item = items.find(|item| item.path == at(name)).expect("it is read");
            item.used.content()
        };
        let content = BlobHash(*blake3::hash(b"file\n").as_bytes());
        for name in names {
            assert_eq!(hash_of(name), Some(content), "{name}");
        }
        assert_eq!(hash_of("own"), None, "the job's own");
    });
}

#[test]
fn a_full_log_loses_nothing() {
    with_client(this!(a_full_log_loses_nothing), |bench| {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "file\n").unwrap();
        // Names of 200 messages, more of them than the log has bytes for.
        let names = 2 + TRACE_LEN / 200;
        let script = format!(
            "n=$(printf %0190d 0); i=0; while [ $i -lt {names} ]; do [ -e $n.$i ]; i=$((i + 1)); done; cat file"
        );
        let ran = bench.run(&bench.mirror(), bench.script(dir.path(), &script));
        assert_eq!(ran.output, "file\n");
        let head = ran.shared.trace_head.load(Ordering::Relaxed) as usize;
        assert!(head > TRACE_LEN, "{head} {:?} {}", ran.end, ran.trace.len());
        let missing = ran
            .trace
            .iter()
            .filter(|item| item.used == Use::Missing && item.path.starts_with(dir.path()))
            .count();
        assert_eq!(missing, names);
        let last = ran.trace.iter().rev().find(|item| matches!(item.used, Use::Read(_)));
        assert_eq!(last.map(|item| &item.path), Some(&dir.path().join("file")));
    });
}
