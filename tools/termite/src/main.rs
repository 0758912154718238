//! `termite`, and every compiler name that is a link to it.

#![forbid(unsafe_code)]

/// A job's trace is some hundred small strings that come and go together; the C library's
/// allocator is slow with them and gives their memory back each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    termite_tools::cli::main()
}
