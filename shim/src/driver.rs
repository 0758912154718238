//! Driver mode: which programs that this process starts become jobs, and how the
//! exec and spawn functions start them through the stub.
//!
//! Knows neither rules nor the daemon: it only picks candidates. Whatever does not
//! work out ends in the call that the program made, unchanged.

use crate::env::{self, List, Preload, Repair};
use crate::path::last_name;
use crate::program::{self, Format};
use crate::role::{Driver, Kind, current};
use crate::row::Row;
use crate::sys::{self, PATH_MAX, Text};
use crate::{command, pipes, seen};
use core::ffi::{CStr, c_int, c_void};
use core::mem::MaybeUninit;
use libc::{AT_FDCWD, pid_t};
use termite_abi::tools;

/// One program about to be started.
struct Start<'a> {
    driver: &'static Driver,
    /// Path of the program; `None` where only a descriptor tells.
    program: Option<&'a CStr>,
    /// The child's standard output, as a descriptor of the calling process.
    stdout: c_int,
    /// The calling process itself becomes the program.
    in_place: bool,
    argv: List,
    envp: List,
}

impl Start<'_> {
    /// Carries it out by `call`, which takes a program other than the given one, argv
    /// and environment, and returns an errno or zero. `None`: the caller must make its
    /// own call unchanged.
    unsafe fn carry_out(&self, call: &mut dyn FnMut(Option<Text>, List, List) -> c_int) -> Option<c_int> {
        if sys::is_unmappable(self.argv) || !self.envp.is_null() && sys::is_unmappable(self.envp) {
            return None;
        }
        // SAFETY: NUL-terminated by its type.
        let format = self
            .program
            .and_then(|program| unsafe { program::format(program.as_ptr()) });
        let preload = if format == Some(Format::RefusesPreload) {
            Preload::Refused
        } else {
            Preload::Wanted
        };
        // SAFETY: the caller of libc passes proper lists.
        unsafe {
            if let Some(program) = self.program.filter(|_| format.is_some() && self.is_candidate()) {
                let front = Some([c"termite-run".as_ptr(), program.as_ptr()]);
                let repair = Repair::of(self.envp, &self.driver.kept, Preload::Wanted);
                let stub = self.driver.stub.as_ptr();
                let started = command::with(front, self.argv, self.envp, &repair, &mut |argv, envp| {
                    call(Some(stub), argv, envp)
                });
                if started == Some(0) {
                    return started;
                }
            } else if format.is_some() {
                self.note();
            }
            let repair = Repair::of(self.envp, &self.driver.kept, preload);
            if repair.is_empty() {
                return None;
            }
            command::with(None, self.argv, self.envp, &repair, &mut |argv, envp| {
                call(None, argv, envp)
            })
            // What does not fit with our variables added may fit without.
            .filter(|&error| error != libc::E2BIG)
        }
    }

    /// Has it known that no job was made of this start, where one might have been expected.
    fn note(&self) {
        let name = self.program.map(|program| last_name(program.to_bytes()));
        if let Some(name) = name.filter(|name| Kind::of(name) == Kind::Other)
            && self.driver.kind() == Kind::Other
        {
            seen::note(name);
        }
    }

    fn is_candidate(&self) -> bool {
        let Some(program) = self.program else { return false };
        let name = last_name(program.to_bytes());
        let all = match self.driver.kind() {
            Kind::Make => !pipes::is_own_pipe(self.stdout),
            Kind::Ninja => true,
            Kind::Other | Kind::Own => false,
        };
        match Kind::of(name) {
            Kind::Own => false,
            // make starts itself again when it has remade a makefile.
            _ if all => !self.in_place,
            _ => tools::is_tool(name, self.driver.tools),
        }
    }
}

/// An exec of `program`, of which `call` makes one and returns only when it failed.
unsafe fn exec(
    program: Option<&CStr>,
    argv: List,
    envp: List,
    call: &mut dyn FnMut(Option<Text>, List, List),
) -> Option<c_int> {
    let driver = current()?;
    let in_place = driver.is_this_process();
    let start = Start {
        driver,
        program,
        stdout: libc::STDOUT_FILENO,
        in_place,
        argv,
        envp,
    };
    let before = sys::errno();
    // SAFETY: the caller of libc passes proper lists.
    let error = unsafe {
        start.carry_out(&mut |stub, argv, envp| {
            call(stub, argv, envp);
            sys::errno()
        })
    };
    sys::set_errno(error.unwrap_or(before));
    error.map(|_| -1)
}

