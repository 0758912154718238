//! Job mode's fast path: whether a lookup can pass the guard, and whether what it
//! says can be believed.
//!
//! Knows no libc function and no errno. `None` always means: make the call without
//! the cookie, the guard knows more.

use crate::path::{Pieces, Spelling, join_bytes};
use crate::sys::{self, PATH_MAX, Passing, Text};
use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::MaybeUninit;
use core::ops::Range;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use libc::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW};
use termite_abi::{Access, PLACEHOLDER_ATIME_NSEC, PLACEHOLDER_ATIME_SEC, Shared, placeholder_blocks};

/// Passes the guard before the slot's own cookie is known.
static ENTRY: AtomicU64 = AtomicU64::new(termite_abi::ENTRY);

/// The slot's shared memory; null outside a slot.
static SHARED: AtomicPtr<Shared> = AtomicPtr::new(null_mut());

/// Maps the slot's shared memory, if there is any of this version.
pub(crate) fn enter() -> Option<&'static Shared> {
    // SAFETY: the path is a literal.
    let fd = unsafe {
        Passing(&ENTRY).openat(
            AT_FDCWD,
            termite_abi::SHARED_FILE.as_ptr(),
            libc::O_RDWR | libc::O_CLOEXEC,
        )
    };
    let fd = c_int::try_from(fd).ok().filter(|&fd| fd >= 0)?;
    let whole = sys::fstat(fd).is_some_and(|stat| stat.st_size as usize >= size_of::<Shared>());
    let at = if whole {
        sys::map(size_of::<Shared>(), Some(fd))
    } else {
        None
    };
    sys::close(fd);
    let at = at?.cast::<Shared>();
    // SAFETY: mapped for the life of the process, as long as a `Shared`, which is made
    // of atomics and bytes: any content is valid.
    let shared = unsafe { &*at };
    if !shared.is_valid() {
        // SAFETY: mapped above; nobody else has seen it.
        unsafe { sys::unmap(at.cast(), size_of::<Shared>()) };
        return None;
    }
    SHARED.store(at, Ordering::Release);
    Some(shared)
}

/// One path on its way through the fast path.
struct Lookup<'a> {
    shared: &'a Shared,
    spelling: Spelling<'a>,
    /// The directory that the path enters by its end.
    entered: Option<Spelling<'a>>,
    dir: c_int,
    path: Text,
    epoch: u64,
}

/// Room for one path.
pub(crate) type Buffer = [MaybeUninit<u8>; PATH_MAX];

/// The lookup of `path`, if it has a spelling of its own. A descriptor as directory has
/// none. `buf` is for the working directory.
unsafe fn lookup(dir: c_int, path: Text, buf: &mut Buffer) -> Option<Lookup<'_>> {
    // SAFETY: null, or mapped by `enter` for the life of the process.
    let shared = unsafe { SHARED.load(Ordering::Acquire).as_ref() }?;
    if sys::is_unmappable(path) || shared.trace_overflow.load(Ordering::Relaxed) != 0 {
        return None;
    }
    // SAFETY: a caller of libc passes a NUL-terminated path.
    let bytes = unsafe { CStr::from_ptr(path) }.to_bytes();
    let cwd = match bytes.first()? {
        b'/' => &b""[..],
        _ if dir == AT_FDCWD => sys::getcwd(buf)?,
        _ => return None,
    };
    let (spelling, entered) = match Spelling::new(cwd, bytes) {
        Some(spelling) => (spelling, None),
        None => Spelling::of_entered(cwd, bytes).map(|(whole, named)| (whole, Some(named)))?,
    };
    let epoch = shared.epoch();
    Some(Lookup {
        shared,
        spelling,
        entered,
        dir,
        path,
        epoch,
    })
}

/// Makes the call `go` on the lookup of `path` if its directory is known to be complete;
/// says that nothing is there if that directory is known to be missing. Zero or more, or a
/// negative error.
unsafe fn known(dir: c_int, path: Text, go: impl FnOnce(&Lookup) -> Option<isize>) -> Option<isize> {
    let mut buf = [const { MaybeUninit::uninit() }; PATH_MAX];
    // SAFETY: by the contract of the caller.
    let lookup = unsafe { lookup(dir, path, &mut buf) }?;
    let is_known = match lookup.entered {
        None => lookup.is_complete(lookup.spelling.dir()),
        Some(_) => lookup.is_complete_itself(),
    };
    if is_known {
        return go(&lookup);
    }
    lookup.in_vain()
}

