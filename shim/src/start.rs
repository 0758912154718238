//! The constructor: finds the real functions and out what this process is.
//!
//! Knows no hook. Runs once, before the program; a hook that another library's
//! constructor calls before that does no more than the real function.

use crate::env::{self, Kept};
use crate::path::{join, split_last};
use crate::role::{self, Driver};
use crate::sys::{self, PATH_MAX};
use crate::{hook, job, raw, real};
use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::mem::MaybeUninit;
use termite_abi::{ENV_BUILD, ENV_DISABLE, ENV_MODE, ENV_PREFIX, ENV_TOOLS, is_disabled, tools};

#[cfg(not(test))]
ctor::declarative::ctor! {
    #[ctor(unsafe)]
    fn at_load() {
        start();
    }
}

/// Memory that the constructor fills once and that never changes afterwards.
struct Once<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: written only by the constructor, before there is a second thread.
unsafe impl<T: Sync> Sync for Once<T> {}

impl<T> Once<T> {
    const fn new() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }
}

static DRIVER: Once<Driver> = Once::new();
/// Holds all text of the driver, close together: each page touched is a page fault.
static TEXT: Once<[MaybeUninit<u8>; 2 * PATH_MAX]> = Once::new();

/// What is left of [`TEXT`].
struct Rest(&'static mut [MaybeUninit<u8>]);

impl Rest {
    fn join<const N: usize>(&mut self, pieces: [&[u8]; N]) -> Option<&'static CStr> {
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        let (room, rest) = core::mem::take(&mut self.0).split_at_mut_checked(len + 1)?;
        self.0 = rest;
        join(pieces, room)
    }
}

fn start() {
    let before = sys::errno();
    real::find_all();
    match env::get(ENV_MODE) {
        Some(b"off") => {}
        Some(b"job") => _ = start_job(),
        Some(b"driver") => _ = start_driver(),
        _ => _ = start_job().or_else(start_driver),
    }
    sys::set_errno(before);
}

fn start_job() -> Option<()> {
    let shared = job::enter()?;
    hook::count_in(&shared.hits);
    raw::withhold(shared.cookie_cell());
    Some(())
}

/// `None` where it is not wanted, or something that is needed is not to be had.
fn start_driver() -> Option<()> {
    if is_disabled(env::get(ENV_DISABLE)) {
        return None;
    }
    // SAFETY: called once; uninitialised bytes are initialised.
    let mut text = Rest(unsafe { (*TEXT.0.get()).assume_init_mut() });
    let library = own_path(&mut text)?;
    let stub = match env::get(ENV_PREFIX) {
        Some(prefix) if !prefix.is_empty() => text.join([prefix, b"/bin/termite-run"])?,
        _ => text.join([split_last(split_last(library)?)?, b"/bin/termite-run"])?,
    };
    let mut hex = [0; 16];
    let build = match env::get(ENV_BUILD) {
        Some(build) => build,
        None => write_hex(sys::random(), &mut hex),
    };
    let build = text.join([ENV_BUILD.as_bytes(), b"=", build])?;
    // Last, since it may be too long.
    let tools_entry = env::get(ENV_TOOLS).and_then(|tools| text.join([ENV_TOOLS.as_bytes(), b"=", tools]));
    let tools = tools_entry.and_then(|entry| entry.to_bytes().get(ENV_TOOLS.len() + 1..));
    let preloaded = env::get("LD_PRELOAD").is_some_and(env::names_library);
    let kept = Kept {
        library: preloaded.then_some(library),
        build,
        tools: tools_entry,
    };
    // SAFETY: called once, before anyone looks.
    role::enter(unsafe { (*DRIVER.0.get()).write(Driver::new(stub, tools.unwrap_or(tools::BUILT_IN), kept)) });
    Some(())
}

/// The absolute path that this library was loaded from.
fn own_path(text: &mut Rest) -> Option<&'static [u8]> {
    let mut found = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: an address in this library; a zeroed Dl_info is one of null pointers.
    let name = unsafe {
        libc::dladdr(start as *const _, found.as_mut_ptr());
        found.assume_init().dli_fname
    };
    if name.is_null() {
        return None;
    }
    // SAFETY: the loader's own string.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    let mut buf = [const { MaybeUninit::uninit() }; PATH_MAX];
    let path = match name.first()? {
        b'/' => text.join([name])?,
        _ => text.join([sys::getcwd(&mut buf)?, b"/", name])?,
    };
    Some(path.to_bytes())
}

fn write_hex(bits: u64, to: &mut [u8; 16]) -> &[u8] {
    for (place, byte) in (0..16).rev().zip(to.iter_mut()) {
        let digit = (bits >> (4 * place) & 15) as u8;
        *byte = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_id_is_sixteen_digits() {
        assert_eq!(write_hex(0x00ab_cdef_0123_4567, &mut [0; 16]), b"00abcdef01234567");
    }
}
