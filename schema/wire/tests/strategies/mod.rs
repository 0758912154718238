//! Arbitrary values of our types that keep the types' own promises.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use termite_types::{
    Abandon, Alter, Attr, Base, BlobHash, BuildId, Change, ChangeKind, Check, Conflict, Content, Edit, Entry, Expected,
    FileTime, Holder, IfPresent, JobEnd, JobId, JobResult, JobSpec, Jobserver, Limit, Listing, Node, Owner, Phases,
    PidRange, Premises, RequestId, Seen, SetTime, Special, Stdin, Stdio, TerminalSize, TraceItem, Update, Usage, Use,
    Xattr,
};
use termite_wire::frame::{CallerJob, Control, ToCaller, ToDaemon};
use termite_wire::peer::{self, Listed, Opened};

fn string() -> impl Strategy<Value = OsString> {
    vec(1..=255_u8, 0..20).prop_map(OsString::from_vec)
}

fn name() -> impl Strategy<Value = OsString> {
    vec(1..=255_u8, 1..12)
        .prop_filter("a name", |bytes| {
            !bytes.contains(&b'/') && bytes != b"." && bytes != b".."
        })
        .prop_map(OsString::from_vec)
}

fn path() -> impl Strategy<Value = PathBuf> {
    vec(name(), 0..4).prop_map(|names| names.iter().fold(PathBuf::from("/"), |path, name| path.join(name)))
}

fn program() -> impl Strategy<Value = PathBuf> {
    vec(1..=255_u8, 1..20).prop_map(|bytes| OsString::from_vec(bytes).into())
}

fn hash() -> impl Strategy<Value = BlobHash> {
    any::<[u8; 32]>().prop_map(BlobHash)
}

fn time() -> impl Strategy<Value = FileTime> {
    (any::<i64>(), 0..1_000_000_000_u32).prop_map(|(sec, nsec)| FileTime { sec, nsec })
}

fn attr_of(node: impl Strategy<Value = Node>) -> impl Strategy<Value = Attr> {
    (0..=0o7777_u32, any::<u32>(), any::<u32>(), time(), node).prop_map(|(mode, uid, gid, mtime, node)| Attr {
        mode,
        uid,
        gid,
        mtime,
        node,
    })
}

fn symlink() -> impl Strategy<Value = Node> {
    program().prop_map(|target| Node::Symlink { target })
}

pub(crate) fn attr() -> impl Strategy<Value = Attr> {
    let file = (any::<u64>(), option::of(hash())).prop_map(|(size, hash)| Node::File { size, hash });
    let special = prop_oneof![Just(Special::Fifo), Just(Special::Socket), Just(Special::Device)];
    attr_of(prop_oneof![
        Just(Node::Dir),
        file,
        symlink(),
        special.prop_map(Node::Special)
    ])
}

/// A file's attributes with these bytes as content or beginning of it.
fn file_with(bytes: impl Strategy<Value = (Vec<u8>, u64)>) -> impl Strategy<Value = (Attr, Vec<u8>)> {
    (attr_of(Just(Node::Dir)), hash(), bytes).prop_map(|(attr, hash, (bytes, more))| {
        let size = bytes.len() as u64 + more;
        (
            Attr {
                node: Node::File { size, hash: Some(hash) },
                ..attr
            },
            bytes,
        )
    })
}

fn blob() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..100)
}

pub(crate) fn listing() -> impl Strategy<Value = Listing> {
    let entry = (name(), attr()).prop_map(|(name, attr)| Entry { name, attr });
    (attr_of(Just(Node::Dir)), vec(entry, 0..6)).prop_map(|(attr, entries)| Listing { attr, entries })
}

pub(crate) fn listed() -> impl Strategy<Value = Listed> {
    prop_oneof![
        (1..4096_u32).prop_map(Listed::Errno),
        listing().prop_map(Listed::Listing)
    ]
}

