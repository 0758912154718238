//! Reading a notification: which paths a call names, what it will do to them, all of it
//! taken from the table of calls and the task's memory. Knows nothing of views' insides.

use super::sys::{read_memory, read_string};
use crate::slot::calls::{self, Arch, Effect, Last, OpenFlags, PathArg, PathCall, Removal};
use crate::slot::filter::AUDIT_X86_64;
use crate::view::{Act, Intent, Origin, PathUse, Writes};
use rustix::fs::RenameFlags;
use termite_types::Resource;

/// A stopped call.
pub(super) struct Request {
    /// Of the notification.
    pub id: u64,
    /// The stopped thread, by workerd's numbers.
    pub task: u32,
    pub arch: Arch,
    pub number: u32,
    pub args: [u64; 6],
    /// Its row in the table.
    pub call: &'static PathCall,
    /// The paths that matter to a view.
    pub paths: Vec<Named>,
    /// What a `connect` to something else than a path is to.
    pub peer: Option<Resource>,
}

/// One path of a call.
pub(super) struct Named {
    pub origin: Origin,
    pub path: Vec<u8>,
    pub follow: bool,
    pub intent: Intent,
    pub makes: bool,
    pub act: Act,
}

impl Named {
    pub(super) fn used(&self) -> PathUse<'_> {
        PathUse {
            origin: self.origin,
            path: &self.path,
            follow: self.follow,
            intent: self.intent,
            makes: self.makes,
            act: self.act,
        }
    }
}

/// What an open asks for.
#[derive(Clone, Copy)]
struct Opening {
    flags: i32,
    /// `openat2`: an absolute path begins at the descriptor.
    in_root: bool,
}

impl Request {
    /// Reads a notification. `None`: nothing in it concerns a view, or it cannot be read, so
    /// that the kernel shall say what is wrong.
    pub(super) fn read(notification: &libc::seccomp_notif) -> Option<Self> {
        let libc::seccomp_notif { id, pid, data, .. } = notification;
        let arch = if data.arch == AUDIT_X86_64 {
            Arch::X86_64
        } else {
            Arch::I386
        };
        let number = u32::try_from(data.nr).ok()?;
        let call = calls::lookup(arch, number)?;
        let mut request = Self {
            id: *id,
            task: *pid,
            arch,
            number,
            args: data.args,
            call,
            paths: Vec::new(),
            peer: None,
        };
        request.paths = match call.effect {
            Effect::Socket { addr, len, bind } => {
                let (addr, len) = (request.args[addr as usize], request.args[len as usize]);
                if call.name == "connect" {
                    request.peer = request.peer_at(addr, len);
                }
                match request.peer {
                    Some(_) => Vec::new(),
                    None => request.socket(addr, len, bind)?,
                }
            }
            Effect::Message { many } => {
                let count = if many { request.args[2] } else { 1 };
                request.messages(request.args[1], count, many)?
            }
            Effect::SocketCall => request.socket_call()?,
            _ => request.named()?,
        };
        Some(request)
    }

    fn named(&self) -> Option<Vec<Named>> {
        let opening = match self.call.effect {
            Effect::Open(flags) => Some(self.opening(flags)?),
            _ => None,
        };
        let mut paths = Vec::with_capacity(self.call.paths.len());
        for (index, arg) in self.call.paths.iter().enumerate() {
            paths.extend(self.path(arg, index, opening)?);
        }
        if let (Effect::Rename(_), [from, to]) = (self.call.effect, &mut paths[..])
            && (from.origin, &from.path) == (to.origin, &to.path)
        {
            // It does nothing (rename(2)).
            (from.act, to.act) = (Act::Look, Act::Look);
        }
        Some(paths)
    }

