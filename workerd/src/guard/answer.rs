//! What becomes of one stopped call. Decides; who waits and who sends is not its matter.

use super::Events;
use super::input::InputWatch;
use super::machine::{looked_for, needed_by, uses};
use super::objects::Objects;
use super::program::{command_line, is_plain_mkdir};
use super::request::Request;
use super::sys::TargetFd;
use super::users::{self, Conversations};
use crate::inherited::Placeholder;
use crate::slot::calls::{Arch, Effect};
use crate::view::{Act, Blocking, FaultError, Intent, PathUse, Reply, Resolved, View};
use rustix::fs::RenameFlags;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use termite_abi::PRELOAD_FILE;
use termite_types::{Abandon, PidRange, Resource};

/// What to do with a stopped call.
pub(super) enum Verdict {
    /// The kernel goes on with it.
    Continue,
    /// It ends with 0 or an errno.
    Finish(i32),
    /// It ends with this file opened.
    Opened(File),
    /// It ends with this in the place of its socket.
    Connected(UnixStream, TargetFd),
    /// The client has to be asked first.
    NeedsFetch,
}

/// Everything that verdicts depend on.
pub(super) struct CallHandler {
    pub view: Arc<View>,
    pub preload: Option<PathBuf>,
    pub drivers: Vec<OsString>,
    pub pids: Option<PidRange>,
    pub placeholder: Option<Placeholder>,
    pub input: InputWatch,
    pub objects: Objects,
    pub users: Conversations,
    pub events: Arc<dyn Events>,
    pub over: AtomicBool,
}

impl CallHandler {
    /// Decides on a call.
    pub(super) fn handle(&self, request: &Request, blocking: Blocking) -> Verdict {
        if self.over.load(Ordering::Relaxed) {
            return Verdict::Finish(libc::EPERM);
        }
        if self.input.is_wanted_by(request, self.view.proc()) {
            self.events.want_input();
        }
        if request.takes_lock() {
            self.view.note_lock(request.task, request.args[0] as i32);
        }
        if wants_listener(request) {
            tracing::warn!("a job's program wants a seccomp listener; its slot has one, so it was told EBUSY");
            return Verdict::Finish(libc::EBUSY);
        }
        if let Some(verdict) = self.preload(request) {
            return verdict;
        }
        match self.serve(request, blocking) {
            Ok(verdict) => verdict,
            Err(why) => {
                self.give_up(why);
                Verdict::Finish(libc::EPERM)
            }
        }
    }

    /// The job cannot go on here.
    fn give_up(&self, why: Abandon) {
        if !self.over.swap(true, Ordering::Relaxed) {
            self.events.abandon(why);
        }
    }

    /// The preload file exists for `ld.so` alone, and only for the class of program that
    /// the shim is built for.
    fn preload(&self, request: &Request) -> Option<Verdict> {
        let preload = self.preload.as_ref().filter(|_| request.arch == Arch::X86_64)?;
        let [named] = &request.paths[..] else { return None };
        if named.path != PRELOAD_FILE.as_bytes() || self.view.refuses_preload(request.task) {
            return None;
        }
        match (request.call.effect, named.intent) {
            (Effect::Stat, _) if request.call.name.contains("access") => Some(Verdict::Finish(0)),
            (Effect::Open(_), Intent::Read) => match File::open(preload) {
                Ok(file) => Some(Verdict::Opened(file)),
                Err(error) => {
                    self.give_up(Abandon::Slot(format!(
                        "the preload file {}: {error}",
                        preload.display()
                    )));
                    Some(Verdict::Finish(libc::EPERM))
                }
            },
            _ => None,
        }
    }

    /// Answers a call by what it does.
    fn serve(&self, request: &Request, blocking: Blocking) -> Result<Verdict, Abandon> {
        if request.call.effect == Effect::Exec {
            let program = request.paths.first();
            program.map_or(Ok(()), |named| refuse_drivers(&self.drivers, &named.path))?;
        }
        if let Some(placeholder) = &self.placeholder
            && uses(request, placeholder.file, self.view.proc())
        {
            return Err(placeholder.needed.clone());
        }
        if request.sleeps() && self.view.note_sleep(request.task, blocking)? == Reply::NeedsFetch {
            return Ok(Verdict::NeedsFetch);
        }
        if self.input.is_sought_by(request, self.view.proc()) {
            return Err(Abandon::Machine(
                "the file that is its standard input, to seek in it".into(),
            ));
        }
        let is_root = self.view.is_of_root();
        if let Some(what) = needed_by(request, is_root, self.view.root(), self.view.proc()) {
            return Err(Abandon::Machine(what));
        }
        let of_slot = || looked_for(request, self.pids, self.view.root(), self.view.proc());
        if let Some(resource) = self.objects.looked_for(request).or_else(of_slot)
            && let Some(verdict) = self.ask_for(request, &resource, blocking)?
        {
            return Ok(verdict);
        }
        if let Some(verdict) = self.name_service(request, blocking)? {
            return Ok(verdict);
        }
        let resolved_paths = match self.reach_all(request, blocking)? {
            ControlFlow::Continue(resolved_paths) => resolved_paths,
            ControlFlow::Break(verdict) => return Ok(verdict),
        };
        if resolved_paths[0] == Resolved::Missing
            && let Some(socket) = self.socket_of_client(request)
            && let Some(verdict) = self.ask_for(request, &socket, blocking)?
        {
            return Ok(verdict);
        }
        if let Some(mtime) = request.explicit_mtime() {
            self.view.set_explicit(mtime);
        }
        if matches!(
            resolved_paths,
            [Resolved::File, Resolved::File] | [Resolved::Symlink, Resolved::Symlink]
        ) && let Some(verdict) = self.rename_of_one_file(request)?
        {
            return Ok(verdict);
        }
        if !self.view.moves_directories() && moves_lower_dir(request, resolved_paths) {
            return self.rename_dir(request, blocking);
        }
        if ends_epoch(request, resolved_paths) {
            self.view.begin_namespace_change(request.task, request.number);
        }
        Ok(Verdict::Continue)
    }