pub(crate) fn opened() -> impl Strategy<Value = Opened> {
    let holder = ("[ -~]{0,20}", vec(any::<u8>(), peer::TICKET_LEN));
    let holder = holder.prop_map(|(address, ticket)| Holder { address, ticket });
    let holders = vec(holder, 0..=peer::MOST_HOLDERS);
    let file = (file_with((blob(), 0..1000_u64)), holders);
    let file = file.prop_map(|((attr, head), holders)| Opened::File { attr, head, holders });
    prop_oneof![(1..4096_u32).prop_map(Opened::Errno), Just(Opened::Denied), file]
}

pub(crate) fn updates() -> impl Strategy<Value = Vec<Update>> {
    vec(
        (path(), option::of(attr()), any::<bool>()).prop_map(|(path, attr, names_told)| Update {
            path,
            attr,
            names_told,
        }),
        0..6,
    )
}

pub(crate) fn expected() -> impl Strategy<Value = Expected> {
    (vec(path(), 0..4), vec(path(), 0..4)).prop_map(|(dirs, files)| Expected { dirs, files })
}

fn stdio() -> impl Strategy<Value = Stdio> {
    let stdin = prop_oneof![
        Just(Stdin::Closed),
        Just(Stdin::Null),
        Just(Stdin::Pipe),
        Just(Stdin::Shared),
        Just(Stdin::File)
    ];
    let size = (1..=u16::MAX, any::<u16>()).prop_map(|(rows, cols)| TerminalSize { rows, cols });
    (stdin, any::<[bool; 3]>(), any::<[bool; 3]>(), option::of(size)).prop_map(
        |(stdin, [stdout, stderr, merged], terminal, size)| Stdio {
            stdin,
            stdout,
            stderr,
            merged,
            terminal,
            size,
        },
    )
}

fn limits() -> impl Strategy<Value = Vec<Limit>> {
    let limit = (0..16_u32, any::<u64>(), any::<u64>());
    vec(
        limit.prop_map(|(resource, soft, hard)| Limit { resource, soft, hard }),
        0..4,
    )
}

pub(crate) fn caller_job() -> impl Strategy<Value = CallerJob> {
    let command = (program(), vec(string(), 0..5), vec(string(), 0..5), path());
    let rest = (
        (any::<u64>(), any::<u128>()),
        (0..=0o777_u32, any::<u64>(), 0..=19_u8),
        limits(),
        vec(any::<u32>(), 0..4),
        stdio(),
        vec(JobSpec::INHERITABLE, 0..4),
        any::<[bool; 2]>(),
    );
    (command, rest).prop_map(
        |(
            (program, argv, env, cwd),
            ((build, request), (umask, ignored, nice), limits, groups, stdio, inherited, [must, is_driven]),
        )| CallerJob {
            request: RequestId(request),
            build: BuildId(build),
            program,
            argv,
            env,
            cwd,
            umask,
            ignored,
            nice,
            limits,
            groups,
            stdio,
            inherited,
            must,
            is_driven,
        },
    )
}

pub(crate) fn job() -> impl Strategy<Value = JobSpec> {
    let jobserver = option::of((any::<u32>(), any::<u32>()).prop_map(|(read, write)| Jobserver { read, write }));
    let rest = (
        any::<u32>(),
        any::<u32>(),
        any::<u32>(),
        string(),
        jobserver,
        vec(name(), 0..3),
        option::of(pids()),
    );
    (caller_job(), rest).prop_map(
        |(job, (number, uid, gid, hostname, jobserver, drivers, pids))| JobSpec {
            id: JobId {
                build: job.build,
                number,
            },
            program: job.program,
            argv: job.argv,
            env: job.env,
            cwd: job.cwd,
            umask: job.umask,
            ignored: job.ignored,
            nice: job.nice,
            limits: job.limits,
            owner: Owner {
                uid,
                gid,
                groups: job.groups,
            },
            hostname,
            stdio: job.stdio,
            inherited: job.inherited,
            jobserver,
            drivers,
            pids,
        },
    )
}

fn pids() -> impl Strategy<Value = PidRange> {
    (2..PidRange::LIMIT)
        .prop_flat_map(|first| (Just(first), 1..=PidRange::LIMIT - first))
        .prop_map(|(first, count)| PidRange { first, count })
}

