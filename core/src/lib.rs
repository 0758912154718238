//! Pure decisions: no I/O, no clock, no environment, no unsafe.

#![forbid(unsafe_code)]

pub mod jobserver;
pub mod overlap;
pub mod pids;
pub mod placement;
pub mod rules;
