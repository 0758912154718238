//! `termite-run PROGRAM ARGV0 ARG...`: stands in a driver for the command, so that
//! waiting, signals and status work as ever.
//!
//! Has no Rust start-up code before it: that would change the disposition of SIGPIPE
//! and open descriptors that are closed, which the command must inherit as they were.

#![no_main]

use std::ffi::{c_char, c_int};

// SAFETY: `no_main` leaves the name to us; the C library calls it once, with its usual
// arguments, which `std::env` reads by itself.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    termite_run::run()
}
