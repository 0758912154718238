//! Where no call is seen: what of the client's the upper layer of a job holds at other places
//! than the client does, told from contents, times and overlayfs' notes.
//!
//! Knows no call; what it finds is as good as a guess where two files are alike, and such
//! files are.

use super::layer::{Marks, content_of, look_through};
use super::{Gather, HarvestError, io, unread};
use crate::view::acts::ClientFile;
use crate::view::confine::{self, is_dir, is_file};
use crate::view::mirror::seen;
use std::path::Path;
use termite_types::Node;

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

    /// Which files of the upper layer were the client's. One has the
    /// content and time of a file that was copied up, or else its place.
    pub(super) fn find_copied(&mut self, at: &Path) -> Result<(), HarvestError> {
        let Some(lower) = self.view.lower() else { return Ok(()) };
        for name in self.names(at)? {
            let path = at.join(&name);
            let stat = confine::stat_name(self.open(at)?, Path::new(&name)).map_err(unread(&path))?;
            if is_dir(&stat) {
                self.find_copied(&path)?;
                continue;
            }
            if !is_file(&stat) {
                continue;
            }
            let file = confine::file(self.outputs.upper(), &path).map_err(unread(&path))?;
            let hash = look_through(&file, stat.stx_size, None).map_err(io(&path))?.hash;
            let attr = seen(&stat, Node::Dir);
            let same = |file: &ClientFile| {
                file.attr.mtime == attr.mtime && content_of(&file.attr).is_some_and(|base| base.hash == hash)
            };
            let copied = lower.copied_up();
            let here = copied.iter().position(|file| file.path == path);
            let found = here
                .filter(|&here| same(&copied[here]))
                .or_else(|| copied.iter().position(same))
                .or(here);
            if let Some(found) = found {
                self.copied.entry(stat.stx_ino).or_insert_with(|| copied[found].clone());
            }
        }
        Ok(())
    }
}
