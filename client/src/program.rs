//! The file that this process was started from. Knows no other program.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// It, as it was then.
pub(crate) struct OwnProgram {
    path: PathBuf,
    /// Device and inode number.
    file: (u64, u64),
}

impl OwnProgram {
    /// That of the process that calls this (proc_pid_exe(5)).
    pub(crate) fn find() -> io::Result<Self> {
        let link = "/proc/self/exe";
        let metadata = fs::metadata(link)?;
        Ok(Self {
            path: fs::read_link(link)?,
            file: (metadata.dev(), metadata.ino()),
        })
    }

    /// Whether another file has taken its place, as when termite is installed anew.
    pub(crate) fn is_replaced(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) != self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_in_its_place_is_told_from_itself_and_from_none() {
        let mut program = OwnProgram::find().unwrap();
        assert!(!program.is_replaced());
        program.file.1 += 1;
        assert!(program.is_replaced());
        program.path = PathBuf::from("/nowhere");
        assert!(!program.is_replaced(), "there is nothing to start in its stead");
    }
}
