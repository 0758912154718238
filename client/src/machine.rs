//! What this machine has that a job on a worker may look for: processes, services, sockets,
//! objects of System V IPC.
//! Only looks: it connects nowhere and sends nothing (proc_pid_net(5), kill(2)).

use crate::users;
use rustix::fs::{Access, AtFlags, CWD};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Pid, test_kill_process, test_kill_process_group};
use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use termite_types::{ObjectKind, ObjectName, Resource};

/// Variables whose value names an object of this machine's kernel, and what that is. The library
/// that fakeroot(1) preloads asks a daemon by the System V message queue of this number, and what
/// the client runs asks the same one.
const NAMING: [(&str, &str); 1] = [("FAKEROOTKEY", "the daemon of fakeroot, which FAKEROOTKEY names")];

/// What the environment of a command names that only this machine has.
pub(crate) fn named_in(env: &[OsString]) -> Option<&'static str> {
    let names = |variable: &OsString, name: &str| {
        let value = variable.as_bytes().strip_prefix(name.as_bytes());
        value.is_some_and(|value| value.starts_with(b"=") && value.len() > 1)
    };
    let mut named = NAMING.iter().filter(|(name, _)| env.iter().any(|var| names(var, name)));
    named.next().map(|(_, what)| *what)
}

/// Whether it is there.
pub(crate) fn has(resource: &Resource) -> bool {
    match resource {
        Resource::Process(number) => fs::exists(format!("/proc/{number}")).unwrap_or(false),
        Resource::Target(number) => may_signal(*number),
        Resource::Service(address) if is_of_this_machine(address.ip()) => listens(address),
        Resource::Service(address) => has_route(address),
        Resource::AbstractSocket(name) => is_bound(name),
        Resource::Name(path) => fs::symlink_metadata(path).is_ok(),
        Resource::Socket(path) => fs::metadata(path).is_ok_and(|file| file.file_type().is_socket()),
        Resource::Object(kind, name) => has_object(*kind, *name),
        Resource::NameServices => users::are_asked_for(),
        Resource::Writable(path) => may_write(path),
    }
}

/// By the kernel, which knows access lists and file systems that are read-only.
fn may_write(path: &Path) -> bool {
    let asked = Access::WRITE_OK;
    rustix::fs::accessat(CWD, path, asked, AtFlags::EACCESS | AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// By the tables of sysvipc(7), whose first line has headings, and whose lines begin with key and
/// identifier.
fn has_object(kind: ObjectKind, name: ObjectName) -> bool {
    let table = fs::read_to_string(match kind {
        ObjectKind::Memory => "/proc/sysvipc/shm",
        ObjectKind::Semaphores => "/proc/sysvipc/sem",
        ObjectKind::Queue => "/proc/sysvipc/msg",
    });
    table.unwrap_or_default().lines().skip(1).any(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<i32>);
        let (key, id) = (numbers.next(), numbers.next());
        match name {
            ObjectName::Key(wanted) => key == Some(Ok(wanted)),
            ObjectName::Id(wanted) => id == Some(Ok(wanted)),
            ObjectName::Any => true,
        }
    })
}

fn may_signal(number: i32) -> bool {
    let pid = |number: u32| i32::try_from(number).ok().and_then(Pid::from_raw);
    let Some(pid) = pid(number.unsigned_abs()) else {
        return false;
    };
    match number {
        ..-1 => test_kill_process_group(pid).is_ok(),
        2.. => test_kill_process(pid).is_ok(),
        _ => false,
    }
}

fn is_of_this_machine(ip: IpAddr) -> bool {
    // An address that is none of its own cannot be bound.
    ip.is_loopback() || ip.is_unspecified() || std::net::UdpSocket::bind((ip, 0)).is_ok()
}

/// Whether a socket of this machine listens there, on its address or on any.
fn listens(address: &SocketAddr) -> bool {
    ["tcp", "tcp6"].into_iter().any(|table| {
        let table = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        termite_core::sockets::listening(&table).any(|bound| {
            bound.port() == address.port()
                && (bound.ip().to_canonical() == address.ip().to_canonical()
                    || bound.ip().is_unspecified()
                    || address.ip().is_unspecified())
        })
    })
}

/// Connecting a datagram socket looks for a route and sends nothing (udp(7)).
fn has_route(address: &SocketAddr) -> bool {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = rustix::net::socket(family, SocketType::DGRAM, None);
    socket.and_then(|socket| rustix::net::connect(socket, address)).is_ok()
}

fn is_bound(name: &[u8]) -> bool {
    let table = fs::read("/proc/net/unix").unwrap_or_default();
    let at = [b" @", name].concat();
    table.split(|byte| *byte == b'\n').any(|line| line.ends_with(&at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn variables_name_what_this_machine_has() {
        let env = |variable: &str| ["PATH=/bin", variable].map(OsString::from);
        assert!(named_in(&env("FAKEROOTKEY=1234")).is_some());
        for variable in ["FAKEROOTKEY=", "FAKEROOTKEYS=1", "XFAKEROOTKEY=1", "FAKEROOTKEY"] {
            assert_eq!(named_in(&env(variable)), None, "{variable}");
        }
    }

    #[test]
    fn what_this_machine_has_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, file) = (dir.path().join("s"), dir.path().join("f"));
        let _listens = UnixListener::bind(&socket).unwrap();
        fs::write(&file, "").unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let me = std::process::id();
        for there in [
            Resource::Process(me),
            Resource::Target(me as i32),
            Resource::Service(address),
            Resource::Service((IpAddr::from([0, 0, 0, 0]), address.port()).into()),
            Resource::Socket(socket),
        ] {
            assert!(has(&there), "{there}");
        }
        drop(tcp);
        let nobody = i32::MAX;
        for absent in [
            Resource::Process(nobody as u32),
            Resource::Target(nobody),
            Resource::Target(-nobody),
            Resource::Target(i32::MIN),
            Resource::Target(0),
            Resource::Target(-1),
            Resource::Service(address),
            Resource::Socket(file),
            Resource::AbstractSocket(b"termite: nobody has this name".to_vec()),
            Resource::Object(ObjectKind::Queue, ObjectName::Id(-1)),
        ] {
            assert!(!has(&absent), "{absent}");
        }
    }
}
