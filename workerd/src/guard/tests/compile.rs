//! Compilers in a root that holds nothing of their machine, against the same compilers
//! run here.

use super::bench::{update, with_client};
use super::repeat::repeat;
use crate::slot::SlotStatus;
use crate::slot::tests::bed::this;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const HELLO: &str = "#include <stdio.h>\n#include \"hello.h\"\nint main(void) { puts(GREETING); return 0; }\n";

/// Runs a compiler here.
fn gcc(dir: &Path, args: &[&str]) {
    let status = Command::new("gcc").args(args).current_dir(dir).status().unwrap();
    assert!(status.success(), "{args:?}");
}

#[test]
fn a_compile_leaves_its_object_and_nothing_else() {
    with_client(this!(a_compile_leaves_its_object_and_nothing_else), |bench| {
        let work = tempfile::tempdir().unwrap();
        let at = |name: &str| work.path().join(name);
        std::fs::write(at("hello.c"), HELLO).unwrap();
        std::fs::write(at("hello.h"), "#define GREETING \"hello\"\n").unwrap();
        let begun = Instant::now();
        gcc(work.path(), &["-O2", "-c", "hello.c", "-o", "local.o"]);
        println!("here: {:?}", begun.elapsed());

        let mirror = bench.mirror();
        let argv = ["gcc", "-O2", "-c", "hello.c", "-o", "hello.o"];
        for round in ["cold", "warm"] {
            let ran = bench.run(&mirror, bench.command(work.path(), Path::new("/bin/true"), &["true"]));
            println!("nothing, {round}: {:?}, {} faults", ran.wall, ran.faults);
        }
        for round in ["cold", "warm", "warm"] {
            let ran = bench.run(&mirror, bench.command(work.path(), Path::new("/usr/bin/gcc"), &argv));
            assert_eq!(
                (ran.end.status, ran.output.as_str()),
                (SlotStatus::Exited(0), ""),
                "{:?}",
                ran.events.abandoned
            );
            let (dir, object) = (work.path().display(), at("hello.o"));
            assert_eq!(ran.changes(), [format!("a {dir}"), format!("f {}", object.display())]);
            assert_eq!(ran.content(&at("hello.o")), std::fs::read(at("local.o")).unwrap());
            println!(
                "{round}: {:?}, {} faults, {} fetches",
                ran.wall, ran.faults, ran.fetches
            );
        }
    });
}

