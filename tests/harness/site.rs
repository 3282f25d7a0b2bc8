//! A site: what the processes of one installation share. Its tenants as YAML, its broker, its settings.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use broker::{BrokerConfig, rabbitmq};
use tempfile::TempDir;
use tokio::process::Command;

use super::{KEY, Process, node};

/// A site, in a temporary folder. What it declared on a broker is removed with it.
pub(crate) struct Site {
    folder: TempDir,
    settings: BTreeMap<String, String>,
    broker: Option<BrokerConfig>,
    processes: AtomicUsize,
}

/// One tenant `acme` with one endpoint `crm`, which gets every event and is retried every second.
pub(crate) fn acme(url: &str) -> String {
    format!(
        "tenants:
  - id: acme
    endpoints:
      - {{id: crm, url: \"{url}\", retry: {{schedule: [{}], max_age: 1h}}}}
    subscriptions:
      - {{id: all, endpoint_id: crm, event_types: [\"*\"]}}
",
        ["1s"; 50].join(", ")
    )
}

impl Site {
    /// On the embedded broker: `standalone` is the only role it can start.
    pub(crate) fn embedded(conf: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("carteiro-e2e-").tempdir().expect("a folder");
        fs::create_dir(folder.path().join("conf.d")).expect("an empty folder");
        let site = Self { folder, settings: BTreeMap::new(), broker: None, processes: AtomicUsize::new(0) };
        site.configure(conf);
        site.set("http.listen", "127.0.0.1:0")
            .set("http.operator_key", KEY)
            .set("ops.listen", "127.0.0.1:0")
            .set("deliverer.allow_networks", "127.0.0.0/8")
            // Stories about retries count attempts: what a breaker spares is told where breakers are.
            .set("deliverer.breaker.failures", "1000000")
            .set("telemetry.format", "json")
    }

    /// On the embedded broker and the embedded store, with no tenants yet.
    pub(crate) fn from_nothing() -> Self {
        let site = Self::embedded("tenants: []");
        fs::remove_dir_all(site.path("conf.d")).expect("its own folder");
        site
    }

    /// On the RabbitMQ at `url`, under names of its own.
    pub(crate) fn on(url: &str, conf: &str) -> Self {
        let site = Self::embedded(conf);
        let unique = format!("e2e-{:016x}", fastrand::u64(..));
        let broker = BrokerConfig {
            url: url.to_owned(),
            prefix: unique.clone(),
            exchange: format!("{unique}.events"),
            declare: true,
        };
        let conf_d = format!("file:{}", site.path("conf.d").display());
        let site = site.set("store.url", &conf_d).set("broker.url", url);
        let mut site = site.set("broker.prefix", &broker.prefix).set("broker.exchange", &broker.exchange);
        site.broker = Some(broker);
        site
    }

    /// On the RabbitMQ that all tests share.
    pub(crate) async fn on_rabbitmq(conf: &str) -> Self {
        let url = tokio::task::spawn_blocking(node::shared).await.expect("a node");
        Self::on(url, conf)
    }

    /// A setting of all its processes, as `section.key`.
    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    /// No settings of its processes: they have their defaults, or what a file says.
    pub(crate) fn unset(mut self, keys: &[&str]) -> Self {
        self.settings.retain(|key, _| !keys.contains(&key.as_str()));
        self
    }

    /// A path in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its broker section, for those who look at the broker themselves.
    pub(crate) fn broker(&self) -> &BrokerConfig {
        self.broker.as_ref().expect("a site on RabbitMQ")
    }

    /// Writes its YAML, whole: a reader sees the old text or the new one.
    pub(crate) fn configure(&self, conf: &str) {
        let (draft, file) = (self.path("draft.yaml"), self.path("conf.d").join("site.yaml"));
        fs::write(&draft, conf).and_then(|()| fs::rename(&draft, &file)).expect("its own folder");
    }

    /// Starts a role, and waits until it says where it listens. The broker may be away.
    pub(crate) async fn start(&self, role: &str) -> Process {
        self.start_with(role, &[]).await
    }

    /// As [`start`](Self::start), with settings of this process alone.
    pub(crate) async fn start_with(&self, role: &str, own: &[(&str, &str)]) -> Process {
        let folder = match &self.broker {
            None => self.folder.path().to_owned(),
            Some(_) => self.path(&format!("{role}-{}", self.processes.fetch_add(1, Ordering::Relaxed))),
        };
        let (mut site, name) = (self.settings.clone(), role.to_owned());
        site.extend(own.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let current = self.folder.path().to_owned();
        let command = move || {
            let mut command = command(&current, &folder, &site);
            command.arg(&name);
            command
        };
        Process::start(role, command).await
    }

    /// As [`start`](Self::start), where a process has so many open files, and may have so many if it asks for them.
    pub(crate) async fn start_with_files(&self, role: &str, given: u64, allowed: u64) -> Process {
        let script = format!("ulimit -Sn {given} && ulimit -Hn {allowed} && exec \"$0\" {role}");
        let (current, settings) = (self.folder.path().to_owned(), self.settings.clone());
        let limited = move || {
            let whole = command(&current, &current, &settings);
            let whole = whole.as_std();
            let mut shell = Command::new("sh");
            shell.args(["-c", &script]).arg(whole.get_program()).env_clear().current_dir(&current).kill_on_drop(true);
            shell.envs(whole.get_envs().filter_map(|(name, value)| Some((name, value?))));
            shell
        };
        Process::start(role, limited).await
    }

    /// The binary with this site's settings, run to its end: its exit code and what it printed.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).stdin(Stdio::null()).output().await.expect("the binary runs")
    }

    /// The binary with this site's settings, which a test runs as it likes.
    pub(crate) fn command(&self) -> Command {
        command(self.folder.path(), self.folder.path(), &self.settings)
    }
}

/// Runs in the site's folder and not in that of cargo: a carteiro.toml there is not ours.
fn command(current: &Path, data_dir: &Path, settings: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_carteiro"));
    command.env_clear().current_dir(current).env("CARTEIRO_DATA_DIR", data_dir).kill_on_drop(true);
    for (key, value) in settings {
        command.env(format!("CARTEIRO_{}", key.to_uppercase().replace('.', "__")), value);
    }
    command
}

impl Drop for Site {
    fn drop(&mut self) {
        let Some(config) = self.broker.take() else { return };
        // A runtime cannot be entered from within another. A node that is gone took everything with it.
        let removing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(rabbitmq::remove(&config))
        });
        if let Ok(Err(error)) = removing.join() {
            eprintln!("nothing was removed from the broker: {error}");
        }
    }
}
