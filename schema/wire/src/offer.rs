//! What this side offers, as traits on our own types: their adapters turn the calls of
//! `peer.capnp` into them. Knows nothing of what stands behind the traits.

use crate::checked;
use crate::peer::{self, ClientInfo, Listed, Opened};
use crate::peer_capnp::{blob_source, file_server, job_sink, session, worker};
use crate::remote::{RemoteFiles, RemoteSink};
use capnp::Error;
use std::future::Future;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::time::Duration;
use termite_types::{
    BlobHash, BuildId, Expected, JobId, JobResult, JobSpec, Resource, Snapshot, TerminalSize, Update, UserAnswer,
    UserQuery, is_zeros,
};

/// The files of a client.
pub trait FileService: 'static {
    /// The whole listing of a directory.
    fn read_dir(&self, snapshot: Snapshot, path: PathBuf) -> impl Future<Output = Listed>;
    /// A file's attributes, hash and first bytes.
    fn open(&self, snapshot: Snapshot, path: PathBuf) -> impl Future<Output = Opened>;
    /// The listings of the first of some directories, at least one.
    fn read_dirs(&self, snapshot: Snapshot, paths: Vec<PathBuf>) -> impl Future<Output = Vec<Listed>>;
    /// The first of some files as `open` gives them, at least one.
    fn open_all(&self, snapshot: Snapshot, paths: Vec<PathBuf>) -> impl Future<Output = Vec<Opened>>;
    /// A piece of a blob that `open` named.
    fn read(&self, hash: BlobHash, offset: u64, length: u32) -> impl Future<Output = Result<Vec<u8>, String>>;
    /// Whether the client's own machine has something.
    fn machine_has(&self, resource: Resource) -> impl Future<Output = bool>;
    /// What the client's name services know of a user or group.
    fn find_user(&self, query: UserQuery) -> impl Future<Output = UserAnswer>;
}

/// A worker.
pub trait WorkerService: 'static {
    /// What it opens.
    type Session: SessionService;
    /// Opens the session of a client.
    fn open(&self, client: ClientInfo, files: RemoteFiles) -> impl Future<Output = Result<Rc<Self::Session>, String>>;
    /// The open session that a ticket is of.
    fn ticketed(&self, ticket: &[u8]) -> Option<Rc<Self::Session>>;
}

/// A client's session on a worker. Dropping the future of `run` cancels the job.
pub trait SessionService: 'static {
    /// Runs a job to its end.
    fn run(
        &self,
        job: JobSpec,
        snapshot: Snapshot,
        updates: Vec<Update>,
        expected: Expected,
        sink: RemoteSink,
    ) -> impl Future<Output = Result<JobResult, String>>;
    /// The job's outputs are in the client's tree, as the updates tell.
    fn committed(
        &self,
        job: JobId,
        snapshot: Snapshot,
        updates: Vec<Update>,
    ) -> impl Future<Output = Result<(), String>>;
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
    fn read(&self, hash: BlobHash, offset: u64, length: u32) -> impl Future<Output = Result<Vec<u8>, String>>;
    /// Lets other workers of the client in. A secret.
    fn ticket(&self) -> &[u8];
    /// A piece of any content that is here or on its way, for another worker.
    fn held(&self, hash: BlobHash, offset: u64, length: u32) -> impl Future<Output = Result<Vec<u8>, String>>;
}

/// The client's end of a running job.
pub trait SinkService: 'static {
    /// A piece of stdout (1) or stderr (2).
    fn output(&self, fd: u8, bytes: Vec<u8>) -> impl Future<Output = ()>;
    /// The job reads its standard input.
    fn want_input(&self);
}

pub(crate) fn files<F: FileService>(service: Rc<F>) -> file_server::Client {
    capnp_rpc::new_client(Files(service))
}

pub(crate) fn worker<W: WorkerService>(service: Rc<W>) -> worker::Client {
    capnp_rpc::new_client(Worker(service))
}

pub(crate) fn sink<S: SinkService>(service: Rc<S>) -> job_sink::Client {
    capnp_rpc::new_client(Sink(service))
}

struct Files<F>(Rc<F>);

impl<F: FileService> file_server::Server for Files<F> {
    async fn read_dir(
        self: Rc<Self>,
        params: file_server::ReadDirParams,
        mut results: file_server::ReadDirResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let snapshot = peer::read_snapshot(params.get_snapshot()?);
        let path = peer::read_path(params.get_path()?)?;
        let listed = self.0.read_dir(snapshot, path).await;
        peer::write_list_result(&listed, results.get().init_result());
        Ok(())
    }

