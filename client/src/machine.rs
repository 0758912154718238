//! What this machine has that a job on a worker may look for: processes, services, sockets.
//! Only looks: it connects nowhere and sends nothing (proc_pid_net(5), kill(2)).

use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Pid, test_kill_process, test_kill_process_group};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use termite_types::Resource;

/// Whether it is there.
pub fn has(resource: &Resource) -> bool {
    match resource {
        Resource::Process(number) => fs::exists(format!("/proc/{number}")).unwrap_or(false),
        Resource::Target(number) => may_signal(*number),
        Resource::Service(address) if is_of_this_machine(address.ip()) => listens(address),
        Resource::Service(address) => has_route(address),
        Resource::AbstractSocket(name) => is_bound(name),
        Resource::Socket(path) => fs::metadata(path).is_ok_and(|file| file.file_type().is_socket()),
    }
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
