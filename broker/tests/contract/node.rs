//! A private RabbitMQ node for tests, by `tests/rabbitmq-node`. A node that cannot be started fails the test: it is
//! never skipped.
//!
//! `CARTEIRO_TEST_AMQP` is the url of a node that somebody else holds; `CARTEIRO_TEST_RABBITMQ` names a Debian suite
//! whose RabbitMQ is taken instead of the installed one.

// Each test binary that includes this uses its own part of it.
#![allow(dead_code)]

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

/// What operators run on each node of a cluster that lost one, where [`is_misled`].
pub(crate) const RESTART_DEAD_LETTERING: &str = include_str!("../../../deploy/rabbitmq/restart-dead-lettering.erl");

/// Prints a node's version.
pub(crate) const VERSION: [&str; 3] = ["--quiet", "eval", "io:format(rabbit_misc:version())."];

/// Whether RabbitMQ of this version believes a record of a queue's leader that is not true any more: before 3.12.5.
pub(crate) fn is_misled(version: &str) -> bool {
    let parts = version.split(['.', '\n']).map_while(|part| part.parse::<u32>().ok());
    parts.collect::<Vec<_>>() < vec![3, 12, 5]
}

/// A node of our own, stopped by the script once this process has ended, however that happens.
pub(crate) struct Node {
    /// Where it listens.
    pub(crate) url: String,
    dir: PathBuf,
    _held: Child,
}

/// The url of the node that all tests of this process share, each under names of its own.
pub(crate) fn shared() -> &'static str {
    static SHARED: OnceLock<String> = OnceLock::new();
    static OWN: OnceLock<Node> = OnceLock::new();
    SHARED.get_or_init(|| {
        std::env::var("CARTEIRO_TEST_AMQP").unwrap_or_else(|_| OWN.get_or_init(Node::start).url.clone())
    })
}

/// Removes what one test declared on a node. It blocks, so that a fixture's drop can call it.
pub(crate) fn remove_topology(config: &broker::BrokerConfig) {
    let config = config.clone();
    let removed = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(broker::rabbitmq::remove(&config))
    });
    if let Err(error) = removed.join().expect("no panic") {
        eprintln!("its queues are left behind: {error}");
    }
}

impl Node {
    /// Starts one, for a test that does to a broker what others must not see.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with its Prometheus plugin.
    pub(crate) fn with_metrics() -> Self {
        Self::with(&["--metrics"])
    }

    /// Starts one with these arguments of the script.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        let (url, dir, held) = hold("hold", arguments);
        Self { url, dir, _held: held }
    }

    /// Where its Prometheus plugin listens, as host:port.
    pub(crate) fn metrics(&self) -> String {
        self.run("metrics", &[]).trim().to_owned()
    }

    /// `rabbitmqctl` on it.
    pub(crate) fn ctl(&self, arguments: &[&str]) {
        self.run("ctl", arguments);
    }

    /// What `rabbitmqctl` on it prints.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        self.run("ctl", arguments)
    }

    /// `kill -9`, and up again on what is on its disk.
    pub(crate) fn crash(&self) {
        self.kill();
        self.revive();
    }

    /// `kill -9`.
    pub(crate) fn kill(&self) {
        self.run("kill", &[]);
    }

    /// Up again on what is on its disk.
    pub(crate) fn revive(&self) {
        self.run("start", &[]);
    }

    fn run(&self, verb: &str, arguments: &[&str]) -> String {
        run(&self.dir, verb, arguments)
    }
}

/// Three nodes of our own that form one cluster, stopped as a [`Node`] is.
pub(crate) struct Cluster {
    /// Where they listen: one url with three hosts.
    pub(crate) url: String,
    dir: PathBuf,
    _held: Child,
}

impl Cluster {
    /// Starts them, which takes several times as long as one.
    pub(crate) fn start() -> Self {
        let (url, dir, held) = hold("cluster", &[]);
        Self { url, dir, _held: held }
    }

    /// `kill -9` of the first, second or third.
    pub(crate) fn kill(&self, number: usize) {
        run(&self.dir.join(number.to_string()), "kill", &[]);
    }

    /// What `rabbitmqctl` on one of them prints.
    pub(crate) fn ask(&self, number: usize, arguments: &[&str]) -> String {
        run(&self.dir.join(number.to_string()), "ctl", arguments)
    }

    /// Up again on what is on its disk.
    pub(crate) fn revive(&self, number: usize) {
        run(&self.dir.join(number.to_string()), "start", &[]);
    }
}

/// The script, which stops what it started once we have ended; it says where that listens.
fn hold(verb: &str, arguments: &[&str]) -> (String, PathBuf, Child) {
    let dir = tempfile::Builder::new().prefix("carteiro-rabbitmq-").tempdir().expect("a folder").keep();
    let mut command = Command::new(script());
    command.arg(verb).arg(&dir).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    if let Ok(suite) = std::env::var("CARTEIRO_TEST_RABBITMQ") {
        command.args(["--release", &suite]);
    }
    let mut held = command.spawn().expect("the script runs");
    let mut url = String::new();
    BufReader::new(held.stdout.take().expect("piped")).read_line(&mut url).expect("it answers");
    assert!(url.starts_with("amqp"), "no RabbitMQ could be started; what it said is above");
    (url.trim().to_owned(), dir, held)
}

fn run(dir: &Path, verb: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(script());
    command.arg(verb).arg(dir).args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().expect("the script runs");
    assert!(output.status.success(), "{verb} {arguments:?} failed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// It lies in the workspace's `tests`, whichever package is tested.
fn script() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = package.ancestors().map(|folder| folder.join("tests/rabbitmq-node")).find(|script| script.exists());
    found.expect("tests/rabbitmq-node lies above this package")
}
