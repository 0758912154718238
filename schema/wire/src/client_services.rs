//! What a client offers a worker, as traits on our own types: its files, and its end of a running job.
//! Adapters turn the calls of `peer.capnp` into them. Knows nothing of what stands behind the traits.

use crate::blob_source::{answer_blob, blob_range};
use crate::checked;
use crate::peer::{self, Listed, Opened};
use crate::peer_capnp::{blob_source, file_server, job_sink};
use capnp::Error;
use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;
use termite_types::{BlobHash, Resource, Snapshot, UserAnswer, UserQuery};

/// The files of a client.
pub trait FileService: 'static {
    /// Why a blob cannot be read, told to the worker in words.
    type Error: std::error::Error;
    /// The whole listing of a directory.
    fn read_dir(&self, snapshot: Snapshot, path: PathBuf) -> impl Future<Output = Listed>;
    /// A file's attributes, hash and first bytes.
    fn open(&self, snapshot: Snapshot, path: PathBuf) -> impl Future<Output = Opened>;
    /// The listings of the first of some directories, at least one.
    fn read_dirs(&self, snapshot: Snapshot, paths: Vec<PathBuf>) -> impl Future<Output = Vec<Listed>>;
    /// The first of some files as `open` gives them, at least one.
    fn open_all(&self, snapshot: Snapshot, paths: Vec<PathBuf>) -> impl Future<Output = Vec<Opened>>;
    /// A piece of a blob that `open` named.
    fn read(&self, hash: BlobHash, offset: u64, length: u32) -> impl Future<Output = Result<Vec<u8>, Self::Error>>;
    /// Whether the client's own machine has something.
    fn machine_has(&self, resource: Resource) -> impl Future<Output = bool>;
    /// What the client's name services know of a user or group.
    fn find_user(&self, query: UserQuery) -> impl Future<Output = UserAnswer>;
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