/// Where a lookup in vain ends.
pub(crate) struct Gap<'a> {
    /// A complete directory, as the path spells it, absolute; empty for the root.
    pub dir: &'a [u8],
    /// The name that is not there.
    pub name: &'a [u8],
}

/// Where the path, at which nothing is, ceases to be. `None`: that is not known.
///
/// # Safety
/// `path` is null or NUL-terminated.
pub(crate) unsafe fn gap(path: Text, buf: &mut Buffer) -> Option<Gap<'_>> {
    let mut cwd = [const { MaybeUninit::uninit() }; PATH_MAX];
    // SAFETY: by the contract above.
    unsafe { lookup(AT_FDCWD, path, &mut cwd) }?.gap(buf)
}

/// The canonical name of `path` as far as that goes, and whether it goes to the end. Takes
/// one look, at what stands in the deepest directory that is called as it is spelled.
/// `None`: that does not tell.
///
/// # Safety
/// `path` is null or NUL-terminated.
pub(crate) unsafe fn canonical(path: Text, buf: &mut Buffer) -> Option<(&[u8], bool)> {
    let mut cwd = [const { MaybeUninit::uninit() }; PATH_MAX];
    // SAFETY: by the contract above.
    let lookup = unsafe { lookup(AT_FDCWD, path, &mut cwd) }.filter(|lookup| lookup.entered.is_none())?;
    let whole = join_bytes(lookup.spelling.whole(), buf)?;
    let (len, is_whole) = lookup.canonical(whole)?;
    lookup.settle(if is_whole { 0 } else { -libc::ENOENT as isize }, Access::Stat)?;
    Some((whole.get(..len)?, is_whole))
}

