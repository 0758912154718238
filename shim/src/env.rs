//! The environment: what this process has, and what a child's lacks.
//!
//! Knows no call that takes an environment, and allocates nothing: lists of strings
//! come in and go out as C has them.

use crate::path::last_name;
use crate::sys::Text;
use core::ffi::{CStr, c_char};

/// A list of strings that ends in a null pointer, as `execve` takes it.
pub(crate) type List = *const *const c_char;

const PRELOAD: &[u8] = b"LD_PRELOAD=";
const LIBRARY: &[u8] = b"libtermite.so";

unsafe extern "C" {
    static environ: List;
}

/// The environment of this process as it is now.
pub(crate) fn current() -> List {
    // SAFETY: libc's own variable; a program that changes its environment in one thread
    // while another one starts programs is at fault without us.
    unsafe { environ }
}

/// The strings of a list.
///
/// # Safety
/// `list` is null or ends in a null pointer, and outlives the result.
pub(crate) unsafe fn strings<'a>(list: List) -> impl Iterator<Item = &'a CStr> {
    let mut at = list;
    core::iter::from_fn(move || {
        if at.is_null() {
            return None;
        }
        // SAFETY: not past the null pointer, by the contract above and the return below.
        let text = unsafe { *at };
        if text.is_null() {
            return None;
        }
        // SAFETY: `at` was not the null pointer; strings are NUL-terminated.
        unsafe {
            at = at.add(1);
            Some(CStr::from_ptr(text))
        }
    })
}

/// The value of a variable of this process.
pub(crate) fn get(name: &str) -> Option<&'static [u8]> {
    // SAFETY: libc keeps the list; see `current`.
    unsafe { strings(current()) }.find_map(|entry| value(entry.to_bytes(), name.as_bytes()))
}

/// The base name of the program as it was called.
pub(crate) fn own_name() -> &'static [u8] {
    unsafe extern "C" {
        static program_invocation_short_name: Text;
    }
    // SAFETY: set by libc before any constructor runs, never null.
    unsafe { CStr::from_ptr(program_invocation_short_name) }.to_bytes()
}

/// The value, if the entry is of that variable.
fn value<'a>(entry: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    entry.strip_prefix(name)?.strip_prefix(b"=")
}

/// Whether a value of LD_PRELOAD names this library.
pub(crate) fn names_library(value: &[u8]) -> bool {
    pieces(value).any(|piece| last_name(piece) == LIBRARY)
}

/// What every child of a driver has in its environment.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Path of this library; `None`: it was not preloaded by the environment.
    pub library: Option<&'static [u8]>,
    /// Entry that names the build.
    pub build: &'static CStr,
    /// Entry that names the tools, if the driver has one.
    pub tools: Option<&'static CStr>,
}

/// How a program stands to being preloaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Preload {
    /// It takes the library, or ignores it.
    Wanted,
    /// It would complain or end.
    Refused,
}

/// What one environment needs to become right.
#[derive(Debug)]
pub(crate) struct Repair<'a> {
    /// Entries there are.
    pub len: usize,
    /// Old value of LD_PRELOAD, if that has to be replaced.
    preload: Option<&'a [u8]>,
    library: Option<&'static [u8]>,
    build: Option<&'static CStr>,
    tools: Option<&'static CStr>,
}

impl<'a> Repair<'a> {
    /// Looks at an environment.
    ///
    /// # Safety
    /// As [`strings`].
    pub(crate) unsafe fn of(envp: List, kept: &Kept, preload: Preload) -> Self {
        let mut repair = Self {
            len: 0,
            preload: None,
            library: kept.library,
            build: Some(kept.build),
            tools: kept.tools,
        };
        let (mut found, mut was) = (false, None);
        // SAFETY: by the contract above.
        for entry in unsafe { strings(envp) } {
            let entry = entry.to_bytes();
            repair.len += 1;
            if let Some(value) = entry.strip_prefix(PRELOAD) {
                was = Some(value);
                found |= pieces(value).any(|piece| kept.library == Some(piece) || piece == LIBRARY);
            } else if value(entry, termite_abi::ENV_BUILD.as_bytes()).is_some() {
                repair.build = None;
            } else if value(entry, termite_abi::ENV_TOOLS.as_bytes()).is_some() {
                repair.tools = None;
            }
        }
        match preload {
            _ if kept.library.is_none() => {}
            Preload::Wanted if found => repair.library = None,
            Preload::Wanted => repair.preload = Some(was.unwrap_or(b"")),
            Preload::Refused => {
                repair.library = None;
                repair.preload = was.filter(|_| found);
            }
        }
        repair
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.preload.is_none() && self.build.is_none() && self.tools.is_none()
    }

