//! The worker daemon: slots, views, the guard and the RAM store. Knows nothing of
//! what a command means, and nothing of make.

pub mod backend;
mod blocking;
pub mod clients;
mod control;
pub mod doctor;
mod files;
pub mod fuse;
pub mod guard;
pub mod inherited;
mod job;
pub mod link;
mod peers;
mod session;
pub mod slot;
pub mod start;
mod stdio;
pub mod store;
pub mod store_limit;
pub mod view;
mod watched;
pub mod worker;