    /// Brings what the call needs at its paths and takes down what it does there: what stands
    /// there, or a verdict that comes before.
    fn reach_all(&self, request: &Request, blocking: Blocking) -> Result<ControlFlow<Verdict, [Resolved; 2]>, Abandon> {
        let Effect::Rename(_) = request.call.effect else {
            return self.reach(request, blocking, |_, act| self.act(request.task, act));
        };
        // What it does at one path, or whether it does anything, depends on the other one.
        let looked = match self.reach(request, blocking, |_, _| Act::Look)? {
            ControlFlow::Continue(resolved_paths) => resolved_paths,
            verdict => return Ok(verdict),
        };
        if self.is_within_itself(request, looked) {
            return Ok(ControlFlow::Continue(looked));
        }
        // One that fails does so at the first path that is missing, or else at the second one.
        let failing = rename_fails(request.rename_flags(), looked).then_some(match looked[0] {
            Resolved::Missing => 0,
            _ => 1,
        });
        let moves_dir = matches!(looked[0], Resolved::Dir { .. });
        self.reach(request, blocking, |at, act| match act {
            _ if failing.is_some_and(|failing| failing != at) => Act::Look,
            Act::MoveHere { exclusive, .. } => Act::MoveHere {
                exclusive,
                dir: moves_dir,
            },
            act => act,
        })
    }

    /// Whether a rename fails since one of its paths is a directory that the other one is in (EINVAL
    /// and ENOTEMPTY of rename(2)).
    fn is_within_itself(&self, request: &Request, [from, to]: [Resolved; 2]) -> bool {
        let mut spelled = request
            .paths
            .iter()
            .map(|named| self.view.spelled(request.task, &named.used()));
        let (Some(Some(source)), Some(Some(target))) = (spelled.next(), spelled.next()) else {
            return false;
        };
        let is_dir = |resolved| matches!(resolved, Resolved::Dir { .. });
        source != target && (is_dir(from) && target.starts_with(&source) || is_dir(to) && source.starts_with(&target))
    }

    fn reach(
        &self,
        request: &Request,
        blocking: Blocking,
        act: impl Fn(usize, Act) -> Act,
    ) -> Result<ControlFlow<Verdict, [Resolved; 2]>, Abandon> {
        let mut resolved_paths = [Resolved::Outside; 2];
        for (at, named) in request.paths.iter().enumerate() {
            let used = PathUse {
                act: act(at, named.act),
                ..named.used()
            };
            match self.view.fault(request.task, &used, blocking)? {
                // Only of `sendmmsg` there are more, which moves nothing.
                Reply::Ready(found) => resolved_paths
                    .get_mut(at)
                    .into_iter()
                    .for_each(|resolved| *resolved = found),
                Reply::NeedsFetch => return Ok(ControlFlow::Break(Verdict::NeedsFetch)),
                Reply::Errno(errno) => return Ok(ControlFlow::Break(Verdict::Finish(errno))),
            }
        }
        Ok(ControlFlow::Continue(resolved_paths))
    }

    /// The verdict on a call that looks for something that its slot has not, if the client's
    /// machine has it.
    fn ask_for(&self, request: &Request, resource: &Resource, blocking: Blocking) -> Result<Option<Verdict>, Abandon> {
        if blocking == Blocking::Never {
            return Ok(Some(Verdict::NeedsFetch));
        }
        match self.view.machine_has(resource)? {
            true if request.is_test_of_process() => Ok(Some(Verdict::Finish(0))),
            true => Err(Abandon::Needs(resource.clone())),
            false => self.view.note_absent(resource).map(|()| None),
        }
    }

    /// The socket of the client's that a `connect` may be meant for, which finds none in the view.
    fn socket_of_client(&self, request: &Request) -> Option<Resource> {
        let [named] = &request.paths[..] else { return None };
        if request.call.name != "connect" {
            return None;
        }
        let path = self.view.spelled(request.task, &named.used())?;
        (!crate::view::is_absent(&path)).then_some(Resource::Socket(path))
    }

