//! What a job changed, on the wire. Knows nothing of overlay layers or commits.

use super::{read_attr, write_attr};
use crate::peer_capnp::IfPresent as WireIfPresent;
use crate::peer_capnp::{alter, attr, base, change, content, edit, xattr};
use crate::{Fault, WireError, checked};
use termite_types::{Alter, Attr, Base, Change, ChangeKind, Content, Edit, IfPresent, Node, SetTime, Xattr};

type Result<T> = std::result::Result<T, WireError>;

/// Reads one changed path.
pub fn read_change(from: change::Reader<'_>) -> Result<Change> {
    let path = checked::plain_path("path of a change", from.get_path()?)?;
    let kind = match from.which()? {
        change::Remove(remove) => ChangeKind::Remove { dir: remove.get_dir() },
        change::MakeDir(dir) => ChangeKind::MakeDir {
            attr: attr_of(dir.get_attr()?, |node| matches!(node, Node::Dir))?,
            explicit_mtime: dir.get_explicit_mtime(),
            plain: dir.get_plain(),
        },
        change::Symlink(attr) => ChangeKind::Symlink {
            attr: attr_of(attr?, |node| matches!(node, Node::Symlink { .. }))?,
        },
        change::File(file) => read_file(file)?,
        change::Link(to) => ChangeKind::Link {
            to: checked::plain_path("other name of a link", to?)?,
        },
        change::Name(name) => ChangeKind::Name {
            from: checked::plain_path("former path of a file", name.get_from()?)?,
            hash: checked::hash_if_known("hash of a named file", name.get_hash()?)?,
        },
        change::Alter(alter) => ChangeKind::Alter(read_alter(alter?)?),
        change::SetXattrs(xattrs) => ChangeKind::SetXattrs(xattrs?.iter().map(read_xattr).collect::<Result<_>>()?),
    };
    Ok(Change { path, kind })
}

fn read_xattr(from: xattr::Reader<'_>) -> Result<Xattr> {
    let name = checked::no_nul("name of an attribute", from.get_name()?)?;
    // More name spaces would let a worker give what only their owners may.
    let is_user = name.as_encoded_bytes().starts_with(b"user.");
    checked::require(is_user, "name space of an attribute", Fault::Kind)?;
    Ok(Xattr {
        name,
        value: from.get_value()?.to_vec(),
    })
}

fn read_file(from: change::file::Reader<'_>) -> Result<ChangeKind> {
    let attr = attr_of(from.get_attr()?, |node| {
        matches!(node, Node::File { hash: Some(_), .. })
    })?;
    let content = read_content(from.get_content()?, attr.size())?;
    Ok(ChangeKind::File {
        attr,
        explicit_mtime: from.get_explicit_mtime(),
        content,
        if_present: match from.get_if_present()? {
            WireIfPresent::Replace => IfPresent::Replace,
            WireIfPresent::Append => IfPresent::Append,
            WireIfPresent::Overwrite => IfPresent::Overwrite,
        },
    })
}

fn read_content(from: content::Reader<'_>, size: u64) -> Result<Content> {
    Ok(match from.which()? {
        content::OnWorker(()) => Content::OnWorker,
        content::Inline(bytes) => {
            let bytes = bytes?;
            let found = bytes.len() as u64;
            checked::require(size == found, "length of a file's content", Fault::Range(found))?;
            Content::Inline(bytes.to_vec())
        }
    })
}

/// Reads a change in place.
fn read_alter(from: alter::Reader<'_>) -> Result<Alter> {
    let mtime = if from.has_mtime() {
        let time = from.get_mtime()?;
        Some(SetTime {
            time: checked::time("time of a change", time.get_sec(), time.get_nsec())?,
            explicit: from.get_explicit_mtime(),
        })
    } else {
        None
    };
    let content = if from.has_content() {
        Some(read_edit(from.get_content()?)?)
    } else {
        None
    };
    let mode = match from.get_has_mode() {
        true => Some(checked::within("mode", from.get_mode(), 0, 0o7777)?),
        false => None,
    };
    Ok(Alter {
        mode,
        owner: from.get_has_owner().then_some((from.get_uid(), from.get_gid())),
        mtime,
        content,
    })
}

