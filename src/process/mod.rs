//! One process: the roles it was asked for, on the broker and store it was configured for, and its listeners.
//!
//! `standalone` starts the same roles that run on their own elsewhere; nothing is different but that they share.

mod beats;
mod data_dir;
mod leaves;
mod measured;
mod memory;
mod notices;
mod open_files;
mod operator;
mod roles;
mod vitals;

use std::{fmt, future::Future, net::SocketAddr, sync::Arc};

use broker::{Broker, ConsumerStatus, Lane};
use measured::Measured;
use notices::Messenger;
use roles::Shared;
use service::{ConfigError, http::ServeOptions, listen, metrics::Registry, ops::Ops, shutdown};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{VERSION, config::Config};

pub(crate) use beats::BeatMetrics;
pub use data_dir::{broker_file, make as make_data_dir, store_key, unfinished_restore};
pub use leaves::{OpenBroker, open_broker};
pub(crate) use measured::PublishMetrics;
pub(crate) use notices::NoticeMetrics;
pub use operator::key_file;
pub(crate) use vitals::Vitals;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Takes events in.
    pub producer: bool,
    /// Fans them out.
    pub router: bool,
    /// Delivers.
    pub deliverer: bool,
    /// Answers operators.
    pub control: bool,
}

impl Roles {
    /// None.
    pub const NONE: Self = Self { producer: false, router: false, deliverer: false, control: false };
    /// All.
    pub const STANDALONE: Self = Self { producer: true, router: true, deliverer: true, control: true };

    fn is_standalone(self) -> bool {
        self == Self::STANDALONE
    }

    fn has_api(self) -> bool {
        self.producer || self.control
    }
}

/// As the command that starts them.
impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { producer, router, deliverer, control } = *self;
        let all = [(producer, "producer"), (router, "router"), (deliverer, "deliverer"), (control, "control")];
        let names: Vec<_> = all.into_iter().filter_map(|(has_it, name)| has_it.then_some(name)).collect();
        f.write_str(&if self.is_standalone() { "standalone".to_owned() } else { names.join("+") })
    }
}

/// A process that runs.
pub struct Process {
    /// Where the API listens, if it does.
    pub http: Option<SocketAddr>,
    /// Where metrics and health are.
    pub ops: SocketAddr,
    /// The key that may do everything, where this process knows it.
    pub operator_key: Option<schemas::Secret>,
    /// The broker it runs on.
    pub broker: Arc<dyn Broker>,
    shutdown: CancellationToken,
    defect: watch::Receiver<Option<String>>,
    roles: JoinSet<()>,
    messenger: Messenger,
}

/// Starts the roles. Returns once the listeners stand; the broker may still be away.
///
/// # Errors
/// A configuration that cannot be used, a port that is taken, an embedded file that another process holds.
pub async fn start(config: &Config, roles: Roles, shutdown: CancellationToken) -> anyhow::Result<Process> {
    if config.broker.is_embedded() && !roles.is_standalone() {
        let why = "the embedded broker lives inside `carteiro standalone`; separate roles need amqp://… or amqps://…";
        return Err(ConfigError::new("broker.url", why).into());
    }
    data_dir::check(&config.data_dir)?;
    open_files::ask_for_all(config, roles);
    // Ports first: what another process holds should be said before anything is opened.
    let ops_listener = listen::bind("ops.listen", &config.ops.listen).await?;
    let api_listener = match roles.has_api() {
        true => Some((listen::bind("http.listen", &config.http.listen).await?, ServeOptions::new(&config.http).await?)),
        false => None,
    };
    let clock = service::clock::system();
    let OpenBroker { broker, defect, beats } = open_broker(config, clock.clone())?;
    let store = memory::open(config, roles, &shutdown).await?;
    let operator_key = operator::key(config, roles.is_standalone())?;
    let registry = Arc::new(Registry::for_process(VERSION, option_env!("CARTEIRO_REVISION").unwrap_or("unknown"))?);
    let broker = Arc::new(Measured::new(broker, &registry)?);
    let shared = Shared::new(broker, store, registry, clock, &shutdown);

    let ops = Ops::new(shared.registry.clone(), shutdown.clone());
    vitals::watch(&ops, &shared)?;
    beats::watch(beats, &shared.registry)?;
    let mut messenger = Messenger::start(&shared)?;
    let ops_address = ops_listener.local_addr()?;
    let mut running = JoinSet::new();
    if roles.router {
        let router = shared.router(config)?;
        follow(&ops, "router", router.consumer_status());
        spawn(&mut running, &ops, "router", router.run());
    }
    if roles.deliverer {
        let deliverer = shared.deliverer(config)?;
        follow(&ops, "deliverer.fast", deliverer.consumer_status(Lane::Fast));
        follow(&ops, "deliverer.slow", deliverer.consumer_status(Lane::Slow));
        spawn(&mut running, &ops, "deliverer", deliverer.run());
    }
    let http = match api_listener {
        Some((listener, front)) => {
            let address = listener.local_addr()?;
            let api = shared.api(config, roles, operator_key.as_ref())?;
            messenger.has_control(api.control());
            let watchdog = front.watchdog();
            ops.alive("http", move || watchdog.alive(Instant::now()));
            spawn(&mut running, &ops, "http", api.serve(listener, front));
            Some(address)
        }
        None => None,
    };
    tokio::spawn(ops.serve(ops_listener));
    let (role, http_address) = (roles.to_string(), http.map(tracing::field::display));
    tracing::info!(version = VERSION, role, http = http_address, ops = %ops_address, "process.started");
    let broker = shared.broker;
    Ok(Process { http, ops: ops_address, operator_key, broker, shutdown, defect, roles: running, messenger })
}

impl Process {
    /// Runs until it is asked to end, then drains and closes.
    ///
    /// # Errors
    /// A topology that is not as required, which only a person can mend.
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
        self.messenger.finish().await;
        self.broker.close().await;
        tracing::info!("process.ended");
        Ok(())
    }
}

/// Lets `/healthz` and `/readyz` say how the loop of a role that consumes is doing.
fn follow(ops: &Ops, name: &'static str, status: &Arc<ConsumerStatus>) {
    let (alive, ready) = (status.clone(), status.clone());
    ops.alive(name, move || alive.alive(Instant::now()));
    ops.ready(name, move || ready.ready());
}

/// Runs a role, and lets `/healthz` say when it has ended although nobody asked for it.
fn spawn(running: &mut JoinSet<()>, ops: &Ops, name: &'static str, role: impl Future<Output = ()> + Send + 'static) {
    let task = running.spawn(role);
    ops.alive(name, move || if task.is_finished() { Err("it has ended".to_owned()) } else { Ok(()) });
}
