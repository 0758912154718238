//! How soon the kernel runs a thread that has become ready. The daemons share their
//! processors with compilers and work for some microseconds at a time: behind a compiler's
//! slice they would wait for milliseconds while a job waits for them.
//!
//! Facts: sched_setattr(2), and `Documentation/scheduler/sched-eevdf.rst` of Linux.

use rustix::io::{Errno, Result};
use std::ffi::{c_int, c_long};
use std::time::Duration;

/// The shortest slice that the kernel grants.
const SHORTEST: Duration = Duration::from_micros(100);

/// Asks for the shortest slices for this thread and all that it will start: they come sooner
/// and end sooner, and no more of the processor is theirs. Linux before 6.12 takes no notice.
pub fn be_prompt() -> Result<()> {
    set_slice(SHORTEST)
}

/// Goes back to the system's own slice.
pub fn be_usual() -> Result<()> {
    set_slice(Duration::ZERO)
}

fn set_slice(slice: Duration) -> Result<()> {
    let mut attributes = attributes()?;
    // There the field is a budget, and somebody set it.
    if attributes.sched_policy == libc::SCHED_DEADLINE as u32 {
        return Ok(());
    }
    attributes.sched_runtime = slice.as_nanos() as u64;
    // SAFETY: sched_setattr(2) reads the structure, whose size it carries.
    checked(unsafe { libc::syscall(libc::SYS_sched_setattr, THIS_THREAD, &raw const attributes, NO_FLAGS) })
}

/// Policy, nice value and slice of this thread, which the kernel takes only together.
fn attributes() -> Result<libc::sched_attr> {
    let size = size_of::<libc::sched_attr>();
    // SAFETY: a structure of integers.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    // SAFETY: sched_getattr(2) fills as much of the structure as `size` says.
    checked(unsafe {
        libc::syscall(
            libc::SYS_sched_getattr,
            THIS_THREAD,
            &raw mut attributes,
            size,
            NO_FLAGS,
        )
    })?;
    Ok(attributes)
}

const THIS_THREAD: c_int = 0;
const NO_FLAGS: c_int = 0;

fn checked(returned: c_long) -> Result<()> {
    if returned == 0 {
        return Ok(());
    }
    let errno = std::io::Error::last_os_error().raw_os_error();
    Err(Errno::from_raw_os_error(errno.unwrap_or(libc::EIO)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_asked_for_and_given_back() {
        let slice = || attributes().unwrap().sched_runtime;
        let usual = slice();
        be_prompt().unwrap();
        // Where the kernel knows no slices, it reports none.
        assert_eq!(slice(), if usual == 0 { 0 } else { SHORTEST.as_nanos() as u64 });
        std::thread::spawn(|| attributes().unwrap().sched_runtime)
            .join()
            .map(|inherited| assert_eq!(inherited, slice()))
            .unwrap();
        be_usual().unwrap();
        assert_eq!(slice(), usual);
    }
}
