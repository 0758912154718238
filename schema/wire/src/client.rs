//! What the other side offers, as methods on our own types. Knows the calls of
//! `peer.capnp`; knows nothing of sockets, files or jobs.

use crate::peer::{self, Listed, Opened};
use crate::peer_capnp::{blob_source, file_server, job_sink, session, worker};
use crate::rpc::RemoteError;
use crate::{WireError, checked};
use capnp::capability::FromClientHook;
use termite_types::{
    BlobHash, BuildId, Expected, JobId, JobResult, JobSpec, Resource, Snapshot, TerminalSize, Update, UserAnswer,
    UserQuery,
};

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

type Result<T> = std::result::Result<T, RemoteError>;

/// The client's files, as a worker asks for them.
#[derive(Clone)]
pub struct RemoteFiles(pub(crate) file_server::Client);

impl RemoteFiles {
    /// The whole listing of a directory.
    pub async fn read_dir(&self, snapshot: Snapshot, path: &Path) -> Result<Listed> {
        let mut request = self.0.read_dir_request();
        let mut params = request.get();
        peer::write_snapshot(snapshot, params.reborrow().init_snapshot());
        params.set_path(peer::path_bytes(path));
        let reply = request.send().promise.await?;
        Ok(peer::read_list_result(reply.get()?.get_result()?)?)
    }

    /// A file's attributes, hash and first bytes.
    pub async fn open(&self, snapshot: Snapshot, path: &Path) -> Result<Opened> {
        let mut request = self.0.open_request();
        let mut params = request.get();
        peer::write_snapshot(snapshot, params.reborrow().init_snapshot());
        params.set_path(peer::path_bytes(path));
        let reply = request.send().promise.await?;
        Ok(peer::read_open_result(reply.get()?.get_result()?)?)
    }

    /// The listings of the first of some directories, at least one.
    pub async fn read_dirs(&self, snapshot: Snapshot, paths: &[PathBuf]) -> Result<Vec<Listed>> {
        let mut request = self.0.read_dirs_request();
        let mut params = request.get();
        peer::write_snapshot(snapshot, params.reborrow().init_snapshot());
        checked::write_strings(paths, params.init_paths(checked::count(paths)));
        let reply = request.send().promise.await?;
        let results = peer::read_list_results(reply.get()?.get_results()?)?;
        Ok(answers_of(paths, results)?)
    }

    /// The first of some files as `open` gives them, at least one.
    pub async fn open_all(&self, snapshot: Snapshot, paths: &[PathBuf]) -> Result<Vec<Opened>> {
        let mut request = self.0.open_all_request();
        let mut params = request.get();
        peer::write_snapshot(snapshot, params.reborrow().init_snapshot());
        checked::write_strings(paths, params.init_paths(checked::count(paths)));
        let reply = request.send().promise.await?;
        let results = peer::read_open_results(reply.get()?.get_results()?)?;
        Ok(answers_of(paths, results)?)
    }

    /// Whether the client's own machine has something.
    pub async fn machine_has(&self, resource: &Resource) -> Result<bool> {
        let mut request = self.0.machine_has_request();
        peer::write_resource(resource, request.get().init_resource());
        let reply = request.send().promise.await?;
        Ok(reply.get()?.get_has())
    }

    /// What the client's name services know of a user or group.
    pub async fn find_user(&self, query: &UserQuery) -> Result<UserAnswer> {
        let mut request = self.0.find_user_request();
        peer::write_user_query(query, request.get().init_query());
        let reply = request.send().promise.await?;
        Ok(peer::read_user_answer(reply.get()?.get_answer()?)?)
    }

    /// A piece of a blob that `open` named; shorter than asked for only at its end.
    pub async fn read(&self, hash: BlobHash, offset: u64, length: u32) -> Result<Vec<u8>> {
        read_blob(&self.0.clone().cast_to(), hash, offset, length).await
    }
}

