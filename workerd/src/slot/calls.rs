//! The system calls that a slot does not simply let through: every call that names a
//! file by path, the calls that take input, and those that a job has no business with.
//! One table, for x86-64 and i386; the filter is made from it and the guard reads its
//! notifications by it.
//!
//! Knows the shape of the calls (man section 2, `arch/x86/entry/syscalls/*.tbl` of
//! Linux 6.18) and nothing of what is done about them.

use libc::{ENOSYS, EPERM};
use termite_types::ObjectKind;

/// The instruction sets that a job's system calls may use; x32 is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arch {
    /// 64-bit calls.
    X86_64,
    /// 32-bit calls, also those that a 64-bit program makes by `int 0x80`.
    I386,
}

/// No such call on that architecture.
pub const NONE: u32 = u32::MAX;
/// The last number that the table knows about (`file_setattr`). Beyond it: ENOSYS.
pub const LAST: u32 = 469;

/// One system call. Arguments are named by their position, from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathCall {
    /// Its name in the kernel's table.
    pub name: &'static str,
    /// Number on x86-64, or [`NONE`].
    pub x86_64: u32,
    /// Number on i386, or [`NONE`].
    pub i386: u32,
    /// The paths it is given, in their order.
    pub paths: &'static [PathArg],
    /// What it does to them.
    pub effect: Effect,
    /// It is stopped only when, for each pair, the lower half of the argument is one
    /// of the values.
    pub when: &'static [(u8, &'static [u32])],
    /// It is stopped only when the argument at this position is not null.
    pub given: Option<u8>,
    /// Position of its `AT_*` flags (`AT_EMPTY_PATH` may be among them).
    pub at_flags: Option<u8>,
    /// The sixth argument is free, so that it may hold the cookie.
    pub cookie: bool,
    /// libc's `fstat` is this call with an empty path, which names nothing.
    pub fstat: bool,
    /// Values of argument 1 with which it takes a lock on the file at descriptor 0's place;
    /// it is stopped then, whatever else is said here.
    pub locks: &'static [u32],
}

/// One path among the arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathArg {
    /// Position of the descriptor that a relative path begins at; `None`: the cwd.
    pub dir: Option<u8>,
    /// Position of the pointer to the path, which may be null (`utimensat`) or empty; `None`:
    /// the descriptor alone says what is meant.
    pub path: Option<u8>,
    /// What becomes of a symlink at the end of the path.
    pub last: Last,
}

/// Whether a symlink that the path ends in is followed. A trailing slash follows always.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Last {
    /// Always.
    Follow,
    /// Never.
    Keep,
    /// Unless this argument has `AT_SYMLINK_NOFOLLOW`.
    FollowUnlessAt(u8),
    /// If this argument has `AT_SYMLINK_FOLLOW`.
    FollowIfAt(u8),
    /// As the open flags say: not with `O_NOFOLLOW`, nor with `O_CREAT | O_EXCL`.
    ByOpen,
}