    /// `Some(None)`: this path does not matter. `None`: the kernel shall say what is wrong.
    fn path(&self, arg: &PathArg, index: usize, opening: Option<Opening>) -> Option<Option<Named>> {
        let address = arg.path.map_or(0, |at| self.args[at as usize]);
        let mut path = if address == 0 {
            Vec::new()
        } else {
            read_string(self.task, address)?
        };
        let intent = self.intent(index, opening);
        if path.is_empty() {
            let may_be_null = arg.path.is_none() || self.call.effect == Effect::Times;
            let at_itself = self.at_flag(libc::AT_EMPTY_PATH) || address == 0 && may_be_null;
            // Attributes of what is open are there already.
            if !at_itself || intent == Intent::Stat {
                return Some(None);
            }
        }
        if opening.is_some_and(|opening| opening.in_root) {
            let slashes = path.iter().take_while(|byte| **byte == b'/').count();
            path.drain(..slashes);
        }
        let origin = match arg.dir.map(|dir| self.args[dir as usize] as i32) {
            None | Some(libc::AT_FDCWD) => Origin::Cwd,
            Some(fd) => Origin::Descriptor(fd),
        };
        let follow = match arg.last {
            Last::Follow => true,
            Last::Keep => false,
            Last::FollowUnlessAt(at) => self.args[at as usize] as i32 & libc::AT_SYMLINK_NOFOLLOW == 0,
            Last::FollowIfAt(at) => self.args[at as usize] as i32 & libc::AT_SYMLINK_FOLLOW != 0,
            Last::ByOpen => opening.is_none_or(|opening| {
                let exclusive = libc::O_CREAT | libc::O_EXCL;
                opening.flags & libc::O_NOFOLLOW == 0 && opening.flags & exclusive != exclusive
            }),
        };
        Some(Some(Named {
            origin,
            path,
            follow,
            intent,
            makes: self.makes(index, opening),
            act: self.act(index, opening),
        }))
    }

    fn opening(&self, flags: OpenFlags) -> Option<Opening> {
        match flags {
            OpenFlags::Arg(at) => Some(Opening {
                flags: self.args[at as usize] as i32,
                in_root: false,
            }),
            OpenFlags::Fixed(flags) => Some(Opening { flags, in_root: false }),
            OpenFlags::How(at) => {
                // struct open_how of linux/openat2.h: flags, mode, resolve.
                let how = read_memory(self.task, self.args[at as usize], 24).ok()?;
                let word = |at: usize| Some(u64::from_le_bytes(how.get(at..at + 8)?.try_into().ok()?));
                const RESOLVE_IN_ROOT: u64 = 0x10;
                Some(Opening {
                    flags: word(0)? as i32,
                    in_root: word(16)? & RESOLVE_IN_ROOT != 0,
                })
            }
        }
    }

    fn intent(&self, index: usize, opening: Option<Opening>) -> Intent {
        if let Some(Opening { flags, .. }) = opening {
            return open_intent(flags);
        }
        match self.call.effect {
            Effect::Exec => Intent::Exec,
            Effect::Create => Intent::Name,
            Effect::Remove(removal) if self.is_of_dir(removal) => Intent::Empty,
            Effect::Remove(_) => Intent::Name,
            Effect::Rename(_) if index == 1 && !self.rename_flags().contains(RenameFlags::EXCHANGE) => Intent::Empty,
            Effect::Link if index == 1 => Intent::Name,
            Effect::Link => Intent::Share,
            Effect::Rename(_) | Effect::Metadata | Effect::Times | Effect::Truncate => Intent::Change,
            _ => Intent::Stat,
        }
    }

    /// Whether the path is made where it is missing.
    fn makes(&self, index: usize, opening: Option<Opening>) -> bool {
        match self.call.effect {
            Effect::Open(_) => opening.is_some_and(|opening| opening.flags & libc::O_CREAT != 0),
            Effect::Create => true,
            Effect::Rename(_) => index == 1 && !self.rename_flags().contains(RenameFlags::EXCHANGE),
            Effect::Link => index == 1,
            _ => false,
        }
    }

