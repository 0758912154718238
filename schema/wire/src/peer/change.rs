//! What a job changed, on the wire. Knows nothing of overlay layers or commits.

use super::{read_attr, write_attr};
use crate::peer_capnp::{attr, base, change};
use crate::{Fault, WireError, checked};
use termite_types::{Attr, Base, Change, ChangeKind, Content, Node};

type Result<T> = std::result::Result<T, WireError>;

/// Reads one changed path.
pub fn read_change(from: change::Reader<'_>) -> Result<Change> {
    let path = checked::plain_path("path of a change", from.get_path()?)?;
    let kind = match from.which()? {
        change::Remove(()) => ChangeKind::Remove,
        change::Dir(dir) => ChangeKind::Dir {
            attr: attr_of(dir.get_attr()?, |node| matches!(node, Node::Dir))?,
            explicit_mtime: dir.get_explicit_mtime(),
        },
        change::Symlink(attr) => ChangeKind::Symlink {
            attr: attr_of(attr?, |node| matches!(node, Node::Symlink { .. }))?,
        },
        change::File(file) => read_file(file)?,
        change::Link(to) => ChangeKind::Link {
            to: checked::plain_path("other name of a link", to?)?,
        },
    };
    Ok(Change { path, kind })
}

fn read_file(from: change::file::Reader<'_>) -> Result<ChangeKind> {
    let attr = attr_of(from.get_attr()?, |node| {
        matches!(node, Node::File { hash: Some(_), .. })
    })?;
    let content = match from.get_content().which()? {
        change::file::content::OnWorker(()) => Content::OnWorker,
        change::file::content::Inline(bytes) => {
            let bytes = bytes?;
            let whole = matches!(attr.node, Node::File { size, .. } if size == bytes.len() as u64);
            checked::require(whole, "length of a file's content", Fault::Range(bytes.len() as u64))?;
            Content::Inline(bytes.to_vec())
        }
    };
    let base = if from.has_base() {
        Some(read_base(from.get_base()?)?)
    } else {
        None
    };
    Ok(ChangeKind::File {
        attr,
        explicit_mtime: from.get_explicit_mtime(),
        base,
        content,
    })
}

/// Attributes whose node is of the kind that the change says.
fn attr_of(from: attr::Reader<'_>, is_kind: impl Fn(&Node) -> bool) -> Result<Attr> {
    let attr = read_attr(from)?;
    checked::require(is_kind(&attr.node), "attributes of a change", Fault::Kind)?;
    Ok(attr)
}

fn read_base(from: base::Reader<'_>) -> Result<Base> {
    Ok(Base {
        size: from.get_size(),
        hash: checked::hash("hash of a base", from.get_hash()?)?,
        is_prefix: from.get_is_prefix(),
    })
}

/// Writes one changed path.
pub fn write_change(change: &Change, mut to: change::Builder<'_>) {
    to.set_path(checked::bytes(&change.path));
    match &change.kind {
        ChangeKind::Remove => to.set_remove(()),
        ChangeKind::Dir { attr, explicit_mtime } => {
            let mut dir = to.init_dir();
            write_attr(attr, dir.reborrow().init_attr());
            dir.set_explicit_mtime(*explicit_mtime);
        }
        ChangeKind::Symlink { attr } => write_attr(attr, to.init_symlink()),
        ChangeKind::File {
            attr,
            explicit_mtime,
            base,
            content,
        } => {
            let mut file = to.init_file();
            write_attr(attr, file.reborrow().init_attr());
            file.set_explicit_mtime(*explicit_mtime);
            if let Some(base) = base {
                let mut to = file.reborrow().init_base();
                to.set_size(base.size);
                to.set_hash(&base.hash.0);
                to.set_is_prefix(base.is_prefix);
            }
            match content {
                Content::OnWorker => file.init_content().set_on_worker(()),
                Content::Inline(bytes) => file.init_content().set_inline(bytes),
            }
        }
        ChangeKind::Link { to: other } => to.set_link(checked::bytes(other)),
    }
}