/// What a call does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Looks at attributes, a link target, extended attributes, or just resolves.
    Stat,
    /// Opens.
    Open(OpenFlags),
    /// Makes a directory, node or symlink that must not be there.
    Create,
    /// Removes a name: of a directory if this says so.
    Remove(Removal),
    /// Moves the first path to the second; the argument has `RENAME_*` flags.
    Rename(Option<u8>),
    /// Gives the first path a second name.
    Link,
    /// Changes mode, owner or extended attributes.
    Metadata,
    /// Sets times.
    Times,
    /// Changes the length.
    Truncate,
    /// Executes.
    Exec,
    /// Makes it the working directory.
    Chdir,
    /// `bind`, `connect` or `sendto`: position of the pointer to a `sockaddr` and of its
    /// length. Only `AF_UNIX` with a path concerns a view; `bind` creates, the others look up.
    Socket {
        /// Position of the pointer.
        addr: u8,
        /// Position of the length in bytes.
        len: u8,
        /// It is `bind`.
        bind: bool,
    },
    /// `sendmsg`, or `sendmmsg` where this says so: argument 1 points to a `msghdr`, or to
    /// as many `mmsghdr` as argument 2 says. Their addresses are as for `connect`.
    Message {
        /// It is `sendmmsg`.
        many: bool,
    },
    /// i386 `socketcall`: argument 0 is 2 (bind), 3 (connect), 11 (sendto), 16 (sendmsg) or
    /// 20 (sendmmsg), argument 1 points to the call's own arguments, 4 bytes each.
    SocketCall,
    /// Takes input from the descriptor at this position, which is 0, or copies it.
    Input(u8),
    /// Goes to another place in descriptor 0, or reads elsewhere there.
    Seek,
    /// Waits for a time.
    Sleep,
    /// Waits for `pollfd`s: positions of the pointer and the count. With none it sleeps.
    Poll(u8, u8),
    /// Waits for the `fd_set` of readable descriptors: positions of the number of
    /// descriptors and the pointer. With none it sleeps. The i386 `select` of old passes a block of arguments:
    /// there position 0 points to both (`nfds`, `readfds`, 4 bytes each) and `block` is true.
    Select {
        /// Position of the number of descriptors.
        count: u8,
        /// Position of the pointer to the set.
        read: u8,
        /// Both are in a block that argument 0 points to.
        block: bool,
    },
    /// Takes a lock on an open file.
    Lock,
    /// Puts a filter over the task; with `SECCOMP_FILTER_FLAG_NEW_LISTENER` among the flags
    /// at this position it asks for a listener, of which a task has one at most.
    OwnFilter(u8),
    /// Sets the task's capabilities.
    Capabilities,
    /// Finds or makes an object of System V IPC by the key that is argument 0; its flags are at
    /// this position.
    Object(ObjectKind, u8),
    /// Uses the object whose identifier is argument 0; where it is a control call, the command
    /// is at this position.
    ObjectUse(ObjectKind, Option<u8>),
    /// Is about something that a slot does not have, and that stays.
    OfMachine,
    /// Is about the process whose number is argument 0; below -1, the group.
    Process,
    /// It fails with this errno. With EPERM, and where there is a guard, that is told first: the
    /// client's machine may allow the call.
    Refused(i32),
}

/// Where the flags of an open are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenFlags {
    /// At this position.
    Arg(u8),
    /// Fixed by the call.
    Fixed(i32),
    /// In the `struct open_how` that this position points to; its size is at the next one.
    How(u8),
}

/// What kind of name is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal {
    /// Of anything but a directory.
    File,
    /// Of a directory.
    Dir,
    /// Of a directory if the argument has `AT_REMOVEDIR`.
    ByAt(u8),
}

impl PathCall {
    /// Its number on an architecture, or [`NONE`].
    pub const fn nr(&self, arch: Arch) -> u32 {
        match arch {
            Arch::X86_64 => self.x86_64,
            Arch::I386 => self.i386,
        }
    }
}

/// The row of a call; `None`: it is let through.
pub fn lookup(arch: Arch, nr: u32) -> Option<&'static PathCall> {
    let index = match arch {
        Arch::X86_64 => &INDEX_X86_64,
        Arch::I386 => &INDEX_I386,
    };
    let row = *index.get(nr as usize)?;
    CALLS.get(usize::from(row))
}

/// All rows.
pub fn all() -> &'static [PathCall] {
    CALLS
}

const NO_ROW: u8 = u8::MAX;
static INDEX_X86_64: [u8; LAST as usize + 1] = index(Arch::X86_64);
static INDEX_I386: [u8; LAST as usize + 1] = index(Arch::I386);

const fn index(arch: Arch) -> [u8; LAST as usize + 1] {
    let mut index = [NO_ROW; LAST as usize + 1];
    let mut row = 0;
    assert!(CALLS.len() < NO_ROW as usize);
    while row < CALLS.len() {
        let nr = CALLS[row].nr(arch);
        if nr != NONE {
            assert!(index[nr as usize] == NO_ROW, "one number in two rows");
            index[nr as usize] = row as u8;
        }
        row += 1;
    }
    index
}

