//! `carteiro topology`: the exchanges and queues on RabbitMQ: print, declare, compare, drain and delete them.

use std::time::Duration;

use broker::{
    BrokerConfig,
    rabbitmq::{self, Argument, Definitions, PasswordHash, QueueContents, Role, Topology, TopologyError},
};
use clap::Subcommand;
use schemas::{Notice, wire};
use service::{ConfigError, Exit};

use super::{
    confirm::ConfirmArgs,
    output::{self, Output, table},
    setup::Setup,
};
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// URL of the RabbitMQ, instead of broker.url.
    #[arg(long, global = true, value_name = "URL")]
    broker: Option<String>,
    #[command(subcommand)]
    command: TopologyCommand,
}

#[derive(Debug, Subcommand)]
enum TopologyCommand {
    /// Print the exchanges, queues and bindings that the broker must have. Asks no broker.
    Plan {
        /// How to print it.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Print users, their rights and the intake queue's limit, for `rabbitmqctl import_definitions`. Asks no broker.
    ///
    /// Each role has a user of its own, with only the rights it needs, for the vhost of broker.url. Passwords are read
    /// from `CARTEIRO_PASSWORD_PRODUCER`, `…_ROUTER`, `…_DELIVERER`, `…_WORKER` (if one runs), `…_CONTROL` and `…_TOPOLOGY`, and only their hashes
    /// are printed. Where none is set, the users cannot log in until they get a password on the broker.
    Definitions {
        /// Most bytes of events that may wait to be routed, and of those that are put aside as many again. Beyond it the
        /// broker refuses publishes, and publishers retry.
        #[arg(long, value_name = "BYTES", default_value_t = INTAKE_BYTES)]
        intake_bytes: u64,
    },
    /// Declare what is missing. Never changes or deletes what exists.
    Apply,
    /// Compare everything with the broker, and send a probe through each binding.
    ///
    /// Probes disturb no role: they are delivered nowhere, listed nowhere and counted nowhere. Who taps the public exchange
    /// may see one, of type `carteiro.probe`. Ends with 78 if anything is not as required, and with 1 if anything could not
    /// be checked.
    Verify,
    /// Close the intake, and wait until the roles have finished everything that is under way.
    ///
    /// From then on producers answer 503, and what others publish is parked as unroutable. Deliverers stop sending canaries;
    /// those under way take up to five minutes. The intake stays closed, also after Ctrl-C, until `topology apply` opens it;
    /// a role that may declare (broker.declare) opens it when it starts or reconnects.
    Drain {
        #[command(flatten)]
        confirm: ConfirmArgs,
    },
    /// Delete everything, dead letters and parked messages too: export them first.
    ///
    /// Refused while a role runs or anything but canaries is under way. The public exchange stays where something else is
    /// bound to it.
    Remove {
        #[command(flatten)]
        confirm: ConfirmArgs,
        /// Delete also while roles run, and what is under way.
        #[arg(long, requires = "yes")]
        force: bool,
    },
}

/// Bytes of 4 GB: a third of a quarter of 48 GB of free disk, for each of two queues. A queue's log keeps consumed messages
/// until it is truncated, and so takes up to three times as much.
const INTAKE_BYTES: u64 = 4_000_000_000;
/// Interval of polling the broker about remaining messages.
const POLL: Duration = Duration::from_secs(1);

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let config = setup.load_with_broker(args.broker.as_deref())?.config;
    match args.command {
        TopologyCommand::Plan { output } => plan(&Topology::plan(&config.broker), output),
        TopologyCommand::Definitions { intake_bytes } => definitions(setup, &config.broker, intake_bytes),
        TopologyCommand::Apply => {
            needs_rabbitmq(&config)?;
            for size in rabbitmq::apply(&config.broker).await.map_err(with_exit)? {
                output::line(size)?;
            }
            announce(&config.broker, Notice::Intake { open: true }).await?;
            output::line("everything is declared")?;
            Ok(Exit::Done)
        }
        TopologyCommand::Verify => {
            needs_rabbitmq(&config)?;
            let found = rabbitmq::verify(&config.broker, service::chance::rng()).await.map_err(with_exit)?;
            for difference in &found {
                output::line(difference)?;
            }
            if found.iter().any(TopologyError::is_fatal) {
                return Ok(Exit::Config);
            }
            if found.iter().any(|error| matches!(error, TopologyError::Unchecked { .. })) {
                output::line("everything else is as required")?;
                return Ok(Exit::Failed);
            }
            output::line("everything is as required")?;
            Ok(Exit::Done)
        }
        TopologyCommand::Drain { confirm } => {
            needs_rabbitmq(&config)?;
            let exchange = &config.broker.exchange;
            confirm.confirm(&format!(
                "the intake will be closed, until `carteiro topology apply`: producers answer 503, and what others publish \
                 to {exchange} is parked as unroutable"
            ))?;
            drain(&config.broker).await
        }
        TopologyCommand::Remove { confirm, force } => {
            needs_rabbitmq(&config)?;
            remove(&config.broker, &confirm, force).await
        }
    }
}

/// The intake stays closed however this ends, and the last line says so.
async fn drain(broker: &BrokerConfig) -> anyhow::Result<Exit> {
    rabbitmq::stop_intake(broker).await.map_err(with_exit)?;
    anstream::eprintln!("the intake is closed");
    let exit = tokio::select! {
        exit = until_empty(broker) => exit,
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| Exit::Failed).map_err(Into::into),
    };
    match &exit {
        Ok(Exit::Done) => output::line("nothing is on its way any more")?,
        _ => anstream::eprintln!("something may still be under way: `carteiro topology drain` waits on"),
    }
    anstream::eprintln!("the intake stays closed until `carteiro topology apply` opens it");
    exit
}

