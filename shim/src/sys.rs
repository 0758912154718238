//! System calls by own assembly, with and without the slot's cookie.
//!
//! Knows no errno (results are the kernel's, negative for an error), no hook and no
//! mode. libc's `syscall` is never used: it would leave the cookie in a register.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::mem::MaybeUninit;
use core::sync::atomic::AtomicU64;

/// A path as C hands it over.
pub(crate) type Text = *const c_char;

/// Longest path the kernel takes, with its final NUL.
pub(crate) const PATH_MAX: usize = 4096;

const NANOSECONDS: u64 = 1_000_000_000;

/// Makes a call of up to five arguments that carries no cookie.
///
/// # Safety
/// As the system call itself.
unsafe fn call(number: i64, args: [usize; 5]) -> isize {
    let [a, b, c, d, e] = args;
    let result;
    // SAFETY: the Linux x86-64 system call convention; r9 is emptied so that nothing
    // that the caller left there is taken for a cookie.
    unsafe {
        core::arch::asm!(
            "xor r9d, r9d",
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            lateout("rcx") _, lateout("r11") _, out("r9") _,
            options(nostack),
        );
    }
    result
}

/// Makes a call of up to five arguments that passes the guard. The cookie is loaded
/// straight into its register and is gone from there before this returns.
///
/// # Safety
/// As the system call itself.
unsafe fn call_with(cookie: &AtomicU64, number: i64, args: [usize; 5]) -> isize {
    let [a, b, c, d, e] = args;
    let result;
    // SAFETY: the Linux x86-64 system call convention; `cookie` is a live reference.
    unsafe {
        core::arch::asm!(
            "mov r9, [r9]",
            "syscall",
            "xor r9d, r9d",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            inlateout("r9") cookie.as_ptr() => _,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Whether nothing is mapped there: below `vm.mmap_min_addr` of every distribution, or
/// past the end of a process without five-level tables. The kernel answers EFAULT there
/// where we would crash.
pub(crate) fn is_unmappable<T>(pointer: *const T) -> bool {
    !(0x1000..0x7fff_ffff_f000).contains(&pointer.addr())
}

/// The path calls that exist with the cookie, bound to one slot's.
#[derive(Clone, Copy)]
pub(crate) struct Passing<'a>(pub &'a AtomicU64);

impl Passing<'_> {
    /// `openat`; never creates.
    ///
    /// # Safety
    /// `path` is NUL-terminated.
    pub(crate) unsafe fn openat(self, dir: c_int, path: Text, flags: c_int) -> isize {
        // SAFETY: by the contract above.
        unsafe {
            call_with(
                self.0,
                libc::SYS_openat,
                [dir as usize, path as usize, flags as usize, 0, 0],
            )
        }
    }

    /// `newfstatat`.
    ///
    /// # Safety
    /// `path` is NUL-terminated; the kernel checks `buf`.
    pub(crate) unsafe fn fstatat(self, dir: c_int, path: Text, buf: *mut libc::stat, flags: c_int) -> isize {
        let args = [dir as usize, path as usize, buf as usize, flags as usize, 0];
        // SAFETY: by the contract above.
        unsafe { call_with(self.0, libc::SYS_newfstatat, args) }
    }

    /// `statx`.
    ///
    /// # Safety
    /// `path` is NUL-terminated; the kernel checks `buf`.
    pub(crate) unsafe fn statx(self, dir: c_int, path: Text, flags: c_int, mask: u32, buf: *mut libc::statx) -> isize {
        let args = [dir as usize, path as usize, flags as usize, mask as usize, buf as usize];
        // SAFETY: by the contract above.
        unsafe { call_with(self.0, libc::SYS_statx, args) }
    }

    /// `faccessat`, or `faccessat2` where there are flags.
    ///
    /// # Safety
    /// `path` is NUL-terminated.
    pub(crate) unsafe fn faccessat(self, dir: c_int, path: Text, mode: c_int, flags: c_int) -> isize {
        let number = if flags == 0 {
            libc::SYS_faccessat
        } else {
            libc::SYS_faccessat2
        };
        // SAFETY: by the contract above.
        unsafe {
            call_with(
                self.0,
                number,
                [dir as usize, path as usize, mode as usize, flags as usize, 0],
            )
        }
    }

    /// `readlinkat`.
    ///
    /// # Safety
    /// `path` is NUL-terminated; the kernel checks `buf`.
    pub(crate) unsafe fn readlinkat(self, dir: c_int, path: Text, buf: *mut c_char, len: usize) -> isize {
        // SAFETY: by the contract above.
        unsafe {
            call_with(
                self.0,
                libc::SYS_readlinkat,
                [dir as usize, path as usize, buf as usize, len, 0],
            )
        }
    }

    /// `statfs`.
    ///
    /// # Safety
    /// `path` is NUL-terminated; the kernel checks `buf`, of a `struct statfs`.
    pub(crate) unsafe fn statfs(self, path: Text, buf: *mut c_void) -> isize {
        // SAFETY: by the contract above.
        unsafe { call_with(self.0, libc::SYS_statfs, [path as usize, buf as usize, 0, 0, 0]) }
    }

    /// `getxattr` or `lgetxattr`.
    ///
    /// # Safety
    /// `path` is NUL-terminated; the kernel checks `name` and `value`.
    pub(crate) unsafe fn getxattr(self, path: Text, name: Text, value: *mut c_void, len: usize, follow: bool) -> isize {
        let number = if follow {
            libc::SYS_getxattr
        } else {
            libc::SYS_lgetxattr
        };
        let args = [path as usize, name as usize, value as usize, len, 0];
        // SAFETY: by the contract above.
        unsafe { call_with(self.0, number, args) }
    }

    /// `listxattr` or `llistxattr`.
    ///
    /// # Safety
    /// `path` is NUL-terminated; the kernel checks `list`.
    pub(crate) unsafe fn listxattr(self, path: Text, list: *mut c_char, len: usize, follow: bool) -> isize {
        let number = if follow {
            libc::SYS_listxattr
        } else {
            libc::SYS_llistxattr
        };
        // SAFETY: by the contract above.
        unsafe { call_with(self.0, number, [path as usize, list as usize, len, 0, 0]) }
    }
}

/// `openat` as the guard sees it; never creates.
///
/// # Safety
/// `path` is NUL-terminated.
pub(crate) unsafe fn openat(dir: c_int, path: Text, flags: c_int) -> isize {
    // SAFETY: by the contract above.
    unsafe { call(libc::SYS_openat, [dir as usize, path as usize, flags as usize, 0, 0]) }
}

/// A flag of `newfstatat` that changes nothing (`AT_NO_AUTOMOUNT`, stat(2)). The filter of
/// a slot lets libc's `fstat` pass, which has `AT_EMPTY_PATH` alone; with this, what could
/// name a path is told from it.
pub(crate) const NOT_FSTAT: c_int = libc::AT_NO_AUTOMOUNT;

/// `newfstatat` as the guard sees it.
///
/// # Safety
/// As the system call.
pub(crate) unsafe fn fstatat(dir: c_int, path: Text, buf: *mut libc::stat, flags: c_int) -> isize {
    let args = [
        dir as usize,
        path as usize,
        buf as usize,
        (flags | NOT_FSTAT) as usize,
        0,
    ];
    // SAFETY: by the contract above.
    unsafe { call(libc::SYS_newfstatat, args) }
}

/// Whether the caller may execute `path`.
///
/// # Safety
/// `path` is NUL-terminated.
pub(crate) unsafe fn is_executable(path: Text) -> bool {
    let args = [libc::AT_FDCWD as usize, path as usize, libc::X_OK as usize, 0, 0];
    // SAFETY: by the contract above.
    unsafe { call(libc::SYS_faccessat, args) == 0 }
}

/// `close`.
pub(crate) fn close(fd: c_int) {
    // SAFETY: only ever called with descriptors that the caller has just opened.
    unsafe { call(libc::SYS_close, [fd as usize, 0, 0, 0, 0]) };
}

/// `fstat`.
///
/// # Safety
/// The kernel checks `buf`, which is the caller's to change.
pub(crate) unsafe fn fstat_into(fd: c_int, buf: *mut libc::stat) -> isize {
    // SAFETY: the kernel's `struct stat` is libc's on x86-64.
    unsafe { call(libc::SYS_fstat, [fd as usize, buf as usize, 0, 0, 0]) }
}

/// `fstat`; `None` for an error.
pub(crate) fn fstat(fd: c_int) -> Option<libc::stat> {
    let mut buf = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `buf` is one.
    let done = unsafe { fstat_into(fd, buf.as_mut_ptr()) };
    // SAFETY: filled when the call succeeded.
    (done == 0).then(|| unsafe { buf.assume_init() })
}

/// Bytes of a file from `offset` on, as many as there are.
pub(crate) fn pread<const N: usize>(fd: c_int, offset: u64) -> ([u8; N], usize) {
    let mut buf = [0; N];
    // SAFETY: `buf` is as long as is said.
    let read = unsafe {
        call(
            libc::SYS_pread64,
            [fd as usize, buf.as_mut_ptr() as usize, N, offset as usize, 0],
        )
    };
    (buf, read.try_into().unwrap_or(0))
}

/// `write`; what does not fit is left out.
pub(crate) fn write(fd: c_int, bytes: &[u8]) {
    // SAFETY: `bytes` is as long as is said.
    unsafe {
        call(
            libc::SYS_write,
            [fd as usize, bytes.as_ptr() as usize, bytes.len(), 0, 0],
        )
    };
}

/// The working directory, absolute, without a final NUL; `None` where it has no path.
pub(crate) fn getcwd(buf: &mut [MaybeUninit<u8>; PATH_MAX]) -> Option<&[u8]> {
    // SAFETY: `buf` is as long as is said.
    let len = unsafe { call(libc::SYS_getcwd, [buf.as_mut_ptr() as usize, PATH_MAX, 0, 0, 0]) };
    let len = usize::try_from(len).ok()?.checked_sub(1)?;
    // SAFETY: the kernel wrote `len` bytes and a NUL into `buf`.
    let cwd = unsafe { core::slice::from_raw_parts(buf.as_ptr().cast::<u8>(), len) };
    cwd.starts_with(b"/").then_some(cwd)
}

/// `readlink` as the guard sees it, into `buf`; `None` for an error or a full buffer.
pub(crate) fn readlink<'a>(path: &CStr, buf: &'a mut [MaybeUninit<u8>]) -> Option<&'a [u8]> {
    let args = [
        libc::AT_FDCWD as usize,
        path.as_ptr() as usize,
        buf.as_mut_ptr() as usize,
        buf.len(),
        0,
    ];
    // SAFETY: `buf` is as long as is said.
    let len = unsafe { call(libc::SYS_readlinkat, args) };
    let len = usize::try_from(len).ok().filter(|&len| len < buf.len())?;
    // SAFETY: the kernel wrote `len` bytes into `buf`, which is longer.
    Some(unsafe { core::slice::from_raw_parts(buf.as_ptr().cast::<u8>(), len) })
}

