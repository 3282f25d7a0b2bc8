//! The documents' commands, run as they stand, in a network namespace where the ports that they name are free.

use std::{path::Path, process::Command};

#[test]
fn every_command_block_of_the_readme_and_of_the_operations_runs_as_it_stands() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut walk = Command::new(tests.join("loopback-only"));
    walk.arg("--").arg(tests.join("walk")).arg(env!("CARGO_BIN_EXE_carteiro"));
    assert!(walk.status().expect("tests/loopback-only runs").success(), "see above for the command that failed");
}