/// Waits until no queue has work, and keeps the intake closed meanwhile.
async fn until_empty(broker: &BrokerConfig) -> anyhow::Result<Exit> {
    let mut before = None;
    loop {
        // A role that may declare has opened it if it started or reconnected meanwhile.
        rabbitmq::stop_intake(broker).await.map_err(with_exit)?;
        // The notice is repeated, because a deliverer that has just started would send canaries.
        announce(broker, Notice::Intake { open: false }).await?;
        let left = rabbitmq::contents(broker).await.map_err(with_exit)?;
        let left: Vec<_> = left.into_iter().filter(|queue| queue.ready > 0).collect();
        // Two empty polls in a row are required, because a role holds a message between two queues.
        if left.is_empty() && before.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Exit::Done);
        }
        if before.as_ref() != Some(&left) {
            for queue in &left {
                anstream::eprintln!("{}", summary(queue));
            }
        }
        before = Some(left);
        tokio::time::sleep(POLL).await;
    }
}

async fn remove(broker: &BrokerConfig, confirm: &ConfirmArgs, force: bool) -> anyhow::Result<Exit> {
    let mut there = rabbitmq::contents(broker).await.map_err(with_exit)?;
    if there.iter().all(|queue| queue.consumers == 0) && there.iter().any(|queue| queue.ready > 0) {
        // Canaries are deleted: they are worthless.
        rabbitmq::discard(broker, wire::CANARY).await.map_err(with_exit)?;
        there = rabbitmq::contents(broker).await.map_err(with_exit)?;
    }
    // Without consumers, no role holds a message, so the ready messages are all.
    let used: Vec<_> = there.iter().filter(|queue| queue.consumers > 0 || queue.ready > 0).collect();
    for queue in &used {
        output::line(summary(queue))?;
    }
    if !used.is_empty() && !force {
        let missing = "stop the roles and drain it, or give --yes and --force";
        anstream::eprintln!("carteiro: nothing was deleted: {missing}");
        return Ok(Exit::Failed);
    }
    confirm.confirm(&format!(
        "every exchange and queue of {}.v1 will be deleted, with all dead letters and parked messages; export them before",
        broker.prefix
    ))?;
    rabbitmq::remove(broker).await.map_err(with_exit)?;
    output::line("everything is deleted")?;
    Ok(Exit::Done)
}

async fn announce(broker: &BrokerConfig, notice: Notice) -> anyhow::Result<()> {
    rabbitmq::announce(broker, &notice.write()).await.map_err(with_exit)
}

/// Requires all passwords or none: a role without one could not log in. Only a worker's may be missing, where none runs.
fn definitions(setup: &Setup, broker: &BrokerConfig, intake_bytes: u64) -> anyhow::Result<Exit> {
    let variable = |role: Role| format!("CARTEIRO_PASSWORD_{}", role.name().to_uppercase());
    let password = |role: Role| {
        let name = variable(role);
        let set = setup.environment.iter().find(|(set, text)| *set == name && !text.is_empty());
        set.map(|(_, text)| text.as_str())
    };
    if Role::ALL.into_iter().any(|role| password(role).is_some())
        && let Some(missing) = Role::ALL.into_iter().find(|role| *role != Role::Worker && password(*role).is_none())
    {
        return Err(anyhow::anyhow!("{} is not set, though others are", variable(missing)).context(Exit::Config));
    }
    let mut salt = service::chance::rng();
    let hash = |role| match password(role) {
        Some(password) => PasswordHash::of(password, salt.u32(..).to_be_bytes()),
        None => PasswordHash::none(),
    };
    let definitions = Definitions::new(broker, intake_bytes, hash)?;
    output::line(serde_json::to_string_pretty(&definitions)?)?;
    Ok(Exit::Done)
}

fn summary(queue: &QueueContents) -> String {
    let QueueContents { queue: name, ready, consumers, .. } = queue;
    format!("{name}: {ready} inside, {consumers} consumers")
}

fn needs_rabbitmq(config: &Config) -> Result<(), ConfigError> {
    if config.broker.is_embedded() {
        return Err(ConfigError::new("broker.url", "the embedded broker has no topology; give --broker amqp://…"));
    }
    Ok(())
}

fn with_exit(error: TopologyError) -> anyhow::Error {
    let exit = if error.is_fatal() { Exit::Config } else { Exit::Unavailable };
    anyhow::Error::new(error).context(exit)
}

fn plan(topology: &Topology, output: Output) -> anyhow::Result<Exit> {
    if output == Output::Json {
        output::json(topology)?;
        return Ok(Exit::Done);
    }
    let mut entities = table(["entity", "name", "definition"]);
    for exchange in &topology.exchanges {
        let alternate = exchange.alternate.as_deref().map_or(String::new(), |name| format!(", alternate {name}"));
        entities.add_row(["exchange", &exchange.name, &format!("{}{alternate}", exchange.kind)]);
    }
    for queue in &topology.queues {
        // One to a line, so that the table fits a terminal.
        let argument = |(name, value): &(&str, Argument)| format!("{}={value}", name.trim_start_matches("x-"));
        let arguments: Vec<_> = queue.arguments.iter().map(argument).collect();
        entities.add_row(["queue", &queue.name, &arguments.join("\n")]);
    }
    for binding in &topology.bindings {
        entities.add_row(["binding", &binding.from, &format!("-> {} {}", binding.to, binding.key)]);
    }
    output::line(entities)?;
    Ok(Exit::Done)
}