    /// What it does at the path.
    fn act(&self, index: usize, opening: Option<Opening>) -> Act {
        match self.call.effect {
            Effect::Open(_) => opening.map_or(Act::Look, |opening| open_act(opening.flags)),
            // Which program that is, whoever decides on the call finds out.
            Effect::Create if self.call.name.starts_with("mkdir") => Act::MakeDir { plain: false },
            Effect::Create => Act::Make,
            Effect::Remove(removal) => Act::Remove {
                dir: self.is_of_dir(removal),
            },
            Effect::Rename(_) if self.rename_flags().contains(RenameFlags::EXCHANGE) => Act::Exchange,
            Effect::Rename(_) if index == 0 => Act::MoveAway,
            Effect::Rename(_) => Act::MoveHere {
                exclusive: self.rename_flags().contains(RenameFlags::NOREPLACE),
                // Whoever decides on the call finds out.
                dir: false,
            },
            Effect::Link if index == 0 => Act::Link,
            Effect::Link => Act::Make,
            Effect::Metadata => Act::Attributes {
                by_writers: self.call.name.contains("xattr"),
            },
            Effect::Times => Act::Attributes {
                by_writers: self.explicit_mtime().is_none(),
            },
            Effect::Truncate => Act::Open {
                writes: Writes::Within,
                exclusive: false,
            },
            Effect::Stat if self.asks_for_writing() => Act::TestWrite,
            _ => Act::Look,
        }
    }

    /// `access(2)` and its kin, whose mode is the argument behind the path.
    fn asks_for_writing(&self) -> bool {
        let mode = match self.call.name {
            "access" => self.args[1],
            "faccessat" | "faccessat2" => self.args[2],
            _ => 0,
        };
        mode as i32 & libc::W_OK != 0
    }

    fn is_of_dir(&self, removal: Removal) -> bool {
        match removal {
            Removal::File => false,
            Removal::Dir => true,
            Removal::ByAt(at) => self.args[at as usize] as i32 & libc::AT_REMOVEDIR != 0,
        }
    }

    /// Whether it only asks if a process may be sent a signal (kill(2)).
    pub(super) fn is_test_of_process(&self) -> bool {
        self.call.name == "kill" && self.args[1] as i32 == 0
    }

    /// Flags of a rename.
    pub(super) fn rename_flags(&self) -> RenameFlags {
        match self.call.effect {
            Effect::Rename(Some(at)) => RenameFlags::from_bits_retain(self.args[at as usize] as u32),
            _ => RenameFlags::empty(),
        }
    }

    /// Whether it takes a lock on an open file. What it does to memory of the task is not
    /// looked at: `F_UNLCK` is among the locks.
    pub(super) fn takes_lock(&self) -> bool {
        self.call.locks.contains(&(self.args[1] as u32))
    }

    /// Whether it waits for nothing but a time.
    pub(super) fn sleeps(&self) -> bool {
        match self.call.effect {
            Effect::Sleep => true,
            Effect::Poll(_, count)
            | Effect::Select {
                count, block: false, ..
            } => self.args[count as usize] == 0,
            _ => false,
        }
    }

    fn at_flag(&self, flag: i32) -> bool {
        self.call
            .at_flags
            .is_some_and(|at| self.args[at as usize] as i32 & flag != 0)
    }

    fn socket_call(&self) -> Option<Vec<Named>> {
        // Of linux/net.h, with their number of arguments.
        const BIND: u64 = 2;
        const SENDTO: u64 = 11;
        const SENDMSG: u64 = 16;
        const SENDMMSG: u64 = 20;
        let number = self.args[0] & 0xffff_ffff;
        let count = match number {
            SENDTO => 6,
            SENDMMSG => 4,
            _ => 3,
        };
        let block = read_memory(self.task, self.args[1], 4 * count).ok()?;
        let word = |at: usize| little_endian(block.get(4 * at..4 * at + 4)?);
        match number {
            SENDTO => self.socket(word(4)?, word(5)?, false),
            SENDMSG => self.messages(word(1)?, 1, false),
            SENDMMSG => self.messages(word(1)?, word(2)?, true),
            _ => self.socket(word(1)?, word(2)?, number == BIND),
        }
    }