fn read_edit(from: edit::Reader<'_>) -> Result<Edit> {
    let (base, size) = (read_base(from.get_base()?)?, from.get_size());
    let appended = from.get_appended();
    let fits = !appended || base.size <= size;
    checked::require(fits, "length of what was appended to", Fault::Range(base.size))?;
    Ok(Edit {
        base,
        size,
        hash: checked::hash("hash of a content", from.get_hash()?)?,
        content: read_content(from.get_content()?, size)?,
        appended,
    })
}

/// Attributes whose node is of the kind that the change says.
fn attr_of(from: attr::Reader<'_>, is_kind: impl Fn(&Node) -> bool) -> Result<Attr> {
    let attr = read_attr(from)?;
    checked::require(is_kind(&attr.node), "attributes of a change", Fault::Kind)?;
    Ok(attr)
}

pub(super) fn read_base(from: base::Reader<'_>) -> Result<Base> {
    Ok(Base {
        size: from.get_size(),
        hash: checked::hash("hash of a base", from.get_hash()?)?,
    })
}

/// Writes one changed path.
pub fn write_change(change: &Change, mut to: change::Builder<'_>) {
    to.set_path(checked::bytes(&change.path));
    match &change.kind {
        ChangeKind::Remove { dir } => to.init_remove().set_dir(*dir),
        ChangeKind::MakeDir {
            attr,
            explicit_mtime,
            plain,
        } => {
            let mut dir = to.init_make_dir();
            write_attr(attr, dir.reborrow().init_attr());
            dir.set_explicit_mtime(*explicit_mtime);
            dir.set_plain(*plain);
        }
        ChangeKind::Symlink { attr } => write_attr(attr, to.init_symlink()),
        ChangeKind::File {
            attr,
            explicit_mtime,
            content,
            if_present,
        } => {
            let mut file = to.init_file();
            write_attr(attr, file.reborrow().init_attr());
            file.set_explicit_mtime(*explicit_mtime);
            write_content(content, file.reborrow().init_content());
            file.set_if_present(match if_present {
                IfPresent::Replace => WireIfPresent::Replace,
                IfPresent::Append => WireIfPresent::Append,
                IfPresent::Overwrite => WireIfPresent::Overwrite,
            });
        }
        ChangeKind::Link { to: other } => to.set_link(checked::bytes(other)),
        ChangeKind::Name { from, hash } => {
            let mut name = to.init_name();
            name.set_from(checked::bytes(from));
            if let Some(hash) = hash {
                name.set_hash(&hash.0);
            }
        }
        ChangeKind::Alter(alter) => write_alter(alter, to.init_alter()),
        ChangeKind::SetXattrs(xattrs) => {
            let mut to = to.init_set_xattrs(checked::count(xattrs));
            for (at, xattr) in (0..).zip(xattrs) {
                let mut to = to.reborrow().get(at);
                to.set_name(xattr.name.as_encoded_bytes());
                to.set_value(&xattr.value);
            }
        }
    }
}

fn write_content(content: &Content, mut to: content::Builder<'_>) {
    match content {
        Content::OnWorker => to.set_on_worker(()),
        Content::Inline(bytes) => to.set_inline(bytes),
    }
}

fn write_alter(alter: &Alter, mut to: alter::Builder<'_>) {
    if let Some(mode) = alter.mode {
        to.set_has_mode(true);
        to.set_mode(mode);
    }
    if let Some((uid, gid)) = alter.owner {
        to.set_has_owner(true);
        to.set_uid(uid);
        to.set_gid(gid);
    }
    if let Some(SetTime { time, explicit }) = alter.mtime {
        to.set_explicit_mtime(explicit);
        let mut to = to.reborrow().init_mtime();
        to.set_sec(time.sec);
        to.set_nsec(time.nsec);
    }
    if let Some(edit) = &alter.content {
        let mut to = to.init_content();
        write_base(&edit.base, to.reborrow().init_base());
        to.set_size(edit.size);
        to.set_hash(&edit.hash.0);
        write_content(&edit.content, to.reborrow().init_content());
        to.set_appended(edit.appended);
    }
}

pub(super) fn write_base(base: &Base, mut to: base::Builder<'_>) {
    to.set_size(base.size);
    to.set_hash(&base.hash.0);
}
