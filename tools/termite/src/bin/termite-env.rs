//! `termite-env [CMD ARGS...]`: a command with its jobs on the fleet.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    termite_tools::env::main()
}
