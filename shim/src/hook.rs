//! The shape of a hook: from one row of the table come the exported function, its
//! number, its hit counter and its way to the real function.
//!
//! Knows no function by name, and no mode.

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use termite_abi::HITS_LEN;

/// Counts hits where nobody reads them.
static UNREAD: [AtomicU32; HITS_LEN] = [const { AtomicU32::new(0) }; HITS_LEN];

/// Hit counters by row: `UNREAD`, or those of the slot.
pub(crate) static HITS: AtomicPtr<AtomicU32> = AtomicPtr::new((&raw const UNREAD).cast_mut().cast());

/// Counts hits in a slot's shared memory from here on.
pub(crate) fn count_in(hits: &'static [AtomicU32; HITS_LEN]) {
    HITS.store((&raw const *hits).cast_mut().cast(), Ordering::Relaxed);
}

/// Counts one call of a row's hook.
pub(crate) fn hit(row: usize) {
    if row < HITS_LEN {
        // SAFETY: HITS points at HITS_LEN counters that live as long as the process.
        unsafe { &*HITS.load(Ordering::Relaxed).add(row) }.fetch_add(1, Ordering::Relaxed);
    }
}

/// How a function says that it failed.
pub(crate) trait Failing {
    /// Whether this result says so.
    fn has_failed(&self) -> bool;
}

impl Failing for i32 {
    fn has_failed(&self) -> bool {
        *self == -1
    }
}

impl Failing for isize {
    fn has_failed(&self) -> bool {
        *self == -1
    }
}

/// A handler of signals.
impl Failing for usize {
    fn has_failed(&self) -> bool {
        *self == libc::SIG_ERR
    }
}

impl<T> Failing for *mut T {
    fn has_failed(&self) -> bool {
        self.is_null()
    }
}

/// Whether a call of a job failed only because a signal came while it waited for the
/// guard (`seccomp_unotify(2)`).
pub(crate) fn is_interrupted(result: impl Failing) -> bool {
    result.has_failed() && crate::job::is_entered() && crate::sys::errno() == libc::EINTR
}

/// Makes the hooks of a table. A row ends in `;` and is one of
///
/// - `name => through;` counts and jumps to the real function, which sees the very
///   caller and stack that the hook saw (`dlopen` looks at its caller). At most five
///   arguments; the sixth one's register is emptied.
/// - `name(arg: Type, ..) -> Type => answer(how);` where `how` is an `Option`: what to
///   return, or `None` to call the real function with the same arguments.
/// - `name(..) -> Type => patient(how);` the same, and in a slot the real function is
///   called again when a signal interrupted it, which on the client never happens to it.
/// - `name(..) -> Type => answer(how), then after(..);` the same, and `after` is called
///   with the result of either as its first argument.
/// - `name => handed(function);` counts and goes on in `function`, which sees every
///   register (but r11) and the stack as the caller left them.
/// - `name => gathered(function);` for `name(first, arg0, ..., NULL, ...)`: calls
///   `function(first, list)`, the list being all arguments after the first.
macro_rules! hooks {
    ($( $name:ident $(( $($args:tt)* ) -> $ret:ty)? => $kind:ident $(($($how:tt)*))? $(, then $after:ident ( $($rest:tt)* ))? ; )*) => {
        $( $crate::hook::hook!($name [$(( $($args)* ) -> $ret)?] $kind [$(($($how)*))?] [$($after ($($rest)*))?]); )*
    };
}

/// Makes one hook; see [`hooks`].
macro_rules! hook {
    ($name:ident [] through [] []) => {
        /// Stands in front of the libc function of this name.
        #[allow(non_snake_case)]
        #[cfg_attr(not(test), unsafe(no_mangle))]
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                "mov r11, [rip + {hits}]",
                "lock inc dword ptr [r11 + 4 * {row}]",
                "xor r9d, r9d",
                "mov r11, [rip + {real} + 8 * {row}]",
                "test r11, r11",
                "jz 2f",
                "jmp r11",
                "2:",
                "mov r11d, {row}",
                "jmp {find}",
                hits = sym $crate::hook::HITS,
                real = sym $crate::real::REAL,
                find = sym $crate::real::find_and_jump,
                row = const Row::$name as usize,
            );
        }
    };
    ($name:ident [] handed [($function:path)] []) => {
        /// Stands in front of the libc function of this name.
        #[allow(non_snake_case)]
        #[cfg_attr(not(test), unsafe(no_mangle))]
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                "mov r11, [rip + {hits}]",
                "lock inc dword ptr [r11 + 4 * {row}]",
                "jmp {function}",
                hits = sym $crate::hook::HITS,
                row = const Row::$name as usize,
                function = sym $function,
            );
        }
    };
    ($name:ident [] gathered [($function:path)] []) => {
        /// Stands in front of the libc function of this name.
        ///
        /// The return address is taken off the stack, and the register arguments are put
        /// there in its place: with those on the stack already they are one array.
        #[allow(non_snake_case)]
        #[cfg_attr(not(test), unsafe(no_mangle))]
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                "mov r11, [rip + {hits}]",
                "lock inc dword ptr [r11 + 4 * {row}]",
                "pop rax",
                "push r9",
                "push r8",
                "push rcx",
                "push rdx",
                "push rsi",
                "mov rsi, rsp",
                "push rax",
                "xor r9d, r9d",
                "call {function}",
                "pop rcx",
                "add rsp, 40",
                "push rcx",
                "ret",
                hits = sym $crate::hook::HITS,
                row = const Row::$name as usize,
                function = sym $function,
            );
        }
    };
    ($name:ident $signature:tt answer $how:tt $after:tt) => {
        $crate::hook::hook!(function $name $signature false $how $after);
    };
    ($name:ident $signature:tt patient $how:tt $after:tt) => {
        $crate::hook::hook!(function $name $signature true $how $after);
    };
    (function $name:ident [( $($arg:ident : $type:ty),* ) -> $ret:ty] $patient:literal [($answer:expr)] [$($after:ident ( $($rest:expr),* ))?]) => {
        /// Stands in front of the libc function of this name.
        ///
        /// # Safety
        /// As that function.
        #[allow(non_snake_case)]
        #[cfg_attr(not(test), unsafe(no_mangle))]
        pub(crate) unsafe extern "C" fn $name($($arg: $type),*) -> $ret {
            $crate::hook::hit(Row::$name as usize);
            // SAFETY: what the row hands on are the caller's own arguments.
            #[allow(unused_unsafe)]
            let answer: Option<$ret> = unsafe { $answer };
            let result = match answer {
                Some(result) => result,
                None => {
                    let real = $crate::real::real(Row::$name as usize);
                    // SAFETY: the row states the function's signature; a function that
                    // libc does not have answers to any.
                    let real: unsafe extern "C" fn($($type),*) -> $ret = unsafe { core::mem::transmute(real) };
                    let before = $crate::sys::errno();
                    loop {
                        // SAFETY: the arguments are the caller's own.
                        let result = unsafe { real($($arg),*) };
                        if !$patient || !$crate::hook::is_interrupted(result) {
                            break result;
                        }
                        $crate::sys::set_errno(before);
                    }
                }
            };
            $(
                // SAFETY: as above.
                #[allow(unused_unsafe)]
                unsafe { $after(result, $($rest),*) };
            )?
            result
        }
    };
}

pub(crate) use {hook, hooks};
