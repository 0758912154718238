//! The runner of the C programs in this directory: each is run bare, then in every mode
//! that the host allows, and what it printed, how it ended and what it left must be equal.
//!
//! Knows nothing of how shim and worker do it.

#![forbid(unsafe_code)]

pub mod audit;
pub mod exports;
pub mod fidelity;
pub mod fixture;
pub mod fleet;
pub mod mode;
pub mod outcome;
pub mod owner;
pub mod program;
pub mod tally;
pub mod tree;