/// A worker that has been met but not asked for anything.
#[derive(Clone)]
pub struct RemoteWorker(pub(crate) worker::Client);

impl RemoteWorker {
    /// Opens the session of one client: its files are served by `files`.
    pub async fn open<F: crate::client_services::FileService>(
        &self,
        client: &peer::ClientInfo,
        files: Rc<F>,
    ) -> Result<RemoteSession> {
        let mut request = self.0.open_request();
        peer::write_client_info(client, request.get().init_client());
        request.get().set_files(crate::client_services::files(files));
        let reply = request.send().promise.await?;
        let ticket = reply.get()?.get_ticket()?.to_vec();
        let session = reply.get()?.get_session()?;
        let blobs = session.blobs_request().send().promise.await?;
        let blobs = blobs.get()?.get_source()?;
        Ok(RemoteSession { session, blobs, ticket })
    }
}

/// A client's session on a worker.
#[derive(Clone)]
pub struct RemoteSession {
    session: session::Client,
    blobs: blob_source::Client,
    ticket: Vec<u8>,
}

impl RemoteSession {
    /// Lets the client's other workers read what this one holds.
    pub fn ticket(&self) -> &[u8] {
        &self.ticket
    }

    /// Runs a job to its end. The request has left when this returns, so that snapshots
    /// arrive in the order in which they were taken. Dropping the future cancels the job.
    pub fn run<S: crate::client_services::SinkService>(
        &self,
        job: &JobSpec,
        snapshot: Snapshot,
        updates: &[Update],
        expected: &Expected,
        sink: Rc<S>,
    ) -> impl Future<Output = Result<JobResult>> + use<S> {
        let mut request = self.session.run_request();
        let mut params = request.get();
        peer::write_job(job, params.reborrow().init_job());
        peer::write_snapshot(snapshot, params.reborrow().init_snapshot());
        peer::write_updates(updates, params.reborrow().init_updates(updates.len() as u32));
        peer::write_expected(expected, params.reborrow().init_expected());
        params.set_sink(crate::client_services::sink(sink));
        let reply = request.send().promise;
        async move { Ok(peer::read_job_result(reply.await?.get()?.get_result()?)?) }
    }

    /// Tells that a job's outputs are in the client's tree, and how they stand there. The
    /// request has left when this returns.
    pub fn committed(
        &self,
        job: JobId,
        snapshot: Snapshot,
        updates: &[Update],
    ) -> impl Future<Output = Result<()>> + use<> {
        let mut request = self.session.committed_request();
        let mut params = request.get();
        peer::write_job_id(job, params.reborrow().init_job());
        peer::write_snapshot(snapshot, params.reborrow().init_snapshot());
        peer::write_updates(updates, params.reborrow().init_updates(updates.len() as u32));
        let reply = request.send().promise;
        async move { Ok(reply.await.map(drop)?) }
    }

    /// Tells that a job's outputs are not wanted. The request has left when this returns, so
    /// that it arrives before the same job if that runs again.
    pub fn discard(&self, job: JobId) -> impl Future<Output = Result<()>> + use<> {
        let mut request = self.session.discard_request();
        peer::write_job_id(job, request.get().init_job());
        let reply = request.send().promise;
        async move { Ok(reply.await.map(drop)?) }
    }

    /// Sends a signal to the job's process group.
    pub async fn signal(&self, job: JobId, signal: u8) -> Result<()> {
        let mut request = self.session.signal_request();
        peer::write_job_id(job, request.get().init_job());
        request.get().set_signal(signal);
        request.send().promise.await?;
        Ok(())
    }

    /// Hands the job a piece of its standard input; empty: its end.
    pub async fn input(&self, job: JobId, bytes: &[u8]) -> Result<()> {
        let mut request = self.session.input_request();
        peer::write_job_id(job, request.get().init_job());
        request.get().set_bytes(bytes);
        request.send().promise.await?;
        Ok(())
    }