    /// Entries that are added at most.
    pub(crate) const ADDED: usize = 3;

    /// Bytes that [`Repair::write_preload`] needs at most.
    pub(crate) fn preload_room(&self) -> usize {
        let library = self.library.map_or(0, <[u8]>::len);
        self.preload
            .map_or(0, |old| PRELOAD.len() + library + 1 + old.len() + 1)
    }

    /// Whether an entry is replaced.
    pub(crate) fn replaces(&self, entry: &CStr) -> bool {
        self.preload.is_some() && entry.to_bytes().starts_with(PRELOAD)
    }

    /// Entries that are added as they are.
    pub(crate) fn added(&self) -> impl Iterator<Item = Text> {
        self.build.into_iter().chain(self.tools).map(CStr::as_ptr)
    }

    /// Writes the new entry for LD_PRELOAD: this library, unless it is refused, and
    /// whatever else was there. `None`: there is to be none, or no room.
    pub(crate) fn write_preload(&self, room: &mut [u8]) -> Option<Text> {
        let others = pieces(self.preload?).filter(|piece| last_name(piece) != LIBRARY);
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            room.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
            at += bytes.len();
            Some(())
        };
        put(PRELOAD)?;
        let mut joint: &[u8] = b"";
        for piece in self.library.into_iter().chain(others) {
            put(joint)?;
            put(piece)?;
            joint = b":";
        }
        put(b"\0")?;
        (!joint.is_empty()).then_some(room.as_ptr().cast())
    }
}

/// The libraries of an LD_PRELOAD, which are separated by colons or blanks.
fn pieces(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b':' || byte == b' ')
        .filter(|piece| !piece.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    const KEPT: Kept = Kept {
        library: Some(b"/p/lib/libtermite.so"),
        build: c"TERMITE__BUILD=1",
        tools: None,
    };

    fn repaired(env: &[&str], preload: Preload) -> Vec<String> {
        let owned: Vec<CString> = env.iter().map(|entry| CString::new(*entry).unwrap()).collect();
        let mut list: Vec<Text> = owned.iter().map(|entry| entry.as_ptr()).collect();
        list.push(core::ptr::null());
        // SAFETY: the list ends in a null pointer and outlives what is made of it.
        let (repair, entries) = unsafe {
            (
                Repair::of(list.as_ptr(), &KEPT, preload),
                strings(list.as_ptr()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(repair.len, env.len());
        let mut room = vec![0; repair.preload_room()];
        let new = repair.write_preload(&mut room);
        let kept = entries
            .into_iter()
            .filter(|entry| !repair.replaces(entry))
            .map(CStr::as_ptr);
        kept.chain(new)
            .chain(repair.added())
            // SAFETY: all are NUL-terminated and alive.
            .map(|entry| unsafe { CStr::from_ptr(entry) }.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn a_cleared_environment_gets_the_hidden_variables_back() {
        let want = ["LD_PRELOAD=/p/lib/libtermite.so", "TERMITE__BUILD=1"];
        assert_eq!(repaired(&[], Preload::Wanted), want);
    }

    #[test]
    fn what_is_right_stays() {
        for preload in ["LD_PRELOAD=/p/lib/libtermite.so", "LD_PRELOAD=a.so libtermite.so"] {
            let env = [preload, "TERMITE__BUILD=2"];
            assert_eq!(repaired(&env, Preload::Wanted), env);
        }
    }

    #[test]
    fn other_preloads_stay_behind_ours() {
        let env = ["TERMITE__BUILD=2", "LD_PRELOAD=./lib/libtermite.so:a.so b.so"];
        let want = ["TERMITE__BUILD=2", "LD_PRELOAD=/p/lib/libtermite.so:a.so:b.so"];
        assert_eq!(repaired(&env, Preload::Wanted), want);
    }

    #[test]
    fn a_program_of_another_class_is_spared() {
        let env = ["LD_PRELOAD=/p/lib/libtermite.so", "TERMITE__BUILD=2"];
        assert_eq!(repaired(&env, Preload::Refused), ["TERMITE__BUILD=2"]);
        let env = ["LD_PRELOAD=/p/lib/libtermite.so:a.so", "TERMITE__BUILD=2"];
        assert_eq!(
            repaired(&env, Preload::Refused),
            ["TERMITE__BUILD=2", "LD_PRELOAD=a.so"]
        );
    }
}
