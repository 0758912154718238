//! The wire: Cap'n Proto messages of `peer.capnp` and `shim.capnp`, to and from our own
//! types. The only crate that knows the encoding; what arrives is checked here, once.
//!
//! Knows nothing of files, jobs or sockets: it never opens, runs or listens. Without the
//! feature `rpc` it pulls in `capnp` alone, no runtime.

#![forbid(unsafe_code)]

mod checked;
mod error;
pub mod frame;
#[cfg(feature = "rpc")]
pub mod meet;
#[cfg(feature = "rpc")]
pub mod offer;
pub mod peer;
#[cfg(feature = "rpc")]
pub mod remote;
#[cfg(feature = "rpc")]
pub mod rpc;
#[cfg(feature = "rpc")]
mod squeeze;

pub use error::{Fault, WireError};

/// Generated from `peer.capnp` by `cargo run -p termite-wire --example regenerate`.
#[doc(hidden)]
#[allow(missing_docs, clippy::all, unused)]
#[path = "generated/peer_capnp.rs"]
#[rustfmt::skip]
pub mod peer_capnp;

/// Generated from `shim.capnp` by `cargo run -p termite-wire --example regenerate`.
#[doc(hidden)]
#[allow(missing_docs, clippy::all, unused)]
#[path = "generated/shim_capnp.rs"]
#[rustfmt::skip]
pub mod shim_capnp;
