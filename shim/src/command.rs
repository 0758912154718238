//! Makes the lists of strings for one exec: the stub and the program in front of
//! argv, the environment repaired.
//!
//! Knows not what is decided, only how to carry it out without touching the heap: a
//! child of `vfork` shares its memory with a parent that may hold malloc's lock, and
//! what it maps stays mapped there. So lists live on the stack, and only very long
//! ones in a mapping.

use crate::env::{self, List, Repair};
use crate::sys::{self, Text};
use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::ptr::null;

/// Words of memory for lists and text.
type Words = [MaybeUninit<usize>];

const SHORT: usize = 512;
const LONG: usize = 8 * 1024;

/// Calls `run` with argv and environment as they are to be. `None`: there was no room.
///
/// # Safety
/// Both lists are null or end in a null pointer.
pub(crate) unsafe fn with(
    front: Option<[Text; 2]>,
    argv: List,
    envp: List,
    repair: &Repair,
    run: &mut dyn FnMut(List, List) -> c_int,
) -> Option<c_int> {
    // SAFETY: by the contract above.
    let args = unsafe { env::strings(argv) }.count();
    let argv_words = if front.is_some() { args + 3 } else { 0 };
    let envp_words = if repair.is_empty() {
        0
    } else {
        repair.len + Repair::ADDED + 1
    };
    let text_words = repair.preload_room().div_ceil(size_of::<usize>());
    let mut fill = |words: &mut Words| {
        let (argv_room, rest) = words.split_at_mut_checked(argv_words)?;
        let (envp_room, text_room) = rest.split_at_mut_checked(envp_words)?;
        let (mut new_argv, mut new_envp) = (argv, envp);
        if let Some(front) = front {
            // SAFETY: by the contract above.
            let args = unsafe { env::strings(argv) }.map(|text| text.as_ptr());
            new_argv = write_list(argv_room, front.into_iter().chain(args))?;
        }
        if !repair.is_empty() {
            let preload = repair.write_preload(bytes_of(text_room));
            // SAFETY: by the contract above.
            let stays = unsafe { env::strings(envp) }.filter(|entry| !repair.replaces(entry));
            let entries = stays.map(|text| text.as_ptr()).chain(preload).chain(repair.added());
            new_envp = write_list(envp_room, entries)?;
        }
        Some(run(new_argv, new_envp))
    };
    match argv_words + envp_words + text_words {
        len if len <= SHORT => on_stack::<SHORT>(&mut fill),
        len if len <= LONG => on_stack::<LONG>(&mut fill),
        len => mapped(len, &mut fill),
    }
}

/// Not inlined, so that only the calls that need it have so large a frame.
#[inline(never)]
fn on_stack<const N: usize>(fill: &mut dyn FnMut(&mut Words) -> Option<c_int>) -> Option<c_int> {
    fill(&mut [const { MaybeUninit::uninit() }; N])
}

#[inline(never)]
fn mapped(len: usize, fill: &mut dyn FnMut(&mut Words) -> Option<c_int>) -> Option<c_int> {
    let size = len * size_of::<usize>();
    let at = sys::map(size, None)?;
    // SAFETY: mapped just now, page-aligned and `len` words long.
    let result = fill(unsafe { core::slice::from_raw_parts_mut(at.cast(), len) });
    // SAFETY: `fill` keeps no reference to its argument.
    unsafe { sys::unmap(at, size) };
    result
}

/// Writes pointers and a final null one.
fn write_list(room: &mut Words, texts: impl Iterator<Item = Text>) -> Option<List> {
    for (at, text) in texts.chain([null()]).enumerate() {
        room.get_mut(at)?.write(text as usize);
    }
    Some(room.as_ptr().cast())
}

fn bytes_of(words: &mut Words) -> &mut [u8] {
    for word in words.iter_mut() {
        word.write(0);
    }
    // SAFETY: initialised just now; bytes have no alignment.
    unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Kept, Preload};
    use std::ffi::{CStr, CString};

    fn list(texts: &[CString]) -> Vec<Text> {
        texts.iter().map(|text| text.as_ptr()).chain([null()]).collect()
    }

    fn read(list: List) -> Vec<String> {
        // SAFETY: made by `list` or by the code under test.
        unsafe { env::strings(list) }
            .map(|text: &CStr| text.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn any_length_comes_out_whole() {
        let kept = Kept {
            library: Some(b"/l/libtermite.so"),
            build: c"TERMITE__BUILD=1",
            tools: None,
        };
        for count in [0, 1, 400, 507, 508, 509, 510, 4000, 9000, 100_000] {
            let args: Vec<_> = (0..count).map(|n| CString::new(format!("a{n}")).unwrap()).collect();
            let entries = [c"X=1".to_owned(), c"LD_PRELOAD=a.so".to_owned()];
            let (argv, envp) = (list(&args), list(&entries));
            let front = Some([c"termite-run".as_ptr(), c"/bin/x".as_ptr()]);
            let mut calls = 0;
            // SAFETY: both lists end in a null pointer.
            let result = unsafe {
                let repair = Repair::of(envp.as_ptr(), &kept, Preload::Wanted);
                with(front, argv.as_ptr(), envp.as_ptr(), &repair, &mut |argv, envp| {
                    calls += 1;
                    let argv = read(argv);
                    assert_eq!(argv[..2], ["termite-run", "/bin/x"]);
                    assert_eq!(argv.len(), count + 2);
                    assert_eq!(
                        argv.last().unwrap(),
                        &if count > 0 {
                            format!("a{}", count - 1)
                        } else {
                            "/bin/x".into()
                        }
                    );
                    assert_eq!(
                        read(envp),
                        ["X=1", "LD_PRELOAD=/l/libtermite.so:a.so", "TERMITE__BUILD=1"]
                    );
                    7
                })
            };
            assert_eq!((result, calls), (Some(7), 1));
        }
    }
}