    async fn open(
        self: Rc<Self>,
        params: file_server::OpenParams,
        mut results: file_server::OpenResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let snapshot = peer::read_snapshot(params.get_snapshot()?);
        let path = peer::read_path(params.get_path()?)?;
        let opened = self.0.open(snapshot, path).await;
        peer::write_open_result(&opened, results.get().init_result());
        Ok(())
    }

    async fn read_dirs(
        self: Rc<Self>,
        params: file_server::ReadDirsParams,
        mut results: file_server::ReadDirsResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let snapshot = peer::read_snapshot(params.get_snapshot()?);
        let paths = peer::read_paths(params.get_paths()?)?;
        let listed = self.0.read_dirs(snapshot, paths).await;
        peer::write_list_results(&listed, results.get().init_results(checked::count(&listed)));
        Ok(())
    }

    async fn machine_has(
        self: Rc<Self>,
        params: file_server::MachineHasParams,
        mut results: file_server::MachineHasResults,
    ) -> Result<(), Error> {
        let resource = peer::read_resource(params.get()?.get_resource()?)?;
        results.get().set_has(self.0.machine_has(resource).await);
        Ok(())
    }

    async fn find_user(
        self: Rc<Self>,
        params: file_server::FindUserParams,
        mut results: file_server::FindUserResults,
    ) -> Result<(), Error> {
        let query = peer::read_user_query(params.get()?.get_query()?)?;
        let answer = self.0.find_user(query).await;
        peer::write_user_answer(&answer, results.get().init_answer());
        Ok(())
    }

    async fn open_all(
        self: Rc<Self>,
        params: file_server::OpenAllParams,
        mut results: file_server::OpenAllResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let snapshot = peer::read_snapshot(params.get_snapshot()?);
        let paths = peer::read_paths(params.get_paths()?)?;
        let opened = self.0.open_all(snapshot, paths).await;
        peer::write_open_results(&opened, results.get().init_results(checked::count(&opened)));
        Ok(())
    }
}

impl<F: FileService> blob_source::Server for Files<F> {
    async fn read(
        self: Rc<Self>,
        params: blob_source::ReadParams,
        results: blob_source::ReadResults,
    ) -> Result<(), Error> {
        let (hash, offset, length) = blob_range(&params)?;
        answer_blob(self.0.read(hash, offset, length).await, results)
    }
}

struct Worker<W>(Rc<W>);

impl<W: WorkerService> worker::Server for Worker<W> {
    async fn open(self: Rc<Self>, params: worker::OpenParams, mut results: worker::OpenResults) -> Result<(), Error> {
        let params = params.get()?;
        let client = peer::read_client_info(params.get_client()?)?;
        let files = RemoteFiles(params.get_files()?);
        let session = self.0.open(client, files).await.map_err(Error::failed)?;
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
        let result = result.map_err(Error::failed)?;
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
        self.0.committed(job, snapshot, updates).await.map_err(Error::failed)
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

struct Sink<S>(Rc<S>);

impl<S: SinkService> job_sink::Server for Sink<S> {
    async fn output(
        self: Rc<Self>,
        params: job_sink::OutputParams,
        _results: job_sink::OutputResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        self.0.output(params.get_fd(), params.get_bytes()?.to_vec()).await;
        Ok(())
    }

    async fn want_input(
        self: Rc<Self>,
        _params: job_sink::WantInputParams,
        _results: job_sink::WantInputResults,
    ) -> Result<(), Error> {
        self.0.want_input();
        Ok(())
    }
}

fn blob_range(params: &blob_source::ReadParams) -> Result<(BlobHash, u64, u32), Error> {
    let params = params.get()?;
    Ok((
        peer::read_hash(params.get_hash()?)?,
        params.get_offset(),
        params.get_length(),
    ))
}

fn answer_blob(piece: Result<Vec<u8>, String>, mut results: blob_source::ReadResults) -> Result<(), Error> {
    let piece = piece.map_err(Error::failed)?;
    match u32::try_from(piece.len()) {
        Ok(zeros) if is_zeros(&piece) => results.get().set_zeros(zeros),
        _ => results.get().set_bytes(&piece),
    }
    Ok(())
}