/// A real function of another row as one of this type.
macro_rules! real {
    ($name:ident as fn($($type:ty),*)) => {{
        let real = crate::real::real(Row::$name as usize);
        // SAFETY: the function's signature, as its row states it.
        unsafe { core::mem::transmute::<*mut c_void, unsafe extern "C" fn($($type),*) -> c_int>(real) }
    }};
}

unsafe fn text<'a>(path: Text) -> Option<&'a CStr> {
    // SAFETY: null or NUL-terminated, as the caller of libc has it.
    (!sys::is_unmappable(path)).then(|| unsafe { CStr::from_ptr(path) })
}

/// `execve`; this and the others here return `None` for: call the real one.
///
/// # Safety
/// As the function; so it is with the others here.
pub(crate) unsafe fn execve(path: Text, argv: List, envp: List) -> Option<c_int> {
    let real = real!(execve as fn(Text, List, List));
    // SAFETY: by the contract above.
    unsafe {
        exec(text(path), argv, envp, &mut |stub, argv, envp| {
            real(stub.unwrap_or(path), argv, envp);
        })
    }
}

/// `execv`.
#[allow(clippy::missing_safety_doc)]
pub(crate) unsafe fn execv(path: Text, argv: List) -> Option<c_int> {
    // SAFETY: as `execve`.
    unsafe { execve(path, argv, env::current()) }
}

/// `execvpe`.
#[allow(clippy::missing_safety_doc)]
pub(crate) unsafe fn execvpe(file: Text, argv: List, envp: List) -> Option<c_int> {
    let (real, search) = (
        real!(execve as fn(Text, List, List)),
        real!(execvpe as fn(Text, List, List)),
    );
    let mut buf = [const { MaybeUninit::uninit() }; PATH_MAX];
    // SAFETY: as `execve`.
    if let Some(path) = unsafe { program::find_in_slot(file, &mut buf) } {
        let before = sys::errno();
        // It returns only if it failed; then libc searches anew, and tells why.
        // SAFETY: as `execve`.
        unsafe { real(path.as_ptr(), argv, envp) };
        sys::set_errno(before);
        return None;
    }
    current()?;
    // SAFETY: as `execve`.
    unsafe {
        exec(program::find(file, &mut buf), argv, envp, &mut |stub, argv, envp| {
            match stub {
                Some(stub) => real(stub, argv, envp),
                None => search(file, argv, envp),
            };
        })
    }
}

/// `execvp`.
#[allow(clippy::missing_safety_doc)]
pub(crate) unsafe fn execvp(file: Text, argv: List) -> Option<c_int> {
    // SAFETY: as `execve`.
    unsafe { execvpe(file, argv, env::current()) }
}

/// `execl`, its arguments gathered.
#[allow(clippy::missing_safety_doc)]
pub(crate) unsafe extern "C" fn execl(path: Text, argv: List) -> c_int {
    // SAFETY: as `execve`.
    unsafe { execle_with(path, argv, env::current()) }
}

/// `execle`, its arguments gathered; the environment stands behind their null pointer.
#[allow(clippy::missing_safety_doc)]
pub(crate) unsafe extern "C" fn execle(path: Text, argv: List) -> c_int {
    // SAFETY: as `execve`.
    unsafe {
        let args = env::strings(argv).count();
        execle_with(path, argv, argv.add(args + 1).cast::<List>().read())
    }
}

unsafe fn execle_with(path: Text, argv: List, envp: List) -> c_int {
    let real = real!(execve as fn(Text, List, List));
    // SAFETY: as `execve`.
    unsafe { execve(path, argv, envp).unwrap_or_else(|| real(path, argv, envp)) }
}

/// `execlp`, its arguments gathered.
#[allow(clippy::missing_safety_doc)]
pub(crate) unsafe extern "C" fn execlp(file: Text, argv: List) -> c_int {
    let search = real!(execvpe as fn(Text, List, List));
    // SAFETY: as `execve`.
    unsafe { execvp(file, argv).unwrap_or_else(|| search(file, argv, env::current())) }
}

