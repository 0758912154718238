//! Attributes, listings and updates on the wire. Knows nothing of jobs.

use crate::peer_capnp::{self, attr, expected, holder, list_result, listing, open_result, update};
use crate::{Fault, WireError, checked};
use capnp::struct_list;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use termite_types::{Attr, Entry, Expected, Holder, Listing, Node, Special, Update};

type Result<T> = std::result::Result<T, WireError>;

/// Answer to a request for a directory's names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listed {
    /// Of the client's own `opendir`, 1 to 4095.
    Errno(u32),
    /// All names.
    Listing(Listing),
}

/// Answer to a request for a file's content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opened {
    /// Of the client's own `open`, 1 to 4095.
    Errno(u32),
    /// The client's rules do not allow it to leave.
    Denied,
    /// A regular file.
    File {
        /// Its attributes; the node is a file with its hash.
        attr: Attr,
        /// Its first bytes, not more than its size; the rest is read by hash.
        head: Vec<u8>,
        /// Workers who have it or are getting it, the best first.
        holders: Vec<Holder>,
    },
}

/// Holders of one file that are worth naming.
pub const MOST_HOLDERS: usize = 8;
/// Bytes of a ticket.
pub const TICKET_LEN: usize = 32;

/// Reads attributes.
pub fn read_attr(from: attr::Reader<'_>) -> Result<Attr> {
    let node = match from.which()? {
        attr::Dir(()) => Node::Dir,
        attr::File(file) => Node::File {
            size: file.get_size(),
            hash: checked::hash_if_known("file hash", file.get_hash()?)?,
        },
        attr::Symlink(target) => Node::Symlink {
            target: checked::any_path("link target", target?)?,
        },
        attr::Special(special) => Node::Special(read_special(special?)),
    };
    Ok(Attr {
        mode: checked::within("mode", from.get_mode(), 0, 0o7777)?,
        uid: from.get_uid(),
        gid: from.get_gid(),
        mtime: checked::time("mtime", from.get_mtime_sec(), from.get_mtime_nsec())?,
        node,
    })
}

/// Writes attributes.
pub fn write_attr(attr: &Attr, mut to: attr::Builder<'_>) {
    to.set_mode(attr.mode);
    to.set_uid(attr.uid);
    to.set_gid(attr.gid);
    to.set_mtime_sec(attr.mtime.sec);
    to.set_mtime_nsec(attr.mtime.nsec);
    match &attr.node {
        Node::Dir => to.set_dir(()),
        Node::File { size, hash } => {
            let mut file = to.init_file();
            file.set_size(*size);
            if let Some(hash) = hash {
                file.set_hash(&hash.0);
            }
        }
        Node::Symlink { target } => to.set_symlink(checked::bytes(target)),
        Node::Special(special) => to.set_special(special_of(*special)),
    }
}

fn read_special(from: peer_capnp::Special) -> Special {
    match from {
        peer_capnp::Special::Fifo => Special::Fifo,
        peer_capnp::Special::Socket => Special::Socket,
        peer_capnp::Special::Device => Special::Device,
    }
}

fn special_of(special: Special) -> peer_capnp::Special {
    match special {
        Special::Fifo => peer_capnp::Special::Fifo,
        Special::Socket => peer_capnp::Special::Socket,
        Special::Device => peer_capnp::Special::Device,
    }
}

/// Reads a directory with all its names.
pub fn read_listing(from: listing::Reader<'_>) -> Result<Listing> {
    let attr = read_attr(from.get_attr()?)?;
    checked::require(attr.is_dir(), "listing", Fault::Kind)?;
    let entries = from.get_entries()?.iter().map(|entry| {
        let name = checked::name("name", entry.get_name()?)?;
        Ok(Entry {
            name,
            attr: read_attr(entry.get_attr()?)?,
        })
    });
    Ok(Listing {
        attr,
        entries: entries.collect::<Result<_>>()?,
    })
}

/// Writes a directory with all its names.
pub fn write_listing(listing: &Listing, mut to: listing::Builder<'_>) {
    write_attr(&listing.attr, to.reborrow().init_attr());
    let mut entries = to.init_entries(checked::count(&listing.entries));
    for (at, entry) in (0..).zip(&listing.entries) {
        let mut to = entries.reborrow().get(at);
        to.set_name(entry.name.as_bytes());
        write_attr(&entry.attr, to.init_attr());
    }
}

/// Reads how a changed path stands.
pub fn read_update(from: update::Reader<'_>) -> Result<Update> {
    let path = checked::plain_path("path of an update", from.get_path()?)?;
    let attr = match from.which()? {
        update::Gone(()) => None,
        update::Attr(attr) => Some(read_attr(attr?)?),
    };
    Ok(Update {
        path,
        attr,
        names_told: from.get_names_told(),
    })
}

/// Writes how a changed path stands.
pub fn write_update(update: &Update, mut to: update::Builder<'_>) {
    to.set_path(checked::bytes(&update.path));
    to.set_names_told(update.names_told);
    match &update.attr {
        None => to.set_gone(()),
        Some(attr) => write_attr(attr, to.init_attr()),
    }
}