impl Lookup<'_> {
    /// The answer that nothing is there, if the path's directory is known to be missing.
    /// Apart, so that its buffer is not on the stack of every lookup.
    #[inline(never)]
    fn in_vain(&self) -> Option<isize> {
        let mut buf = [const { MaybeUninit::uninit() }; PATH_MAX];
        self.gap(&mut buf)?;
        self.settle(-libc::ENOENT as isize, Access::Stat)
    }

    /// Looks for the deepest complete directory above the path, and there for the next
    /// name, which must not be there. The kernel is asked each time, so that nothing has
    /// to be unlearned when the name is made.
    fn gap<'a>(&self, buf: &'a mut Buffer) -> Option<Gap<'a>> {
        let whole = join_bytes(self.spelling.whole(), buf)?;
        let (name, found) = self.look_below(whole, |dir| self.is_complete(dir))?;
        (found == -libc::ENOENT as isize).then_some(Gap {
            dir: whole.get(..name.start.checked_sub(1)?)?,
            name: whole.get(name)?,
        })
    }

    /// How long the canonical name of the path is as far as that goes, and whether it goes to
    /// the end. `whole` is the path.
    fn canonical(&self, whole: &mut [u8]) -> Option<(usize, bool)> {
        let path = whole.len() - 1;
        if self.is_plain(self.spelling.whole()) {
            return Some((path, true));
        }
        let (name, found) = self.look_below(whole, |dir| self.is_complete(dir) && self.is_plain(dir))?;
        match -found as c_int {
            libc::EINVAL if name.end == path => Some((path, true)),
            libc::ENOENT => Some((name.end, false)),
            _ => None,
        }
    }

    /// Looks, by `readlinkat`, at the name on the way to the path that stands in the deepest
    /// directory that is known: where the name is in `whole`, which is the path and ends
    /// behind that name afterwards, and what was found.
    fn look_below(&self, whole: &mut [u8], is_known: impl Fn(Pieces) -> bool) -> Option<(Range<usize>, isize)> {
        let mut end = whole.len() - 1;
        let name = loop {
            let slash = whole.get(..end)?.iter().rposition(|&byte| byte == b'/')?;
            if is_known([whole.get(..slash)?, b"", b""]) {
                break slash + 1..end;
            }
            end = slash;
        };
        *whole.get_mut(end)? = 0;
        let mut byte: c_char = 0;
        // SAFETY: `whole` has a NUL at `end`; `byte` is one byte long.
        let found = unsafe {
            self.pass()
                .readlinkat(AT_FDCWD, whole.as_ptr().cast(), &raw mut byte, 1)
        };
        (!name.is_empty() && self.shared.epoch() == self.epoch).then_some((name, found))
    }

    fn pass(&self) -> Passing<'_> {
        Passing(self.shared.cookie_cell())
    }

    fn is_complete(&self, dir: Pieces) -> bool {
        self.shared.is_complete(self.shared.dir_key(&dir, self.epoch))
    }

    /// Whether the path leads to a complete directory.
    fn is_complete_itself(&self) -> bool {
        match self.entered {
            None => self.is_complete(self.spelling.whole()),
            Some(entered) => self.is_complete(entered.whole()) || self.is_followed(entered.whole()),
        }
    }

    /// Records a look at attributes. `None`: they are those of a directory that is not
    /// complete, whose time nobody keeps up to date; or the log is full.
    fn settle_stat(&self, result: isize, mode: impl FnOnce() -> libc::mode_t) -> Option<isize> {
        let is_directory = || mode() & libc::S_IFMT == libc::S_IFDIR;
        if result == 0 && is_directory() && !self.is_complete_itself() {
            return None;
        }
        self.settle(result, Access::Stat)
    }

    /// Records the use of the path. `None`: the log is full.
    fn record(&self, access: Access) -> Option<()> {
        self.shared.trace(access, &self.spelling.whole()).then_some(())
    }

    /// Checks the result of a call made with the cookie and records it; `success` is
    /// what it did if it worked. A failure may be due to a directory that was replaced
    /// meanwhile.
    fn settle(&self, result: isize, success: Access) -> Option<isize> {
        if result >= 0 {
            return self.record(success).map(|()| result);
        }
        if self.shared.epoch() != self.epoch {
            return None;
        }
        let in_vain = matches!(-result as c_int, libc::ENOENT | libc::ENOTDIR);
        self.record(if in_vain { Access::Missing } else { Access::Stat })?;
        Some(result)
    }

    /// Whether everything is complete that following the symlink at the path's end looks
    /// at. Until the guard said so nobody may follow it: a name that the kernel once
    /// looked up in an incomplete directory it never finds again (overlayfs remembers).
    fn leads_on(&self) -> bool {
        self.is_followed(self.spelling.whole())
    }

    /// Whether this is known to be what a directory is called, and that no symlink is on the
    /// way. Compilers ask that of each directory above each header.
    fn is_plain(&self, dir: Pieces) -> bool {
        self.shared.is_complete(self.shared.plain_key(&dir, self.epoch))
    }

    fn is_followed(&self, path: Pieces) -> bool {
        self.shared.is_complete(self.shared.link_key(&path, self.epoch))
    }

    /// Looks at the path's end before a call that would follow a symlink there: zero, or
    /// the negative error of the lookup. `None`: the call may not be made.
    fn reach(&self) -> Option<isize> {
        let mut byte: c_char = 0;
        // SAFETY: `path` is NUL-terminated; `byte` is one byte long.
        match unsafe { self.pass().readlinkat(self.dir, self.path, &raw mut byte, 1) } {
            result if result == -libc::EINVAL as isize => Some(0),
            result if result < 0 => Some(result),
            _ => self.leads_on().then_some(0),
        }
    }

    /// Decides about a descriptor just opened with `O_PATH`. `None`: as with `admit`.
    fn admit_handle(&self, fd: c_int) -> Option<()> {
        let stat = sys::fstat(fd)?;
        self.settle_stat(0, || stat.st_mode).map(|_| ())
    }

    /// Decides about a descriptor just opened for reading. `None`: it must be opened
    /// again without the cookie.
    fn admit(&self, fd: c_int) -> Option<()> {
        let stat = sys::fstat(fd)?;
        match stat.st_mode & libc::S_IFMT {
            libc::S_IFDIR if self.is_complete(self.spelling.whole()) => self.record(Access::Listed),
            libc::S_IFDIR => None,
            libc::S_IFREG if is_placeholder(&stat) => None,
            _ => self.record(Access::Read),
        }
    }
}

fn is_placeholder(stat: &libc::stat) -> bool {
    stat.st_atime == PLACEHOLDER_ATIME_SEC && stat.st_atime_nsec == PLACEHOLDER_ATIME_NSEC
}

/// `open` and `openat`: a descriptor or a negative error.
///
/// # Safety
/// `path` is null or NUL-terminated.
pub(crate) unsafe fn open(dir: c_int, path: Text, flags: c_int) -> Option<isize> {
    // The bit that O_TMPFILE adds to O_DIRECTORY.
    const UNNAMED: c_int = libc::O_TMPFILE & !libc::O_DIRECTORY;
    if flags & (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | UNNAMED) != libc::O_RDONLY {
        return None;
    }
    let open = |lookup: &Lookup| {
        let is_directory = flags & libc::O_DIRECTORY != 0;
        if is_directory && !lookup.is_complete(lookup.spelling.whole()) {
            return None;
        }
        let reached = if is_directory || flags & libc::O_NOFOLLOW != 0 {
            0
        } else {
            lookup.reach()?
        };
        let result = if reached < 0 {
            reached
        } else {
            // SAFETY: NUL-terminated by the contract above.
            unsafe { lookup.pass().openat(dir, path, flags) }
        };
        if result < 0 {
            return lookup.settle(result, Access::Read);
        }
        let fd = result as c_int;
        let admitted = if flags & libc::O_PATH != 0 {
            lookup.admit_handle(fd)
        } else {
            lookup.admit(fd)
        };
        if admitted.is_none() {
            sys::close(fd);
        }
        admitted.map(|()| result)
    };
    // SAFETY: by the contract above.
    unsafe { known(dir, path, open) }
}