    /// The verdict on a `connect` to nscd, which the client stands in for where it asks more than files
    /// for users and groups.
    fn name_service(&self, request: &Request, blocking: Blocking) -> Result<Option<Verdict>, Abandon> {
        let [named] = &request.paths[..] else { return Ok(None) };
        let spelled = || self.view.spelled(request.task, &named.used());
        if request.call.name != "connect" || !spelled().is_some_and(|path| users::is_socket(&path)) {
            return Ok(None);
        }
        let has = match self.users.services.get() {
            Some(has) => *has,
            None if blocking == Blocking::Never => return Ok(Some(Verdict::NeedsFetch)),
            None => {
                let has = self.view.machine_has(&Resource::NameServices)?;
                *self.users.services.get_or_init(|| has)
            }
        };
        if !has {
            return Ok(None);
        }
        let (files, number) = (self.view.files(), request.args[0] as u32);
        let begun = self.users.begin(request.task, number, self.view.proc(), files);
        Ok(begun.map(|(socket, place)| Verdict::Connected(socket, place)))
    }

    /// What a call does at a path, with what only its program tells.
    fn act(&self, task: u32, act: Act) -> Act {
        match act {
            Act::MakeDir { .. } => Act::MakeDir {
                plain: is_plain_mkdir(&command_line(self.view.proc(), task)),
            },
            act => act,
        }
    }

    /// The answer to a call that renames one name of a file or symlink to another one of it, which does
    /// nothing and succeeds (rename(2)). In a user namespace overlayfs says ESTALE once the file
    /// was changed.
    fn rename_of_one_file(&self, request: &Request) -> Result<Option<Verdict>, Abandon> {
        let ([from, to], Effect::Rename(_)) = (&request.paths[..], request.call.effect) else {
            return Ok(None);
        };
        if request.rename_flags().contains(RenameFlags::NOREPLACE) {
            return Ok(None);
        }
        match self.view.renames_one_file(request.task, &from.used(), &to.used()) {
            Ok(is_one) => Ok(is_one.then_some(Verdict::Finish(0))),
            Err(FaultError::Errno(errno)) => Ok(Some(Verdict::Finish(errno))),
            Err(FaultError::Abandon(why)) => Err(why),
        }
    }

    /// The kernel would say EXDEV, which no such rename gives on the client.
    fn rename_dir(&self, request: &Request, blocking: Blocking) -> Result<Verdict, Abandon> {
        let [from, to] = &request.paths[..] else {
            return Ok(Verdict::Continue);
        };
        if blocking == Blocking::Never {
            return Ok(Verdict::NeedsFetch);
        }
        self.view.end_epoch();
        let reply = self
            .view
            .rename_dir(request.task, &from.used(), &to.used(), request.rename_flags());
        self.view.end_epoch();
        Ok(match reply? {
            Reply::Errno(errno) => Verdict::Finish(errno),
            Reply::Ready(_) | Reply::NeedsFetch => Verdict::Continue,
        })
    }
}

/// A driver is not for a worker.
pub(super) fn refuse_drivers(drivers: &[OsString], program: &[u8]) -> Result<(), Abandon> {
    let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    if drivers.iter().any(|driver| driver == OsStr::from_bytes(name)) {
        return Err(Abandon::Driver(OsStr::from_bytes(program).into()));
    }
    Ok(())
}

/// The kernel would say EBUSY as well, but to nobody else.
fn wants_listener(request: &Request) -> bool {
    match request.call.effect {
        Effect::OwnFilter(flags) => request.args[flags as usize] & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0,
        _ => false,
    }
}

/// Whether a rename moves a directory of the client: the first one, or either of two that
/// change places.
fn moves_lower_dir(request: &Request, [first, second]: [Resolved; 2]) -> bool {
    let lower = Resolved::Dir { below: true };
    let both = request.rename_flags().contains(RenameFlags::EXCHANGE);
    matches!(request.call.effect, Effect::Rename(_)) && (first == lower || both && second == lower)
}

/// Whether a rename does nothing, by what stands at its paths (rename(2)).
fn rename_fails(flags: RenameFlags, [from, to]: [Resolved; 2]) -> bool {
    let is_dir = |resolved| matches!(resolved, Resolved::Dir { .. });
    match (from, to) {
        (Resolved::Missing, _) => true,
        (_, Resolved::Missing) => flags.contains(RenameFlags::EXCHANGE),
        _ if flags.contains(RenameFlags::EXCHANGE) => false,
        _ => flags.contains(RenameFlags::NOREPLACE) || is_dir(from) != is_dir(to),
    }
}

/// Whether spellings of directories may lead elsewhere after the call.
fn ends_epoch(request: &Request, [first, second]: [Resolved; 2]) -> bool {
    let leads = |resolved| matches!(resolved, Resolved::Dir { .. } | Resolved::Symlink);
    match request.call.effect {
        Effect::Rename(_) => leads(first) || leads(second),
        Effect::Remove(_) | Effect::Link => leads(first),
        // Who may search it may change.
        Effect::Metadata => matches!(first, Resolved::Dir { .. }),
        // A new symlink may stand where a directory was looked for in vain.
        Effect::Create => request.call.name.starts_with("symlink"),
        _ => false,
    }
}