/// Reads how changed paths stand.
pub fn read_updates(from: struct_list::Reader<'_, update::Owned>) -> Result<Vec<Update>> {
    from.iter().map(read_update).collect()
}

/// Writes how changed paths stand; `to` has a place for each.
pub fn write_updates(updates: &[Update], mut to: struct_list::Builder<'_, update::Owned>) {
    for (at, update) in (0..).zip(updates) {
        write_update(update, to.reborrow().get(at));
    }
}

/// Reads what a job is expected to use.
pub fn read_expected(from: expected::Reader<'_>) -> Result<Expected> {
    Ok(Expected {
        dirs: plain_paths("expected directory", from.get_dirs()?)?,
        files: plain_paths("expected file", from.get_files()?)?,
    })
}

fn plain_paths(field: &'static str, from: capnp::data_list::Reader<'_>) -> Result<Vec<PathBuf>> {
    from.iter().map(|path| checked::plain_path(field, path?)).collect()
}

/// Writes what a job is expected to use.
pub fn write_expected(expected: &Expected, mut to: expected::Builder<'_>) {
    checked::write_strings(&expected.dirs, to.reborrow().init_dirs(checked::count(&expected.dirs)));
    checked::write_strings(&expected.files, to.init_files(checked::count(&expected.files)));
}

/// Reads the answer to a request for names.
pub fn read_list_result(from: list_result::Reader<'_>) -> Result<Listed> {
    Ok(match from.which()? {
        list_result::Errno(errno) => Listed::Errno(read_errno(errno)?),
        list_result::Listing(listing) => Listed::Listing(read_listing(listing?)?),
    })
}

/// Writes the answer to a request for names.
pub fn write_list_result(result: &Listed, mut to: list_result::Builder<'_>) {
    match result {
        Listed::Errno(errno) => to.set_errno(*errno),
        Listed::Listing(listing) => write_listing(listing, to.init_listing()),
    }
}

/// Reads the answers to a request for the names of several directories.
pub fn read_list_results(from: struct_list::Reader<'_, list_result::Owned>) -> Result<Vec<Listed>> {
    from.iter().map(read_list_result).collect()
}

/// Writes the answers to a request for the names of several directories; `to` has a place
/// for each.
pub fn write_list_results(results: &[Listed], mut to: struct_list::Builder<'_, list_result::Owned>) {
    for (at, result) in (0..).zip(results) {
        write_list_result(result, to.reborrow().get(at));
    }
}

/// Reads the answer to a request for content.
pub fn read_open_result(from: open_result::Reader<'_>) -> Result<Opened> {
    Ok(match from.which()? {
        open_result::Errno(errno) => Opened::Errno(read_errno(errno)?),
        open_result::Denied(()) => Opened::Denied,
        open_result::File(file) => {
            let attr = read_attr(file.get_attr()?)?;
            let Node::File { size, hash: Some(_) } = attr.node else {
                return Err(WireError::bad("opened file", Fault::Kind));
            };
            let head = file.get_head()?;
            checked::within("length of a file's head", head.len() as u64, 0, size)?;
            let holders = file.get_holders()?;
            checked::within("number of holders", holders.len().into(), 0, MOST_HOLDERS as u64)?;
            Opened::File {
                attr,
                head: head.to_vec(),
                holders: holders.iter().map(read_holder).collect::<Result<_>>()?,
            }
        }
    })
}

/// Writes the answer to a request for content.
pub fn write_open_result(result: &Opened, mut to: open_result::Builder<'_>) {
    match result {
        Opened::Errno(errno) => to.set_errno(*errno),
        Opened::Denied => to.set_denied(()),
        Opened::File { attr, head, holders } => {
            let mut file = to.init_file();
            write_attr(attr, file.reborrow().init_attr());
            file.set_head(head);
            if holders.is_empty() {
                return;
            }
            let mut to = file.init_holders(checked::count(holders));
            for (at, holder) in (0..).zip(holders) {
                let mut to = to.reborrow().get(at);
                to.set_address(&holder.address[..]);
                to.set_ticket(&holder.ticket);
            }
        }
    }
}

fn read_holder(from: holder::Reader<'_>) -> Result<Holder> {
    let ticket = from.get_ticket()?;
    checked::within(
        "length of a ticket",
        ticket.len() as u64,
        TICKET_LEN as u64,
        TICKET_LEN as u64,
    )?;
    Ok(Holder {
        address: checked::text("address of a holder", from.get_address()?)?,
        ticket: ticket.to_vec(),
    })
}

/// Reads the answers to a request for several contents.
pub fn read_open_results(from: struct_list::Reader<'_, open_result::Owned>) -> Result<Vec<Opened>> {
    from.iter().map(read_open_result).collect()
}

/// Writes the answers to a request for several contents; `to` has a place for each.
pub fn write_open_results(results: &[Opened], mut to: struct_list::Builder<'_, open_result::Owned>) {
    for (at, result) in (0..).zip(results) {
        write_open_result(result, to.reborrow().get(at));
    }
}

/// The kernel's range; 0 would be success.
fn read_errno(errno: u32) -> Result<u32> {
    checked::within("errno", errno, 1, 4095)
}
