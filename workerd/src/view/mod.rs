//! The file tree that a job sees: the client's tree, held in RAM, filled on demand.
//!
//! A [`Mirror`] is a client's tree as far as it is known here, the lower layer of
//! every overlay mount of that client's jobs. A [`View`] is one job's tree over it; the
//! front ends of faults (guard, FUSE) call [`View::fault`]. [`harvest`] tells what the
//! job left in its upper layer.
//!
//! Nothing here knows of system calls, connections, slots or mounts.

mod acts;
mod confine;
mod elf;
mod exec;
mod fault;
mod files;
mod harvest;
mod local;
mod lower;
mod mapped;
mod mirror;
mod moving;
mod objects;
mod outputs;
mod permission;
mod premises;
mod spelling;
mod trace;
mod trouble;
mod waiting;
mod walk;

pub use acts::{Act, Writes};
pub use confine::read_below;
pub use fault::{Intent, Origin, PathUse, Patience, Reply, Standing, View, ViewSpec};
pub use files::{Files, FilesError, OpenedFile, Pieces};
pub use harvest::{HarvestError, INLINE_MAX, harvest};
pub use local::LocalFiles;
pub use lower::{Found, Lower, Named};
pub use mapped::SharedMap;
pub use mirror::{Evicted, Mirror, Owners, is_absent};
pub use outputs::{Harvest, Outputs};
pub use trouble::Trouble;

#[cfg(test)]
mod tests;
