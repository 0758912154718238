//! Users and groups: what the C library asks nscd(8) for before it looks anywhere itself, the
//! client answers. Knows the conversation with nscd (`nscd/nscd-client.h` of glibc; musl has the same), and
//! not where answers come from.

use super::sys::TargetFd;
use crate::view::{Files, read_below};
use rustix::fd::AsFd;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use termite_types::{Group, User, UserAnswer, UserQuery};

/// Where the C libraries look for nscd.
const SOCKETS: [&str; 2] = ["/var/run/nscd/socket", "/run/nscd/socket"];
/// `NSCD_VERSION`.
const VERSION: u32 = 2;
/// `MAXKEYLEN`.
const MOST: u32 = 1024;
/// How long a job may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);
/// Conversations of one job at a time.
const AT_ONCE: usize = 16;

/// Whether a path is that of nscd's socket.
pub(super) fn is_socket(path: &Path) -> bool {
    SOCKETS.iter().any(|socket| path == Path::new(socket))
}

/// The conversations of one job.
#[derive(Default)]
pub(super) struct Conversations {
    /// Whether the client asks more than files, which the job has as well.
    pub services: OnceLock<bool>,
    going_on: Arc<AtomicUsize>,
}

impl Conversations {
    /// Begins one in the place of what a task has at a number: the task's end, and where it is to be
    /// put. `None`: there are too many, or no such descriptor.
    pub(super) fn begin(
        &self,
        task: u32,
        number: u32,
        proc: impl AsFd,
        files: Arc<dyn Files>,
    ) -> Option<(UnixStream, TargetFd)> {
        let flags = flags_of(task, number, proc)?;
        let place = TargetFd {
            number,
            is_cloexec: flags & libc::O_CLOEXEC != 0,
        };
        let (ours, theirs) = UnixStream::pair().ok()?;
        theirs.set_nonblocking(flags & libc::O_NONBLOCK != 0).ok()?;
        let going_on = self.going_on.clone();
        if going_on.fetch_add(1, Ordering::Relaxed) >= AT_ONCE {
            going_on.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let talk = move || {
            // Who does not listen to the end needs no answer.
            let _ = converse(ours, |query| files.find_user(query).unwrap_or(UserAnswer::InFiles));
            going_on.fetch_sub(1, Ordering::Relaxed);
        };
        std::thread::Builder::new().name("users".into()).spawn(talk).ok()?;
        Some((theirs, place))
    }
}

/// The flags of an open file as `open(2)` has them (proc_pid_fdinfo(5)).
fn flags_of(task: u32, number: u32, proc: impl AsFd) -> Option<i32> {
    let info = read_below(proc, Path::new(&format!("{task}/fdinfo/{number}"))).ok()?;
    let info = String::from_utf8(info).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    i32::from_str_radix(flags.trim(), 8).ok()
}

/// One conversation: a question and its answer. What is not a question for users and groups gets
/// none, whereupon the C library does without.
fn converse(mut job: UnixStream, ask: impl FnOnce(&UserQuery) -> UserAnswer) -> io::Result<()> {
    job.set_read_timeout(Some(PATIENCE))?;
    job.set_write_timeout(Some(PATIENCE))?;
    let Some(query) = read_query(&mut job)? else {
        return Ok(());
    };
    let answer = ask(&query);
    job.write_all(&answer_of(&query, &answer))
}

/// `request_header` and its key, which ends with a null byte.
fn read_query(from: &mut impl Read) -> io::Result<Option<UserQuery>> {
    let mut words = [0; 12];
    from.read_exact(&mut words)?;
    let [version, kind, len] =
        [0, 4, 8].map(|at| u32::from_ne_bytes([words[at], words[at + 1], words[at + 2], words[at + 3]]));
    if version != VERSION || !(1..=MOST).contains(&len) {
        return Ok(None);
    }
    let mut key = vec![0; len as usize];
    from.read_exact(&mut key)?;
    key.pop();
    let Ok(key) = String::from_utf8(key) else {
        return Ok(None);
    };
    // `request_type`.
    Ok(match kind {
        0 => Some(UserQuery::UserNamed(key)),
        1 => key.parse().ok().map(UserQuery::UserNumbered),
        2 => Some(UserQuery::GroupNamed(key)),
        3 => key.parse().ok().map(UserQuery::GroupNumbered),
        15 => Some(UserQuery::GroupsOf(key)),
        _ => None,
    })
}

/// Whether there is such a row, as the second word says: it is not asked for here, there is none, or
/// it follows.
const NOT_HERE: u32 = u32::MAX;
const NONE: u32 = 0;
const FOUND: u32 = 1;

fn answer_of(query: &UserQuery, answer: &UserAnswer) -> Vec<u8> {
    match (query, answer) {
        (UserQuery::UserNamed(_) | UserQuery::UserNumbered(_), UserAnswer::User(user)) => of_user(user),
        (UserQuery::GroupNamed(_) | UserQuery::GroupNumbered(_), UserAnswer::Group(group)) => of_group(group),
        (UserQuery::GroupsOf(_), UserAnswer::Groups(groups)) => of_groups(groups),
        (_, UserAnswer::Nobody) => without_row(query, NONE),
        _ => without_row(query, NOT_HERE),
    }
}

/// The header alone, as long as that of a row.
fn without_row(query: &UserQuery, found: u32) -> Vec<u8> {
    let words = match query {
        UserQuery::UserNamed(_) | UserQuery::UserNumbered(_) => 9,
        UserQuery::GroupNamed(_) | UserQuery::GroupNumbered(_) => 6,
        UserQuery::GroupsOf(_) => 3,
    };
    let mut all = vec![0; words];
    (all[0], all[1]) = (VERSION, found);
    bytes_of(all)
}

/// `pw_response_header` and its strings.
fn of_user(user: &User) -> Vec<u8> {
    let User {
        name,
        uid,
        gid,
        comment,
        home,
        shell,
    } = user;
    let [name_len, comment_len, home_len, shell_len] = [name, comment, home, shell].map(|text| length(text));
    let numbers = [
        VERSION,
        FOUND,
        name_len,
        length("x"),
        *uid,
        *gid,
        comment_len,
        home_len,
        shell_len,
    ];
    with_strings(bytes_of(numbers), [name, "x", comment, home, shell])
}

/// `gr_response_header`, the lengths of the members, and all strings.
fn of_group(group: &Group) -> Vec<u8> {
    let Group { name, gid, members } = group;
    let numbers = [VERSION, FOUND, length(name), length("x"), *gid, members.len() as u32];
    let lengths = members.iter().map(|member| length(member));
    let strings = [name.as_str(), "x"]
        .into_iter()
        .chain(members.iter().map(String::as_str));
    with_strings(bytes_of(numbers.into_iter().chain(lengths)), strings)
}

/// `initgr_response_header` and the numbers.
fn of_groups(groups: &[u32]) -> Vec<u8> {
    let header = [VERSION, FOUND, groups.len() as u32];
    bytes_of(header.into_iter().chain(groups.iter().copied()))
}

/// With the null byte.
fn length(text: &str) -> u32 {
    text.len() as u32 + 1
}

fn bytes_of(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_ne_bytes).collect()
}

