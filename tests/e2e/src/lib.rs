//! Fixtures of the end-to-end tests: workers in bare roots, clients with private
//! directories, real projects, and the comparison of what builds leave behind.
//!
//! Everything here drives the installed programs of the prefix from outside; nothing
//! links to the daemons or knows how they work. `cargo xtask demo` and `bench` use the
//! same fixtures.

#![forbid(unsafe_code)]

pub mod bare;
pub mod client;
pub mod corpus;
pub mod end_state;
pub mod fleet;
pub mod mode;
pub mod oracle;
pub mod posix;
pub mod process;
pub mod project;
pub mod proxy;
pub mod random;
pub mod reference;
pub mod scene;
pub mod script;
pub mod sources;
pub mod tree;

pub use client::{Client, Last, Way};
pub use end_state::EndState;
pub use fleet::Fleet;
pub use mode::{Mode, Topology};
pub use process::{Outcome, Program};
pub use project::Project;
pub use scene::{Scene, User};
pub use tree::Tree;