    /// The addresses of `msghdr`s, or of `mmsghdr`s (`sendmmsg(2)`), which are longer.
    fn messages(&self, address: u64, count: u64, many: bool) -> Option<Vec<Named>> {
        const UIO_MAXIOV: u64 = 1024;
        let (pointer, size) = match self.arch {
            Arch::X86_64 => (8, if many { 64 } else { 56 }),
            Arch::I386 => (4, if many { 32 } else { 28 }),
        };
        let count = (count & 0xffff_ffff).min(UIO_MAXIOV) as usize;
        let bytes = read_memory(self.task, address, count * size).ok()?;
        let mut paths = Vec::new();
        for message in bytes.chunks_exact(size) {
            let name = little_endian(message.get(..pointer)?)?;
            let len = little_endian(message.get(pointer..pointer + 4)?)?;
            if name != 0 {
                paths.extend(self.socket(name, len, false).into_iter().flatten());
            }
        }
        Some(paths)
    }

    /// A `sockaddr_in`, `sockaddr_in6` or `sockaddr_un` with an abstract name (`ip(7)`, `ipv6(7)`,
    /// `unix(7)`).
    fn peer_at(&self, address: u64, len: u64) -> Option<Resource> {
        let bytes = read_memory(self.task, address, (len as usize).min(size_of::<libc::sockaddr_un>())).ok()?;
        let (family, rest) = bytes.split_first_chunk::<2>()?;
        let port = || Some(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?));
        match i32::from(u16::from_le_bytes(*family)) {
            libc::AF_INET => {
                let ip = <[u8; 4]>::try_from(rest.get(2..6)?).ok()?;
                Some(Resource::Service((ip, port()?).into()))
            }
            libc::AF_INET6 => {
                let ip = <[u8; 16]>::try_from(rest.get(6..22)?).ok()?;
                Some(Resource::Service((ip, port()?).into()))
            }
            libc::AF_UNIX if rest.first() == Some(&0) && rest.len() > 1 => {
                Some(Resource::AbstractSocket(rest[1..].to_vec()))
            }
            _ => None,
        }
    }

    /// A `sockaddr_un` with a path (`unix(7)`).
    fn socket(&self, address: u64, len: u64, bind: bool) -> Option<Vec<Named>> {
        let bytes = read_memory(self.task, address, (len as usize).min(size_of::<libc::sockaddr_un>())).ok()?;
        let (family, path) = bytes.split_first_chunk::<2>()?;
        if u16::from_le_bytes(*family) != libc::AF_UNIX as u16 {
            return None;
        }
        let path = path
            .split(|byte| *byte == 0)
            .next()
            .filter(|path| !path.is_empty())?
            .to_vec();
        let intent = if bind { Intent::Name } else { Intent::Stat };
        Some(vec![Named {
            origin: Origin::Cwd,
            path,
            follow: !bind,
            intent,
            makes: bind,
            act: if bind { Act::Make } else { Act::Look },
        }])
    }
}

/// A number of up to eight bytes.
fn little_endian(bytes: &[u8]) -> Option<u64> {
    let mut word = [0; 8];
    word.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(u64::from_le_bytes(word))
}

fn open_act(flags: i32) -> Act {
    if flags & libc::O_PATH != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE {
        return Act::Look;
    }
    let writes = match flags & libc::O_ACCMODE {
        _ if flags & libc::O_TRUNC != 0 => Writes::Anew,
        libc::O_WRONLY if flags & libc::O_APPEND != 0 => Writes::Append,
        libc::O_RDONLY if flags & libc::O_CREAT == 0 => return Act::Look,
        _ => Writes::Within,
    };
    let exclusive = libc::O_CREAT | libc::O_EXCL;
    Act::Open {
        writes,
        exclusive: flags & exclusive == exclusive,
    }
}

fn open_intent(flags: i32) -> Intent {
    if flags & libc::O_PATH != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE {
        return Intent::Stat;
    }
    let exclusive = libc::O_CREAT | libc::O_EXCL;
    match flags & libc::O_ACCMODE {
        _ if flags & exclusive == exclusive => Intent::Name,
        _ if flags & libc::O_TRUNC != 0 => Intent::Change,
        libc::O_RDONLY if flags & libc::O_DIRECTORY != 0 => Intent::List,
        libc::O_RDONLY => Intent::Read,
        libc::O_WRONLY if flags & libc::O_APPEND != 0 => Intent::Append,
        _ => Intent::Update,
    }
}
