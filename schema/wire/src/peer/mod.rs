//! The values of `peer.capnp` to and from our types, one `read_` and one `write_` for
//! each. Reading believes nothing: what it returns keeps the promises of termite-types.
//! Knows nothing of calls and connections.

mod change;
mod file;
mod job;
mod machine;
mod premises;
mod result;
mod user;

pub use change::{read_change, write_change};
pub use file::{
    Listed, MOST_HOLDERS, Opened, TICKET_LEN, read_attr, read_expected, read_list_result, read_list_results,
    read_listing, read_open_result, read_open_results, read_update, read_updates, write_attr, write_expected,
    write_list_result, write_list_results, write_listing, write_open_result, write_open_results, write_update,
    write_updates,
};
pub(crate) use job::{LIMITS, terminal_size};
pub use job::{read_job, write_job};
pub use machine::{read_resource, write_resource};
pub use premises::{read_premises, write_premises};
pub use result::{read_job_result, write_job_result};
pub use user::{read_user_answer, read_user_query, write_user_answer, write_user_query};

use crate::peer_capnp::{client_info, job_id, snapshot};
use crate::{WireError, checked};
use std::path::{Path, PathBuf};
use termite_types::{BlobHash, BuildId, JobId, Snapshot};

/// Whose files a session is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientInfo {
    /// Of the client's tree: names its mirror; not empty, stable over runs of the daemon.
    pub id: Vec<u8>,
    /// User of the client.
    pub uid: u32,
    /// Group of the client.
    pub gid: u32,
    /// The client's `libtermite.so`; empty: its jobs run by the guard alone.
    pub shim: Vec<u8>,
}

/// Reads whose files a session is about.
pub fn read_client_info(from: client_info::Reader<'_>) -> Result<ClientInfo, WireError> {
    let id = from.get_id()?.to_vec();
    checked::require(!id.is_empty(), "client id", crate::Fault::Empty)?;
    Ok(ClientInfo {
        id,
        uid: from.get_uid(),
        gid: from.get_gid(),
        shim: from.get_shim()?.to_vec(),
    })
}

/// Writes whose files a session is about.
pub fn write_client_info(client: &ClientInfo, mut to: client_info::Builder<'_>) {
    to.set_id(&client.id);
    to.set_uid(client.uid);
    to.set_gid(client.gid);
    to.set_shim(&client.shim);
}

/// Reads a job's name.
pub fn read_job_id(from: job_id::Reader<'_>) -> JobId {
    JobId {
        build: BuildId(from.get_build()),
        number: from.get_number(),
    }
}

/// Writes a job's name.
pub fn write_job_id(job: JobId, mut to: job_id::Builder<'_>) {
    to.set_build(job.build.0);
    to.set_number(job.number);
}

/// Reads a version of the client's tree.
pub fn read_snapshot(from: snapshot::Reader<'_>) -> Snapshot {
    Snapshot {
        epoch: from.get_epoch(),
        count: from.get_count(),
    }
}

/// Writes a version of the client's tree.
pub fn write_snapshot(snapshot: Snapshot, mut to: snapshot::Builder<'_>) {
    to.set_epoch(snapshot.epoch);
    to.set_count(snapshot.count);
}

/// Reads the path of a file request: absolute, without NUL; it may hold `.` and `..`.
pub fn read_path(bytes: &[u8]) -> Result<PathBuf, WireError> {
    checked::absolute("path", bytes)
}

/// Reads the paths of a file request.
pub fn read_paths(from: capnp::data_list::Reader<'_>) -> Result<Vec<PathBuf>, WireError> {
    from.iter().map(|path| read_path(path?)).collect()
}

/// The bytes of a path on the wire.
pub fn path_bytes(path: &Path) -> &[u8] {
    checked::bytes(path)
}

/// Reads the name of a blob.
pub fn read_hash(bytes: &[u8]) -> Result<BlobHash, WireError> {
    checked::hash("hash", bytes)
}