/// `newfstatat`: zero or a negative error.
///
/// # Safety
/// As the system call.
pub(crate) unsafe fn stat(dir: c_int, path: Text, buf: *mut libc::stat, flags: c_int) -> Option<isize> {
    if flags == AT_EMPTY_PATH && is_entered() {
        // SAFETY: by the contract above.
        return Some(unsafe { sys::fstatat(dir, path, buf, flags) });
    }
    // SAFETY: by the contract above.
    unsafe {
        known(dir, path, |lookup| {
            let mut result = lookup.pass().fstatat(dir, path, buf, flags | AT_SYMLINK_NOFOLLOW);
            let at_link = result == 0 && (*buf).st_mode & libc::S_IFMT == libc::S_IFLNK;
            if at_link && flags & AT_SYMLINK_NOFOLLOW == 0 {
                if !lookup.leads_on() {
                    return None;
                }
                result = lookup.pass().fstatat(dir, path, buf, flags);
            }
            lookup.settle_stat(result, || (*buf).st_mode)
        })
    }
}

/// `fstat`: zero or a negative error. libc has it look up an empty path, which the guard
/// stops; here it is the call that knows no path.
///
/// # Safety
/// As the system call.
pub(crate) unsafe fn fstat(fd: c_int, buf: *mut libc::stat) -> Option<isize> {
    // SAFETY: by the contract above.
    is_entered().then(|| unsafe { sys::fstat_into(fd, buf) })
}

/// `statx`: zero or a negative error.
///
/// # Safety
/// As the system call.
pub(crate) unsafe fn statx(dir: c_int, path: Text, flags: c_int, mask: u32, buf: *mut libc::statx) -> Option<isize> {
    // SAFETY: by the contract above.
    unsafe {
        known(dir, path, |lookup| {
            let mask = mask | libc::STATX_TYPE;
            let mut result = lookup.pass().statx(dir, path, flags | AT_SYMLINK_NOFOLLOW, mask, buf);
            let at_link = result == 0 && libc::mode_t::from((*buf).stx_mode) & libc::S_IFMT == libc::S_IFLNK;
            if at_link && flags & AT_SYMLINK_NOFOLLOW == 0 {
                if !lookup.leads_on() {
                    return None;
                }
                result = lookup.pass().statx(dir, path, flags, mask, buf);
            }
            lookup.settle_stat(result, || (*buf).stx_mode.into())
        })
    }
}

/// `faccessat2`: zero or a negative error.
///
/// # Safety
/// `path` is null or NUL-terminated.
pub(crate) unsafe fn access(dir: c_int, path: Text, mode: c_int, flags: c_int) -> Option<isize> {
    // Who may write is the client's to say.
    if mode & libc::W_OK != 0 {
        return None;
    }
    // SAFETY: by the contract above.
    unsafe {
        known(dir, path, |lookup| {
            let reached = if flags & AT_SYMLINK_NOFOLLOW != 0 {
                0
            } else {
                lookup.reach()?
            };
            let result = if reached < 0 {
                reached
            } else {
                lookup.pass().faccessat(dir, path, mode, flags)
            };
            if result == -libc::ENOSYS as isize {
                return None;
            }
            lookup.settle(result, Access::Stat)
        })
    }
}

/// `readlinkat`: a length or a negative error.
///
/// # Safety
/// As the system call.
pub(crate) unsafe fn readlink(dir: c_int, path: Text, buf: *mut c_char, len: usize) -> Option<isize> {
    // SAFETY: by the contract above.
    unsafe {
        known(dir, path, |lookup| {
            let is_plain = lookup.entered.is_none() && lookup.is_plain(lookup.spelling.whole());
            let result = match is_plain {
                true => -libc::EINVAL as isize,
                false => lookup.pass().readlinkat(dir, path, buf, len),
            };
            lookup.settle(result, Access::Stat)
        })
    }
}

