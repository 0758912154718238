//! The records of all builds' jobs: for each build a directory of log files, to which they are
//! appended. The oldest files make room for the newest.
//!
//! A record is a line with its job's number and its length in bytes, and then those bytes.
//! What is cut off at the end of a file is on its way, or was never written to its end. Knows
//! nothing of what is in a record.

use super::entries;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Take, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use termite_types::{BuildId, JobId};

/// Ending of the files.
const ENDING: &str = "jobs";
/// Bytes of a file after which another one is begun.
const FILE: u64 = 4 << 20;
/// Files that are kept open.
const OPEN: usize = 16;
/// Bytes of a record's first line.
const HEADER: u64 = 64;

/// All logs in one directory. Several programs may read them while one writes.
pub(super) struct Logs {
    dir: PathBuf,
    /// Bytes that all of them may take.
    limit: u64,
    /// Bytes after which another file is begun.
    most: u64,
    kept: Mutex<Option<Kept>>,
}

/// A record that is read.
pub(super) type Record<'a> = Take<&'a mut BufReader<File>>;

/// The files that are there.
struct Kept {
    /// Oldest first.
    files: VecDeque<LogFile>,
    bytes: u64,
    /// Those that are written to.
    open: HashMap<BuildId, (PathBuf, File)>,
}

struct LogFile {
    path: PathBuf,
    bytes: u64,
}

impl Logs {
    pub(super) fn new(dir: PathBuf, limit: u64) -> Self {
        let (most, kept) = (FILE.min(limit / 2), Mutex::new(None));
        Self { dir, limit, most, kept }
    }

    /// Adds a record.
    pub(super) fn append(&self, id: JobId, content: &[u8]) -> io::Result<()> {
        let mut kept = self.kept.lock();
        let kept = match &mut *kept {
            Some(kept) => kept,
            none => none.insert(Kept::read(&self.dir)?),
        };
        let mut record = format!("{} {}\n", id.number, content.len()).into_bytes();
        record.extend_from_slice(content);
        if !kept.is_open(id.build, self.most) {
            kept.begin(id.build, self.dir_of(id.build).join(format!("{}.{ENDING}", id.number)))?;
        }
        kept.write(id.build, &record)?;
        kept.make_room(self.limit)
    }

    /// Goes through the records of a build.
    pub(super) fn visit(
        &self,
        build: BuildId,
        mut look: impl FnMut(u32, &mut Record<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut files: Vec<(u32, PathBuf)> = entries(&self.dir_of(build))?
            .into_iter()
            .filter_map(|path| Some((first_number(&path)?, path)))
            .collect();
        files.sort_unstable();
        for (_, path) in files {
            let mut log = match File::open(&path) {
                // It made room for a newer one this moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => BufReader::new(file?),
            };
            let damaged = |error| io::Error::other(format!("{} is damaged ({error}); remove it", path.display()));
            visit_all(&mut log, &mut look).map_err(damaged)?;
        }
        Ok(())
    }

    /// Removes the records of a build.
    pub(super) fn forget(&self, build: BuildId) -> io::Result<()> {
        // Whoever counts them finds them gone, which does no harm.
        match std::fs::remove_dir_all(self.dir_of(build)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn dir_of(&self, build: BuildId) -> PathBuf {
        self.dir.join(build.to_string())
    }
}

impl Kept {
    /// What earlier daemons left.
    fn read(dir: &Path) -> io::Result<Self> {
        let mut found: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
        for build in entries(dir)?.into_iter().filter(|path| path.is_dir()) {
            for path in entries(&build)? {
                let meta = std::fs::symlink_metadata(&path)?;
                found.push((meta.modified()?, path, meta.len()));
            }
        }
        found.sort_unstable();
        let files = found.into_iter().map(|(_, path, bytes)| LogFile { path, bytes });
        let files: VecDeque<_> = files.collect();
        Ok(Self {
            bytes: files.iter().map(|file| file.bytes).sum(),
            files,
            open: HashMap::new(),
        })
    }

    /// Whether there is a file for a build's next record, which nobody has removed.
    fn is_open(&self, build: BuildId, most: u64) -> bool {
        let meta = self.open.get(&build).and_then(|(_, file)| file.metadata().ok());
        meta.is_some_and(|meta| meta.nlink() > 0 && meta.len() < most)
    }

    fn begin(&mut self, build: BuildId, path: PathBuf) -> io::Result<()> {
        if self.open.len() >= OPEN {
            self.open.clear();
        }
        let open = || File::options().create(true).append(true).open(&path);
        let file = open().or_else(|error| match (error.kind(), path.parent()) {
            (io::ErrorKind::NotFound, Some(dir)) => std::fs::create_dir_all(dir).and_then(|()| open()),
            _ => Err(error),
        })?;
        self.files.push_back(LogFile {
            path: path.clone(),
            bytes: 0,
        });
        self.open.insert(build, (path, file));
        Ok(())
    }

    fn write(&mut self, build: BuildId, record: &[u8]) -> io::Result<()> {
        let Some((path, file)) = self.open.get_mut(&build) else {
            return Ok(());
        };
        if let Err(error) = file.write_all(record) {
            // Behind half a record nothing would be found.
            self.open.remove(&build);
            return Err(error);
        }
        self.bytes += record.len() as u64;
        if let Some(file) = self.files.iter_mut().rev().find(|file| file.path == *path) {
            file.bytes += record.len() as u64;
        }
        Ok(())
    }

    /// Removes the oldest files. What was just written stays, however long it is.
    fn make_room(&mut self, limit: u64) -> io::Result<()> {
        while self.bytes > limit && self.files.len() > 1 {
            let Some(LogFile { path, bytes }) = self.files.pop_front() else {
                return Ok(());
            };
            self.bytes -= bytes;
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // The build's last one takes the directory along; else it is not empty.
            if let Some(dir) = path.parent() {
                let _ = std::fs::remove_dir(dir);
            }
        }
        Ok(())
    }
}

fn visit_all(
    log: &mut BufReader<File>,
    look: &mut impl FnMut(u32, &mut Record<'_>) -> io::Result<()>,
) -> io::Result<()> {
    while let Some((number, length)) = header(log)? {
        let mut record = log.by_ref().take(length);
        look(number, &mut record)?;
        let rest = record.limit();
        log.seek_relative(i64::try_from(rest).map_err(|_| torn())?)?;
    }
    Ok(())
}

/// The number and length of the next record. `None`: there is none, or not yet.
fn header(log: &mut BufReader<File>) -> io::Result<Option<(u32, u64)>> {
    let mut line = Vec::new();
    log.by_ref().take(HEADER).read_until(b'\n', &mut line)?;
    let Some(text) = line.strip_suffix(b"\n") else {
        return if line.len() < HEADER as usize {
            Ok(None)
        } else {
            Err(torn())
        };
    };
    let text = std::str::from_utf8(text).ok().and_then(|text| text.split_once(' '));
    let (number, length) = text.ok_or_else(torn)?;
    let number = number.parse().map_err(|_| torn())?;
    Ok(Some((number, length.parse().map_err(|_| torn())?)))
}

fn first_number(path: &Path) -> Option<u32> {
    if path.extension()? != ENDING {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

pub(super) fn torn() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a record is none")
}
