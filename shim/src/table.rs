//! The hooks: one row for each libc function. Rows stand in families; the order is that of the slot's hit
//! counters.
//!
//! Knows no implementation: the rows are words, handed to the macro that wants them. What a row means is
//! said at [`crate::hook::hooks`].

/// Hands all rows to a macro.
macro_rules! with_rows {
    ($expand:ident) => {
        $expand! {
            // open
            open(path: Text, flags: c_int, mode: mode_t) -> c_int => answer(int(job::open(AT_FDCWD, path, flags)));
            open64(path: Text, flags: c_int, mode: mode_t) -> c_int => answer(int(job::open(AT_FDCWD, path, flags)));
            __open(path: Text, flags: c_int, mode: mode_t) -> c_int => answer(int(job::open(AT_FDCWD, path, flags)));
            __open64(path: Text, flags: c_int, mode: mode_t) -> c_int => answer(int(job::open(AT_FDCWD, path, flags)));
            openat(dir: c_int, path: Text, flags: c_int, mode: mode_t) -> c_int => answer(int(job::open(dir, path, flags)));
            openat64(dir: c_int, path: Text, flags: c_int, mode: mode_t) -> c_int => answer(int(job::open(dir, path, flags)));
            __open_2(path: Text, flags: c_int) -> c_int => answer(int(job::open(AT_FDCWD, path, flags)));
            __open64_2(path: Text, flags: c_int) -> c_int => answer(int(job::open(AT_FDCWD, path, flags)));
            __openat_2(dir: c_int, path: Text, flags: c_int) -> c_int => answer(int(job::open(dir, path, flags)));
            __openat64_2(dir: c_int, path: Text, flags: c_int) -> c_int => answer(int(job::open(dir, path, flags)));
            creat => through;
            creat64 => through;

            // stat
            stat(path: Text, buf: Stat) -> c_int
                => patient(settle().or_else(|| int(job::stat(AT_FDCWD, path, buf, 0)))), then unmark(buf);
            stat64(path: Text, buf: Stat) -> c_int
                => patient(settle().or_else(|| int(job::stat(AT_FDCWD, path, buf, 0)))), then unmark(buf);
            lstat(path: Text, buf: Stat) -> c_int
                => patient(int(job::stat(AT_FDCWD, path, buf, AT_SYMLINK_NOFOLLOW))), then unmark(buf);
            lstat64(path: Text, buf: Stat) -> c_int
                => patient(int(job::stat(AT_FDCWD, path, buf, AT_SYMLINK_NOFOLLOW))), then unmark(buf);
            fstatat(dir: c_int, path: Text, buf: Stat, flags: c_int) -> c_int
                => patient(int(job::stat(dir, path, buf, flags))), then unmark(buf);
            fstatat64(dir: c_int, path: Text, buf: Stat, flags: c_int) -> c_int
                => patient(int(job::stat(dir, path, buf, flags))), then unmark(buf);
            __xstat(version: c_int, path: Text, buf: Stat) -> c_int
                => patient(settle().or_else(|| answer::is_kernel_stat(version).and_then(|()| int(job::stat(AT_FDCWD, path, buf, 0))))), then unmark(buf);
            __xstat64(version: c_int, path: Text, buf: Stat) -> c_int
                => patient(settle().or_else(|| answer::is_kernel_stat(version).and_then(|()| int(job::stat(AT_FDCWD, path, buf, 0))))), then unmark(buf);
            __lxstat(version: c_int, path: Text, buf: Stat) -> c_int
                => patient(answer::is_kernel_stat(version).and_then(|()| int(job::stat(AT_FDCWD, path, buf, AT_SYMLINK_NOFOLLOW)))), then unmark(buf);
            __lxstat64(version: c_int, path: Text, buf: Stat) -> c_int
                => patient(answer::is_kernel_stat(version).and_then(|()| int(job::stat(AT_FDCWD, path, buf, AT_SYMLINK_NOFOLLOW)))), then unmark(buf);
            __fxstatat(version: c_int, dir: c_int, path: Text, buf: Stat, flags: c_int) -> c_int
                => patient(answer::is_kernel_stat(version).and_then(|()| int(job::stat(dir, path, buf, flags)))), then unmark(buf);
            __fxstatat64(version: c_int, dir: c_int, path: Text, buf: Stat, flags: c_int) -> c_int
                => patient(answer::is_kernel_stat(version).and_then(|()| int(job::stat(dir, path, buf, flags)))), then unmark(buf);
            fstat(fd: c_int, buf: Stat) -> c_int
                => patient(int(job::fstat(fd, buf))), then unmark(buf);
            fstat64(fd: c_int, buf: Stat) -> c_int
                => patient(int(job::fstat(fd, buf))), then unmark(buf);
            __fxstat(version: c_int, fd: c_int, buf: Stat) -> c_int
                => patient(answer::is_kernel_stat(version).and_then(|()| int(job::fstat(fd, buf)))), then unmark(buf);
            __fxstat64(version: c_int, fd: c_int, buf: Stat) -> c_int
                => patient(answer::is_kernel_stat(version).and_then(|()| int(job::fstat(fd, buf)))), then unmark(buf);
            statx(dir: c_int, path: Text, flags: c_int, mask: c_uint, buf: *mut libc::statx) -> c_int
                => patient(int(job::statx(dir, path, flags, mask, buf))), then unmark_x(buf);

            // access
            access(path: Text, mode: c_int) -> c_int => patient(int(job::access(AT_FDCWD, path, mode, 0)));
            eaccess(path: Text, mode: c_int) -> c_int => patient(int(job::access(AT_FDCWD, path, mode, AT_EACCESS)));
            euidaccess(path: Text, mode: c_int) -> c_int => patient(int(job::access(AT_FDCWD, path, mode, AT_EACCESS)));
            faccessat(dir: c_int, path: Text, mode: c_int, flags: c_int) -> c_int
                => patient(answer::is_kernel_access(flags).and_then(|()| int(job::access(dir, path, mode, flags))));

            // readlink
            readlink(path: Text, buf: *mut c_char, len: size_t) -> ssize_t
                => patient(long(job::readlink(AT_FDCWD, path, buf, len)));
            readlinkat(dir: c_int, path: Text, buf: *mut c_char, len: size_t) -> ssize_t
                => patient(long(job::readlink(dir, path, buf, len)));
            __readlink_chk(path: Text, buf: *mut c_char, len: size_t, room: size_t) -> ssize_t
                => patient(answer::fits(len, room).and_then(|()| long(job::readlink(AT_FDCWD, path, buf, len))));
            __readlinkat_chk(dir: c_int, path: Text, buf: *mut c_char, len: size_t, room: size_t) -> ssize_t
                => patient(answer::fits(len, room).and_then(|()| long(job::readlink(dir, path, buf, len))));

            // realpath
            realpath(path: Text, resolved: *mut c_char) -> *mut c_char => patient(answer::realpath(path, resolved, None));
            __realpath_chk(path: Text, resolved: *mut c_char, room: size_t) -> *mut c_char
                => patient(answer::realpath(path, resolved, Some(room)));
            canonicalize_file_name(path: Text) -> *mut c_char
                => patient(answer::realpath(path, core::ptr::null_mut(), None));

            // opendir
            opendir(path: Text) -> *mut DIR => answer(answer::opendir(path));

            // file systems
            statfs(path: Text, buf: *mut c_void) -> c_int => patient(int(job::statfs(path, buf)));
            statfs64(path: Text, buf: *mut c_void) -> c_int => patient(int(job::statfs(path, buf)));
            __statfs(path: Text, buf: *mut c_void) -> c_int => patient(int(job::statfs(path, buf)));

            // extended attributes
            getxattr(path: Text, name: Text, value: *mut c_void, len: size_t) -> ssize_t
                => patient(long(job::getxattr(path, name, value, len, true)));
            lgetxattr(path: Text, name: Text, value: *mut c_void, len: size_t) -> ssize_t
                => patient(long(job::getxattr(path, name, value, len, false)));
            listxattr(path: Text, list: *mut c_char, len: size_t) -> ssize_t
                => patient(long(job::listxattr(path, list, len, true)));
            llistxattr(path: Text, list: *mut c_char, len: size_t) -> ssize_t
                => patient(long(job::listxattr(path, list, len, false)));

            // naming
            rename => through;
            renameat => through;
            renameat2 => through;
            link => through;
            linkat => through;
            symlink => through;
            symlinkat => through;
            unlink(path: Text) -> c_int => answer(settle());
            unlinkat => through;
            remove => through;
            mkdir => through;
            mkdirat => through;
            rmdir => through;
            mkfifo => through;
            mkfifoat => through;
            mknod => through;
            mknodat => through;
            __xmknod => through;
            __xmknodat => through;

            // metadata
            chmod => through;
            lchmod => through;
            fchmodat => through;
            fchmod(fd: c_int, mode: mode_t) -> c_int => answer(int(job::fchmod(fd)));
            chown => through;
            lchown => through;
            fchownat => through;
            utime => through;
            utimes => through;
            lutimes => through;
            futimesat => through;
            utimensat => through;

            // truncate
            truncate => through;
            truncate64 => through;

            // temporary files
            mkstemp => through;
            mkstemp64 => through;
            mkostemp => through;
            mkostemp64 => through;
            mkstemps => through;
            mkstemps64 => through;
            mkostemps => through;
            mkostemps64 => through;
            mkdtemp => through;
            tmpfile => through;
            tmpfile64 => through;

            // stdio
            fopen(path: Text, mode: Text) -> *mut FILE => answer(answer::fopen(path, mode));
            fopen64(path: Text, mode: Text) -> *mut FILE => answer(answer::fopen(path, mode));
            _IO_fopen(path: Text, mode: Text) -> *mut FILE => answer(answer::fopen(path, mode));
            freopen => through;
            freopen64 => through;

            // exec
            execve(path: Text, argv: List, envp: List) -> c_int => answer(driver::execve(path, argv, envp));
            execv(path: Text, argv: List) -> c_int => answer(driver::execv(path, argv));
            execvp(file: Text, argv: List) -> c_int => answer(driver::execvp(file, argv));
            execvpe(file: Text, argv: List, envp: List) -> c_int => answer(driver::execvpe(file, argv, envp));
            execl => gathered(driver::execl);
            execlp => gathered(driver::execlp);
            execle => gathered(driver::execle);
            fexecve(fd: c_int, argv: List, envp: List) -> c_int => answer(driver::fexecve(fd, argv, envp));
            execveat(dir: c_int, path: Text, argv: List, envp: List, flags: c_int) -> c_int
                => answer(driver::execveat(dir, path, argv, envp, flags));

            // posix_spawn
            posix_spawn(pid: *mut pid_t, path: Text, actions: *const c_void, attr: *const c_void, argv: List, envp: List) -> c_int
                => answer(driver::posix_spawn(pid, path, actions, attr, argv, envp));
            posix_spawnp(pid: *mut pid_t, file: Text, actions: *const c_void, attr: *const c_void, argv: List, envp: List) -> c_int
                => answer(driver::posix_spawnp(pid, file, actions, attr, argv, envp));
            posix_spawn_file_actions_init(actions: *mut c_void) -> c_int => answer(pipes::forget(actions));
            posix_spawn_file_actions_adddup2(actions: *mut c_void, from: c_int, to: c_int) -> c_int
                => answer(pipes::note_dup(actions, from, to));

            // popen
            popen => through;
            _IO_popen => through;
            system => through;

            // pipe
            pipe(ends: *mut c_int) -> c_int => answer(None), then note_pipe(ends);
            __pipe(ends: *mut c_int) -> c_int => answer(None), then note_pipe(ends);
            pipe2(ends: *mut c_int, flags: c_int) -> c_int => answer(None), then note_pipe(ends);

            // chdir
            chdir => through;
            fchdir => through;

            // memory
            mmap(at: *mut c_void, len: size_t, prot: c_int, flags: c_int, fd: c_int, offset: off_t) -> *mut c_void
                => answer(map_early(Row::mmap, [at as usize, len, prot as usize, flags as usize, fd as usize, offset as usize])),
                then prefer_huge(len, prot, flags);
            mmap64(at: *mut c_void, len: size_t, prot: c_int, flags: c_int, fd: c_int, offset: off_t) -> *mut c_void
                => answer(map_early(Row::mmap64, [at as usize, len, prot as usize, flags as usize, fd as usize, offset as usize])),
                then prefer_huge(len, prot, flags);

            // signals
            signal(number: c_int, handler: sighandler_t) -> sighandler_t => answer(interrupt::signal(number, handler));
            sigaction(number: c_int, new: Action, old: *mut libc::sigaction) -> c_int
                => answer(interrupt::sigaction(number, new, old));

            // dlopen
            dlopen => through;
            dlmopen => through;

            // syscall
            syscall => handed(raw::syscall);
        }
    };
}

pub(crate) use with_rows;
