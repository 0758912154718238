//! The filter's program, run by a small interpreter over every call of both architectures.

use super::*;

const COOKIE: u64 = 0x8765_4321_0fed_cba9;

/// `struct seccomp_data`.
struct Call {
    nr: u32,
    arch: u32,
    args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.nr,
            4 => self.arch,
            16..64 if offset.is_multiple_of(4) => {
                let arg = self.args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) {
                    arg as u32
                } else {
                    (arg >> 32) as u32
                }
            }
            _ => panic!("load at {offset}"),
        }
    }
}

/// The program's verdict.
fn run(program: &[sock_filter], call: &Call) -> u32 {
    walk(program, call).0
}

/// The verdict, and after how many steps. It ends, because jumps lead forward only.
fn walk(program: &[sock_filter], call: &Call) -> (u32, u32) {
    let (mut at, mut accumulator, mut steps) = (0, 0, 0);
    loop {
        let step = &program[at];
        at += 1;
        steps += 1;
        match step.code {
            LOAD => accumulator = call.word(step.k),
            JUMP => at += step.k as usize,
            IF_EQUAL => at += usize::from(if accumulator == step.k { step.jt } else { step.jf }),
            IF_AT_LEAST => at += usize::from(if accumulator >= step.k { step.jt } else { step.jf }),
            RETURN => return (step.k, steps),
            code => panic!("code {code}"),
        }
    }
}

/// What the table says, written down another way than the filter has it.
fn expected(arch: Arch, call: &Call, options: FilterOptions) -> u32 {
    if call.nr > LAST {
        return errno(libc::ENOSYS);
    }
    let Some(row) = calls::lookup(arch, call.nr) else {
        return libc::SECCOMP_RET_ALLOW;
    };
    if let Effect::Refused(number) = row.effect {
        return match number {
            libc::EPERM if options.stops => libc::SECCOMP_RET_USER_NOTIF,
            number => errno(number),
        };
    }
    if !options.stops {
        return libc::SECCOMP_RET_ALLOW;
    }
    if row.locks.contains(&(call.args[1] as u32)) {
        return libc::SECCOMP_RET_USER_NOTIF;
    }
    let sleeps = match row.effect {
        Effect::Poll(_, count)
        | Effect::Select {
            count, block: false, ..
        } => call.args[usize::from(count)] as u32 == 0,
        _ => false,
    };
    if sleeps {
        return libc::SECCOMP_RET_USER_NOTIF;
    }
    let input = matches!(row.effect, Effect::Input(_) | Effect::Poll(..) | Effect::Select { .. });
    let unconcerned = row
        .when
        .iter()
        .any(|(arg, values)| !values.contains(&(call.args[usize::from(*arg)] as u32)));
    let unconcerned = unconcerned || row.given.is_some_and(|arg| call.args[usize::from(arg)] == 0);
    // What is stopped for some arguments alone never looks at the cookie.
    let may_pass = row.cookie && row.when.is_empty() && !input && arch == Arch::X86_64;
    let passes = call.args[5] == options.cookie || options.shim && call.args[5] == ENTRY;
    let cookie = may_pass && passes;
    let among_libraries = (0x7eff << 32..0x7ffb << 32).contains(&call.args[1]);
    let fstat = row.name == "newfstatat"
        && arch == Arch::X86_64
        && options.shim
        && call.args[3] as i32 == libc::AT_EMPTY_PATH
        && among_libraries;
    let only_locks = row.effect == Effect::Lock;
    let seek = row.effect == Effect::Seek && !options.input_seeks;
    if unconcerned || only_locks || fstat || cookie || seek || (input && !options.input_on_demand) {
        libc::SECCOMP_RET_ALLOW
    } else {
        libc::SECCOMP_RET_USER_NOTIF
    }
}

fn arguments() -> Vec<[u64; 6]> {
    let mut all = Vec::new();
    for sixth in [
        0,
        COOKIE,
        COOKIE & 0xffff_ffff,
        COOKIE & !0xffff_ffff,
        COOKIE ^ 1,
        COOKIE ^ (1 << 63),
        ENTRY,
        ENTRY ^ 1,
        ENTRY ^ (1 << 63),
        COOKIE & 0xffff_ffff | ENTRY & !0xffff_ffff,
        u64::MAX,
    ] {
        for first in [0, 1, 2, 3, 4, 5] {
            for second in [
                0,
                1,
                6,
                7,
                8,
                38,
                1030,
                u64::from(libc::FIONREAD as u32),
                u64::from(libc::TCGETS as u32),
            ] {
                // The upper half of a descriptor or a command does not count.
                all.push([first, second, 0, 0, 0, sixth]);
                all.push([first | (7 << 32), second | (1 << 32), 1, 0, 0, sixth]);
                // A pointer is null only as a whole.
                all.push([first, second, 0, 0, 1 << 32, sixth]);
                all.push([first, second, 0, 0, 0x1000, sixth]);
            }
            // `AT_EMPTY_PATH`, alone and not, with the path here and there.
            for path in [0, 0x55aa, 0x7efe, 0x7eff, 0x7f12, 0x7ffa, 0x7ffb, 0x7fff, 0xffff] {
                for flags in [0, 0x1000, 0x1800, 0x3000] {
                    all.push([first, path << 32 | 0x1000, 1, flags, 0, sixth]);
                }
            }
        }
    }
    all
}

#[test]
fn every_call_meets_the_fate_that_the_table_says() {
    let arguments = arguments();
    for (input_on_demand, shim, stops) in [
        (false, false, true),
        (false, true, true),
        (true, true, true),
        (true, false, false),
    ] {
        let options = FilterOptions {
            cookie: COOKIE,
            input_on_demand,
            input_seeks: input_on_demand && stops,
            shim,
            stops,
        };
        let program = program(options);
        assert!(program.len() < 4096, "BPF_MAXINSNS");
        for (audit, arch) in [(AUDIT_X86_64, Arch::X86_64), (AUDIT_I386, Arch::I386)] {
            let beyond = [LAST + 1, 512, 548, 1 << 20, u32::MAX];
            let x32 = (0..=LAST).map(|nr| nr | 0x4000_0000);
            for nr in (0..=LAST).chain(beyond).chain(x32) {
                for &args in &arguments {
                    let call = Call { nr, arch: audit, args };
                    let (got, want) = (run(&program, &call), expected(arch, &call, options));
                    assert_eq!(got, want, "{arch:?} {nr} {args:x?} {options:?}");
                }
            }
        }
    }
}

#[test]
fn other_architectures_have_no_calls() {
    let program = program(FilterOptions {
        cookie: COOKIE,
        input_on_demand: false,
        input_seeks: false,
        shim: false,
        stops: false,
    });
    for arch in [0, 0xc000_00b7, u32::MAX] {
        for nr in 0..=LAST {
            assert_eq!(run(&program, &Call { nr, arch, args: [0; 6] }), errno(libc::ENOSYS));
        }
    }
}

#[test]
fn the_search_is_short() {
    let program = program(FilterOptions {
        cookie: COOKIE,
        input_on_demand: true,
        input_seeks: true,
        shim: true,
        stops: true,
    });
    let steps = |nr| {
        walk(
            &program,
            &Call {
                nr,
                arch: AUDIT_X86_64,
                args: [0; 6],
            },
        )
        .1
    };
    assert!((0..=LAST).map(steps).max().is_some_and(|steps| steps < 32));
}
