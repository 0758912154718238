//! The client daemon: file server, dispatcher, committer. Knows nothing of slots,
//! and never runs a command itself.

mod account;
mod blob_locations;
mod build;
mod cache;
pub mod callers;
pub mod commit;
pub mod config;
mod contention;
mod daemon;
mod dispatch;
mod embedded;
pub mod explain;
mod fleet;
mod forecast;
pub mod history;
mod home;
mod journal;
pub mod lifetime;
pub mod link;
mod machine;
mod overlap;
mod pids;
mod program;
pub mod report;
mod requests;
mod serve;
mod sink;
mod standstill;
mod stopped;
mod temporary_name;
mod traffic;
pub mod tree;
mod users;
