//! Messages between workerd, its spawner and a slot's processes: bytes and descriptors
//! over `SOCK_SEQPACKET` pairs, and what a slot reports. Knows nothing of who reads them.

use super::error::Refusal;
use super::{SlotStatus, Step, sys};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Descriptors in one message at most: plan, control, gate, network, stdio, placeholder,
/// jobserver, lower layer.
const MAX_FDS: usize = 11;
const MAX_BYTES: usize = 256;

/// What the spawner is asked for: the first byte of a message.
pub(super) const SLOT: u8 = b's';
pub(super) const SELF_TEST: u8 = b't';
pub(super) const GUARD_PROBE: u8 = b'g';
pub(super) const NETWORK: u8 = b'n';
pub(super) const PID_PROBE: u8 = b'p';

/// Two ends of a channel for messages.
pub(crate) fn channel() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// A message as it arrived.
pub(super) struct Message {
    pub bytes: Vec<u8>,
    pub fds: Vec<OwnedFd>,
    /// Pid of the sender as the receiver sees it, where the receiver asked for it.
    pub sender: Option<u32>,
}

/// What a slot tells workerd.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Report {
    /// With descriptors: root, init and, as far as it has them, listener and terminal. Sent
    /// by the job.
    Ready,
    /// There will be no slot.
    Failed(Step, i32),
    /// Init waits for the map of its user namespace; what is answered is an errno or 0.
    MapMe,
    /// The working directory could not be entered.
    CwdFailed(i32),
    /// The program could not be executed.
    ExecFailed(i32),
    /// The last message.
    Ended { status: SlotStatus, cpu_us: u64 },
}

/// Sends one message. A receiver that is gone gives `EPIPE` or `ECONNRESET`, no signal.
pub(super) fn send(to: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOMANYREFS);
    }
    rustix::io::retry_on_intr(|| sendmsg(to, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)).map(drop)
}

/// Receives one message. `None`: every sender is gone. Without `wait`, `EAGAIN` says
/// that none is there.
pub(super) fn receive(from: BorrowedFd<'_>, wait: bool) -> Result<Option<Message>, Errno> {
    let mut bytes = [0; MAX_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
    let received = loop {
        match recvmsg(from, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
            // The other end was closed with a message unread. The kernel says so once, and before
            // it gives what that end had sent (unix_release_sock, skb_recv_datagram).
            Err(Errno::INTR | Errno::CONNRESET) => {}
            other => break other?,
        }
    };
    let (mut fds, mut sender) = (Vec::new(), None);
    for message in control.drain() {
        match message {
            RecvAncillaryMessage::ScmRights(rights) => fds.extend(rights),
            RecvAncillaryMessage::ScmCredentials(who) => sender = Some(who.pid.as_raw_nonzero().get().unsigned_abs()),
            _ => {}
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    Ok(Some(Message {
        bytes: bytes[..received.bytes].to_vec(),
        fds,
        sender,
    }))
}

/// Tells workerd that there will be no slot, and ends.
pub(super) fn fail(control: BorrowedFd<'_>, refusal: Refusal) -> ! {
    // A workerd that is gone needs no report.
    let _ = send(control, &Report::Failed(refusal.step, refusal.errno).encode(), &[]);
    sys::exit(1)
}

/// Lets whoever waits in [`pass_gate`] go on.
pub(super) fn open_gate(gate: &OwnedFd) -> Result<(), Errno> {
    send(std::os::fd::AsFd::as_fd(gate), b"g", &[])
}

/// Waits for [`open_gate`]. False: the other side went away without it.
pub(super) fn pass_gate(gate: BorrowedFd<'_>) -> Result<bool, Errno> {
    receive(gate, true).map(|message| message.is_some())
}

impl Report {
    /// As bytes: a number for the report, and its fields.
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16);
        match self {
            Self::Ready => bytes.push(0),
            Self::Failed(step, errno) => {
                bytes.extend([1, step.number()]);
                bytes.extend(errno.to_le_bytes());
            }
            Self::CwdFailed(errno) => {
                bytes.push(2);
                bytes.extend(errno.to_le_bytes());
            }
            Self::ExecFailed(errno) => {
                bytes.push(3);
                bytes.extend(errno.to_le_bytes());
            }
            Self::Ended { status, cpu_us } => {
                bytes.push(4);
                bytes.extend(match status {
                    SlotStatus::Exited(code) => [0, code],
                    SlotStatus::Signaled(signal) => [1, signal],
                    SlotStatus::InitDied => [2, 0],
                    SlotStatus::LeftRunning => [3, 0],
                    SlotStatus::LeftObjects => [4, 0],
                });
                bytes.extend(cpu_us.to_le_bytes());
            }
            Self::MapMe => bytes.push(5),
        }
        bytes
    }

    /// `None`: not a report.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&tag, rest) = bytes.split_first()?;
        let errno = |bytes: &[u8]| bytes.try_into().ok().map(i32::from_le_bytes);
        Some(match (tag, rest) {
            (0, []) => Self::Ready,
            (1, [step, rest @ ..]) => Self::Failed(Step::from_number(*step)?, errno(rest)?),
            (2, rest) => Self::CwdFailed(errno(rest)?),
            (3, rest) => Self::ExecFailed(errno(rest)?),
            (4, [kind, value, cpu @ ..]) => Self::Ended {
                status: match kind {
                    0 => SlotStatus::Exited(*value),
                    1 => SlotStatus::Signaled(*value),
                    2 => SlotStatus::InitDied,
                    3 => SlotStatus::LeftRunning,
                    4 => SlotStatus::LeftObjects,
                    _ => return None,
                },
                cpu_us: u64::from_le_bytes(cpu.try_into().ok()?),
            },
            (5, []) => Self::MapMe,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn every_report_survives_its_encoding() {
        let reports = [
            Report::Ready,
            Report::MapMe,
            Report::Failed(Step::Overlay, libc::EINVAL),
            Report::CwdFailed(libc::ENOENT),
            Report::ExecFailed(libc::EACCES),
            Report::Ended {
                status: SlotStatus::Exited(3),
                cpu_us: 1 << 40,
            },
            Report::Ended {
                status: SlotStatus::Signaled(9),
                cpu_us: 0,
            },
            Report::Ended {
                status: SlotStatus::InitDied,
                cpu_us: 7,
            },
            Report::Ended {
                status: SlotStatus::LeftRunning,
                cpu_us: 8,
            },
            Report::Ended {
                status: SlotStatus::LeftObjects,
                cpu_us: 9,
            },
        ];
        for report in reports {
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
        assert_eq!(Report::decode(&[]), None);
        assert_eq!(Report::decode(&[9]), None);
        assert_eq!(Report::decode(&[1, 255, 0, 0, 0, 0]), None);
    }

    #[test]
    fn the_last_message_comes_after_one_was_left_unread() {
        let (mine, theirs) = super::channel().unwrap();
        send(mine.as_fd(), b"unread", &[]).unwrap();
        send(theirs.as_fd(), b"last", &[]).unwrap();
        drop(theirs);
        assert_eq!(receive(mine.as_fd(), true).unwrap().unwrap().bytes, b"last");
        assert!(receive(mine.as_fd(), true).unwrap().is_none());
    }
}
