//! A private PostgreSQL for tests, started by `tests/postgres-node`. When it cannot be started the test fails; it is
//! never skipped. `CARTEIRO_TEST_POSTGRES` is the URL of a server that is started elsewhere.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// Where it listens, and what ends it once this process has ended, however that happens.
struct Node {
    url: String,
    _held: Child,
}

/// A new, empty database on the node that all tests of this process share.
pub(super) async fn database() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let url = tokio::task::spawn_blocking(shared).await.expect("no panic");
    let name = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    super::run(url, &format!("CREATE DATABASE {name} TEMPLATE template0")).await;
    let (node, _) = url.rsplit_once('/').expect("it ends with a database");
    format!("{node}/{name}")
}

/// Drops a database, even while sessions are connected to it.
pub(super) async fn remove(url: &str) {
    let (_, name) = url.rsplit_once('/').expect("it ends with a database");
    super::run(shared(), &format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

fn shared() -> &'static str {
    static SHARED: OnceLock<String> = OnceLock::new();
    static OWN: OnceLock<Node> = OnceLock::new();
    SHARED
        .get_or_init(|| std::env::var("CARTEIRO_TEST_POSTGRES").unwrap_or_else(|_| OWN.get_or_init(start).url.clone()))
}

fn start() -> Node {
    let dir = tempfile::Builder::new().prefix("carteiro-postgres-").tempdir().expect("a folder").keep();
    let mut command = Command::new(script());
    let mut held =
        command.arg("hold").arg(&dir).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the script runs");
    let mut url = String::new();
    BufReader::new(held.stdout.take().expect("piped")).read_line(&mut url).expect("it answers");
    assert!(url.starts_with("postgres://"), "no PostgreSQL could be started; what it said is above");
    Node { url: url.trim().to_owned(), _held: held }
}

/// It lies in the workspace's `tests`.
fn script() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = package.ancestors().map(|folder| folder.join("tests/postgres-node")).find(|script| script.exists());
    found.expect("tests/postgres-node lies above this package")
}
