//! The mirror's attributes in the words of FUSE. Pure.

use crate::view::Found;
use fuser::{FileAttr, FileType, INodeNo};
use rustix::fs::{Statx, StatxTimestamp, makedev};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// As long as any job runs: what a job has looked at stays as it was.
const FOR_GOOD: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Bytes of a block as tmpfs gives them out, and of one as `stat` counts them.
const PAGE: u64 = 4096;
const SECTOR: u64 = 512;

/// How long the kernel may keep attributes: of a file that waits for its content they may
/// change with it.
pub(super) fn lifetime(found: &Found) -> Duration {
    if found.waits { Duration::ZERO } else { FOR_GOOD }
}

/// How long it may keep names, also that there is none.
pub(super) const NAME_LIFETIME: Duration = FOR_GOOD;

/// Attributes under the number that the kernel shall know the file by.
pub(super) fn file_attr(found: &Found, number: INodeNo) -> FileAttr {
    let stat = &found.stat;
    let mtime = time(&stat.stx_mtime);
    let kind = kind(stat);
    // The mark of a placeholder is for the shim alone, and so is that it has no blocks.
    let (atime, blocks) = if found.waits && kind == FileType::RegularFile {
        (mtime, stat.stx_size.div_ceil(PAGE) * (PAGE / SECTOR))
    } else {
        (time(&stat.stx_atime), stat.stx_blocks)
    };
    FileAttr {
        ino: number,
        size: stat.stx_size,
        blocks,
        atime,
        mtime,
        ctime: time(&stat.stx_ctime),
        crtime: UNIX_EPOCH,
        kind,
        perm: stat.stx_mode & 0o7777,
        nlink: stat.stx_nlink,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        rdev: makedev(stat.stx_rdev_major, stat.stx_rdev_minor) as u32,
        blksize: stat.stx_blksize,
        flags: 0,
    }
}

/// The answer that a name is not there: an entry without a number.
pub(super) fn nothing() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

/// The mirror holds nothing but these.
fn kind(stat: &Statx) -> FileType {
    match u32::from(stat.stx_mode) & libc::S_IFMT {
        libc::S_IFDIR => FileType::Directory,
        libc::S_IFLNK => FileType::Symlink,
        _ => FileType::RegularFile,
    }
}

/// Kinds in directories.
pub(super) fn listed_kind(kind: rustix::fs::FileType) -> FileType {
    match kind {
        rustix::fs::FileType::Directory => FileType::Directory,
        rustix::fs::FileType::Symlink => FileType::Symlink,
        rustix::fs::FileType::Fifo => FileType::NamedPipe,
        rustix::fs::FileType::Socket => FileType::Socket,
        _ => FileType::RegularFile,
    }
}

fn time(time: &StatxTimestamp) -> SystemTime {
    let fraction = Duration::from_nanos(time.tv_nsec.into());
    let seconds = Duration::from_secs(time.tv_sec.unsigned_abs());
    if time.tv_sec < 0 {
        UNIX_EPOCH - seconds + fraction
    } else {
        UNIX_EPOCH + seconds + fraction
    }
}
