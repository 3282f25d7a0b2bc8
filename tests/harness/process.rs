//! One running process: its addresses, its log, and its end.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use reqwest::Method;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
};

use super::{Api, eventually, in_time};

/// Lines of the log that a failed test shows, and characters of each.
const SHOWN: (usize, usize) = (30, 300);

/// A process of a site. It is killed when it is dropped.
pub(crate) struct Process {
    role: String,
    /// Makes the command that starts it, for each restart anew.
    command: Box<dyn Fn() -> Command + Send + Sync>,
    child: Child,
    log: watch::Receiver<Vec<Value>>,
    http: watch::Sender<Option<SocketAddr>>,
    ops: watch::Sender<Option<SocketAddr>>,
}

impl Process {
    pub(super) async fn start(role: &str, command: impl Fn() -> Command + Send + Sync + 'static) -> Self {
        let (child, log) = spawn(command());
        let (http, ops) = (watch::channel(None).0, watch::channel(None).0);
        let process = Self { role: role.to_owned(), command: Box::new(command), child, log, http, ops };
        process.learn().await;
        process
    }

    /// Starts it again after its end, on the same data. Clients of its API follow it to the new address.
    pub(crate) async fn restart(&mut self) {
        (self.child, self.log) = spawn((self.command)());
        self.learn().await;
    }

    /// Learns its addresses from its log.
    async fn learn(&self) {
        let started = self.logged("process.started").await;
        let address = |name: &str| field(&started, name)?.parse().ok();
        self.http.send_replace(address("http"));
        self.ops.send_replace(address("ops"));
    }

    /// Waits for a line of its log with this message, or a text line that contains it.
    pub(crate) async fn logged(&self, message: &str) -> Value {
        let mut log = self.log.clone();
        let is_text = |line: &Value| line.as_str().is_some_and(|text| text.contains(message));
        let is_it = |line: &&Value| line["message"] == message || is_text(line);
        let lines = in_time(message, log.wait_for(|lines| lines.iter().any(|line| is_it(&line)))).await;
        let lines = lines.unwrap_or_else(|_| panic!("{} ended without logging {message}", self.role));
        lines.iter().find(is_it).cloned().expect("it was found")
    }

    /// All lines of stdout and stderr so far. Lines that are no JSON are strings.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.log.borrow().clone()
    }

    /// Its API.
    pub(crate) fn api(&self) -> Api {
        Api::new(self.http.subscribe())
    }

    /// Its ops listener.
    pub(crate) fn ops(&self) -> Api {
        Api::new(self.ops.subscribe())
    }

    /// The answer of `/readyz`: its status, and its field `missing`.
    pub(crate) async fn readyz(&self) -> (u16, Value) {
        let answer = self.ops().anonymous(Method::GET, "/readyz").send().await.expect("it answers");
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
        (status, body["missing"].clone())
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&self) {
        eventually("it is ready", || async { (self.readyz().await.0 == 200).then_some(()) }).await;
    }

    /// The most memory, in bytes, that it has ever had in use, as the kernel counts it.
    pub(crate) fn peak_memory(&self) -> u64 {
        let id = self.child.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak.and_then(|kib| kib.trim().parse::<u64>().ok()).expect("its peak") * 1024
    }

    /// Kills it with SIGKILL.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("it runs");
    }

    /// Sends SIGTERM.
    pub(crate) async fn terminate(&self) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await.expect("kill runs");
        assert!(sent.success(), "{} had ended", self.role);
    }

    /// Waits for its end. Returns its exit code; none when a signal ended it.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        in_time("it ends", self.child.wait()).await.expect("it is ours").code()
    }

    /// Sends SIGTERM, and waits for its end. Returns its exit code.
    pub(crate) async fn end(mut self) -> i32 {
        self.terminate().await;
        self.ended().await.expect("no signal ended it")
    }

    /// Longest time that it may take to drain.
    pub(crate) const DRAIN: Duration = service::shutdown::DRAIN_LIMIT;
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log.borrow();
            eprintln!("\nthe last lines of {}:", self.role);
            for line in log.iter().skip(log.len().saturating_sub(SHOWN.0)) {
                eprintln!("{}", line.to_string().chars().take(SHOWN.1).collect::<String>());
            }
        }
    }
}

fn spawn(mut command: Command) -> (Child, watch::Receiver<Vec<Value>>) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let (writer, log) = watch::channel(Vec::new());
    tokio::spawn(keep(child.stdout.take().expect("piped"), writer.clone()));
    tokio::spawn(keep(child.stderr.take().expect("piped"), writer));
    (child, log)
}

/// A field of a line, in the JSON format or the text format.
fn field<'a>(line: &'a Value, name: &str) -> Option<&'a str> {
    match line {
        Value::String(text) => text.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')),
        line => line.get(name)?.as_str(),
    }
}

/// Collects the lines of a stream. Lines that are no JSON are kept as strings.
async fn keep(stream: impl AsyncRead + Unpin, log: watch::Sender<Vec<Value>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        log.send_modify(|log| log.push(serde_json::from_str(&line).unwrap_or(Value::String(line))));
    }
}