fn base() -> impl Strategy<Value = Base> {
    (any::<u64>(), hash()).prop_map(|(size, hash)| Base { size, hash })
}

fn content(bytes: Vec<u8>, inline: bool) -> Content {
    if inline {
        Content::Inline(bytes)
    } else {
        Content::OnWorker
    }
}

fn alter() -> impl Strategy<Value = Alter> {
    let edit = (base(), blob(), hash(), any::<bool>(), any::<bool>());
    let edit = edit.prop_map(|(base, bytes, hash, inline, appended)| Edit {
        size: bytes.len() as u64,
        hash,
        appended: appended && base.size <= bytes.len() as u64,
        base,
        content: content(bytes, inline),
    });
    let mtime = (time(), any::<bool>()).prop_map(|(time, explicit)| SetTime { time, explicit });
    let owner = (any::<u32>(), any::<u32>());
    let parts = (
        option::of(0..=0o7777_u32),
        option::of(owner),
        option::of(mtime),
        option::of(edit),
    );
    parts.prop_map(|(mode, owner, mtime, content)| Alter {
        mode,
        owner,
        mtime,
        content,
    })
}

fn xattr() -> impl Strategy<Value = Xattr> {
    (string(), blob()).prop_map(|(name, value)| {
        let mut user = OsString::from("user.");
        user.push(name);
        Xattr { name: user, value }
    })
}

fn change() -> impl Strategy<Value = Change> {
    let if_present = prop_oneof![
        Just(IfPresent::Replace),
        Just(IfPresent::Append),
        Just(IfPresent::Overwrite)
    ];
    let file = (file_with((blob(), Just(0))), any::<bool>(), if_present, any::<bool>());
    let file = file.prop_map(|((attr, bytes), explicit_mtime, if_present, inline)| ChangeKind::File {
        attr,
        explicit_mtime,
        content: content(bytes, inline),
        if_present,
    });
    let dir = (attr_of(Just(Node::Dir)), any::<bool>(), any::<bool>());
    let kind = prop_oneof![
        any::<bool>().prop_map(|dir| ChangeKind::Remove { dir }),
        dir.prop_map(|(attr, explicit_mtime, plain)| ChangeKind::MakeDir {
            attr,
            explicit_mtime,
            plain
        }),
        attr_of(symlink()).prop_map(|attr| ChangeKind::Symlink { attr }),
        file,
        path().prop_map(|to| ChangeKind::Link { to }),
        (path(), option::of(hash())).prop_map(|(from, hash)| ChangeKind::Name { from, hash }),
        alter().prop_map(ChangeKind::Alter),
        vec(xattr(), 0..3).prop_map(ChangeKind::SetXattrs),
    ];
    (path(), kind).prop_map(|(path, kind)| Change { path, kind })
}

fn premises() -> impl Strategy<Value = Premises> {
    let seen = prop_oneof![
        Just(Seen::Nothing),
        Just(Seen::Leaf),
        Just(Seen::Absent),
        Just(Seen::OnlyName),
        Just(Seen::File),
        base().prop_map(Seen::Content),
        program().prop_map(Seen::Symlink),
        (0..=0o7777u32).prop_map(Seen::Mode),
        any::<(u32, u32)>().prop_map(|(uid, gid)| Seen::Owner(uid, gid)),
        path().prop_map(Seen::OtherFile),
    ];
    let check = (path(), seen).prop_map(|(path, seen)| Check { path, seen });
    let flags = (any::<bool>(), any::<bool>());
    let names = (vec(path(), 0..3), vec(path(), 0..3));
    (vec(check, 0..4), flags, names).prop_map(|(checks, (locked, unseen), (passing_names, locks))| Premises {
        checks,
        locked,
        unseen,
        passing_names,
        locks,
    })
}

