//! The guard's seccomp filter as a BPF program, made from the table of calls. Pure:
//! knows how to decide, not how to install or answer.
//!
//! Shape: one binary search over the call numbers for each architecture, which ends in a few
//! comparisons; behind it, once, what becomes of a call. It is short, since the kernel
//! translates it anew for each slot. Programs are written once; a slot's has its cookie put in.

use super::calls::{self, Arch, Effect, LAST, PathCall};
use libc::sock_filter;
use std::ops::Range;
use std::sync::LazyLock;
use termite_abi::ENTRY;

/// What a slot's filter depends on.
#[derive(Clone, Copy, Debug)]
pub struct FilterOptions {
    /// A path call whose sixth argument is this passes. Both halves not zero.
    pub cookie: u64,
    /// Reads of descriptor 0 and their like are stopped.
    pub input_on_demand: bool,
    /// Calls that go to another place in descriptor 0 are stopped.
    pub input_seeks: bool,
    /// The slot has the shim: [`ENTRY`] passes like the cookie, and a call of libc's by the
    /// name of [`PathCall::fstat`] has other flags than libc's `fstat`, so that this can be
    /// known by its own and passes.
    pub shim: bool,
    /// There is a guard to stop for; without one, calls are either let through or refused.
    pub stops: bool,
}

/// `AUDIT_ARCH_X86_64` of linux/audit.h.
pub const AUDIT_X86_64: u32 = 0xc000_003e;
/// `AUDIT_ARCH_I386` of linux/audit.h.
pub const AUDIT_I386: u32 = 0x4000_0003;

/// Upper halves of the addresses where the kernel maps libraries: up to 1 TiB below the
/// place for stacks, which are in the last 16 GiB (`arch/x86/mm/mmap.c`).
const LIBRARIES: Range<u32> = 0x7eff..0x7ffb;

// Offsets in struct seccomp_data of linux/seccomp.h.
const NR: u32 = 0;
const ARCH: u32 = 4;
const fn low(arg: u8) -> u32 {
    16 + 8 * arg as u32
}
const fn high(arg: u8) -> u32 {
    low(arg) + 4
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
/// How far a conditional jump reaches, in steps that it passes over.
const REACH: usize = u8::MAX as usize;
/// Comparisons in a row that a search ends in, at most.
const ROW: usize = 2;

/// What becomes of a call number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum FilterAction {
    Allow,
    Errno(i32),
    /// Stopped, unless its sixth argument is the cookie.
    StopOrCookie,
    /// The same, but libc's `fstat` passes, too.
    StopOrCookieOrFstat,
    Stop,
    /// Stopped if this argument is not null.
    StopGiven(u8),
    /// Stopped if arguments have certain values.
    StopWhen(&'static [(u8, &'static [u32])]),
    /// Stopped if argument 1 is a lock, or if arguments have certain values, of which there
    /// may be none.
    StopLockOrWhen(&'static [u32], &'static [(u8, &'static [u32])]),
}

/// Numbers in a row that share an action.
#[derive(Debug)]
struct Run {
    numbers: Range<u32>,
    action: FilterAction,
}

/// A program whose cookie is still to be put in.
struct Template {
    steps: Vec<sock_filter>,
    /// The steps that compare with the upper and the lower half of the cookie.
    cookie: Option<[usize; 2]>,
}

/// The templates of all options, in the order of their numbers.
static TEMPLATES: LazyLock<Vec<Template>> = LazyLock::new(|| {
    (0..FilterOptions::COUNT)
        .map(|number| Template::of(FilterOptions::numbered(number)))
        .collect()
});

/// Writes all templates, for the processes that are forked from this one.
pub fn prepare() {
    LazyLock::force(&TEMPLATES);
}

/// The filter of a slot.
pub fn program(options: FilterOptions) -> Vec<sock_filter> {
    let template = &TEMPLATES[options.number()];
    let mut steps = template.steps.clone();
    if let Some([upper, lower]) = template.cookie {
        steps[upper].k = (options.cookie >> 32) as u32;
        steps[lower].k = options.cookie as u32;
    }
    steps
}

impl FilterOptions {
    /// How many there are, whatever the cookie.
    const COUNT: usize = 1 << 4;

    fn number(&self) -> usize {
        let bits = [self.input_on_demand, self.input_seeks, self.shim, self.stops];
        bits.into_iter().rfold(0, |number, bit| number << 1 | usize::from(bit))
    }

    fn numbered(number: usize) -> Self {
        let bit = |at: usize| number >> at & 1 == 1;
        Self {
            cookie: 0,
            input_on_demand: bit(0),
            input_seeks: bit(1),
            shim: bit(2),
            stops: bit(3),
        }
    }
}

impl Template {
    fn of(options: FilterOptions) -> Self {
        let mut code = Backwards::new(options);
        let unknown = code.action(FilterAction::Errno(libc::ENOSYS));
        let i386 = code.call_of(Arch::I386);
        let other = code.branch(IF_EQUAL, AUDIT_I386, i386, unknown);
        let x86_64 = code.call_of(Arch::X86_64);
        let begin = code.branch(IF_EQUAL, AUDIT_X86_64, x86_64, other);
        code.load(ARCH, begin);
        code.steps.reverse();
        let last = code.steps.len() - 1;
        Self {
            steps: code.steps,
            cookie: code.cookie.map(|places| places.map(|place| last - place.0)),
        }
    }
}

fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number as u32
}

/// The actions of all numbers. x32 numbers have bit 30 set and so lie beyond the last.
fn runs(arch: Arch, options: FilterOptions) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for nr in 0..=LAST {
        let action = calls::lookup(arch, nr).map_or(FilterAction::Allow, |call| action(call, arch, options));
        match runs.last_mut() {
            Some(last) if last.action == action => last.numbers.end = nr + 1,
            _ => runs.push(Run {
                numbers: nr..nr + 1,
                action,
            }),
        }
    }
    runs.push(Run {
        numbers: LAST + 1..u32::MAX,
        action: FilterAction::Errno(libc::ENOSYS),
    });
    runs
}