/// The number of this process, never a stale one after `vfork`.
pub(crate) fn getpid() -> c_int {
    // SAFETY: takes nothing.
    unsafe { call(libc::SYS_getpid, [0; 5]) as c_int }
}

/// Nanoseconds by the monotonic clock.
pub(crate) fn monotonic() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let args = [libc::CLOCK_MONOTONIC as usize, (&raw mut now) as usize, 0, 0, 0];
    // SAFETY: `now` is the kernel's `struct timespec`; the clock is in every kernel.
    unsafe { call(libc::SYS_clock_gettime, args) };
    (now.tv_sec as u64)
        .wrapping_mul(NANOSECONDS)
        .wrapping_add(now.tv_nsec as u64)
}

/// Waits until a child of this process has ended, or until `deadline` by [`monotonic`]. Leaves
/// the child to be waited for.
pub(crate) fn wait_for_end(child: c_int, deadline: u64) {
    // SAFETY: numbers only.
    let handle = unsafe { call(libc::SYS_pidfd_open, [child as usize, 0, 0, 0, 0]) };
    let Ok(fd) = c_int::try_from(handle) else { return };
    if fd < 0 {
        return;
    }
    let mut ended = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    loop {
        let left = deadline.saturating_sub(monotonic());
        let left = libc::timespec {
            tv_sec: (left / NANOSECONDS) as i64,
            tv_nsec: (left % NANOSECONDS) as i64,
        };
        let args = [(&raw mut ended) as usize, 1, (&raw const left) as usize, 0, 0];
        // SAFETY: one descriptor, a whole time and no mask.
        let polled = unsafe { call(libc::SYS_ppoll, args) };
        if polled != -(libc::EINTR as isize) {
            break;
        }
    }
    close(fd);
}

