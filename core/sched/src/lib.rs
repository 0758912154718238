//! How soon the kernel runs a thread that has become ready. The daemons share their
//! processors with compilers and work for some microseconds at a time: behind a compiler's
//! slice they would wait for milliseconds while a job waits for them.
//!
//! Facts: sched_setattr(2), and `Documentation/scheduler/sched-eevdf.rst` of Linux.

mod sys;

use rustix::io::{Errno, Result};
use std::time::Duration;

/// The shortest slice that the kernel grants.
const SHORTEST: Duration = Duration::from_micros(100);

/// Asks for the shortest slices for this thread and all that it will start: they come sooner
/// and end sooner, and no more of the processor is theirs. Linux before 6.12 takes no notice.
pub fn request_short_slice() -> std::result::Result<(), Refused> {
    set_slice(SHORTEST).map_err(Refused)
}

/// Why a thread is not prompt, and what that means.
#[derive(Debug, thiserror::Error)]
#[error("jobs begin late where others compute: this host refuses short slices ({0})")]
pub struct Refused(Errno);

/// Goes back to the system's own slice.
pub fn reset_slice() -> Result<()> {
    set_slice(Duration::ZERO)
}

fn set_slice(slice: Duration) -> Result<()> {
    let mut attributes = sys::attributes()?;
    // There the field is a budget, and somebody set it.
    if attributes.sched_policy == libc::SCHED_DEADLINE as u32 {
        return Ok(());
    }
    attributes.sched_runtime = slice.as_nanos() as u64;
    sys::set_attributes(&attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_asked_for_and_given_back() {
        let slice = || sys::attributes().unwrap().sched_runtime;
        let usual = slice();
        request_short_slice().unwrap();
        // Where the kernel knows no slices, it reports none.
        assert_eq!(slice(), if usual == 0 { 0 } else { SHORTEST.as_nanos() as u64 });
        let inherited = std::thread::spawn(move || sys::attributes().unwrap().sched_runtime);
        assert_eq!(inherited.join().unwrap(), slice());
        reset_slice().unwrap();
        assert_eq!(slice(), usual);
    }
}
