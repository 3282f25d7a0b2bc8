//! A RabbitMQ node or cluster of a test's own, to be killed and inspected without disturbing other tests.

use std::{path::Path, sync::Arc};

use tokio::task::spawn_blocking;

use super::node::{Cluster, Node, RESTART_DEAD_LETTERING, VERSION, is_misled};

/// A private node. Its script blocks, and therefore runs on a thread of its own.
pub(crate) struct Rabbit(Arc<Node>);

impl Rabbit {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        Self(spawn_blocking(|| Arc::new(Node::start())).await.expect("a node"))
    }

    /// Starts one with its Prometheus plugin.
    pub(crate) async fn with_metrics() -> Self {
        Self(spawn_blocking(|| Arc::new(Node::with_metrics())).await.expect("a node"))
    }

    /// Address of the Prometheus plugin, as host:port.
    pub(crate) async fn metrics(&self) -> String {
        self.ask(Node::metrics).await
    }

    /// Starts one that speaks TLS, with `cert.pem` and `key.pem` of a folder.
    pub(crate) async fn with_tls(folder: &Path) -> Self {
        let folder = folder.to_str().expect("text").to_owned();
        Self(spawn_blocking(move || Arc::new(Node::with(&["--tls", &folder]))).await.expect("a node"))
    }

    /// Its URL, the same after a crash.
    pub(crate) fn url(&self) -> &str {
        &self.0.url
    }

    /// Kills it with SIGKILL.
    pub(crate) async fn kill(&self) {
        self.ask(Node::kill).await;
    }

    /// Starts it again on its data.
    pub(crate) async fn revive(&self) {
        self.ask(Node::revive).await;
    }

    /// Runs `rabbitmqctl`, which must succeed. Returns what it prints.
    pub(crate) async fn ctl(&self, arguments: &[&str]) -> String {
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self.ask(move |node| node.ask(&arguments.iter().map(String::as_str).collect::<Vec<_>>())).await
    }

    /// The names of all queues, and of all exchanges except the predefined ones.
    pub(crate) async fn inventory(&self) -> Vec<String> {
        let list =
            |what: &'static str| self.ask(move |node| node.ask(&["--quiet", what, "name", "--no-table-headers"]));
        let (queues, exchanges) = (list("list_queues").await, list("list_exchanges").await);
        let names = queues.lines().chain(exchanges.lines()).map(str::trim);
        names.filter(|name| !name.is_empty() && !name.starts_with("amq.")).map(str::to_owned).collect()
    }

    async fn ask<T: Send + 'static>(&self, question: impl FnOnce(&Node) -> T + Send + 'static) -> T {
        ask(&self.0, question).await
    }
}

/// A cluster of three private nodes.
pub(crate) struct RabbitCluster(Arc<Cluster>);

impl RabbitCluster {
    /// Starts them.
    pub(crate) async fn start() -> Self {
        Self(spawn_blocking(|| Arc::new(Cluster::start())).await.expect("a cluster"))
    }

    /// One URL with all three hosts, beginning with the first node's.
    pub(crate) fn url(&self) -> &str {
        &self.0.url
    }

    /// Kills a node, 1 to 3, with SIGKILL.
    pub(crate) async fn kill(&self, number: usize) {
        ask(&self.0, move |cluster| cluster.kill(number)).await;
    }

    /// True for versions on which a node that is away can mislead the others (docs/rabbitmq.md).
    pub(crate) async fn is_misled(&self) -> bool {
        ask(&self.0, |cluster| is_misled(&cluster.ask(2, &VERSION))).await
    }

    /// Restarts dead-lettering on a node, as operators are told to do then.
    pub(crate) async fn restart_dead_lettering(&self, number: usize) {
        ask(&self.0, move |cluster| cluster.ask(number, &["--quiet", "eval", RESTART_DEAD_LETTERING])).await;
    }

    /// Starts a node again on its data, and waits until it has joined the others.
    pub(crate) async fn revive(&self, number: usize) {
        ask(&self.0, move |cluster| cluster.revive(number)).await;
    }
}

/// Runs a question on a thread that may block.
async fn ask<A, T>(whom: &Arc<A>, question: impl FnOnce(&A) -> T + Send + 'static) -> T
where
    A: Send + Sync + 'static,
    T: Send + 'static,
{
    let whom = whom.clone();
    spawn_blocking(move || question(&whom)).await.expect("it does what it is asked")
}
