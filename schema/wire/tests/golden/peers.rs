//! The values of `peer.capnp`.

use super::{canonical, check, dir, file, golden_bytes, hash, set_id_file, symlink};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use termite_types::{
    Abandon, Alter, Base, BlobHash, BuildId, Change, ChangeKind, Check, Conflict, Content, Edit, Entry, Expected,
    FileTime, Group, Holder, IfPresent, JobEnd, JobId, JobResult, JobSpec, Jobserver, Limit, Listing, ObjectKind,
    ObjectName, Owner, Phases, PidRange, Premises, Resource, Seen, SetTime, Snapshot, Stdin, Stdio, TerminalSize,
    TraceItem, Update, Usage, Use, User, UserAnswer, UserQuery, Xattr,
};
use termite_wire::peer::{self, ClientInfo, Listed, Opened};
use termite_wire::peer_capnp as wire;

const JOB: JobId = JobId {
    build: BuildId(0x0123_4567_89ab_cdef),
    number: 7,
};

fn bytes(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

pub(crate) fn check_all() {
    introductions();
    numbers();
    files();
    resources();
    users();
    jobs();
    changes();
    results();
}

fn introductions() {
    let golden = golden_bytes("peer.Hello.worker");
    assert!(!canonical(&golden).is_empty());
    let message = capnp::serialize::read_message(&golden[..], Default::default()).expect("a message");
    let hello = message.get_root::<wire::hello::Reader<'_>>().expect("a hello");
    assert_eq!(hello.get_protocol(), termite_types::PROTOCOL);
    assert_eq!(hello.get_release().expect("text"), "0.1.0");
    assert_eq!(hello.get_token().expect("bytes"), [1, 2, 255]);
    assert_eq!(hello.get_hostname().expect("bytes"), b"h\xf6st");
    assert_eq!(hello.get_slots(), 4);
    assert!(!hello.has_worker());
    assert_eq!(hello.get_same_machine().expect("bytes"), b"boot");
    assert_eq!(hello.get_pid_limit(), 32_768);

    let client = ClientInfo {
        id: vec![0, 255],
        uid: 0,
        gid: u32::MAX,
        shim: b"\x7fELF".to_vec(),
    };
    check::<wire::client_info::Owned, _>(
        "peer.ClientInfo.root",
        &client,
        peer::read_client_info,
        peer::write_client_info,
    );
}

fn numbers() {
    check::<wire::job_id::Owned, _>(
        "peer.JobId.any",
        &JOB,
        |from| Ok(peer::read_job_id(from)),
        |job, to| peer::write_job_id(*job, to),
    );
    check::<wire::snapshot::Owned, _>(
        "peer.Snapshot.any",
        &Snapshot {
            epoch: u64::MAX,
            count: 2,
        },
        |from| Ok(peer::read_snapshot(from)),
        |snapshot, to| peer::write_snapshot(*snapshot, to),
    );
}

fn files() {
    for (case, attr) in [
        ("dir", dir()),
        ("file", set_id_file()),
        ("unhashed", file(4, None)),
        ("symlink", symlink()),
    ] {
        check::<wire::attr::Owned, _>(&format!("peer.Attr.{case}"), &attr, peer::read_attr, peer::write_attr);
    }
    let entries = vec![
        Entry {
            name: "sub".into(),
            attr: dir(),
        },
        Entry {
            name: bytes(b"caf\xe9"),
            attr: set_id_file(),
        },
        Entry {
            name: "...".into(),
            attr: symlink(),
        },
    ];
    check::<wire::listing::Owned, _>(
        "peer.Listing.mixed",
        &Listing { attr: dir(), entries },
        peer::read_listing,
        peer::write_listing,
    );
    let gone = Update::new("/a/b", None);
    let there = Update::new(bytes(b"/a/\xff"), Some(file(4, None)));
    let in_it = Update {
        names_told: true,
        ..Update::new("/a", Some(dir()))
    };
    for (case, update) in [("gone", gone), ("attr", there), ("namestold", in_it)] {
        check::<wire::update::Owned, _>(
            &format!("peer.Update.{case}"),
            &update,
            peer::read_update,
            peer::write_update,
        );
    }
    let expected = Expected {
        dirs: vec!["/".into(), "/a".into()],
        files: vec![bytes(b"/a/\xff").into()],
    };
    check::<wire::expected::Owned, _>(
        "peer.Expected.both",
        &expected,
        peer::read_expected,
        peer::write_expected,
    );
    let empty = Listing {
        attr: dir(),
        entries: Vec::new(),
    };
    for (case, listed) in [("errno", Listed::Errno(13)), ("empty", Listed::Listing(empty))] {
        check::<wire::list_result::Owned, _>(
            &format!("peer.ListResult.{case}"),
            &listed,
            peer::read_list_result,
            peer::write_list_result,
        );
    }
    let whole = Opened::File {
        attr: file(4, Some(hash())),
        head: b"int\n".to_vec(),
        holders: Vec::new(),
    };
    let elsewhere = Opened::File {
        attr: file(4, Some(hash())),
        head: Vec::new(),
        holders: vec![Holder {
            address: "127.0.0.1:7".into(),
            ticket: hash().0.to_vec(),
        }],
    };
    for (case, opened) in [
        ("errno", Opened::Errno(2)),
        ("denied", Opened::Denied),
        ("file", whole),
        ("elsewhere", elsewhere),
    ] {
        check::<wire::open_result::Owned, _>(
            &format!("peer.OpenResult.{case}"),
            &opened,
            peer::read_open_result,
            peer::write_open_result,
        );
    }
}

fn resources() {
    let resources = [
        ("process", Resource::Process(7)),
        ("target", Resource::Target(-7)),
        ("service", Resource::Service(([127, 0, 0, 1], 80).into())),
        ("abstract", Resource::AbstractSocket(b"a\xff".to_vec())),
        ("socket", Resource::Socket("/run/s".into())),
        ("name", Resource::Name("/p/lock".into())),
        ("services", Resource::NameServices),
        ("writable", Resource::Writable("/p/d".into())),
        ("object", Resource::Object(ObjectKind::Queue, ObjectName::Key(-2))),
    ];
    for (case, resource) in resources {
        check::<wire::resource::Owned, _>(
            &format!("peer.Resource.{case}"),
            &resource,
            peer::read_resource,
            peer::write_resource,
        );
    }
}

fn users() {
    let queries = [
        ("userNamed", UserQuery::UserNamed("u".into())),
        ("userNumbered", UserQuery::UserNumbered(7)),
        ("groupNamed", UserQuery::GroupNamed("g".into())),
        ("groupNumbered", UserQuery::GroupNumbered(8)),
        ("groupsOf", UserQuery::GroupsOf("u".into())),
    ];
    for (case, query) in queries {
        check::<wire::user_query::Owned, _>(
            &format!("peer.UserQuery.{case}"),
            &query,
            peer::read_user_query,
            peer::write_user_query,
        );
    }
    let user = User {
        name: "u".into(),
        uid: 7,
        gid: 8,
        comment: "U,,,".into(),
        home: "/home/u".into(),
        shell: "/bin/sh".into(),
    };
    let group = Group {
        name: "g".into(),
        gid: 8,
        members: vec!["a".into(), "b".into()],
    };
    let answers = [
        ("inFiles", UserAnswer::InFiles),
        ("nobody", UserAnswer::Nobody),
        ("user", UserAnswer::User(user)),
        ("group", UserAnswer::Group(group)),
        ("groups", UserAnswer::Groups(vec![8, 9])),
    ];
    for (case, answer) in answers {
        check::<wire::user_answer::Owned, _>(
            &format!("peer.UserAnswer.{case}"),
            &answer,
            peer::read_user_answer,
            peer::write_user_answer,
        );
    }
}

fn jobs() {
    let full = JobSpec {
        id: JOB,
        program: "/usr/bin/gcc".into(),
        argv: vec!["gcc".into(), "-c".into(), "".into(), bytes(b"x\xff.c")],
        env: vec!["A=1".into(), "B=".into()],
        cwd: "/home/u/p".into(),
        umask: 0o022,
        ignored: 1 << 63 | 1,
        nice: 19,
        limits: vec![
            Limit {
                resource: 3,
                soft: 8 << 20,
                hard: u64::MAX,
            },
            Limit {
                resource: 7,
                soft: 1024,
                hard: 4096,
            },
        ],
        owner: Owner {
            uid: 1000,
            gid: 100,
            groups: vec![100, 4, u32::MAX],
        },
        hostname: "host".into(),
        stdio: Stdio {
            stdin: Stdin::Pipe,
            stdout: true,
            stderr: true,
            merged: true,
            terminal: [false, true, true],
            size: Some(TerminalSize { rows: 24, cols: 80 }),
        },
        inherited: vec![7, 1023],
        jobserver: Some(Jobserver { read: 3, write: 4 }),
        drivers: vec!["make".into(), "ninja".into()],
        pids: Some(PidRange {
            first: 32_000,
            count: 700,
        }),
    };
    let bare = JobSpec {
        id: JobId {
            build: BuildId(1),
            number: 1,
        },
        program: "./a.out".into(),
        argv: vec!["a.out".into()],
        env: Vec::new(),
        cwd: "/".into(),
        umask: 0,
        ignored: 0,
        nice: 0,
        limits: Vec::new(),
        owner: Owner {
            uid: 0,
            gid: 0,
            groups: Vec::new(),
        },
        hostname: "h".into(),
        stdio: Stdio {
            stdin: Stdin::Closed,
            stdout: false,
            stderr: true,
            merged: false,
            terminal: [true, false, false],
            size: None,
        },
        inherited: Vec::new(),
        jobserver: None,
        drivers: Vec::new(),
        pids: None,
    };
    for (case, job) in [("full", full), ("bare", bare)] {
        check::<wire::job::Owned, _>(&format!("peer.Job.{case}"), &job, peer::read_job, peer::write_job);
    }
}

fn change(path: &str, kind: ChangeKind) -> Change {
    Change {
        path: path.into(),
        kind,
    }
}

fn base() -> Base {
    Base {
        size: 2,
        hash: BlobHash(std::array::from_fn(|at| 0xff - 0x11 * (at as u8 % 16))),
    }
}

fn alter() -> Alter {
    Alter {
        mode: Some(0o600),
        owner: Some((7, 8)),
        mtime: Some(SetTime {
            time: FileTime { sec: 9, nsec: 10 },
            explicit: true,
        }),
        content: Some(Edit {
            base: base(),
            size: 4,
            hash: hash(),
            content: Content::Inline(b"int\n".to_vec()),
            appended: true,
        }),
    }
}

fn xattr() -> Xattr {
    Xattr {
        name: "user.origin".into(),
        value: b"a\0b".to_vec(),
    }
}

fn changes() {
    let inline = ChangeKind::File {
        attr: file(4, Some(hash())),
        explicit_mtime: true,
        content: Content::Inline(b"int\n".to_vec()),
        if_present: IfPresent::Append,
    };
    let on_worker = ChangeKind::File {
        attr: set_id_file(),
        explicit_mtime: false,
        content: Content::OnWorker,
        if_present: IfPresent::Overwrite,
    };
    let made = ChangeKind::MakeDir {
        attr: dir(),
        explicit_mtime: true,
        plain: true,
    };
    let name = |hash| ChangeKind::Name {
        from: "/p/f".into(),
        hash,
    };
    let mode = Alter {
        mode: Some(0o4755),
        ..Alter::default()
    };
    let cases = [
        ("remove", change("/p/old", ChangeKind::Remove { dir: true })),
        ("makedir", change("/p", made)),
        ("symlink", change("/p/l", ChangeKind::Symlink { attr: symlink() })),
        ("inline", change("/p/f", inline)),
        ("onworker", change("/p/f", on_worker)),
        ("link", change("/p/g", ChangeKind::Link { to: "/p/f".into() })),
        ("name", change("/p/g", name(Some(hash())))),
        ("unhashedname", change("/p/g", name(None))),
        ("alter", change("/p/f", ChangeKind::Alter(alter()))),
        ("mode", change("/p/f", ChangeKind::Alter(mode))),
        ("xattrs", change("/p/f", ChangeKind::SetXattrs(vec![xattr()]))),
    ];
    for (case, change) in cases {
        check::<wire::change::Owned, _>(
            &format!("peer.Change.{case}"),
            &change,
            peer::read_change,
            peer::write_change,
        );
    }
}

fn result(end: JobEnd) -> JobResult {
    JobResult {
        end,
        changes: Vec::new(),
        premises: Premises::default(),
        trace: Vec::new(),
        output: Vec::new(),
        read_input: 5,
        usage: Usage {
            wall_us: 1000,
            cpu_us: 2000,
            guard_faults: 3,
            fetches: 4,
            prefetched: 6,
            from_peers: 11,
            phases: Phases {
                bring_us: 100,
                start_us: 200,
                run_us: 300,
                harvest_us: 400,
            },
        },
        worker_now: FileTime {
            sec: 1_700_000_001,
            nsec: 5,
        },
    }
}

fn results() {
    let exited = JobResult {
        changes: vec![
            change("/p/old", ChangeKind::Remove { dir: false }),
            change(
                "/p",
                ChangeKind::MakeDir {
                    attr: dir(),
                    explicit_mtime: false,
                    plain: false,
                },
            ),
        ],
        premises: Premises {
            checks: [
                Seen::Nothing,
                Seen::Leaf,
                Seen::Content(base()),
                Seen::Absent,
                Seen::OnlyName,
                Seen::Symlink("../t".into()),
                Seen::Mode(0o755),
                Seen::Owner(1, 2),
                Seen::OtherFile("/p/new".into()),
                Seen::File,
            ]
            .map(|seen| Check {
                path: "/p/old".into(),
                seen,
            })
            .into(),
            locked: true,
            unseen: true,
            passing_names: vec!["/p/lock".into()],
            locks: vec!["/p/db".into()],
        },
        trace: vec![
            TraceItem {
                path: "/p/../p/x.h".into(),
                used: Use::Read(Some(hash())),
            },
            TraceItem {
                path: "/nil".into(),
                used: Use::Missing,
            },
        ],
        output: vec![(2, b"warn\xff\n".to_vec()), (1, Vec::new())],
        ..result(JobEnd::Exited(1))
    };
    let path = PathBuf::from;
    let abandoned = [
        ("driver", Abandon::Driver(path("/usr/bin/make"))),
        ("denied", Abandon::Denied(path("/root/.ssh/id"))),
        ("files", Abandon::Files("gone".into())),
        ("full", Abandon::Full("inodes".into())),
        ("slot", Abandon::Slot("no namespaces".into())),
        ("unsupported", Abandon::Unsupported("FIFO".into())),
        ("start", Abandon::Start("errno 8".into())),
        ("machine", Abandon::Machine("mount(2)".into())),
        ("needs", Abandon::Needs(Resource::Process(7))),
        ("cancelled", Abandon::Cancelled),
        (
            "conflict",
            Abandon::Conflict(Conflict {
                path: path("/w/log"),
                seen: "nothing".into(),
                found: "a directory".into(),
                awaited: true,
            }),
        ),
    ];
    let mut cases = vec![("exited", exited), ("signaled", result(JobEnd::Signaled(9)))];
    cases.extend(abandoned.map(|(case, why)| (case, result(JobEnd::Abandoned(why)))));
    for (case, result) in cases {
        check::<wire::job_result::Owned, _>(
            &format!("peer.JobResult.{case}"),
            &result,
            peer::read_job_result,
            peer::write_job_result,
        );
    }
}
