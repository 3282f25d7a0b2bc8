//! Scripts of the tests that install tools and run them. What one of them lacks makes its test fail.

use std::{
    env,
    ffi::OsString,
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

/// Variable of the environment that is set where a test runs again.
const INSIDE: &str = "CARTEIRO_TEST_INSIDE";

/// Runs a test of this binary again where a script below `tests/` has made a place for it, such as a namespace, and there
/// runs what is `inside`. `arguments` are the script's own.
pub(crate) fn in_its_own_place<A: Into<OsString>>(
    script: &str,
    arguments: impl IntoIterator<Item = A>,
    test: &str,
    inside: impl Future<Output = ()>,
) {
    if env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        return runtime.block_on(inside);
    }
    let status = std::process::Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script))
        .args(arguments.into_iter().map(Into::into))
        .arg(env::current_exe().expect("this binary"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("the script runs");
    assert!(status.success(), "what ran by tests/{script} failed, or there was no place for it: see above");
}