fn with_strings<'a>(mut bytes: Vec<u8>, strings: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    for text in strings {
        bytes.extend(text.as_bytes());
        bytes.push(0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: u32, key: &[u8]) -> Vec<u8> {
        let mut bytes = bytes_of([VERSION, kind, key.len() as u32]);
        bytes.extend(key);
        bytes
    }

    #[test]
    fn questions_for_users_and_groups_are_understood() {
        for (kind, key, query) in [
            (0, &b"u\0"[..], Some(UserQuery::UserNamed("u".into()))),
            (1, b"7\0", Some(UserQuery::UserNumbered(7))),
            (2, b"g\0", Some(UserQuery::GroupNamed("g".into()))),
            (3, b"8\0", Some(UserQuery::GroupNumbered(8))),
            (15, b"u\0", Some(UserQuery::GroupsOf("u".into()))),
            (1, b"-7\0", None),
            (4, b"localhost\0", None),
            (11, b"passwd\0", None),
            (0, b"\xff\0", None),
            (0, b"", None),
        ] {
            assert_eq!(read_query(&mut &said(kind, key)[..]).unwrap(), query, "{kind} {key:?}");
        }
        assert!(read_query(&mut &said(0, b"u\0")[..13]).is_err(), "it is cut off");
        let mut long = said(0, b"u\0");
        long[8..12].copy_from_slice(&(MOST + 1).to_ne_bytes());
        assert_eq!(read_query(&mut &long[..]).unwrap(), None);
    }

    #[test]
    fn answers_are_as_long_as_their_headers_say() {
        let group = Group {
            name: "g".into(),
            gid: 8,
            members: vec!["a".into(), "bc".into()],
        };
        assert_eq!(of_group(&group).len(), 4 * 8 + 2 + 2 + 2 + 3);
        assert_eq!(of_groups(&[1, 2]).len(), 4 * 5);
        let user = User {
            name: "u".into(),
            uid: 7,
            gid: 8,
            comment: String::new(),
            home: "/h".into(),
            shell: "/s".into(),
        };
        assert_eq!(of_user(&user).len(), 4 * 9 + 2 + 2 + 1 + 3 + 3);
        let query = UserQuery::UserNumbered(7);
        assert_eq!(
            answer_of(&query, &UserAnswer::Group(group))[4..8],
            NOT_HERE.to_ne_bytes()
        );
        assert_eq!(answer_of(&query, &UserAnswer::Nobody).len(), 4 * 9);
    }
}
