//! The wire: Cap'n Proto messages of `peer.capnp` and `shim.capnp`, to and from our own
//! types. The only crate that knows the encoding; what arrives is checked here, once.
//!
//! Knows nothing of files, jobs or sockets: it never opens, runs or listens. Without the
//! feature `rpc` it pulls in `capnp` alone, no runtime.

#![forbid(unsafe_code)]

#[cfg(feature = "rpc")]
mod blob_source;
mod checked;
#[cfg(feature = "rpc")]
pub mod client;
#[cfg(feature = "rpc")]
pub mod client_services;
#[cfg(feature = "rpc")]
mod compress;
mod error;
pub mod frame;
#[cfg(feature = "rpc")]
pub mod handshake;
pub mod peer;
#[cfg(feature = "rpc")]
pub mod rpc;
#[cfg(feature = "rpc")]
pub mod server;

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