fn action(call: &PathCall, arch: Arch, options: FilterOptions) -> FilterAction {
    if let Some(arg) = call.given.filter(|_| options.stops) {
        return FilterAction::StopGiven(arg);
    }
    match call.effect {
        // No cookie lets it pass.
        Effect::Refused(libc::EPERM) if options.stops => FilterAction::Stop,
        Effect::Refused(number) => FilterAction::Errno(number),
        _ if !options.stops => FilterAction::Allow,
        _ if !call.locks.is_empty() => {
            FilterAction::StopLockOrWhen(call.locks, if options.input_on_demand { call.when } else { &[] })
        }
        Effect::Poll(..) if !options.input_on_demand => FilterAction::StopWhen(&[(1, &[0])]),
        Effect::Select { block: false, .. } if !options.input_on_demand => FilterAction::StopWhen(&[(0, &[0])]),
        Effect::Seek if !options.input_seeks => FilterAction::Allow,
        Effect::Input(_) | Effect::Select { .. } if !options.input_on_demand => FilterAction::Allow,
        _ if !call.when.is_empty() => FilterAction::StopWhen(call.when),
        Effect::Poll(..) | Effect::Select { .. } => FilterAction::Stop,
        _ if call.fstat && options.shim && arch == Arch::X86_64 => FilterAction::StopOrCookieOrFstat,
        // The shim is a 64-bit library; and 32-bit arguments never match both halves.
        _ if call.cookie && arch == Arch::X86_64 => FilterAction::StopOrCookie,
        _ => FilterAction::Stop,
    }
}

/// A program that is written from its end, so that what a step leads to is there already.
struct Backwards {
    options: FilterOptions,
    steps: Vec<sock_filter>,
    /// The nearest place for each action that is known so far.
    actions: Vec<(FilterAction, StepIndex)>,
    /// The steps that compare with the halves of the cookie, once they are written.
    cookie: Option<[StepIndex; 2]>,
}

/// A step, by the number of those behind it.
#[derive(Clone, Copy, Debug)]
struct StepIndex(usize);

impl Backwards {
    fn new(options: FilterOptions) -> Self {
        Self {
            options,
            steps: Vec::new(),
            actions: Vec::new(),
            cookie: None,
        }
    }

    fn push(&mut self, code: u16, k: u32, [jt, jf]: [u8; 2]) -> StepIndex {
        self.steps.push(sock_filter { code, jt, jf, k });
        StepIndex(self.steps.len() - 1)
    }

    /// What the next step to be written has to pass over to get to `place`.
    fn distance(&self, place: StepIndex) -> usize {
        self.steps.len() - 1 - place.0
    }

    /// Loads a word, and goes on at `next`.
    fn load(&mut self, word: u32, next: StepIndex) -> StepIndex {
        self.near(next, 0);
        self.push(LOAD, word, [0, 0])
    }

    /// Goes on at `yes` if the condition holds, else at `no`.
    fn branch(&mut self, condition: u16, k: u32, yes: StepIndex, no: StepIndex) -> StepIndex {
        // What brings the second near may put a step before the first.
        let yes = self.near(yes, REACH - 1);
        let no = self.near(no, REACH);
        let [jt, jf] = [yes, no].map(|place| self.distance(place) as u8);
        self.push(condition, k, [jt, jf])
    }

    /// `place`, or a jump to it that the next step reaches.
    fn near(&mut self, place: StepIndex, reach: usize) -> StepIndex {
        match self.distance(place) {
            distance if distance > reach => self.push(JUMP, distance as u32, [0, 0]),
            _ => place,
        }
    }

    /// Decides by the number of a call.
    fn call_of(&mut self, arch: Arch) -> StepIndex {
        let by_number = self.search(&runs(arch, self.options));
        self.load(NR, by_number)
    }

