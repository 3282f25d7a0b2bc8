//! The binary, with every role and every command.

use std::process::ExitCode;

/// glibc's allocator takes about a tenth of a busy pipeline's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    carteiro::cli::main(std::env::args_os(), std::env::vars())
}
