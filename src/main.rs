//! The one binary: every role and every command. It only parses, runs and ends with the right code.

use std::process::ExitCode;

fn main() -> ExitCode {
    carteiro::cli::main(std::env::args_os(), std::env::vars())
}