/// The first bytes of a file, and how many they are; `None` where it cannot be opened.
pub(crate) fn read_file<const N: usize>(path: &CStr) -> Option<([u8; N], usize)> {
    // SAFETY: NUL-terminated by its type.
    let fd = unsafe { openat(libc::AT_FDCWD, path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    let fd = c_int::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    let read = pread(fd, 0);
    close(fd);
    Some(read)
}

/// 64 random bits; zero where the kernel has none yet.
pub(crate) fn random() -> u64 {
    let mut bits = 0u64;
    // SAFETY: `bits` is eight bytes long.
    unsafe {
        call(
            libc::SYS_getrandom,
            [(&raw mut bits) as usize, 8, libc::GRND_NONBLOCK as usize, 0, 0],
        )
    };
    bits
}

/// `mmap`; the error is errno's.
///
/// # Safety
/// As the system call.
pub(crate) unsafe fn mmap(args: [usize; 6]) -> Result<*mut c_void, c_int> {
    let [a, b, c, d, e, f] = args;
    let result: isize;
    // SAFETY: the Linux x86-64 system call convention.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") libc::SYS_mmap as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    if (-4095..0).contains(&result) {
        return Err(result.wrapping_neg() as c_int);
    }
    Ok(result as *mut c_void)
}

/// `madvise`; what the kernel cannot do is left.
///
/// # Safety
/// As the system call.
pub(crate) unsafe fn advise(at: *mut c_void, len: usize, advice: c_int) {
    // SAFETY: by the contract above.
    unsafe { call(libc::SYS_madvise, [at as usize, len, advice as usize, 0, 0]) };
}

/// Maps `len` bytes: of a file shared with its other users, or private zeroes.
pub(crate) fn map(len: usize, file: Option<c_int>) -> Option<*mut c_void> {
    let (flags, fd) = match file {
        Some(fd) => (libc::MAP_SHARED, fd),
        None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
    };
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    unsafe { mmap([0, len, prot as usize, flags as usize, fd as usize, 0]) }.ok()
}

/// Gives a mapping back.
///
/// # Safety
/// `at` and `len` are those of a mapping by [`map`] that nobody uses any more.
pub(crate) unsafe fn unmap(at: *mut c_void, len: usize) {
    // SAFETY: by the contract above.
    unsafe { call(libc::SYS_munmap, [at as usize, len, 0, 0, 0]) };
}

/// The calling thread's errno.
pub(crate) fn errno() -> c_int {
    // SAFETY: libc's pointer is valid for the life of the thread.
    unsafe { *libc::__errno_location() }
}

/// Sets the calling thread's errno.
pub(crate) fn set_errno(code: c_int) {
    // SAFETY: as in `errno`.
    unsafe { *libc::__errno_location() = code };
}