const fn call(name: &'static str, x86_64: u32, i386: u32, paths: &'static [PathArg], effect: Effect) -> PathCall {
    PathCall {
        name,
        x86_64,
        i386,
        paths,
        effect,
        when: &[],
        given: None,
        at_flags: None,
        cookie: true,
        fstat: false,
        locks: &[],
    }
}

const fn refused(name: &'static str, x86_64: u32, i386: u32, errno: i32) -> PathCall {
    call(name, x86_64, i386, &[], Effect::Refused(errno))
}

/// A call that takes input from descriptor 0.
const fn input(name: &'static str, x86_64: u32, i386: u32, fd: u8) -> PathCall {
    let when: &'static [(u8, &'static [u32])] = match fd {
        0 => &[(0, &[0])],
        1 => &[(1, &[0])],
        _ => &[(2, &[0])],
    };
    call(name, x86_64, i386, &[], Effect::Input(fd)).when(when)
}

impl PathCall {
    const fn when(mut self, when: &'static [(u8, &'static [u32])]) -> Self {
        self.when = when;
        self
    }

    const fn given(mut self, arg: u8) -> Self {
        self.given = Some(arg);
        self
    }

    const fn at(mut self, flags: u8) -> Self {
        self.at_flags = Some(flags);
        self
    }

    const fn fstat(mut self) -> Self {
        self.fstat = true;
        self
    }

    const fn locks(mut self, commands: &'static [u32]) -> Self {
        self.locks = commands;
        self
    }

    const fn six_arguments(mut self) -> Self {
        self.cookie = false;
        self
    }
}

const fn at(dir: u8, path: u8, last: Last) -> PathArg {
    PathArg {
        dir: Some(dir),
        path: Some(path),
        last,
    }
}

/// A path at position 0, relative to the cwd.
const FOLLOW: &[PathArg] = &[PathArg {
    dir: None,
    path: Some(0),
    last: Last::Follow,
}];
const KEEP: &[PathArg] = &[PathArg {
    dir: None,
    path: Some(0),
    last: Last::Keep,
}];
const BY_OPEN: &[PathArg] = &[PathArg {
    dir: None,
    path: Some(0),
    last: Last::ByOpen,
}];
const BOTH_KEEP: &[PathArg] = &[
    PathArg {
        dir: None,
        path: Some(0),
        last: Last::Keep,
    },
    PathArg {
        dir: None,
        path: Some(1),
        last: Last::Keep,
    },
];
/// A path at position 1, relative to the descriptor at position 0.
const AT_FOLLOW: &[PathArg] = &[at(0, 1, Last::Follow)];
const AT_KEEP: &[PathArg] = &[at(0, 1, Last::Keep)];
const AT_BY_OPEN: &[PathArg] = &[at(0, 1, Last::ByOpen)];
const AT_UNLESS_2: &[PathArg] = &[at(0, 1, Last::FollowUnlessAt(2))];
const AT_UNLESS_3: &[PathArg] = &[at(0, 1, Last::FollowUnlessAt(3))];
const AT_UNLESS_4: &[PathArg] = &[at(0, 1, Last::FollowUnlessAt(4))];
const AT_BOTH_KEEP: &[PathArg] = &[at(0, 1, Last::Keep), at(2, 3, Last::Keep)];

/// What is open at the descriptor at position 0.
const OPENED: &[PathArg] = &[PathArg {
    dir: Some(0),
    path: None,
    last: Last::Follow,
}];

const CREAT: i32 = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;

use Effect::{Chdir, Create, Exec, Link, Metadata, Open, Remove, Rename, Stat, Times, Truncate};
use ObjectKind::{Memory, Queue, Semaphores};

