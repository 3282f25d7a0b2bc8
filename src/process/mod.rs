//! One process: its roles, its broker and store, and its listeners.
//!
//! `standalone` starts in one process the roles that otherwise have a process each.

mod data_dir;
mod delivery_form;
mod heartbeats;
mod history;
mod intake;
mod measured_broker;
mod notices;
mod open_broker;
mod open_history;
mod open_store;
mod operator_key;
mod presence;
mod readiness;
mod roles;
mod serve_logs;
mod storage;

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use broker::{Broker, ConsumerStatus, Lane, LargeBodies};
use deliverer::{Deliverer, DelivererConfig};
use history::HistoryTasks;
use intake::Intake;
use measured_broker::MeasuredBroker;
use notices::NoticeTasks;
use open_store::{OpenStore, open_store};
use presence::Presence;
use roles::SharedDependencies;
use service::{
    ConfigError,
    http::ServeOptions,
    listen,
    metrics::Registry,
    ops::{Ops, OpsConfig},
    shutdown,
    sqlite_file::FileLock,
    supervisor,
};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{VERSION, config::Config};

pub use data_dir::{
    broker_file, control_file, history_folder, make as make_data_dir, operator_key_file, store_key_file,
    unfinished_restore,
};
pub(crate) use heartbeats::HeartbeatMetrics;
pub(crate) use measured_broker::PublishMetrics;
pub(crate) use notices::NoticeMetrics;
pub use open_broker::{OpenBroker, open_broker};
pub use open_store::location as store_location;
pub(crate) use readiness::ReadinessMetrics;
pub use roles::Roles;
pub use serve_logs::serve_logs;
pub(crate) use storage::StorageMetrics;

/// Number of open files besides those of requests: databases, logs, listeners, connections to the broker and the store.
const OTHER_FILES: u64 = 512;

pub struct Process {
    /// Address of the API. None if no role has one.
    pub http: Option<SocketAddr>,
    /// Address of the metrics and health probes.
    pub ops: SocketAddr,
    /// The operator's key, if this process knows it.
    pub operator_key: Option<schemas::Secret>,
    pub broker: Arc<dyn Broker>,
    probes: Ops,
    serving_probes: JoinHandle<io::Result<()>>,
    shutdown: CancellationToken,
    defect: watch::Receiver<Option<String>>,
    roles: JoinSet<()>,
    notices: NoticeTasks,
    history: HistoryTasks,
    _snapshot_lock: Option<FileLock>,
}

/// Starts the roles. Returns once the listeners are bound; the broker may still be unreachable. Fails when the
/// configuration cannot be used, a port is taken, or another process holds an embedded file.
pub async fn start(config: &Config, roles: Roles, shutdown: CancellationToken) -> anyhow::Result<Process> {
    if config.broker.is_embedded() && !roles.is_standalone() {
        let why = "the embedded broker lives inside `carteiro standalone`; separate roles need amqp://… or amqps://…";
        return Err(ConfigError::new("broker.url", why).into());
    }
    data_dir::refuse_unfinished_restore(&config.data_dir)?;
    raise_open_files_limit(config, roles);
    // Ports are bound first, so that a second process fails before it opens any file.
    let ops_listener = listen::bind("ops.listen", &config.ops.listen).await?;
    let api_listener = match roles.has_api() {
        true => Some((
            listen::bind("http.listen", &config.http.listen).await?,
            ServeOptions::new(&config.http).await?.serves(roles.serves()),
        )),
        false => None,
    };
    let clock = service::clock::system();
    let OpenBroker { broker, rabbitmq, defect, heartbeats, storage } = open_broker(config, clock.clone())?;
    let intake = Arc::new(Intake::new(&config.broker));
    let OpenStore { store, snapshot_lock } = open_store(config, roles, &shutdown).await?;
    let operator_key = operator_key::find(config, roles.is_standalone())?;
    let registry = Arc::new(Registry::for_process(VERSION, option_env!("CARTEIRO_REVISION").unwrap_or("unknown"))?);
    let broker = Arc::new(LargeBodies::new(Arc::new(MeasuredBroker::new(broker, intake.clone(), &registry)?)));
    let mut shared = SharedDependencies::new(broker, store, registry, clock, &shutdown);
    let history = HistoryTasks::start(config, roles, &shared, rabbitmq.as_ref()).await?;
    (shared.recorder, shared.history) = (history.recorder.clone(), history.history.clone());

    let ops = Ops::new(shared.registry.clone(), shutdown.clone());
    readiness::watch(&ops, &shared, intake.clone())?;
    heartbeats::watch(heartbeats, &shared.registry)?;
    let presence = Presence::new(config, roles, &shared, &ops, &storage);
    storage::watch(&ops, storage, &shared.registry)?;
    let mut notices = NoticeTasks::start(&shared, intake.clone(), presence)?;
    if let Some(rabbitmq) = rabbitmq {
        notices.add_delivery_form(rabbitmq.clone());
        if roles.control {
            notices.add_intake_probes(rabbitmq);
        }
    }
    if roles.producer || roles.router {
        ops.ready("intake", move || intake.why_closed().map_or(Ok(()), Err));
    }
    let ops_address = ops_listener.local_addr()?;
    let mut running = JoinSet::new();
    let deliverer = roles.deliverer.then(|| shared.deliverer(config)).transpose()?;
    if roles.router {
        let router = shared.router(config, deliverer.as_ref().map(Deliverer::direct))?;
        add_probes(&ops, "router", router.consumer_status());
        add_probes(&ops, "router.slow", router.slow_consumer_status());
        spawn(&mut running, &ops, "router", router.run());
    }
    if let Some(deliverer) = deliverer {
        add_probes(&ops, "deliverer.fast", deliverer.consumer_status(Lane::Fast));
        add_probes(&ops, "deliverer.slow", deliverer.consumer_status(Lane::Slow));
        spawn(&mut running, &ops, "deliverer", deliverer.run());
    }
    let http = match api_listener {
        Some((listener, front)) => {
            let address = listener.local_addr()?;
            let api = shared.api(config, roles, operator_key.as_ref())?;
            notices.add_control(api.control());
            let watchdog = front.watchdog();
            ops.alive("http", move || watchdog.alive(Instant::now()));
            spawn(&mut running, &ops, "http", api.serve(listener, front));
            Some(address)
        }
        None => None,
    };
    let serving_probes = tokio::spawn(ops.clone().serve(ops_listener));
    let (role, http_address) = (roles.to_string(), http.map(tracing::field::display));
    tracing::info!(version = VERSION, role, http = http_address, ops = %ops_address, "process.started");
    let broker = shared.broker;
    Ok(Process {
        http,
        ops: ops_address,
        operator_key,
        broker,
        probes: ops,
        serving_probes,
        shutdown,
        defect,
        roles: running,
        notices,
        history,
        _snapshot_lock: snapshot_lock,
    })
}