#[test]
fn a_library_and_a_program_are_built_as_here() {
    with_client(this!(a_library_and_a_program_are_built_as_here), |bench| {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let build = "set -e; mkdir -p obj; for n in 1 2 3; do gcc -O1 -Iinc -c src/f$n.c -o obj/f$n.o; done
            ar rcD libf.a obj/*.o; gcc -O1 -Iinc src/main.c -L. -lf -o main -Wl,--build-id=none; ./main; rm -r obj/f3.o";
        for dir in [&here, &there] {
            for sub in ["src", "inc"] {
                std::fs::create_dir(dir.path().join(sub)).unwrap();
            }
            let source = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
            source("inc/f.h", "int f1(void); int f2(void); int f3(void);\n");
            (1..4).for_each(|n| {
                source(
                    &format!("src/f{n}.c"),
                    &format!("#include \"f.h\"\nint f{n}(void) {{ return {n}; }}\n"),
                )
            });
            source(
                "src/main.c",
                "#include <stdio.h>\n#include \"f.h\"\nint main(void) { return printf(\"%d\\n\", f1() + f2() + f3()) != 2; }\n",
            );
        }
        let output = Command::new("sh")
            .args(["-c", build])
            .current_dir(here.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let mirror = bench.mirror();
        let ran = bench.run(&mirror, bench.script(there.path(), build));
        assert_eq!((ran.end.status, ran.output.as_str()), (SlotStatus::Exited(0), "6\n"));
        repeat(&ran);
        assert_eq!(
            super::repeat::snapshot(there.path()),
            super::repeat::snapshot(here.path())
        );

        let updates: Vec<_> = ran.harvest.changes.iter().map(|change| update(&change.path)).collect();
        mirror.merge(&ran.harvest.outputs, &updates).unwrap();
        let again = bench.run(
            &mirror,
            bench.script(there.path(), "gcc src/main.c -Iinc libf.a -o main && ./main && ls"),
        );
        assert_eq!(again.output, "6\ninc\nlibf.a\nmain\nobj\nsrc\n");
    });
}

/// A C program that is built here and run in a slot.
fn run_c(bench: &super::bench::Bench, source: &str) -> super::bench::Ran {
    let work = tempfile::tempdir().unwrap();
    std::fs::write(work.path().join("p.c"), source).unwrap();
    gcc(work.path(), &["-O2", "-o", "p", "p.c"]);
    std::fs::create_dir(work.path().join("sub")).unwrap();
    std::fs::write(work.path().join("sub/file"), "content").unwrap();
    let program: PathBuf = work.path().join("p");
    bench.run(&bench.mirror(), bench.command(work.path(), &program, &["p"]))
}

#[test]
fn calls_of_the_other_class_are_served_too() {
    with_client(this!(calls_of_the_other_class_are_served_too), |bench| {
        let ran = run_c(
            bench,
            r#"
            #include <stdio.h>
            #include <string.h>
            #include <sys/mman.h>
            static long call80(long nr, long a, long b, long c) {
                long result;
                __asm__ volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
                return result;
            }
            int main(void) {
                char *low = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
                strcpy(low, "sub/file");
                long fd = call80(5, (long)low, 0, 0);
                memset(low, 0, 4096);
                long len = call80(3, fd, (long)low, 100);
                printf("%ld %s\n", len, low);
                return 0;
            }"#,
        );
        if ran.end.status != SlotStatus::Signaled(libc::SIGSEGV as u8) {
            assert_eq!(ran.output, "7 content\n");
        }
    });
}

#[test]
fn paths_at_the_edge_of_memory_are_read_and_bad_ones_left_to_the_kernel() {
    with_client(
        this!(paths_at_the_edge_of_memory_are_read_and_bad_ones_left_to_the_kernel),
        |bench| {
            let ran = run_c(
                bench,
                r#"
            #define _GNU_SOURCE
            #include <errno.h>
            #include <fcntl.h>
            #include <stdio.h>
            #include <string.h>
            #include <sys/mman.h>
            #include <sys/stat.h>
            #include <unistd.h>
            #include <sys/syscall.h>
            static int err(long result) { return result < 0 ? errno : 0; }
            int main(void) {
                char *pages = mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                munmap(pages + 2 * 4096, 4096);
                strcpy(pages + 4096 - 4, "sub/file");
                struct stat st;
                printf("%d", err(stat(pages + 4096 - 4, &st)));
                strcpy(pages + 2 * 4096 - 9, "sub/file");
                printf(" %d", err(stat(pages + 2 * 4096 - 9, &st)));
                memset(pages + 2 * 4096 - 9, 'x', 9);
                printf(" %d %d", err(stat(pages + 2 * 4096 - 9, &st)) == EFAULT, err(stat((char *)8, &st)) == EFAULT);
                memset(pages, 'x', 2 * 4096);
                pages[5000] = 0;
                printf(" %d", err(stat(pages, &st)) == ENAMETOOLONG);
                printf(" %d", err(stat("", &st)) == ENOENT);
                int dir = open("sub", O_PATH | O_DIRECTORY);
                printf(" %d %ld", err(fstatat(dir, "file", &st, 0)), (long)st.st_size);
                int file = openat(dir, "file", O_PATH);
                printf(" %d", err(fstatat(file, "", &st, AT_EMPTY_PATH)));
                char text[16] = "";
                char name[32];
                sprintf(name, "/proc/self/fd/%d", file);
                int again = open(name, O_RDONLY);
                printf(" %zd %s", read(again, text, sizeof text), text);
                printf(" %d", err(openat(file, "x", O_RDONLY)) == ENOTDIR);
                printf(" %d", err(openat(99, "x", O_RDONLY)) == EBADF);
                mkdir("away", 0755);
                chdir("away");
                rmdir("../away");
                printf(" %d", err(open("x", O_RDONLY)) == ENOENT);
                printf(" %d\n", err(open("../sub/file", O_RDONLY)));
                return 0;
            }"#,
            );
            assert_eq!(ran.output, "0 0 1 1 1 1 0 7 0 7 content 1 1 1 0\n");
        },
    );
}

#[test]
fn what_a_stopped_call_costs() {
    with_client(this!(what_a_stopped_call_costs), |bench| {
        let ran = run_c(
            bench,
            r#"
            #include <stdio.h>
            #include <sys/stat.h>
            #include <fcntl.h>
            #include <unistd.h>
            #include <time.h>
            static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e6 + t.tv_nsec / 1e3; }
            int main(void) {
                struct stat st;
                const char *names[] = { "sub/missing", "sub/file", "/usr/include/stdio.h", "/usr/lib/gcc/x86_64-linux-gnu/../../../include/none" };
                for (int which = 0; which < 4; which++) {
                    double begun = now();
                    for (int n = 0; n < 5000; n++) stat(names[which], &st);
                    printf("stat %s: %.1f us\n", names[which], (now() - begun) / 5000);
                }
                double begun = now();
                for (int n = 0; n < 5000; n++) close(open("sub/file", O_RDONLY));
                printf("open and close: %.1f us\n", (now() - begun) / 5000);
                return 0;
            }"#,
        );
        assert_eq!(ran.end.status, SlotStatus::Exited(0));
        assert!(ran.faults > 25_000, "{}", ran.faults);
        print!("{}", ran.output);
    });
}
