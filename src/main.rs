//! The binary, with every role and every command.

use std::process::ExitCode;

fn main() -> ExitCode {
    carteiro::cli::main(std::env::args_os(), std::env::vars())
}