#[rustfmt::skip]
const CALLS: &[PathCall] = &[
    // Looking.
    call("stat",              4,   106,  FOLLOW,      Stat),
    call("lstat",             6,   107,  KEEP,        Stat),
    call("oldstat",           NONE, 18,  FOLLOW,      Stat),
    call("oldlstat",          NONE, 84,  KEEP,        Stat),
    call("stat64",            NONE, 195, FOLLOW,      Stat),
    call("lstat64",           NONE, 196, KEEP,        Stat),
    call("newfstatat",        262, 300,  AT_UNLESS_3, Stat).at(3).fstat(),
    call("statx",             332, 383,  AT_UNLESS_2, Stat).at(2),
    call("access",            21,  33,   FOLLOW,      Stat),
    call("faccessat",         269, 307,  AT_FOLLOW,   Stat),
    call("faccessat2",        439, 439,  AT_UNLESS_3, Stat).at(3),
    call("readlink",          89,  85,   KEEP,        Stat),
    call("readlinkat",        267, 305,  AT_KEEP,     Stat),
    call("statfs",            137, 99,   FOLLOW,      Stat),
    call("statfs64",          NONE, 268, FOLLOW,      Stat),
    call("getxattr",          191, 229,  FOLLOW,      Stat),
    call("lgetxattr",         192, 230,  KEEP,        Stat),
    call("listxattr",         194, 232,  FOLLOW,      Stat),
    call("llistxattr",        195, 233,  KEEP,        Stat),
    call("getxattrat",        464, 464,  AT_UNLESS_2, Stat).at(2).six_arguments(),
    call("listxattrat",       465, 465,  AT_UNLESS_2, Stat).at(2),
    call("file_getattr",      468, 468,  AT_UNLESS_4, Stat).at(4),
    call("inotify_add_watch", 254, 292,  &[PathArg { dir: None, path: Some(1), last: Last::Follow }], Stat),
    call("name_to_handle_at", 303, 341,  &[at(0, 1, Last::FollowIfAt(4))], Stat).at(4),
    // Opening, executing, entering.
    call("open",              2,   5,    BY_OPEN,     Open(OpenFlags::Arg(1))),
    call("openat",            257, 295,  AT_BY_OPEN,  Open(OpenFlags::Arg(2))),
    call("openat2",           437, 437,  AT_BY_OPEN,  Open(OpenFlags::How(2))),
    call("creat",             85,  8,    FOLLOW,      Open(OpenFlags::Fixed(CREAT))),
    call("execve",            59,  11,   FOLLOW,      Exec),
    call("execveat",          322, 358,  AT_UNLESS_4, Exec).at(4),
    call("chdir",             80,  12,   FOLLOW,      Chdir),
    // Names.
    call("mkdir",             83,  39,   KEEP,        Create),
    call("mkdirat",           258, 296,  AT_KEEP,     Create),
    call("mknod",             133, 14,   KEEP,        Create),
    call("mknodat",           259, 297,  AT_KEEP,     Create),
    call("symlink",           88,  83,   &[PathArg { dir: None, path: Some(1), last: Last::Keep }], Create),
    call("symlinkat",         266, 304,  &[at(1, 2, Last::Keep)], Create),
    call("unlink",            87,  10,   KEEP,        Remove(Removal::File)),
    call("rmdir",             84,  40,   KEEP,        Remove(Removal::Dir)),
    call("unlinkat",          263, 301,  AT_KEEP,     Remove(Removal::ByAt(2))),
    call("rename",            82,  38,   BOTH_KEEP,   Rename(None)),
    call("renameat",          264, 302,  AT_BOTH_KEEP, Rename(None)),
    call("renameat2",         316, 353,  AT_BOTH_KEEP, Rename(Some(4))),
    call("link",              86,  9,    BOTH_KEEP,   Link),
    call("linkat",            265, 303,  &[at(0, 1, Last::FollowIfAt(4)), at(2, 3, Last::Keep)], Link).at(4),
    // Attributes and lengths.
    call("chmod",             90,  15,   FOLLOW,      Metadata),
    call("fchmodat",          268, 306,  AT_FOLLOW,   Metadata),
    call("fchmodat2",         452, 452,  AT_UNLESS_3, Metadata).at(3),
    call("fchmod",            91,  94,   OPENED,      Metadata),
    call("chown",             92,  182,  FOLLOW,      Metadata),
    call("lchown",            94,  16,   KEEP,        Metadata),
    call("chown32",           NONE, 212, FOLLOW,      Metadata),
    call("lchown32",          NONE, 198, KEEP,        Metadata),
    call("fchownat",          260, 298,  AT_UNLESS_4, Metadata).at(4),
    call("fchown",            93,  95,   OPENED,      Metadata),
    call("fchown32",          NONE, 207, OPENED,      Metadata),
    call("setxattr",          188, 226,  FOLLOW,      Metadata),
    call("lsetxattr",         189, 227,  KEEP,        Metadata),
    call("fsetxattr",         190, 228,  OPENED,      Metadata),
    call("removexattr",       197, 235,  FOLLOW,      Metadata),
    call("lremovexattr",      198, 236,  KEEP,        Metadata),
    call("fremovexattr",      199, 237,  OPENED,      Metadata),
    call("setxattrat",        463, 463,  AT_UNLESS_2, Metadata).at(2).six_arguments(),
    call("removexattrat",     466, 466,  AT_UNLESS_2, Metadata).at(2),
    call("file_setattr",      469, 469,  AT_UNLESS_4, Metadata).at(4),
    call("utime",             132, 30,   FOLLOW,      Times),
    call("utimes",            235, 271,  FOLLOW,      Times),
    call("futimesat",         261, 299,  AT_FOLLOW,   Times),
    call("utimensat",         280, 320,  AT_UNLESS_3, Times).at(3),
    call("utimensat_time64",  NONE, 412, AT_UNLESS_3, Times).at(3),
    call("truncate",          76,  92,   FOLLOW,      Truncate),
    call("truncate64",        NONE, 193, FOLLOW,      Truncate),
    // Sockets with a path.
    call("connect",           42,  362,  &[],         Effect::Socket { addr: 1, len: 2, bind: false }),
    call("bind",              49,  361,  &[],         Effect::Socket { addr: 1, len: 2, bind: true }),
    call("sendto",            44,  369,  &[],         Effect::Socket { addr: 4, len: 5, bind: false }).given(4).six_arguments(),
    call("sendmsg",           46,  370,  &[],         Effect::Message { many: false }),
    call("sendmmsg",          307, 345,  &[],         Effect::Message { many: true }),
    call("socketcall",        NONE, 102, &[],         Effect::SocketCall).when(&[(0, &[2, 3, 11, 16, 20])]),
    // SECCOMP_SET_MODE_FILTER.
    call("seccomp",           317, 354,  &[],         Effect::OwnFilter(1)).when(&[(0, &[1])]),
    // Locks. flock(2) without LOCK_UN, with LOCK_NB or not.
    call("flock",             73,  143,  &[],         Effect::Lock).locks(&[1, 2, 5, 6]),
    // Input, stopped only where standard input is fetched on demand.
    input("read",             0,   3,    0),
    input("readv",            19,  145,  0),
    input("preadv2",          327, 378,  0),
    input("dup",              32,  41,   0),
    input("dup2",             33,  63,   0),
    input("dup3",             292, 330,  0),
    input("splice",           275, 313,  0),
    input("tee",              276, 315,  0),
    input("sendfile",         40,  187,  1),
    input("sendfile64",       NONE, 239, 1),
    input("epoll_ctl",        233, 255,  2),
    // Stopped only where standard input is a file.
    call("lseek",             8,   19,   &[],         Effect::Seek).when(&[(0, &[0])]),
    call("_llseek",           NONE, 140, &[],         Effect::Seek).when(&[(0, &[0])]),
    call("pread64",           17,  180,  &[],         Effect::Seek).when(&[(0, &[0])]),
    call("preadv",            295, 333,  &[],         Effect::Seek).when(&[(0, &[0])]),
    call("fcntl",             72,  55,   &[],         Effect::Input(0)).when(&[(0, &[0]), (1, F_DUPFD)]).locks(F_SETLK),
    call("fcntl64",           NONE, 221, &[],         Effect::Input(0)).when(&[(0, &[0]), (1, F_DUPFD)]).locks(F_SETLK),
    call("ioctl",             16,  54,   &[],         Effect::Input(0)).when(&[(0, &[0]), (1, &[libc::FIONREAD as u32])]),
    call("poll",              7,   168,  &[],         Effect::Poll(0, 1)),
    call("ppoll",             271, 309,  &[],         Effect::Poll(0, 1)),
    call("ppoll_time64",      NONE, 414, &[],         Effect::Poll(0, 1)),
    call("select",            23,  142,  &[],         Effect::Select { count: 0, read: 1, block: false }),
    call("old_select",        NONE, 82,  &[],         Effect::Select { count: 0, read: 1, block: true }),
    call("pselect6",          270, 308,  &[],         Effect::Select { count: 0, read: 1, block: false }),
    call("pselect6_time64",   NONE, 413, &[],         Effect::Select { count: 0, read: 1, block: false }),
    // Waiting, also for what others do.
    call("nanosleep",         35,  162,  &[],         Effect::Sleep),
    call("clock_nanosleep",   230, 267,  &[],         Effect::Sleep),
    call("clock_nanosleep_time64", NONE, 407, &[],    Effect::Sleep),
    call("kill",              62,  37,   &[],         Effect::Process),
    call("pidfd_open",        434, 434,  &[],         Effect::Process),
    call("capset",            126, 185,  &[],         Effect::Capabilities),
    // Modes that a memory file system does not have (fallocate(2)).
    call("fallocate",         285, 324,  &[],         Effect::OfMachine).when(&[(1, FALLOCATE_ELSEWHERE)]),
    call("mq_open",           240, 277,  &[],         Effect::OfMachine),
    call("mq_unlink",         241, 278,  &[],         Effect::OfMachine),
    call("shmget",            29,  395,  &[],         Effect::Object(Memory, 2)),
    call("semget",            64,  393,  &[],         Effect::Object(Semaphores, 2)),
    call("msgget",            68,  399,  &[],         Effect::Object(Queue, 1)),
    call("shmat",             30,  397,  &[],         Effect::ObjectUse(Memory, None)),
    call("shmctl",            31,  396,  &[],         Effect::ObjectUse(Memory, Some(1))),
    call("semop",             65,  NONE, &[],         Effect::ObjectUse(Semaphores, None)),
    call("semtimedop",        220, NONE, &[],         Effect::ObjectUse(Semaphores, None)),
    call("semtimedop_time64", NONE, 420, &[],         Effect::ObjectUse(Semaphores, None)),
    call("semctl",            66,  394,  &[],         Effect::ObjectUse(Semaphores, Some(2))),
    call("msgsnd",            69,  400,  &[],         Effect::ObjectUse(Queue, None)),
    call("msgrcv",            70,  401,  &[],         Effect::ObjectUse(Queue, None)),
    call("msgctl",            71,  402,  &[],         Effect::ObjectUse(Queue, Some(1))),
    // What would move files out of the guard's sight, or reaches beyond a view.
    refused("mount",             165, 21,   EPERM),
    refused("umount",            NONE, 22,  EPERM),
    refused("umount2",           166, 52,   EPERM),
    refused("chroot",            161, 61,   EPERM),
    refused("pivot_root",        155, 217,  EPERM),
    refused("open_tree",         428, 428,  EPERM),
    refused("open_tree_attr",    467, 467,  EPERM),
    refused("move_mount",        429, 429,  EPERM),
    refused("fsopen",            430, 430,  EPERM),
    refused("fsconfig",          431, 431,  EPERM),
    refused("fsmount",           432, 432,  EPERM),
    refused("fspick",            433, 433,  EPERM),
    refused("mount_setattr",     442, 442,  EPERM),
    refused("open_by_handle_at", 304, 342,  EPERM),
    refused("swapon",            167, 87,   EPERM),
    refused("swapoff",           168, 115,  EPERM),
    refused("acct",              163, 51,   EPERM),
    refused("quotactl",          179, 131,  EPERM),
    refused("fanotify_init",     300, 338,  EPERM),
    refused("fanotify_mark",     301, 339,  EPERM),
    refused("bpf",               321, 357,  EPERM),
    refused("uselib",            134, 86,   ENOSYS),
    refused("io_uring_setup",    425, 425,  ENOSYS),
    refused("io_uring_enter",    426, 426,  ENOSYS),
    refused("io_uring_register", 427, 427,  ENOSYS),
];

