//! Scripts of the tests that install tools and run them. What one of them lacks makes its test fail.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

/// A script below `tests/`, with the folder into which it installs.
pub(crate) fn script(name: &str) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name));
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// The folder below `target/` into which scripts install.
pub(crate) fn installed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Runs a script to its end, and panics with what it said unless it succeeded. An installation may take minutes.
pub(crate) async fn succeeds(mut command: Command) -> String {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().await.expect("the script runs");
    let [said, complained] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{:?} failed:\n{said}\n{complained}", command.as_std().get_program());
    said
}
