//! Counts and prints results, and knows which ones were asked for. Unaware of what is tested.

use std::time::Instant;

/// What the command line and the environment ask for.
#[derive(Debug)]
pub struct Tally {
    filters: Vec<String>,
    passed: usize,
    failed: Vec<String>,
}

impl Tally {
    /// From the arguments of the test program: words that a test's name must contain,
    /// any one of them. Options of libtest are ignored.
    pub fn from_args(args: impl Iterator<Item = String>) -> Self {
        let filters = args.filter(|arg| !arg.starts_with('-')).collect();
        Tally {
            filters,
            passed: 0,
            failed: Vec::new(),
        }
    }

    /// Whether the test of this name is to be run.
    pub fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|word| name.contains(word))
    }

    /// Whether every test is to be run.
    pub fn wants_all(&self) -> bool {
        self.filters.is_empty()
    }

    /// Runs one test if it is wanted, and prints how it ended.
    pub fn run(&mut self, name: &str, test: impl FnOnce() -> anyhow::Result<()>) {
        if self.wants(name) {
            self.always(name, test);
        }
    }

    /// Runs one test that others stand on, and prints how it ended.
    pub fn always(&mut self, name: &str, test: impl FnOnce() -> anyhow::Result<()>) {
        let start = Instant::now();
        let end = test();
        let took = start.elapsed().as_millis();
        match end {
            Ok(()) => {
                self.passed += 1;
                println!("test {name} ... ok ({took} ms)");
            }
            Err(why) => {
                println!("test {name} ... FAILED ({took} ms)");
                for line in format!("{why:#}").lines() {
                    println!("    {line}");
                }
                self.failed.push(name.to_owned());
            }
        }
    }

    /// Prints the failures' names and the counts; whether all passed.
    pub fn finish(self) -> bool {
        for name in &self.failed {
            println!("failed: {name}");
        }
        println!("{} passed, {} failed", self.passed, self.failed.len());
        self.failed.is_empty()
    }
}