    /// Finds the action of the number that is loaded, which is one of these.
    fn search(&mut self, runs: &[Run]) -> StepIndex {
        if let Some(usual) = usual(runs) {
            let others = runs.iter().filter(|run| run.action != usual);
            return others.fold(self.action(usual), |next, run| {
                let other = self.action(run.action);
                let test = |next, nr| self.branch(IF_EQUAL, nr, other, next);
                run.numbers.clone().fold(next, test)
            });
        }
        let (left, right) = runs.split_at(runs.len() / 2);
        let from = right[0].numbers.start;
        let right = self.search(right);
        let left = self.search(left);
        self.branch(IF_AT_LEAST, from, right, left)
    }

    fn action(&mut self, action: FilterAction) -> StepIndex {
        if let Some(at) = self.actions.iter().position(|&(known, _)| known == action) {
            // One jump brings it near for all that lead to it from here on, not each its own.
            let place = self.near(self.actions[at].1, REACH - 2);
            self.actions[at].1 = place;
            return place;
        }
        let place = match action {
            FilterAction::Allow => self.push(RETURN, libc::SECCOMP_RET_ALLOW, [0, 0]),
            FilterAction::Errno(number) => self.push(RETURN, errno(number), [0, 0]),
            FilterAction::Stop => self.push(RETURN, libc::SECCOMP_RET_USER_NOTIF, [0, 0]),
            FilterAction::StopGiven(arg) => self.stop_given(arg),
            FilterAction::StopWhen(conditions) => {
                let allow = self.action(FilterAction::Allow);
                self.stop_when(conditions, allow)
            }
            FilterAction::StopLockOrWhen(locks, conditions) => self.stop_lock_or_when(locks, conditions),
            FilterAction::StopOrCookie => self.stop_or_cookie(),
            FilterAction::StopOrCookieOrFstat => self.stop_or_cookie_or_fstat(),
        };
        self.actions.push((action, place));
        place
    }

    fn stop_given(&mut self, arg: u8) -> StepIndex {
        let (allow, stop) = (self.action(FilterAction::Allow), self.action(FilterAction::Stop));
        let upper = self.branch(IF_EQUAL, 0, allow, stop);
        let upper = self.load(high(arg), upper);
        let lower = self.branch(IF_EQUAL, 0, upper, stop);
        self.load(low(arg), lower)
    }

    fn stop_when(&mut self, conditions: &[(u8, &[u32])], otherwise: StepIndex) -> StepIndex {
        conditions
            .iter()
            .rfold(self.action(FilterAction::Stop), |met, (arg, values)| {
                let test = |next, value: &u32| self.branch(IF_EQUAL, *value, met, next);
                let any = values.iter().rfold(otherwise, test);
                self.load(low(*arg), any)
            })
    }

    fn stop_lock_or_when(&mut self, locks: &'static [u32], conditions: &[(u8, &[u32])]) -> StepIndex {
        let allow = self.action(FilterAction::Allow);
        let no_lock = match conditions {
            [] => allow,
            conditions => self.stop_when(conditions, allow),
        };
        self.stop_when(&[(1, locks)], no_lock)
    }

    /// Compares both halves of the sixth argument with those that pass.
    fn stop_or_cookie(&mut self) -> StepIndex {
        let (allow, stop) = (self.action(FilterAction::Allow), self.action(FilterAction::Stop));
        let entry = Some(ENTRY).filter(|_| self.options.shim);
        let passing = [entry, Some(self.options.cookie)].into_iter().flatten();
        passing.fold(stop, |next, value| {
            let upper = self.branch(IF_EQUAL, (value >> 32) as u32, allow, next);
            let loaded = self.load(high(5), upper);
            let lower = self.branch(IF_EQUAL, value as u32, loaded, next);
            // The cookie comes last.
            self.cookie = Some([upper, lower]);
            self.load(low(5), lower)
        })
    }

    /// libc's empty path lies among its constants. Those of a static program, and paths on
    /// a stack or in a heap that grows by `brk`, lie outside of where libraries are.
    fn stop_or_cookie_or_fstat(&mut self) -> StepIndex {
        let (allow, other) = (
            self.action(FilterAction::Allow),
            self.action(FilterAction::StopOrCookie),
        );
        let below = self.branch(IF_AT_LEAST, LIBRARIES.end, other, allow);
        let library = self.branch(IF_AT_LEAST, LIBRARIES.start, below, other);
        let library = self.load(high(1), library);
        let empty = self.branch(IF_EQUAL, libc::AT_EMPTY_PATH as u32, library, other);
        self.load(low(3), empty)
    }
}

/// The action of most of these numbers, if it is no longer to compare with the others than to
/// split the runs.
fn usual(runs: &[Run]) -> Option<FilterAction> {
    // Neighbours differ, and so every second one has another action at least.
    if runs.len() > 2 * ROW + 1 {
        return None;
    }
    let others = |usual: FilterAction| {
        let others = runs.iter().filter(|run| run.action != usual);
        others.map(|run| run.numbers.len()).sum::<usize>()
    };
    let usual = runs.iter().map(|run| run.action).min_by_key(|&action| others(action))?;
    Some(usual).filter(|&usual| others(usual) < runs.len().min(ROW + 1))
}

#[cfg(test)]
mod tests;
