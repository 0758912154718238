//! Tests that all add to the same counters of gcov: several programs are linked with the
//! same instrumented objects, and each process locks, reads and rewrites their `.gcda`
//! files as it ends. The counts are those of the same tests run one after another.

use crate::{storm, with_fleet};
use anyhow::{Result, ensure};
use std::fs;
use std::path::Path;
use termite_e2e::project::write_all;
use termite_e2e::{Client, Way};

/// Programs, each with a `main` of its own.
const PROGRAMS: usize = 5;
const TESTS: usize = 50;
/// Objects that are in each program.
const SHARED: [&str; 3] = ["sort", "prime", "text"];

const SORT_C: &str = "void sort(int *at, int count)
{
	for (int i = 1; i < count; i++)
		for (int j = i; j > 0 && at[j - 1] > at[j]; j--) {
			int held = at[j];
			at[j] = at[j - 1];
			at[j - 1] = held;
		}
}
";
const PRIME_C: &str = "int prime(int n)
{
	for (int d = 2; d * d <= n; d++)
		if (n % d == 0)
			return 0;
	return n > 1;
}
";
const TEXT_C: &str = "int digits(int n)
{
	return n < 10 ? 1 : 1 + digits(n / 10);
}
";

#[test]
fn counts_are_those_of_a_serial_run() -> Result<()> {
    with_fleet(|scene, client| {
        let dir = scene.dir("p/storm")?;
        lay_out(&dir)?;
        client.bare(&dir, "make").arg("check").run()?.success()?;
        let expected = counts(client, &dir)?;
        let all = format!("function prime called {TESTS} returned");
        ensure!(expected.contains(&all), "not every test has run prime:\n{expected}");

        fs::remove_dir_all(&dir)?;
        lay_out(&dir)?;
        scene.give(&dir)?;
        let make = client.drive(Way::Env, &dir, "make").args(["-j8", "check"]);
        storm("coverage", client, &dir, make)?;
        let found = counts(client, &dir)?;
        ensure!(found == expected, "expected\n{expected}\nfound\n{found}");
        Ok(())
    })
}

fn lay_out(dir: &Path) -> Result<()> {
    let mut files: Vec<_> = SHARED
        .iter()
        .zip([SORT_C, PRIME_C, TEXT_C])
        .map(|(name, text)| (format!("{name}.c"), text.to_owned()))
        .collect();
    for program in 0..PROGRAMS {
        files.push((format!("main{program}.c"), main_c(program)));
    }
    files.push(("Makefile".to_owned(), rules()));
    write_all(dir, &files)
}

/// A program that does a different amount of work for each argument.
fn main_c(program: usize) -> String {
    format!(
        "#include <stdlib.h>
void sort(int *at, int count);
int prime(int n);
int digits(int n);
int main(int argc, char **argv)
{{
	int n = argc > 1 ? atoi(argv[1]) : 0, at[64] = {{ 0 }};
	for (int i = 0; i < n; i++)
		at[i] = (i * 37 + {program}) % 41;
	sort(at, n);
	return prime(n) + digits(n * {program}) < 0;
}}
"
    )
}

/// Rules that link each program with the shared objects and run each test as one job.
fn rules() -> String {
    let tests: Vec<_> = (0..TESTS).map(|number| format!("test{number}")).collect();
    let shared: Vec<_> = SHARED.iter().map(|name| format!("{name}.o")).collect();
    let mut text = format!("check: {}\n.PHONY: check {0}\n", tests.join(" "));
    for (number, test) in tests.iter().enumerate() {
        let program = format!("program{}", number % PROGRAMS);
        text += &format!("{test}: {program}\n\t@./{program} {number}\n");
    }
    text += &format!("program%: main%.o {}\n\tgcc --coverage -o $@ $^\n", shared.join(" "));
    text += "%.o: %.c\n\tgcc --coverage -c -o $@ $<\n.SECONDARY:\n";
    text
}

/// What gcov tells of each line and branch of all sources.
fn counts(client: &Client, dir: &Path) -> Result<String> {
    let mut objects: Vec<_> = SHARED.iter().map(|name| (*name).to_owned()).collect();
    objects.extend((0..PROGRAMS).map(|program| format!("main{program}")));
    let gcov = client.bare(dir, "gcov").args(["-t", "-b", "-c"]).args(objects);
    Ok(gcov.run()?.success()?.out())
}
