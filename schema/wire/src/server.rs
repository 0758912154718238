//! What a worker offers a client, as traits on our own types: their adapters turn the calls of
//! `peer.capnp` into them. Knows nothing of what stands behind the traits.

use crate::blob_source::{answer_blob, blob_range, failed};
use crate::client::{RemoteFiles, RemoteSink};
use crate::peer::{self, ClientInfo};
use crate::peer_capnp::{blob_source, session, worker};
use capnp::Error;
use std::future::Future;
use std::rc::{Rc, Weak};
use std::time::Duration;
use termite_types::{BlobHash, BuildId, Expected, JobId, JobResult, JobSpec, Snapshot, TerminalSize, Update};

/// A worker.
pub trait WorkerService: 'static {
    /// What it opens.
    type Session: SessionService;
    /// Why a session cannot be opened, told to the client in words.
    type Error: std::error::Error;
    /// Opens the session of a client.
    fn open(
        &self,
        client: ClientInfo,
        files: RemoteFiles,
    ) -> impl Future<Output = Result<Rc<Self::Session>, Self::Error>>;
    /// The open session that a ticket is of.
    fn ticketed(&self, ticket: &[u8]) -> Option<Rc<Self::Session>>;
}

/// A client's session on a worker. Dropping the future of `run` cancels the job.
pub trait SessionService: 'static {
    /// Why a call fails, told to the other side in words.
    type Error: std::error::Error;
    /// Runs a job to its end.
    fn run(
        &self,
        job: JobSpec,
        snapshot: Snapshot,
        updates: Vec<Update>,
        expected: Expected,
        sink: RemoteSink,
    ) -> impl Future<Output = Result<JobResult, Self::Error>>;
    /// The job's outputs are in the client's tree, as the updates tell.
    fn committed(
        &self,
        job: JobId,
        snapshot: Snapshot,
        updates: Vec<Update>,
    ) -> impl Future<Output = Result<(), Self::Error>>;
    /// The job's outputs are not wanted.
    fn discard(&self, job: JobId);
    /// A signal for the job's process group.
    fn signal(&self, job: JobId, signal: u8);
    /// A piece of the job's standard input; empty: its end.
    fn input(&self, job: JobId, bytes: Vec<u8>) -> impl Future<Output = ()>;
    /// The job's terminal has another size.
    fn resize(&self, job: JobId, size: TerminalSize);
    /// Ends the job.
    fn cancel(&self, job: JobId);
    /// Which jobs of a build do next to nothing for so long from now on; ends when that is over.
    fn idle(&self, build: BuildId, time: Duration) -> impl Future<Output = Vec<u32>>;
    /// Gives the job up: others wait for it.
    fn send_home(&self, job: JobId);
    /// A piece of an output that is neither committed nor discarded yet.
    fn read(&self, hash: BlobHash, offset: u64, length: u32) -> impl Future<Output = Result<Vec<u8>, Self::Error>>;
    /// Lets other workers of the client in. A secret.
    fn ticket(&self) -> &[u8];
    /// A piece of any content that is here or on its way, for another worker.
    fn held(&self, hash: BlobHash, offset: u64, length: u32) -> impl Future<Output = Result<Vec<u8>, Self::Error>>;
}

pub(crate) fn worker<W: WorkerService>(service: Rc<W>) -> worker::Client {
    capnp_rpc::new_client(Worker(service))
}

struct Worker<W>(Rc<W>);

impl<W: WorkerService> worker::Server for Worker<W> {
    async fn open(self: Rc<Self>, params: worker::OpenParams, mut results: worker::OpenResults) -> Result<(), Error> {
        let params = params.get()?;
        let client = peer::read_client_info(params.get_client()?)?;
        let files = RemoteFiles(params.get_files()?);
        let session = self.0.open(client, files).await.map_err(failed)?;
        results.get().set_ticket(session.ticket());
        results.get().set_session(capnp_rpc::new_client(Session(session)));
        Ok(())
    }
}

struct Session<S>(Rc<S>);