/// F_SETLK, F_SETLKW, F_SETLK64 and F_SETLKW64 of i386, F_OFD_SETLK, F_OFD_SETLKW
/// (`fcntl(2)`, linux/fcntl.h). On x86-64, 13 and 14 are not used.
const F_SETLK: &[u32] = &[6, 7, 13, 14, 37, 38];
const FALLOCATE_ELSEWHERE: &[u32] = &[
    libc::FALLOC_FL_COLLAPSE_RANGE as u32,
    libc::FALLOC_FL_INSERT_RANGE as u32,
    libc::FALLOC_FL_ZERO_RANGE as u32,
    (libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE) as u32,
    libc::FALLOC_FL_UNSHARE_RANGE as u32,
    (libc::FALLOC_FL_UNSHARE_RANGE | libc::FALLOC_FL_KEEP_SIZE) as u32,
];
const F_DUPFD: &[u32] = &[libc::F_DUPFD as u32, libc::F_DUPFD_CLOEXEC as u32];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_numbers() {
        for call in all() {
            assert!(call.x86_64 != NONE || call.i386 != NONE, "{}", call.name);
            for arch in [Arch::X86_64, Arch::I386] {
                if call.nr(arch) != NONE {
                    assert_eq!(lookup(arch, call.nr(arch)), Some(call));
                }
            }
        }
        assert_eq!(lookup(Arch::X86_64, LAST + 1), None);
    }

    /// The C library's own numbers, where it has the names.
    #[test]
    fn numbers_are_the_c_librarys() {
        let known = [
            ("openat", libc::SYS_openat),
            ("newfstatat", libc::SYS_newfstatat),
            ("renameat2", libc::SYS_renameat2),
            ("statx", libc::SYS_statx),
            ("execveat", libc::SYS_execveat),
            ("faccessat2", libc::SYS_faccessat2),
            ("openat2", libc::SYS_openat2),
            ("utimensat", libc::SYS_utimensat),
            ("linkat", libc::SYS_linkat),
            ("symlinkat", libc::SYS_symlinkat),
            ("unlinkat", libc::SYS_unlinkat),
            ("mkdirat", libc::SYS_mkdirat),
            ("fchmodat2", libc::SYS_fchmodat2),
            ("fchownat", libc::SYS_fchownat),
            ("bind", libc::SYS_bind),
            ("connect", libc::SYS_connect),
            ("sendto", libc::SYS_sendto),
            ("sendmsg", libc::SYS_sendmsg),
            ("sendmmsg", libc::SYS_sendmmsg),
            ("truncate", libc::SYS_truncate),
            ("setxattr", libc::SYS_setxattr),
            ("mount_setattr", libc::SYS_mount_setattr),
            ("inotify_add_watch", libc::SYS_inotify_add_watch),
        ];
        for (name, nr) in known {
            let call = all().iter().find(|call| call.name == name).unwrap();
            assert_eq!(i64::from(call.x86_64), nr, "{name}");
        }
    }
}
