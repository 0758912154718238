//! The stub's parts: finding and starting the daemon, the command as the driver started
//! it, the conversation, and the end. `termite` uses the first of them too.
//!
//! Knows nothing of workers: where a command runs is the daemon's decision.

pub mod connect;
mod descriptor;
pub mod environment;
mod finish;
mod job;
mod journal;
mod output;
mod relay;
mod shared_input;
pub mod signals;
mod starter;
mod stub;
mod sys;
mod terminal;

pub use stub::run;
