//! `termite`, and every compiler name that is a link to it.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    termite_tools::cli::main()
}
