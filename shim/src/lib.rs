//! `libtermite.so`, preloaded into the processes of a build. In a slot of a worker
//! (job mode) it answers lookups of files past the guard where it knows that it may, and
//! has large memory come in huge pages; on the client (driver mode) it starts jobs
//! through the stub. Anywhere else it does nothing.
//!
//! Knows no socket, no message and no daemon. Inside a hook there is no allocation
//! (but for what the call itself returns), no lock, no panic and no libc call that
//! looks up a path; errno changes only as the libc function changes it. Nothing but
//! libc is linked.
//!
//! x86-64 Linux with glibc only: hooks rely on its calling convention, in which the
//! optional arguments of `open` arrive where fixed ones would.

#![allow(unsafe_code)]
#![cfg_attr(not(test), no_std)]
// The test program exports no hook: it would stand before its own libc.
#![cfg_attr(test, allow(dead_code))]

mod answer;
mod command;
mod driver;
mod elf;
mod env;
mod exports;
mod hook;
mod interrupt;
mod job;
mod memory;
mod names;
mod path;
mod pipes;
mod program;
mod raw;
mod real;
mod role;
mod row;
mod seen;
mod start;
mod sys;
mod table;
#[cfg(test)]
mod trial;

/// Never runs: nothing in this library panics.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // SAFETY: ends the process, as panic=abort has it.
    unsafe { libc::abort() }
}

// The precompiled `core` names an unwinder's entry, which nothing calls: there is no
// unwinding through panic=abort. Hidden, since Rust's own shared libraries export it.
#[cfg(not(test))]
core::arch::global_asm!(
    ".globl rust_eh_personality",
    ".hidden rust_eh_personality",
    "rust_eh_personality:",
    "ud2",
);
