//! The worker daemon: slots, views, the guard and the RAM store. Knows nothing of
//! what a command means, and nothing of make.

pub mod doctor;
mod files;
pub mod front;
pub mod fuse;
pub mod guard;
pub mod inherited;
mod job;
pub mod link;
pub mod memory;
mod peers;
mod session;
pub mod slot;
pub mod start;
mod stdio;
mod steering;
pub mod view;
mod watched;
pub mod worker;
