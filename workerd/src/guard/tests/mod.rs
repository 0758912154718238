//! The guard and the view under real programs in real slots.

mod bench;
mod client;
mod compile;
mod kinds;
mod random;
mod repeat;
mod trees;
mod users;