impl Process {
    /// Tells the service manager how the process is, and ends the process when it is stuck.
    pub fn supervise(&self, config: &OpsConfig) -> io::Result<()> {
        supervisor::start(self.probes.clone(), config)
    }

    /// Waits for the shutdown, then lets the roles finish and closes the broker. Fails when the broker's topology is
    /// wrong, which only an operator can repair.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        let defect = tokio::select! {
            () = self.shutdown.cancelled() => None,
            Ok(defect) = self.defect.wait_for(Option::is_some) => defect.clone(),
        };
        if let Some(defect) = defect {
            return Err(anyhow::anyhow!(defect).context(service::Exit::Config));
        }
        let drained = async { while self.roles.join_next().await.is_some() {} };
        shutdown::drain(shutdown::DRAIN_LIMIT, drained, || "requests under way".to_owned()).await;
        self.roles.abort_all();
        self.notices.finish().await;
        self.history.finish().await;
        self.broker.close().await;
        // The probes are answered to the end, and hold the store.
        self.serving_probes.abort();
        let _ = self.serving_probes.await;
        tracing::info!("process.ended");
        Ok(())
    }
}

/// Adds the state of a role's consuming loop to `/healthz` and `/readyz`.
fn add_probes(ops: &Ops, name: &'static str, status: &Arc<ConsumerStatus>) {
    let (alive, ready) = (status.clone(), status.clone());
    ops.alive(name, move || alive.alive(Instant::now()));
    ops.ready(name, move || ready.ready());
}

/// Runs a role. `/healthz` fails when it has ended before the shutdown.
fn spawn(running: &mut JoinSet<()>, ops: &Ops, name: &'static str, role: impl Future<Output = ()> + Send + 'static) {
    let (task, shutdown) = (running.spawn(role), ops.shutdown().clone());
    ops.alive(name, move || match task.is_finished() && !shutdown.is_cancelled() {
        true => Err("it has ended".to_owned()),
        false => Ok(()),
    });
}

/// Raises the limit of open files to the highest allowed one, and warns if that is too low: every request to an
/// endpoint needs a file, and every idle connection. Most systems set 1,024 for the sake of `select(2)`, which is not
/// used here.
fn raise_open_files_limit(config: &Config, roles: Roles) {
    let DelivererConfig { slots, slow_slots, max_idle_connections, .. } = config.deliverer;
    let connections = u64::from(slots) + u64::from(slow_slots) + u64::from(max_idle_connections);
    let needed = OTHER_FILES + if roles.deliverer { connections } else { 0 };
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < needed => tracing::warn!(limit, needed, "files.few"),
        Ok(limit) => tracing::debug!(limit, needed, "files.allowed"),
        Err(error) => tracing::warn!(%error, needed, "files.unknown"),
    }
}
