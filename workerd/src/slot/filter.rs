//! The guard's seccomp filter as a BPF program, made from the table of calls. Pure:
//! knows how to decide, not how to install or answer.
//!
//! Shape: one balanced binary search over the call numbers for each architecture, whose
//! leaves decide at once or jump to the comparison with the cookie.

use super::calls::{self, Arch, Effect, LAST, PathCall};
use libc::sock_filter;
use termite_abi::ENTRY;

/// What a slot's filter depends on.
#[derive(Clone, Copy, Debug)]
pub struct FilterOptions {
    /// A path call whose sixth argument is this passes. Both halves not zero.
    pub cookie: u64,
    /// Reads of descriptor 0 and their like are stopped.
    pub input_on_demand: bool,
    /// The slot has the shim: [`ENTRY`] passes like the cookie, and a call of libc's by the
    /// name of [`PathCall::fstat`] has other flags than libc's `fstat`, so that this can be
    /// known by its own and passes.
    pub shim: bool,
    /// There is a guard to stop for; without one, calls are either let through or refused.
    pub stops: bool,
}

/// `AUDIT_ARCH_X86_64` of linux/audit.h.
pub const AUDIT_X86_64: u32 = 0xc000_003e;
/// `AUDIT_ARCH_I386` of linux/audit.h.
pub const AUDIT_I386: u32 = 0x4000_0003;

/// Upper halves of the addresses where the kernel maps libraries: up to 1 TiB below the
/// place for stacks, which are in the last 16 GiB (`arch/x86/mm/mmap.c`).
const LIBRARIES: std::ops::Range<u32> = 0x7eff..0x7ffb;

// Offsets in struct seccomp_data of linux/seccomp.h.
const NR: u32 = 0;
const ARCH: u32 = 4;
const fn low(arg: u8) -> u32 {
    16 + 8 * arg as u32
}
const fn high(arg: u8) -> u32 {
    low(arg) + 4
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
/// Steps of the longest program, about.
const ROOM: usize = 1 << 10;
/// Stands for the distance of a jump to the comparison with the cookie, which comes last.
const TO_COOKIE: u32 = u32::MAX;

/// What becomes of a call number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Allow,
    Errno(i32),
    /// Stopped, unless its sixth argument is the cookie.
    StopOrCookie,
    /// The same, but libc's `fstat` passes, too.
    StopOrCookieOrFstat,
    Stop,
    /// Stopped if this argument is not null.
    StopGiven(u8),
    /// Stopped if arguments have certain values.
    StopWhen(&'static [(u8, &'static [u32])]),
}

/// The filter of a slot.
pub fn program(options: FilterOptions) -> Vec<sock_filter> {
    let mut code = Vec::with_capacity(ROOM);
    code.push(step(LOAD, ARCH));
    for (audit, arch) in [(AUDIT_X86_64, Arch::X86_64), (AUDIT_I386, Arch::I386)] {
        passed_over_unless(&mut code, IF_EQUAL, audit, |code| {
            code.push(step(LOAD, NR));
            search(code, &ranges(arch, options));
        });
    }
    code.push(step(RETURN, errno(libc::ENOSYS)));
    let comparison = code.len();
    for (at, step) in code.iter_mut().enumerate() {
        if (step.code, step.k) == (JUMP, TO_COOKIE) {
            step.k = (comparison - at - 1) as u32;
        }
    }
    code.extend(compare_cookie(options));
    code
}

fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number as u32
}

/// The fates of all numbers as ranges that begin at the given number; the first at 0.
/// x32 numbers have bit 30 set and so lie beyond the last.
fn ranges(arch: Arch, options: FilterOptions) -> Vec<(u32, Fate)> {
    let mut ranges = Vec::new();
    for nr in 0..=LAST {
        let fate = calls::lookup(arch, nr).map_or(Fate::Allow, |call| fate(call, arch, options));
        if ranges.last().is_none_or(|&(_, last)| last != fate) {
            ranges.push((nr, fate));
        }
    }
    ranges.push((LAST + 1, Fate::Errno(libc::ENOSYS)));
    ranges
}

fn fate(call: &PathCall, arch: Arch, options: FilterOptions) -> Fate {
    if let Some(arg) = call.given.filter(|_| options.stops) {
        return Fate::StopGiven(arg);
    }
    match call.effect {
        Effect::Refused(number) => Fate::Errno(number),
        _ if !options.stops => Fate::Allow,
        Effect::Input(_) | Effect::Poll(..) | Effect::Select { .. } if !options.input_on_demand => Fate::Allow,
        _ if !call.when.is_empty() => Fate::StopWhen(call.when),
        Effect::Poll(..) | Effect::Select { .. } => Fate::Stop,
        _ if call.fstat && options.shim && arch == Arch::X86_64 => Fate::StopOrCookieOrFstat,
        // The shim is a 64-bit library; and 32-bit arguments never match both halves.
        _ if call.cookie && arch == Arch::X86_64 => Fate::StopOrCookie,
        _ => Fate::Stop,
    }
}