    /// Gives the job's terminal another size.
    pub async fn resize(&self, job: JobId, size: TerminalSize) -> Result<()> {
        let mut request = self.session.resize_request();
        peer::write_job_id(job, request.get().init_job());
        request.get().set_rows(size.rows);
        request.get().set_cols(size.cols);
        request.send().promise.await?;
        Ok(())
    }

    /// Ends the job; its `run` answers with `Abandon::Cancelled`.
    pub async fn cancel(&self, job: JobId) -> Result<()> {
        let mut request = self.session.cancel_request();
        peer::write_job_id(job, request.get().init_job());
        request.send().promise.await?;
        Ok(())
    }

    /// Which jobs of a build do next to nothing for so long from now on.
    pub async fn idle(&self, build: BuildId, time: Duration) -> Result<Vec<u32>> {
        let mut request = self.session.idle_request();
        let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        request.get().set_build(build.0);
        request.get().set_time(millis);
        let reply = request.send().promise.await?;
        Ok(reply.get()?.get_jobs()?.iter().collect())
    }

    /// Has a job given up because others wait for it.
    pub async fn send_home(&self, job: JobId) -> Result<()> {
        let mut request = self.session.send_home_request();
        peer::write_job_id(job, request.get().init_job());
        request.send().promise.await?;
        Ok(())
    }

    /// A piece of an output that is neither committed nor discarded yet.
    pub async fn read(&self, hash: BlobHash, offset: u64, length: u32) -> Result<Vec<u8>> {
        read_blob(&self.blobs, hash, offset, length).await
    }
}

/// What another worker holds of the same client.
#[derive(Clone)]
pub struct RemoteBlobs(pub(crate) blob_source::Client);

impl RemoteBlobs {
    /// A piece of a blob; shorter than asked for only at its end.
    pub async fn read(&self, hash: BlobHash, offset: u64, length: u32) -> Result<Vec<u8>> {
        read_blob(&self.0, hash, offset, length).await
    }
}

/// Where a worker sends what a running job says.
#[derive(Clone)]
pub struct RemoteSink(pub(crate) job_sink::Client);

impl RemoteSink {
    /// A piece of stdout (1) or stderr (2).
    pub async fn output(&self, fd: u8, bytes: &[u8]) -> Result<()> {
        let mut request = self.0.output_request();
        request.get().set_fd(fd);
        request.get().set_bytes(bytes);
        request.send().promise.await?;
        Ok(())
    }

    /// The job reads its standard input.
    pub async fn want_input(&self) -> Result<()> {
        self.0.want_input_request().send().promise.await?;
        Ok(())
    }
}

/// Answers to a question about `paths`: not more than those, and not none.
fn answers_of<T>(paths: &[PathBuf], results: Vec<T>) -> std::result::Result<Vec<T>, WireError> {
    let least = usize::from(!paths.is_empty());
    checked::within(
        "number of answers",
        results.len() as u64,
        least as u64,
        paths.len() as u64,
    )?;
    Ok(results)
}

async fn read_blob(source: &blob_source::Client, hash: BlobHash, offset: u64, length: u32) -> Result<Vec<u8>> {
    let mut request = source.read_request();
    let mut params = request.get();
    params.set_hash(&hash.0);
    params.set_offset(offset);
    params.set_length(length);
    let reply = request.send().promise.await?;
    let reply = reply.get()?;
    Ok(
        match checked::within("number of zeros", reply.get_zeros(), 0, length)? {
            0 => checked_piece(reply.get_bytes()?, length)?,
            zeros => vec![0; zeros as usize],
        },
    )
}

/// The bytes of an answer, which are no more than was asked for.
fn checked_piece(bytes: &[u8], length: u32) -> Result<Vec<u8>> {
    checked::within("bytes of a piece", bytes.len() as u64, 0, length.into())?;
    Ok(bytes.to_vec())
}