/// `fchmod`, which the guard does not hear of: whoever could search a directory, and was
/// told so, may be shut out now. The call itself is always the caller's to make.
pub(crate) fn fchmod(fd: c_int) -> Option<isize> {
    // SAFETY: null, or mapped by `enter` for the life of the process.
    let shared = unsafe { SHARED.load(Ordering::Acquire).as_ref() }?;
    if sys::fstat(fd)?.st_mode & libc::S_IFMT == libc::S_IFDIR {
        shared.next_epoch();
    }
    None
}

/// Looks at what a path leads to, following a symlink at its end if `follow` says so, by
/// a call that takes the path alone: zero, a length or a negative error.
unsafe fn look(path: Text, follow: bool, call: impl FnOnce(Passing) -> isize) -> Option<isize> {
    let look = |lookup: &Lookup| {
        let reached = if follow { lookup.reach()? } else { 0 };
        let result = if reached < 0 { reached } else { call(lookup.pass()) };
        lookup.settle(result, Access::Stat)
    };
    // SAFETY: `path` is null or NUL-terminated, as the callers have it.
    unsafe { known(AT_FDCWD, path, look) }
}

/// `statfs`: zero or a negative error.
///
/// # Safety
/// As the system call.
pub(crate) unsafe fn statfs(path: Text, buf: *mut c_void) -> Option<isize> {
    // SAFETY: by the contract above.
    unsafe { look(path, true, |pass| pass.statfs(path, buf)) }
}

/// `getxattr`, or `lgetxattr` where it shall not follow: a length or a negative error.
///
/// # Safety
/// As the system call.
pub(crate) unsafe fn getxattr(path: Text, name: Text, value: *mut c_void, len: usize, follow: bool) -> Option<isize> {
    const XATTR_NAME_MAX: usize = 255;
    if sys::is_unmappable(name) {
        return None;
    }
    // SAFETY: a caller of libc passes a NUL-terminated name.
    let length = unsafe { CStr::from_ptr(name) }.to_bytes().len();
    // What is wrong with the name the kernel says before it looks at the path, or after.
    if !(1..=XATTR_NAME_MAX).contains(&length) {
        return None;
    }
    // SAFETY: by the contract above.
    unsafe { look(path, follow, |pass| pass.getxattr(path, name, value, len, follow)) }
}

/// `listxattr`, or `llistxattr` where it shall not follow: a length or a negative error.
///
/// # Safety
/// As the system call.
pub(crate) unsafe fn listxattr(path: Text, list: *mut c_char, len: usize, follow: bool) -> Option<isize> {
    // SAFETY: by the contract above.
    unsafe { look(path, follow, |pass| pass.listxattr(path, list, len, follow)) }
}

/// The calls that pass the guard; `None` outside a slot.
pub(crate) fn passing() -> Option<Passing<'static>> {
    // SAFETY: null, or mapped by `enter` for the life of the process.
    let shared = unsafe { SHARED.load(Ordering::Acquire).as_ref() }?;
    Some(Passing(shared.cookie_cell()))
}

/// Whether this process is in a slot.
pub(crate) fn is_entered() -> bool {
    !SHARED.load(Ordering::Relaxed).is_null()
}

/// Shows a placeholder's time of change for the mark that is its access time, so that
/// nobody copies the mark to another file, and the blocks that its content is going to take.
///
/// # Safety
/// `buf` is valid where `result` is zero.
pub(crate) unsafe fn unmark(result: c_int, buf: *mut libc::stat) {
    if result == 0 && is_entered() {
        // SAFETY: by the contract above.
        let stat = unsafe { &mut *buf };
        if is_placeholder(stat) {
            (stat.st_atime, stat.st_atime_nsec) = (stat.st_mtime, stat.st_mtime_nsec);
            stat.st_blocks = placeholder_blocks(stat.st_size as u64) as libc::blkcnt_t;
        }
    }
}

/// [`unmark`] for `statx`.
///
/// # Safety
/// `buf` is valid where `result` is zero.
pub(crate) unsafe fn unmark_x(result: c_int, buf: *mut libc::statx) {
    if result == 0 && is_entered() {
        // SAFETY: by the contract above.
        let stat = unsafe { &mut *buf };
        let mark = (PLACEHOLDER_ATIME_SEC, PLACEHOLDER_ATIME_NSEC);
        if (stat.stx_atime.tv_sec, i64::from(stat.stx_atime.tv_nsec)) == mark {
            stat.stx_atime = stat.stx_mtime;
            stat.stx_blocks = placeholder_blocks(stat.stx_size);
        }
    }
}