fn step(code: u16, k: u32) -> sock_filter {
    branch(code, k, [0, 0])
}

/// A near jump over so many steps, if the condition holds and if not.
fn branch(code: u16, k: u32, [jt, jf]: [u8; 2]) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// Steps that are passed over unless the condition holds: by a near jump where it reaches,
/// since the kernel translates every step anew for each slot.
fn passed_over_unless(code: &mut Vec<sock_filter>, condition: u16, k: u32, emit: impl FnOnce(&mut Vec<sock_filter>)) {
    let at = code.len();
    code.push(branch(condition, k, [1, 0]));
    emit(code);
    let steps = code.len() - at - 1;
    match u8::try_from(steps) {
        Ok(near) => code[at] = branch(condition, k, [0, near]),
        Err(_) => code.insert(at + 1, step(JUMP, steps as u32)),
    }
}

fn search(code: &mut Vec<sock_filter>, ranges: &[(u32, Fate)]) {
    match ranges {
        [] => {}
        [(_, fate)] => leaf(code, *fate),
        _ => {
            let (left, right) = ranges.split_at(ranges.len() / 2);
            passed_over_unless(code, IF_AT_LEAST, right[0].0, |code| search(code, right));
            search(code, left);
        }
    }
}

fn leaf(code: &mut Vec<sock_filter>, fate: Fate) {
    match fate {
        Fate::Allow => code.push(step(RETURN, libc::SECCOMP_RET_ALLOW)),
        Fate::Errno(number) => code.push(step(RETURN, errno(number))),
        Fate::Stop => code.push(step(RETURN, libc::SECCOMP_RET_USER_NOTIF)),
        Fate::StopGiven(arg) => code.extend(stop_given(arg)),
        Fate::StopWhen(conditions) => stop_when(code, conditions),
        Fate::StopOrCookie => code.push(step(JUMP, TO_COOKIE)),
        Fate::StopOrCookieOrFstat => code.extend(fstat_or_cookie()),
    }
}

/// libc's empty path lies among its constants. Those of a static program, and paths on
/// a stack or in a heap that grows by `brk`, lie outside of where libraries are.
fn fstat_or_cookie() -> [sock_filter; 7] {
    [
        step(LOAD, low(3)),
        branch(IF_EQUAL, libc::AT_EMPTY_PATH as u32, [0, 4]),
        step(LOAD, high(1)),
        branch(IF_AT_LEAST, LIBRARIES.start, [0, 2]),
        branch(IF_AT_LEAST, LIBRARIES.end, [1, 0]),
        step(RETURN, libc::SECCOMP_RET_ALLOW),
        step(JUMP, TO_COOKIE),
    ]
}

fn stop_given(arg: u8) -> [sock_filter; 6] {
    [
        step(LOAD, low(arg)),
        branch(IF_EQUAL, 0, [0, 3]),
        step(LOAD, high(arg)),
        branch(IF_EQUAL, 0, [0, 1]),
        step(RETURN, libc::SECCOMP_RET_ALLOW),
        step(RETURN, libc::SECCOMP_RET_USER_NOTIF),
    ]
}

fn stop_when(code: &mut Vec<sock_filter>, conditions: &[(u8, &[u32])]) {
    for (arg, values) in conditions {
        code.push(step(LOAD, low(*arg)));
        let count = values.len();
        for (at, value) in values.iter().enumerate() {
            // Over the values that remain, and over the return behind them.
            code.push(branch(IF_EQUAL, *value, [(count - at) as u8, 0]));
        }
        code.push(step(RETURN, libc::SECCOMP_RET_ALLOW));
    }
    code.push(step(RETURN, libc::SECCOMP_RET_USER_NOTIF));
}

/// Both halves of the sixth argument against those that pass.
fn compare_cookie(options: FilterOptions) -> impl Iterator<Item = sock_filter> {
    let entry = Some(ENTRY).filter(|_| options.shim);
    let pass = |value: u64| {
        [
            step(LOAD, low(5)),
            branch(IF_EQUAL, value as u32, [0, 3]),
            step(LOAD, high(5)),
            branch(IF_EQUAL, (value >> 32) as u32, [0, 1]),
            step(RETURN, libc::SECCOMP_RET_ALLOW),
        ]
    };
    let stop = step(RETURN, libc::SECCOMP_RET_USER_NOTIF);
    [options.cookie].into_iter().chain(entry).flat_map(pass).chain([stop])
}

#[cfg(test)]
mod tests;