/// `fexecve`: never a job, since nothing tells the program's path.
#[allow(clippy::missing_safety_doc)]
pub(crate) unsafe fn fexecve(fd: c_int, argv: List, envp: List) -> Option<c_int> {
    let real = real!(fexecve as fn(c_int, List, List));
    // SAFETY: as `execve`.
    unsafe {
        exec(None, argv, envp, &mut |_, argv, envp| {
            real(fd, argv, envp);
        })
    }
}

/// `execveat`: may be a job where it is no more than `execve`.
#[allow(clippy::missing_safety_doc)]
pub(crate) unsafe fn execveat(dir: c_int, path: Text, argv: List, envp: List, flags: c_int) -> Option<c_int> {
    let (whole, real) = (
        real!(execve as fn(Text, List, List)),
        real!(execveat as fn(c_int, Text, List, List, c_int)),
    );
    // SAFETY: as `execve`.
    unsafe {
        let program = text(path).filter(|path| flags == 0 && (dir == AT_FDCWD || path.to_bytes().starts_with(b"/")));
        exec(program, argv, envp, &mut |stub, argv, envp| {
            match stub {
                Some(stub) => whole(stub, argv, envp),
                None => real(dir, path, argv, envp, flags),
            };
        })
    }
}

type Spawn = unsafe extern "C" fn(*mut pid_t, Text, *const c_void, *const c_void, List, List) -> c_int;

/// What the spawn functions have besides the program.
struct Child {
    pid: *mut pid_t,
    actions: *const c_void,
    attr: *const c_void,
    argv: List,
    envp: List,
}

impl Child {
    /// Starts `program` through the stub, or `file` by `otherwise`.
    unsafe fn spawn(&self, program: Option<&CStr>, file: Text, otherwise: Spawn) -> Option<c_int> {
        let &Self {
            pid,
            actions,
            attr,
            argv,
            envp,
        } = self;
        let whole = real!(posix_spawn as fn(*mut pid_t, Text, *const c_void, *const c_void, List, List));
        let start = Start {
            driver: current()?,
            program,
            stdout: pipes::stdout_of(actions),
            in_place: false,
            argv,
            envp,
        };
        let before = sys::errno();
        // SAFETY: the arguments are those that the caller of libc passed.
        let result = unsafe {
            start.carry_out(&mut |stub, argv, envp| match stub {
                Some(stub) => whole(pid, stub, actions, attr, argv, envp),
                None => otherwise(pid, file, actions, attr, argv, envp),
            })
        };
        sys::set_errno(before);
        result
    }
}

/// `posix_spawn`.
#[allow(clippy::missing_safety_doc)]
pub(crate) unsafe fn posix_spawn(
    pid: *mut pid_t,
    path: Text,
    actions: *const c_void,
    attr: *const c_void,
    argv: List,
    envp: List,
) -> Option<c_int> {
    let real = real!(posix_spawn as fn(*mut pid_t, Text, *const c_void, *const c_void, List, List));
    // SAFETY: as `execve`.
    unsafe {
        Child {
            pid,
            actions,
            attr,
            argv,
            envp,
        }
        .spawn(text(path), path, real)
    }
}

/// `posix_spawnp`.
#[allow(clippy::missing_safety_doc)]
pub(crate) unsafe fn posix_spawnp(
    pid: *mut pid_t,
    file: Text,
    actions: *const c_void,
    attr: *const c_void,
    argv: List,
    envp: List,
) -> Option<c_int> {
    current()?;
    let real = real!(posix_spawnp as fn(*mut pid_t, Text, *const c_void, *const c_void, List, List));
    let mut buf = [const { MaybeUninit::uninit() }; PATH_MAX];
    // SAFETY: as `execve`.
    unsafe {
        Child {
            pid,
            actions,
            attr,
            argv,
            envp,
        }
        .spawn(program::find(file, &mut buf), file, real)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_are_told_by_their_base_name() {
        assert_eq!(Kind::of(b"gmake"), Kind::Make);
        assert_eq!(Kind::of(b"samu"), Kind::Ninja);
        assert_eq!(Kind::of(b"termite-env"), Kind::Own);
        assert_eq!(Kind::of(b"cmake"), Kind::Other);
    }
}