fn end() -> impl Strategy<Value = JobEnd> {
    let abandon = prop_oneof![
        program().prop_map(Abandon::Driver),
        program().prop_map(Abandon::Denied),
        any::<String>().prop_map(Abandon::Files),
        any::<String>().prop_map(Abandon::Full),
        any::<String>().prop_map(Abandon::Slot),
        any::<String>().prop_map(Abandon::Unsupported),
        any::<String>().prop_map(Abandon::Start),
        any::<String>().prop_map(Abandon::Machine),
        path().prop_map(|path| Abandon::Needs(termite_types::Resource::Socket(path))),
        Just(Abandon::Cancelled),
        (path(), any::<[String; 2]>(), any::<bool>()).prop_map(|(path, [seen, found], awaited)| {
            Abandon::Conflict(Conflict {
                path,
                seen,
                found,
                awaited,
            })
        }),
    ];
    prop_oneof![
        any::<u8>().prop_map(JobEnd::Exited),
        (1..=64_u8).prop_map(JobEnd::Signaled),
        abandon.prop_map(JobEnd::Abandoned)
    ]
}

pub(crate) fn result() -> impl Strategy<Value = JobResult> {
    let used = prop_oneof![
        option::of(hash()).prop_map(Use::Read),
        prop::sample::select(&[Use::Stat, Use::Missing, Use::Listed, Use::Write][..]),
    ];
    let item = (path(), used).prop_map(|(path, used)| TraceItem { path, used });
    let lists = (vec(change(), 0..5), vec(item, 0..5), vec((1..=2_u8, blob()), 0..4));
    let rest = (any::<[u64; 11]>(), time(), premises());
    (end(), lists, rest).prop_map(|(end, (changes, trace, output), (numbers, worker_now, premises))| {
        let [
            read_input,
            wall_us,
            cpu_us,
            guard_faults,
            fetches,
            prefetched,
            bring_us,
            start_us,
            run_us,
            harvest_us,
            from_peers,
        ] = numbers;
        let usage = Usage {
            wall_us,
            cpu_us,
            guard_faults,
            fetches,
            prefetched,
            from_peers,
            phases: Phases {
                bring_us,
                start_us,
                run_us,
                harvest_us,
            },
        };
        JobResult {
            end,
            changes,
            premises,
            trace,
            output,
            read_input,
            usage,
            worker_now,
        }
    })
}

fn control() -> impl Strategy<Value = Control> {
    let begin = (any::<u64>(), path(), vec(string(), 0..4), vec(any::<String>(), 0..3));
    prop_oneof![
        Just(Control::Status),
        Just(Control::Stop),
        path().prop_map(Control::Last),
        begin.prop_map(|(build, cwd, command, workers)| Control::Begin {
            build: BuildId(build),
            cwd,
            command,
            workers
        }),
        (any::<u64>(), any::<u8>()).prop_map(|(build, exit)| Control::Finish {
            build: BuildId(build),
            exit
        }),
        vec(string(), 0..3).prop_map(Control::Forget),
    ]
}

pub(crate) fn to_daemon() -> impl Strategy<Value = ToDaemon> {
    prop_oneof![
        caller_job().prop_map(ToDaemon::Job),
        control().prop_map(ToDaemon::Control),
        (1..=64_u8).prop_map(ToDaemon::Signal),
        blob().prop_map(ToDaemon::Input),
        any::<(u16, u16)>().prop_map(|(rows, cols)| ToDaemon::Resize(TerminalSize { rows, cols })),
    ]
}

pub(crate) fn to_caller() -> impl Strategy<Value = ToCaller> {
    let local = (any::<String>(), any::<bool>(), any::<bool>(), string());
    prop_oneof![
        local.prop_map(|(reason, as_driver, tell, tools)| ToCaller::Local {
            reason,
            as_driver,
            tell,
            tools
        }),
        (1..=2_u8, blob()).prop_map(|(fd, bytes)| ToCaller::Output { fd, bytes }),
        Just(ToCaller::WantInput),
        any::<(u8, u64)>().prop_map(|(status, read_input)| ToCaller::Exited { status, read_input }),
        (1..=64_u8, any::<u64>()).prop_map(|(signal, read_input)| ToCaller::Signaled { signal, read_input }),
        any::<String>().prop_map(ToCaller::Report),
        any::<String>().prop_map(ToCaller::Error),
    ]
}
