//! What a job's changes depend on, on the wire. Knows nothing of how it is checked.

use super::change::{read_base, write_base};
use crate::peer_capnp::{check, premises};
use crate::{WireError, checked};
use termite_types::{Check, Premises, Seen};

type Result<T> = std::result::Result<T, WireError>;

/// Reads what has to hold for a job's changes.
pub fn read_premises(from: premises::Reader<'_>) -> Result<Premises> {
    let names = from.get_passing_names()?.iter();
    let name = |name: capnp::Result<&[u8]>| checked::plain_path("a passing name", name?);
    let locks = from.get_locks()?.iter();
    let lock = |file: capnp::Result<&[u8]>| checked::plain_path("a locked file", file?);
    Ok(Premises {
        checks: from.get_checks()?.iter().map(read_check).collect::<Result<_>>()?,
        locked: from.get_locked(),
        unseen: from.get_unseen(),
        passing_names: names.map(name).collect::<Result<_>>()?,
        locks: locks.map(lock).collect::<Result<_>>()?,
    })
}

fn read_check(from: check::Reader<'_>) -> Result<Check> {
    Ok(Check {
        path: checked::plain_path("path of a check", from.get_path()?)?,
        seen: match from.which()? {
            check::Nothing(()) => Seen::Nothing,
            check::Leaf(()) => Seen::Leaf,
            check::Content(base) => Seen::Content(read_base(base?)?),
            check::Absent(()) => Seen::Absent,
            check::File(()) => Seen::File,
            check::OnlyName(()) => Seen::OnlyName,
            check::Symlink(target) => Seen::Symlink(checked::any_path("target of a symlink", target?)?),
            check::Mode(mode) => Seen::Mode(checked::within("mode of a check", mode, 0, 0o7777)?),
            check::Owner(owner) => Seen::Owner(owner.get_uid(), owner.get_gid()),
            check::OtherFile(from) => Seen::OtherFile(checked::plain_path("path of a renamed file", from?)?),
        },
    })
}

/// Writes what has to hold for a job's changes.
pub fn write_premises(premises: &Premises, mut to: premises::Builder<'_>) {
    let mut checks = to.reborrow().init_checks(checked::count(&premises.checks));
    for (at, check) in (0..).zip(&premises.checks) {
        let mut to = checks.reborrow().get(at);
        to.set_path(checked::bytes(&check.path));
        match &check.seen {
            Seen::Nothing => to.set_nothing(()),
            Seen::Leaf => to.set_leaf(()),
            Seen::Content(base) => write_base(base, to.init_content()),
            Seen::Absent => to.set_absent(()),
            Seen::File => to.set_file(()),
            Seen::OnlyName => to.set_only_name(()),
            Seen::Symlink(target) => to.set_symlink(checked::bytes(target)),
            Seen::Mode(mode) => to.set_mode(*mode),
            Seen::Owner(uid, gid) => {
                let mut to = to.init_owner();
                to.set_uid(*uid);
                to.set_gid(*gid);
            }
            Seen::OtherFile(from) => to.set_other_file(checked::bytes(from)),
        }
    }
    to.set_locked(premises.locked);
    to.set_unseen(premises.unseen);
    let mut names = to
        .reborrow()
        .init_passing_names(checked::count(&premises.passing_names));
    for (at, name) in (0..).zip(&premises.passing_names) {
        names.set(at, checked::bytes(name));
    }
    let mut locks = to.init_locks(checked::count(&premises.locks));
    for (at, file) in (0..).zip(&premises.locks) {
        locks.set(at, checked::bytes(file));
    }
}
