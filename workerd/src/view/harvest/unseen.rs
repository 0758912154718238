//! Where no call is seen: what of the client's the upper layer of a job holds at other places
//! than the client does, told from contents, times and overlayfs' notes.
//!
//! Knows no call; what it finds is as good as a guess where two files are alike, and such
//! files are.

use super::clients::only_name;
use super::layer::{Marks, look_through};
use super::{Gather, HarvestError, io, unread};
use crate::view::acts::ClientFile;
use crate::view::confine::{self, is_dir, is_file};
use crate::view::inode::content_of;
use crate::view::mirror::seen;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use termite_types::{BlobHash, FileTime, Node};

impl Gather<'_> {
    /// The directories of the client's that show at another place.
    pub(super) fn find_redirects(&mut self, at: &Path) -> Result<(), HarvestError> {
        for name in self.names(at)? {
            let path = at.join(&name);
            let stat = confine::stat_name(self.open(at)?, Path::new(&name)).map_err(unread(&path))?;
            if is_dir(&stat) {
                if let Some(redirect) = Marks::of(&self.open(&path)?).redirect {
                    self.redirected.insert(at.join(redirect));
                }
                self.find_redirects(&path)?;
            }
        }
        Ok(())
    }

    /// Which files of the upper layer were the client's. One that was copied up has a name in
    /// the upper layer where the client has it, or what is left of that name. It is the file
    /// with its content and time, best in its own place, or else the one in its place; where
    /// the client's has another name, that would not do.
    pub(super) fn find_copied(&mut self) -> Result<(), HarvestError> {
        let Some(lower) = self.view.lower() else { return Ok(()) };
        let is_left = |file: &ClientFile| confine::handle(self.outputs.upper(), &file.path).is_ok();
        let mut copied: Vec<_> = lower.copied_up().into_iter().filter(is_left).collect();
        let alike = alike(&copied);
        let mut files = Vec::new();
        if !copied.is_empty() {
            self.upper_files(Path::new("/"), &mut files)?;
        }
        let is_same = |upper: &UpperFile, file: &ClientFile| {
            file.attr.mtime == upper.mtime && content_of(&file.attr).is_some_and(|base| base.hash == upper.hash)
        };
        let is_here = |upper: &UpperFile, file: &ClientFile| file.path == upper.path;
        self.claim(&files, &mut copied, |upper, file| {
            is_same(upper, file) && is_here(upper, file)
        });
        self.claim(&files, &mut copied, is_same);
        let certain: HashSet<_> = self.copied.keys().copied().collect();
        self.claim(&files, &mut copied, is_here);
        // Such a file may be another one that took its place.
        let uncertain = self.copied.iter().filter(|(ino, _)| !certain.contains(ino));
        let uncertain = uncertain.map(|(_, file)| file.path.clone());
        self.checks.extend(uncertain.chain(alike).map(only_name));
        Ok(())
    }

    /// Gives each file of the upper layer that has none yet one of the client's that fits.
    fn claim(
        &mut self,
        files: &[UpperFile],
        copied: &mut Vec<ClientFile>,
        fits: impl Fn(&UpperFile, &ClientFile) -> bool,
    ) {
        for upper in files {
            if !self.copied.contains_key(&upper.ino)
                && let Some(found) = copied.iter().position(|file| fits(upper, file))
            {
                self.copied.insert(upper.ino, copied.swap_remove(found));
            }
        }
    }

    fn upper_files(&self, at: &Path, files: &mut Vec<UpperFile>) -> Result<(), HarvestError> {
        for name in self.names(at)? {
            let path = at.join(&name);
            let stat = confine::stat_name(self.open(at)?, Path::new(&name)).map_err(unread(&path))?;
            if is_dir(&stat) {
                self.upper_files(&path, files)?;
            } else if is_file(&stat) {
                let file = confine::file(self.outputs.upper(), &path).map_err(unread(&path))?;
                let hash = look_through(&file, stat.stx_size, None).map_err(io(&path))?.hash;
                let (ino, mtime) = (stat.stx_ino, seen(&stat, Node::Dir).mtime);
                files.push(UpperFile { path, ino, hash, mtime });
            }
        }
        Ok(())
    }
}

/// The files of the client's that another one among them may be, by content and time.
fn alike(files: &[ClientFile]) -> Vec<PathBuf> {
    let looks = |file: &ClientFile| Some((content_of(&file.attr)?.hash, file.attr.mtime));
    let mut count: HashMap<_, usize> = HashMap::new();
    files
        .iter()
        .filter_map(looks)
        .for_each(|looks| *count.entry(looks).or_default() += 1);
    let is_alike = |file: &&ClientFile| looks(file).is_some_and(|looks| count[&looks] > 1);
    files.iter().filter(is_alike).map(|file| file.path.clone()).collect()
}

/// A regular file of the upper layer.
struct UpperFile {
    path: PathBuf,
    ino: u64,
    hash: BlobHash,
    mtime: FileTime,
}
