//! The end of the stub: by status, by signal, or by becoming the command itself. Knows
//! how a shell reports a command that cannot be executed.

use crate::sys;
use rustix::io::Errno;
use std::ffi::{CString, NulError, OsString, c_int};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Status for a command that was found and cannot be executed, by POSIX.
const NOT_EXECUTABLE: c_int = 126;
/// Status for a command that is not there.
const NOT_FOUND: c_int = 127;

/// One line on stderr, if that is open.
pub(crate) fn complain(what: &str) {
    let line = format!("termite: {what}\n");
    // Nobody is left to tell.
    let _ = rustix::io::write(sys::borrow(2), line.as_bytes());
}

/// Lines on stdout; the status with which the stub ends then.
pub(crate) fn print(first: &str, rest: &str) -> c_int {
    let text = format!("{first}\n{rest}\n");
    c_int::from(rustix::io::write(sys::borrow(1), text.as_bytes()).is_err())
}

/// Becomes the command. Returns the status where that cannot be, having said why.
pub(crate) fn become_command(program: &Path, argv: &[OsString], environment: Vec<OsString>) -> c_int {
    let error = match execute(program, argv, &environment) {
        Ok(error) => error,
        Err(nul) => io::Error::from(nul),
    };
    let line = format!("{}: {}\n", program.display(), sys::words(&error));
    // Nobody is left to tell.
    let _ = rustix::io::write(sys::borrow(2), line.as_bytes());
    if error.kind() == io::ErrorKind::NotFound {
        NOT_FOUND
    } else {
        NOT_EXECUTABLE
    }
}

fn execute(program: &Path, argv: &[OsString], environment: &[OsString]) -> Result<io::Error, NulError> {
    let strings = |list: &[OsString]| {
        list.iter()
            .map(|s| CString::new(s.as_bytes()))
            .collect::<Result<Vec<_>, _>>()
    };
    let (file, mut argv, environment) = (
        CString::new(program.as_os_str().as_bytes())?,
        strings(argv)?,
        strings(environment)?,
    );
    let error = sys::execute(&file, &argv, &environment);
    if error.raw_os_error() != Some(libc::ENOEXEC) {
        return Ok(error);
    }
    // A script without `#!`: what every shell and execvp(3) do.
    argv.splice(..argv.len().min(1), [c"sh".to_owned(), file]);
    Ok(sys::execute(c"/bin/sh", &argv, &environment))
}

/// Ends as a job that a signal ended.
pub(crate) fn die(signal: c_int) -> c_int {
    crate::signals::die_by(signal);
    128 + signal
}

/// Gives descriptor 0 back what was read from it in vain, if it can be moved back.
pub(crate) fn seek_back(bytes: u64) -> Result<(), Errno> {
    let back = i64::try_from(bytes).map_err(|_| Errno::OVERFLOW)?;
    if back == 0 {
        return Ok(());
    }
    rustix::fs::seek(sys::borrow(0), rustix::fs::SeekFrom::Current(-back)).map(drop)
}

/// The same after a job that read only a part of its input. What came through a pipe is gone.
pub(crate) fn seek_back_unread(name: &str, bytes: u64) {
    match seek_back(bytes) {
        Ok(()) | Err(Errno::SPIPE) => {}
        Err(errno) => complain(&format!(
            "{name}: cannot give {bytes} bytes of its input back that it did not read: {}",
            sys::words(&errno.into())
        )),
    }
}

/// A program's name for people.
pub(crate) fn short_name(argv: &[OsString], program: &Path) -> String {
    let word = argv.first().cloned().unwrap_or_else(|| program.as_os_str().to_owned());
    let bytes = word.into_vec();
    let name = bytes.rsplit(|b| *b == b'/').next().unwrap_or(&bytes);
    String::from_utf8_lossy(name).into_owned()
}
