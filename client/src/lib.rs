//! The client daemon: file server, dispatcher, committer. Knows nothing of slots,
//! and never runs a command itself.

mod account;
mod build;
mod cache;
pub mod callers;
pub mod commit;
pub mod config;
mod contention;
pub mod daemon;
mod dispatch;
mod embedded;
pub mod explain;
mod fleet;
mod forecast;
pub mod history;
mod holders;
mod home;
mod journal;
pub mod link;
mod machine;
mod overlap;
mod pids;
mod program;
pub mod report;
mod serve;
mod sink;
mod standstill;
mod stopped;
mod traffic;
pub mod tree;
mod users;
