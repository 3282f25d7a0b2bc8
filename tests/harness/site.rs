//! A site: the tenants, the broker and the settings that the processes of one installation share.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use broker::{BrokerConfig, rabbitmq};
use tempfile::TempDir;
use tokio::process::Command;

use super::{Api, KEY, Process, node};

/// An installation in a temporary folder. Its exchanges and queues are deleted from the broker with it.
pub(crate) struct Site {
    folder: TempDir,
    /// Variables of its processes' environment.
    variables: BTreeMap<String, String>,
    broker: Option<BrokerConfig>,
    processes: AtomicUsize,
    /// The API of the last process that was started and has one.
    api: Mutex<Option<Api>>,
}

/// The YAML of one tenant `acme` with one endpoint `crm`, which gets every event and is retried every second.
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
    /// A site on the embedded broker, where `standalone` is the only role.
    pub(crate) fn embedded(conf: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("carteiro-e2e-").tempdir().expect("a folder");
        fs::create_dir(folder.path().join("conf.d")).expect("an empty folder");
        let site = Self {
            folder,
            variables: BTreeMap::new(),
            broker: None,
            processes: AtomicUsize::new(0),
            api: Mutex::default(),
        };
        site.configure(conf);
        site.set("http.listen", "127.0.0.1:0")
            .set("http.operator_key", KEY)
            .set("ops.listen", "127.0.0.1:0")
            .set("deliverer.allow_networks", "127.0.0.0/8")
            // Tests of retries count attempts, which a breaker would suppress.
            .set("deliverer.breaker.failures", "1000000")
            .set("telemetry.format", "json")
    }

    /// A site on the embedded broker and the embedded store, without tenants.
    pub(crate) fn from_nothing() -> Self {
        let site = Self::embedded("tenants: []");
        fs::remove_dir_all(site.path("conf.d")).expect("its own folder");
        site
    }

    /// A site on the RabbitMQ at `url`, with exchanges and queues of its own.
    pub(crate) fn on(url: &str, conf: &str) -> Self {
        let site = Self::embedded(conf);
        let unique = format!("e2e-{:016x}", fastrand::u64(..));
        let broker = BrokerConfig {
            url: url.to_owned(),
            prefix: unique.clone(),
            exchange: format!("{unique}.events"),
            declare: true,
            max_bytes: 0,
            dead_letters_bytes: 10_000_000_000,
            parked_bytes: 5_000_000_000,
        };
        let conf_d = format!("file:{}", site.path("conf.d").display());
        let site = site.set("store.url", &conf_d).set("broker.url", url);
        let mut site = site.set("broker.prefix", &broker.prefix).set("broker.exchange", &broker.exchange);
        site.broker = Some(broker);
        site
    }

    /// A site on the RabbitMQ that all tests share, with exchanges and queues of its own.
    pub(crate) async fn on_rabbitmq(conf: &str) -> Self {
        let url = tokio::task::spawn_blocking(node::shared).await.expect("a node");
        Self::on(url, conf)
    }

    /// Changes a setting, `section.key`, of all its processes.
    pub(crate) fn set(self, key: &str, value: &str) -> Self {
        self.variable(&variable_of(key), value)
    }

    /// Sets a variable of the environment of all its processes.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Removes settings: its processes use the defaults, or those of a file.
    pub(crate) fn unset(mut self, keys: &[&str]) -> Self {
        for key in keys {
            self.variables.remove(&variable_of(key));
        }
        self
    }

    /// The path of a file in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The broker section of its configuration.
    pub(crate) fn broker(&self) -> &BrokerConfig {
        self.broker.as_ref().expect("a site on RabbitMQ")
    }

    /// Replaces its YAML. A reader sees the old text or the new one.
    pub(crate) fn configure(&self, conf: &str) {
        let (draft, file) = (self.path("draft.yaml"), self.path("conf.d").join("site.yaml"));
        fs::write(&draft, conf).and_then(|()| fs::rename(&draft, &file)).expect("its own folder");
    }

    /// Starts a role, and waits until it listens. The broker may be away.
    pub(crate) async fn start(&self, role: &str) -> Process {
        self.start_with(role, &[]).await
    }

    /// Like [`start`](Self::start), with further settings for this process.
    pub(crate) async fn start_with(&self, role: &str, own: &[(&str, &str)]) -> Process {
        let folder = match &self.broker {
            None => self.folder.path().to_owned(),
            Some(_) => self.path(&format!("{role}-{}", self.processes.fetch_add(1, Ordering::Relaxed))),
        };
        let (mut variables, name) = (self.variables.clone(), role.to_owned());
        variables.extend(own.iter().map(|(key, value)| (variable_of(key), (*value).to_owned())));
        let current = self.folder.path().to_owned();
        let command = move || {
            let mut command = command(&current, &folder, &variables);
            command.arg(&name);
            command
        };
        let process = Process::start(role, command).await;
        if matches!(role, "standalone" | "control") {
            *self.api.lock().expect("no panic") = Some(process.api());
        }
        process
    }

    /// Like [`start`](Self::start), with a soft and a hard limit of open files.
    pub(crate) async fn start_with_files(&self, role: &str, given: u64, allowed: u64) -> Process {
        let script = format!("ulimit -Sn {given} && ulimit -Hn {allowed} && exec \"$0\" {role}");
        let (current, variables) = (self.folder.path().to_owned(), self.variables.clone());
        let limited = move || {
            let whole = command(&current, &current, &variables);
            let whole = whole.as_std();
            let mut shell = Command::new("sh");
            shell.args(["-c", &script]).arg(whole.get_program()).env_clear().current_dir(&current).kill_on_drop(true);
            shell.envs(whole.get_envs().filter_map(|(name, value)| Some((name, value?))));
            shell
        };
        Process::start(role, limited).await
    }

    /// Runs the binary with this site's settings to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).stdin(Stdio::null()).output().await.expect("the binary runs")
    }

    /// Runs a command that reads a log: from RabbitMQ itself, or by the running process of an embedded broker.
    pub(crate) async fn look(&self, arguments: &[&str]) -> Output {
        let api = self.api.lock().expect("no panic").as_ref().map(Api::url);
        let whence = match &self.broker {
            Some(broker) => ["--broker", &broker.url],
            None => ["--server", api.as_deref().expect("a running process")],
        };
        self.run(&[arguments, &whence].concat()).await
    }

    /// The binary with this site's settings, not yet started.
    pub(crate) fn command(&self) -> Command {
        command(self.folder.path(), self.folder.path(), &self.variables)
    }
}

/// The binary, in the site's folder and not in cargo's, whose carteiro.toml is not the test's.
fn command(current: &Path, data_dir: &Path, variables: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_carteiro"));
    command.env_clear().current_dir(current).env("CARTEIRO_DATA_DIR", data_dir).kill_on_drop(true);
    command.envs(variables);
    command
}

/// The variable of a setting.
fn variable_of(key: &str) -> String {
    format!("CARTEIRO_{}", key.to_uppercase().replace('.', "__"))
}

impl Drop for Site {
    fn drop(&mut self) {
        let Some(config) = self.broker.take() else { return };
        // On a thread of its own, since a runtime cannot be entered from within another. An error is only printed: a node
        // that is gone has nothing to remove.
        let removing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(rabbitmq::remove(&config))
        });
        if let Ok(Err(error)) = removing.join() {
            eprintln!("nothing was removed from the broker: {error}");
        }
    }
}
