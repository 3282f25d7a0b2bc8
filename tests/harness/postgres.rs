//! A PostgreSQL of a test's own, started by `tests/postgres-node`, to be killed and started again.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use tokio::task::spawn_blocking;

/// A private database. Its script blocks, and therefore runs on a thread of its own.
pub(crate) struct Postgres(Arc<Node>);

struct Node {
    url: String,
    dir: PathBuf,
    /// The script, which ends the database once this process has ended.
    _held: Child,
}

impl Postgres {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        Self(spawn_blocking(|| Arc::new(Node::start(&[]))).await.expect("a database"))
    }

    /// Starts one that also speaks TLS, with `cert.pem` and `key.pem` of a folder.
    pub(crate) async fn with_tls(folder: &Path) -> Self {
        let folder = folder.to_str().expect("text").to_owned();
        Self(spawn_blocking(move || Arc::new(Node::start(&["--tls", &folder]))).await.expect("a database"))
    }

    /// Its URL, the same after a crash.
    pub(crate) fn url(&self) -> &str {
        &self.0.url
    }

    /// Kills it with SIGKILL.
    pub(crate) async fn kill(&self) {
        self.ask("kill").await;
    }

    /// Starts it again on its data.
    pub(crate) async fn revive(&self) {
        self.ask("start").await;
    }

    /// Keeps it from answering, though it still takes connections.
    pub(crate) async fn freeze(&self) {
        self.ask("freeze").await;
    }

    /// Lets it answer again.
    pub(crate) async fn thaw(&self) {
        self.ask("thaw").await;
    }

    async fn ask(&self, verb: &'static str) {
        let node = self.0.clone();
        spawn_blocking(move || node.run(verb)).await.expect("it does what it is asked");
    }
}

impl Node {
    fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("carteiro-postgres-").tempdir().expect("a folder").keep();
        let mut command = Command::new(script());
        command.arg("hold").arg(&dir).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut held = command.spawn().expect("the script runs");
        let mut url = String::new();
        BufReader::new(held.stdout.take().expect("piped")).read_line(&mut url).expect("it answers");
        assert!(url.starts_with("postgres://"), "no PostgreSQL could be started; what it said is above");
        Self { url: url.trim().to_owned(), dir, _held: held }
    }

    fn run(&self, verb: &str) {
        let status =
            Command::new(script()).arg(verb).arg(&self.dir).stdin(Stdio::null()).stdout(Stdio::null()).status();
        assert!(status.expect("the script runs").success(), "{verb} failed");
    }
}

fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/postgres-node")
}
