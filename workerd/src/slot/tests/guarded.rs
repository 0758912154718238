//! What the guard of a real slot hears and does not hear. The job is the test binary,
//! because no shell makes such calls.

#![allow(unsafe_code)]

use super::bed::{answer, in_worker, this};
use crate::slot::calls::{Arch, lookup};
use crate::slot::filter::{AUDIT_I386, AUDIT_X86_64};
use crate::slot::{JobFd, SlotPlan, SlotStatus};
use std::io::Read;
use std::sync::mpsc::channel;

const COOKIE: u64 = 0x0bad_cafe_1234_5678;

#[test]
fn the_guard_hears_path_calls_without_the_cookie() {
    in_worker(this!(the_guard_hears_path_calls_without_the_cookie), |bed| {
        let calls = heard(bed, bed.itself("paths"));
        let between = |from: &str, to: &str| -> Vec<&'static str> {
            let at = |mark: &str| {
                calls
                    .iter()
                    .position(|call| call.1 == mark)
                    .unwrap_or_else(|| panic!("{mark}: {calls:?}"))
            };
            calls[at(from) + 1..at(to)].iter().map(|call| call.0).collect()
        };
        assert_eq!(between("/mark-1", "/mark-2"), ["access"], "without a cookie");
        assert_eq!(between("/mark-2", "/mark-3"), [""; 0], "with the cookie");
        assert_eq!(between("/mark-3", "/mark-4"), ["access", "access"], "with half of it");
        assert_eq!(
            between("/mark-4", "/mark-5"),
            ["i386 access", "i386 access"],
            "by int 0x80"
        );
        assert_eq!(
            between("/mark-5", "/mark-6"),
            ["mount", "chroot", "open_by_handle_at", "umount"],
            "those that the client's machine may allow, whatever the cookie"
        );
    });
}

#[test]
fn reads_of_input_are_heard_on_demand() {
    in_worker(this!(reads_of_input_are_heard_on_demand), |bed| {
        for wanted in [true, false] {
            let mut plan = bed.script("read line; echo $line");
            let (read, mut write) = std::io::pipe().unwrap();
            std::io::Write::write_all(&mut write, b"typed\n").unwrap();
            plan.stdio[0] = JobFd::Open(read.into());
            if wanted {
                plan.spec.stdio.stdin = termite_types::Stdin::Pipe;
            }
            let calls = heard(bed, plan);
            assert_eq!(calls.iter().any(|call| call.0 == "read"), wanted);
        }
    });
}

/// Runs a plan; each stopped call's name, and its path where that is at once at hand.
fn heard(bed: &super::Bed, mut plan: SlotPlan) -> Vec<(&'static str, String)> {
    plan.cookie = COOKIE;
    let (mut from, to) = std::io::pipe().unwrap();
    plan.stdio[1] = JobFd::Open(to.try_clone().unwrap().into());
    plan.stdio[2] = JobFd::Open(to.into());
    let mut started = bed.entered.spawner.start(plan).unwrap();
    let (send, calls) = channel();
    let proc = bed.entered.store.proc.clone();
    let guard = answer(started.listener.unwrap(), move |call| {
        let arch = if call.data.arch == AUDIT_X86_64 {
            Arch::X86_64
        } else {
            Arch::I386
        };
        assert!(arch == Arch::X86_64 || call.data.arch == AUDIT_I386);
        let row = lookup(arch, call.data.nr as u32).expect("only rows of the table are stopped");
        let name = match (arch, row.name) {
            (Arch::I386, "access") => "i386 access",
            (_, name) => name,
        };
        let memory = std::fs::File::open(proc.join(call.pid.to_string()).join("mem")).unwrap();
        let mut path = [0; 7];
        // Marks have 7 bytes; where there is no path, nothing can be read.
        let read = std::os::unix::fs::FileExt::read_at(&memory, &mut path, call.data.args[0]);
        let path = read.map_or(String::new(), |_| String::from_utf8_lossy(&path).into_owned());
        send.send((name, path)).unwrap();
    });
    started.slot.go().unwrap();
    let mut output = String::new();
    from.read_to_string(&mut output).unwrap();
    let end = started.slot.wait().unwrap();
    assert_eq!(end.status, SlotStatus::Exited(0), "{end:?} {output}");
    guard.join().unwrap();
    calls.into_iter().collect()
}

/// The job's side.
pub(super) fn run_job(job: &str) {
    assert_eq!(job, "paths");
    let path = c"/nowhere".as_ptr() as u64;
    mark(c"/mark-1");
    assert_eq!(call(libc::SYS_access, [path, 0, 0, 0, 0, 0]), -i64::from(libc::ENOENT));
    mark(c"/mark-2");
    assert_eq!(
        call(libc::SYS_access, [path, 0, 0, 0, 0, COOKIE]),
        -i64::from(libc::ENOENT)
    );
    mark(c"/mark-3");
    call(libc::SYS_access, [path, 0, 0, 0, 0, COOKIE & 0xffff_ffff]);
    call(libc::SYS_access, [path, 0, 0, 0, 0, COOKIE & !0xffff_ffff]);
    mark(c"/mark-4");
    // Their path is no address of 32 bits: the kernel says EFAULT after the guard's answer.
    assert_eq!(call_i386(33, 0), -libc::EFAULT);
    assert_eq!(call_i386(33, COOKIE as u32), -libc::EFAULT);
    mark(c"/mark-5");
    const X32: i64 = 0x4000_0000;
    let refused = [
        (X32 | libc::SYS_access, libc::ENOSYS),
        (470, libc::ENOSYS),
        (1 << 20, libc::ENOSYS),
        (libc::SYS_io_uring_setup, libc::ENOSYS),
    ];
    for (nr, errno) in refused {
        assert_eq!(call(nr, [path, 0, 0, 0, 0, COOKIE]), -i64::from(errno), "call {nr}");
    }
    for nr in [libc::SYS_mount, libc::SYS_chroot, libc::SYS_open_by_handle_at] {
        assert!(call(nr, [path, 0, 0, 0, 0, COOKIE]) < 0, "call {nr}");
    }
    assert!(call_i386(22, COOKIE as u32) < 0);
    assert_eq!(call_i386(500, 0), -libc::ENOSYS);
    mark(c"/mark-6");
    // The loopback interface of the slot's network is up.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
}

fn mark(path: &std::ffi::CStr) {
    call(libc::SYS_access, [path.as_ptr() as u64, 0, 0, 0, 0, 0]);
}

fn call(nr: i64, args: [u64; 6]) -> i64 {
    let result;
    // SAFETY: calls that the tests make only look at a path that lives for ever, or fail.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") nr => result, in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5], out("rcx") _, out("r11") _, options(nostack));
    }
    result
}

/// A 32-bit call from 64-bit code, with a null path.
fn call_i386(nr: i32, sixth: u32) -> i32 {
    let result;
    // SAFETY: as in `call`; rbx and rbp, which LLVM keeps to itself, are put back.
    unsafe {
        std::arch::asm!("push rbx", "push rbp", "mov ebp, {sixth:e}", "xor ebx, ebx", "int 0x80", "pop rbp", "pop rbx",
            sixth = in(reg) sixth, inlateout("eax") nr => result, in("ecx") 0, in("edx") 0, in("esi") 0, in("edi") 0,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    result
}
