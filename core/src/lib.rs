//! Pure decisions: no I/O, no clock, no environment, no unsafe.

#![forbid(unsafe_code)]

pub mod activity;
pub mod claims;
pub mod home;
pub mod job;
pub mod jobserver;
pub mod overlap;
pub mod pids;
pub mod placement;
pub mod rules;
pub mod signs;
pub mod sockets;
pub mod spelling;
pub mod standstill;
pub mod writers;
