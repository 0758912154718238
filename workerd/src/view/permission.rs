//! What the client's user may not write. The files of an ordinary user's slot are all that user's,
//! so that its kernel does not know; a root worker gives them their owners. Knows modes (path_resolution(7),
//! access(2)), and that the client alone knows access lists.

use super::View;
use super::act::Act;
use super::acts::Before;
use super::error::FaultError;
use super::path_use::Blocking;
use super::walk::{Stop, WalkEnd};
use std::path::{Path, PathBuf};
use termite_types::{Abandon, Attr, Resource};

/// Bits of a mode: the group's and everybody's right to write, and that names are their owners'.
const GROUP: u32 = 0o020;
const EVERYBODY: u32 = 0o002;
const STICKY: u32 = 0o1000;
/// Bits of the mode of a program that has rights of its owner, and of its group.
const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2010;

impl View {
    /// Fails as the call does on the client where its user may not do this at a path.
    pub(super) fn refuse_forbidden(&self, walked: &WalkEnd, act: Act, blocking: Blocking) -> Result<(), Stop> {
        if self.mirror.keeps_owners() || self.uid == 0 {
            return Ok(());
        }
        if let Some((path, attr)) = self.written_by(walked, act)
            && attr.uid != self.uid
            && !self.others_may_write(&path, &attr, blocking)?
        {
            return Err(FaultError::Errno(libc::EACCES).into());
        }
        if matches!(act, Act::Attributes { by_writers: false }) && self.is_of_another(walked) {
            return Err(FaultError::Errno(libc::EPERM).into());
        }
        if matches!(
            act,
            Act::Remove { .. } | Act::MoveAway | Act::MoveHere { .. } | Act::Exchange
        ) && self.is_kept_by_owner(walked)
        {
            return Err(FaultError::Errno(libc::EPERM).into());
        }
        Ok(())
    }

    /// Fails for a program that gains rights by its owner or group: in a slot nobody does (execve(2),
    /// `PR_SET_NO_NEW_PRIVS`).
    pub(super) fn refuse_set_id(&self, ino: u64, path: &Path) -> Result<(), Stop> {
        let Some(attr) = self.mirror.attr_of(ino, path) else {
            return Ok(());
        };
        let gains_user = attr.mode & SET_UID != 0 && attr.uid != self.uid;
        let gains_group = attr.mode & SET_GID == SET_GID && attr.gid != self.gid;
        if gains_user || gains_group {
            let rights = format!("the rights that {} has of its owner or group", path.display());
            return Err(FaultError::from(Abandon::Machine(rights)).into());
        }
        Ok(())
    }

    /// The file or directory of the client's that an act writes to.
    fn written_by(&self, walked: &WalkEnd, act: Act) -> Option<(PathBuf, Attr)> {
        let parent = || self.clients_dir(walked.path()?.parent()?);
        match (act, walked) {
            (Act::TestWrite | Act::Attributes { by_writers: true }, _) => self.found(walked),
            (Act::Open { exclusive: false, .. }, WalkEnd::File(..)) => self.found(walked),
            (Act::Open { .. } | Act::MakeDir { .. } | Act::Make, WalkEnd::Missing(_)) => parent(),
            (Act::Remove { .. } | Act::MoveAway | Act::Exchange, WalkEnd::Missing(_)) => None,
            (Act::Remove { .. } | Act::MoveAway | Act::MoveHere { .. } | Act::Exchange, _) => parent(),
            _ => None,
        }
    }

    /// A file or directory of the client's.
    fn found(&self, walked: &WalkEnd) -> Option<(PathBuf, Attr)> {
        match walked {
            WalkEnd::File(path, looks) => {
                let attr = self.mirror.attr_of(looks.ino, path);
                Some((path.clone(), attr.or_else(|| self.copied_up(path))?))
            }
            WalkEnd::Dir(path) => self.clients_dir(path),
            _ => None,
        }
    }

    /// A file of the client's that the job changes in place.
    fn copied_up(&self, path: &Path) -> Option<Attr> {
        let acts = self.acts.lock();
        match acts.of_name(path).filter(|acts| !acts.named)?.before {
            Before::File(ref file) => Some(file.attr.clone()),
            _ => None,
        }
    }

    fn is_of_another(&self, walked: &WalkEnd) -> bool {
        self.found(walked).is_some_and(|(_, attr)| attr.uid != self.uid)
    }

    /// A directory that the client has, unless the job has put another one in its place.
    fn clients_dir(&self, path: &Path) -> Option<(PathBuf, Attr)> {
        let is_own = || self.acts.lock().of_name(path).is_some_and(|acts| acts.named);
        let attr = self.mirror.dir_attr(path)?;
        (!is_own()).then(|| (path.to_path_buf(), attr))
    }

    /// Whether one may write there who is not the owner. The bits of the group are also the most
    /// that an access list gives to anybody (acl(5)).
    fn others_may_write(&self, path: &Path, attr: &Attr, blocking: Blocking) -> Result<bool, Stop> {
        if attr.mode & (GROUP | EVERYBODY) != GROUP {
            return Ok(attr.mode & EVERYBODY != 0);
        }
        if blocking == Blocking::Never {
            return Err(Stop::NeedsFetch);
        }
        let may = self.machine_has(&Resource::Writable(path.to_path_buf()));
        may.map_err(|abandon| FaultError::Abandon(abandon).into())
    }

    /// Whether the name of another user's file stands in another one's sticky directory.
    fn is_kept_by_owner(&self, walked: &WalkEnd) -> bool {
        let parent = || self.clients_dir(walked.path()?.parent()?);
        self.is_of_another(walked)
            && parent().is_some_and(|(_, parent)| parent.uid != self.uid && parent.mode & STICKY != 0)
    }
}