impl<S: SessionService> session::Server for Session<S> {
    async fn run(self: Rc<Self>, params: session::RunParams, mut results: session::RunResults) -> Result<(), Error> {
        let (job, snapshot, updates, expected, sink) = {
            let params = params.get()?;
            (
                peer::read_job(params.get_job()?)?,
                peer::read_snapshot(params.get_snapshot()?),
                peer::read_updates(params.get_updates()?)?,
                peer::read_expected(params.get_expected()?)?,
                RemoteSink(params.get_sink()?),
            )
        };
        let result = self.0.run(job, snapshot, updates, expected, sink).await;
        let result = result.map_err(failed)?;
        peer::write_job_result(&result, results.get().init_result());
        Ok(())
    }

    async fn committed(
        self: Rc<Self>,
        params: session::CommittedParams,
        _results: session::CommittedResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let job = peer::read_job_id(params.get_job()?);
        let snapshot = peer::read_snapshot(params.get_snapshot()?);
        let updates = peer::read_updates(params.get_updates()?)?;
        self.0.committed(job, snapshot, updates).await.map_err(failed)
    }

    async fn discard(
        self: Rc<Self>,
        params: session::DiscardParams,
        _results: session::DiscardResults,
    ) -> Result<(), Error> {
        self.0.discard(peer::read_job_id(params.get()?.get_job()?));
        Ok(())
    }

    async fn signal(
        self: Rc<Self>,
        params: session::SignalParams,
        _results: session::SignalResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        self.0.signal(peer::read_job_id(params.get_job()?), params.get_signal());
        Ok(())
    }

    async fn input(self: Rc<Self>, params: session::InputParams, _results: session::InputResults) -> Result<(), Error> {
        let params = params.get()?;
        let job = peer::read_job_id(params.get_job()?);
        self.0.input(job, params.get_bytes()?.to_vec()).await;
        Ok(())
    }

    async fn resize(
        self: Rc<Self>,
        params: session::ResizeParams,
        _results: session::ResizeResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let size = TerminalSize {
            rows: params.get_rows(),
            cols: params.get_cols(),
        };
        self.0.resize(peer::read_job_id(params.get_job()?), size);
        Ok(())
    }

    async fn cancel(
        self: Rc<Self>,
        params: session::CancelParams,
        _results: session::CancelResults,
    ) -> Result<(), Error> {
        self.0.cancel(peer::read_job_id(params.get()?.get_job()?));
        Ok(())
    }

    async fn idle(self: Rc<Self>, params: session::IdleParams, mut results: session::IdleResults) -> Result<(), Error> {
        let params = params.get()?;
        let time = Duration::from_millis(params.get_time().into());
        let idle = self.0.idle(BuildId(params.get_build()), time).await;
        results.get().set_jobs(&idle[..])
    }

    async fn send_home(
        self: Rc<Self>,
        params: session::SendHomeParams,
        _results: session::SendHomeResults,
    ) -> Result<(), Error> {
        self.0.send_home(peer::read_job_id(params.get()?.get_job()?));
        Ok(())
    }

    async fn blobs(
        self: Rc<Self>,
        _params: session::BlobsParams,
        mut results: session::BlobsResults,
    ) -> Result<(), Error> {
        results.get().set_source(capnp_rpc::new_client(Outputs(self.0.clone())));
        Ok(())
    }
}

/// The uncommitted outputs of a session.
struct Outputs<S>(Rc<S>);

impl<S: SessionService> blob_source::Server for Outputs<S> {
    async fn read(
        self: Rc<Self>,
        params: blob_source::ReadParams,
        results: blob_source::ReadResults,
    ) -> Result<(), Error> {
        let (hash, offset, length) = blob_range(&params)?;
        answer_blob(self.0.read(hash, offset, length).await, results)
    }
}

pub(crate) fn held<S: SessionService>(session: &Rc<S>) -> blob_source::Client {
    capnp_rpc::new_client(Held(Rc::downgrade(session)))
}

/// What a session holds, for another worker. Does not keep the session.
struct Held<S>(Weak<S>);

impl<S: SessionService> blob_source::Server for Held<S> {
    async fn read(
        self: Rc<Self>,
        params: blob_source::ReadParams,
        results: blob_source::ReadResults,
    ) -> Result<(), Error> {
        let (hash, offset, length) = blob_range(&params)?;
        let session = self.0.upgrade();
        let session = session.ok_or_else(|| Error::failed("the client has left".to_string()))?;
        answer_blob(session.held(hash, offset, length).await, results)
    }
}
