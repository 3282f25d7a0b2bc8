//! The measured processes: this binary, started again on a sandbox. The load and the receivers stay in the process of the
//! command, so that what they use is not counted.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use indicatif::ProgressBar;
use rustix::process::{Pid, Signal, kill_process};
use schemas::Secret;
use serde_json::{Value, json};
use service::Exit;
use tokio::{
    process::Child,
    time::{Instant, sleep},
};

use super::{Bench, connection::Connection, metrics_page, usage};
use crate::{
    cli::sandbox::{Sandbox, SandboxOptions},
    process::broker_file,
};

/// Longest wait until a process is ready.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Interval at which a starting process is asked whether it is ready.
const POLL: Duration = Duration::from_millis(50);
/// Interval at which the router is asked how many events it has routed.
const ROUTED_POLL: Duration = Duration::from_millis(200);
/// Lines of a process's log that an error shows.
const SHOWN_LINES: usize = 5;

/// Processes on a sandbox. Their drop kills them.
pub(super) struct Processes<'a> {
    bench: &'a Bench<'a>,
    sandbox: Sandbox,
    pub(super) running: Vec<RunningProcess>,
}

pub(super) struct RunningProcess {
    /// Its role, with a number where several have the role.
    pub(super) name: String,
    pub(super) pid: u32,
    /// Address of its API, if its role has one.
    http: SocketAddr,
    ops: SocketAddr,
    child: Child,
    log: PathBuf,
}

impl<'a> Processes<'a> {
    /// Prepares a sandbox with this tenant. Starts nothing.
    pub(super) fn prepare(bench: &'a Bench<'a>, tenant: &Value, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let settings: Vec<_> = settings.iter().copied().chain(bench.names()).collect();
        // JSON is YAML.
        let tenants = json!({"tenants": [tenant]}).to_string();
        let options = SandboxOptions { command: "bench", broker: bench.broker, tenants: &tenants, settings: &settings };
        let sandbox = Sandbox::prepare(bench.setup, &options)?;
        // A process reads the configuration itself, and would demand TLS of the load.
        let has_tls = bench.setup.load(&[])?.config.http.tls.is_some();
        anyhow::ensure!(!has_tls, "http.tls is configured, and this measures without TLS: give --config another file");
        Ok(Self { bench, sandbox, running: Vec::new() })
    }

    /// Starts a process with a role, and waits until it is ready.
    pub(super) async fn start(&mut self, role: &str) -> anyhow::Result<()> {
        let name = match self.running.iter().filter(|process| process.name.starts_with(role)).count() {
            0 => role.to_owned(),
            others => format!("{role} {}", others + 1),
        };
        let folder = self.folder(&name);
        std::fs::create_dir(&folder)?;
        let log = folder.join("log");
        let (http, ops) = (free_address()?, free_address()?);
        let (data_dir, http_listen, ops_listen) = (folder.display().to_string(), http.to_string(), ops.to_string());
        let own = [("data_dir", data_dir.as_str()), ("http.listen", &http_listen), ("ops.listen", &ops_listen)];
        let mut command = self.sandbox.command(self.bench.setup, role, &own)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("starting {role}"))?;
        let pid = child.id().context("it has ended")?;
        let mut process = RunningProcess { name, pid, http, ops, child, log };
        process.ready().await?;
        self.running.push(process);
        Ok(())
    }

    /// Address of the API of the first process, which accepts events.
    pub(super) fn api(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.running.first().context("nothing was started")?.http)
    }

    /// Waits until the router has routed this many events. It is the last of the processes, or the only one.
    pub(super) async fn routed(&self, events: u64, bar: &ProgressBar) -> anyhow::Result<()> {
        let router = self.running.last().context("nothing was started")?;
        loop {
            let routed = metrics_page::counter(router.ops, "carteiro_events_routed_total").await?;
            bar.set_position(routed as u64);
            if routed >= events as f64 {
                return Ok(());
            }
            sleep(ROUTED_POLL).await;
        }
    }

    pub(super) fn operator_key(&self) -> anyhow::Result<Secret> {
        self.sandbox.config.http.operator_key.clone().context("the sandbox has an operator's key")
    }

    /// CPU time of all processes since their starts.
    pub(super) fn cpu_time(&self) -> anyhow::Result<Duration> {
        self.running.iter().map(|process| usage::cpu_time(process.pid)).sum()
    }

    /// Size of the embedded broker's file with its log of writes, in bytes. None on a RabbitMQ.
    pub(super) fn broker_bytes(&self) -> Option<u64> {
        let name = self.running.first().filter(|_| self.sandbox.config.broker.is_embedded())?.name.as_str();
        let file = broker_file(&self.folder(name));
        let log = format!("{}-wal", file.display());
        let size = |file: &Path| std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        Some(size(&file) + size(Path::new(&log)))
    }

    /// Ends all processes in order, and removes what they made on a RabbitMQ.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        for process in &self.running {
            process.terminate()?;
        }
        for mut process in self.running {
            let status = process.child.wait().await?;
            anyhow::ensure!(status.success(), "{} ended with {status}: {}", process.name, process.last_lines());
        }
        self.sandbox.remove().await
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.sandbox.config.data_dir.join(name.replace(' ', "-"))
    }
}

impl RunningProcess {
    async fn ready(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        while !Connection::get(self.ops, "/readyz").await.is_ok_and(|answer| answer.target() == "200") {
            let has_ended = self.child.try_wait()?.is_some();
            if has_ended || begin.elapsed() > START_LIMIT {
                let why = if has_ended { "has ended" } else { "is not ready" };
                let error = anyhow::anyhow!("{} {why}: {}", self.name, self.last_lines());
                return Err(error.context(Exit::Unavailable));
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    fn terminate(&self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).context("a process has an id")?;
        kill_process(pid, Signal::TERM).with_context(|| format!("{} has ended: {}", self.name, self.last_lines()))
    }

    fn last_lines(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("; ")
    }
}

/// An address on loopback that nobody listens at.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
