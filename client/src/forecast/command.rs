//! What makes two commands the same, or alike. Knows command lines as byte strings;
//! knows nothing of what they mean.

use std::os::unix::ffi::OsStrExt;
use termite_types::{BuildId, JobSpec};

/// A command, as forecasts know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command {
    /// The build that it is of.
    pub build: BuildId,
    /// Equal for the same program, arguments and directory.
    pub exact: u128,
    /// Equal for the same program, options and directory.
    pub alike: u128,
}

impl Command {
    /// Of a job.
    pub(crate) fn of(spec: &JobSpec) -> Self {
        let mut place = blake3::Hasher::new();
        add(&mut place, spec.program.as_os_str().as_bytes());
        add(&mut place, spec.cwd.as_os_str().as_bytes());
        let (mut exact, mut alike) = (place.clone(), place);
        exact.update(b"exact");
        alike.update(b"alike");
        for arg in &spec.argv {
            add(&mut exact, arg.as_bytes());
            // A shell's argument has the words of the command in it.
            let words = arg.as_bytes().split(u8::is_ascii_whitespace);
            words
                .filter(|word| word.starts_with(b"-"))
                .for_each(|word| add(&mut alike, kind(word)));
        }
        Self {
            build: spec.id.build,
            exact: number(&exact),
            alike: number(&alike),
        }
    }
}

/// An option without its value, which may be the name of an output.
fn kind(option: &[u8]) -> &[u8] {
    let end = option.iter().position(|byte| b",=./".contains(byte));
    &option[..end.unwrap_or(option.len())]
}

fn add(hasher: &mut blake3::Hasher, word: &[u8]) {
    hasher.update(word).update(&[0]);
}

/// The first bytes of a hash.
pub(super) fn number(hasher: &blake3::Hasher) -> u128 {
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    u128::from_le_bytes(bytes)
}
