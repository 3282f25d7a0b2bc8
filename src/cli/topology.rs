//! `carteiro topology`: what the broker must have; declare it, compare, and take it away.

use std::time::Duration;

use broker::{
    BrokerConfig,
    rabbitmq::{self, Definitions, PasswordHash, QueueContents, Role, Topology, TopologyError},
};
use clap::Subcommand;
use schemas::{Notice, wire};
use service::{ConfigError, Exit};

use super::{
    print,
    setup::{Output, Setup},
    table::table,
};
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The RabbitMQ, instead of broker.url.
    #[arg(long, global = true, value_name = "URL")]
    broker: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what the broker must have. Asks no broker.
    Plan {
        /// How to print it.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Print users, their rights and the intake's limit, for `rabbitmqctl import_definitions`. Asks no broker.
    ///
    /// Each role is a user of its own, with just the rights it needs, for the vhost of broker.url. Their passwords are read
    /// from `CARTEIRO_PASSWORD_PRODUCER`, `…_ROUTER`, `…_DELIVERER`, `…_CONTROL` and `…_TOPOLOGY`, and only hashes are
    /// printed; without any of them nobody can log in until given a password on the broker.
    Definitions {
        /// How many bytes of events may wait to be routed. Beyond it publishers are refused, and try again.
        #[arg(long, value_name = "BYTES", default_value_t = INTAKE_BYTES)]
        intake_bytes: u64,
    },
    /// Declare what is missing. Never changes or deletes what is there.
    Apply,
    /// Compare everything, and send a probe through a delay.
    Verify,
    /// Let nothing in any more, and wait until the roles have ended all that is on its way.
    ///
    /// What is published meanwhile is parked as unroutable. Deliverers send no canaries any more; those on their way take
    /// up to five minutes. `topology apply` lets events in again, and so does a role that starts or reconnects.
    Drain,
    /// Delete everything, dead letters and parked messages too: export them first.
    ///
    /// Refused while a role runs or anything but canaries is on its way. The public exchange stays if something else is bound to it.
    Remove {
        /// Really; without it, what could be lost is printed, and nothing deleted.
        #[arg(long)]
        yes: bool,
        /// Also while it is in use, with what is on its way.
        #[arg(long, requires = "yes")]
        force: bool,
    },
}

/// A quarter of 48 GB of free disk, in three: a queue's log holds what was taken out as well until it is truncated.
const INTAKE_BYTES: u64 = 4_000_000_000;
/// How often the broker is asked what is left.
const LOOK: Duration = Duration::from_secs(1);

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let config = setup.load_on(args.broker.as_deref())?.config;
    match args.command {
        Command::Plan { output } => plan(&Topology::plan(&config.broker), output),
        Command::Definitions { intake_bytes } => definitions(setup, &config.broker, intake_bytes),
        Command::Apply => {
            needs_rabbitmq(&config)?;
            rabbitmq::apply(&config.broker).await.map_err(with_exit)?;
            say(&config.broker, Notice::Intake { open: true }).await?;
            print::line("everything is declared")?;
            Ok(Exit::Done)
        }
        Command::Verify => {
            needs_rabbitmq(&config)?;
            let found = rabbitmq::verify(&config.broker, service::chance::rng()).await.map_err(with_exit)?;
            for difference in &found {
                print::line(difference)?;
            }
            if !found.is_empty() {
                return Ok(Exit::Config);
            }
            print::line("everything is as required")?;
            Ok(Exit::Done)
        }
        Command::Drain => {
            needs_rabbitmq(&config)?;
            drain(&config.broker).await
        }
        Command::Remove { yes, force } => {
            needs_rabbitmq(&config)?;
            remove(&config.broker, yes, force).await
        }
    }
}

async fn drain(broker: &BrokerConfig) -> anyhow::Result<Exit> {
    rabbitmq::stop_intake(broker).await.map_err(with_exit)?;
    let mut before = None;
    loop {
        // Again and again, for a deliverer that has just come: its canaries would be on their way for ever.
        say(broker, Notice::Intake { open: false }).await?;
        let left = rabbitmq::contents(broker).await.map_err(with_exit)?;
        let left: Vec<_> = left.into_iter().filter(|queue| queue.ready > 0).collect();
        // Twice: between two queues a message may be in a role's hands.
        if left.is_empty() && before.as_ref().is_some_and(Vec::is_empty) {
            print::line("nothing is on its way any more")?;
            return Ok(Exit::Done);
        }
        if before.as_ref() != Some(&left) {
            for queue in &left {
                anstream::eprintln!("{}", told(queue));
            }
        }
        before = Some(left);
        tokio::time::sleep(LOOK).await;
    }
}

async fn remove(broker: &BrokerConfig, yes: bool, force: bool) -> anyhow::Result<Exit> {
    let mut there = rabbitmq::contents(broker).await.map_err(with_exit)?;
    if there.iter().all(|queue| queue.consumers == 0) && there.iter().any(|queue| queue.ready > 0) {
        // What deliverers sent only to see whether it comes is nothing that could be lost.
        rabbitmq::discard(broker, wire::CANARY).await.map_err(with_exit)?;
        there = rabbitmq::contents(broker).await.map_err(with_exit)?;
    }
    // Without a consumer nothing is in anybody's hands: what is ready is all there is.
    let used: Vec<_> = there.iter().filter(|queue| queue.consumers > 0 || queue.ready > 0).collect();
    for queue in &used {
        print::line(told(queue))?;
    }
    let missing = match (yes, used.is_empty() || force) {
        (true, true) => {
            rabbitmq::remove(broker).await.map_err(with_exit)?;
            print::line("everything is deleted")?;
            return Ok(Exit::Done);
        }
        (_, false) => "stop the roles and drain it, or give --yes and --force",
        (false, true) => "export dead letters and parked messages, which go with it; then give --yes",
    };
    anstream::eprintln!("carteiro: nothing was deleted: {missing}");
    Ok(Exit::Failed)
}

/// To every process on the broker.
async fn say(broker: &BrokerConfig, notice: Notice) -> anyhow::Result<()> {
    rabbitmq::announce(broker, &notice.write()).await.map_err(with_exit)
}

/// All passwords or none: with one forgotten, that role could not log in.
fn definitions(setup: &Setup, broker: &BrokerConfig, intake_bytes: u64) -> anyhow::Result<Exit> {
    let variable = |role: Role| format!("CARTEIRO_PASSWORD_{}", role.name().to_uppercase());
    let password = |role: Role| {
        let name = variable(role);
        let set = setup.environment.iter().find(|(set, text)| *set == name && !text.is_empty());
        set.map(|(_, text)| text.as_str())
    };
    if Role::ALL.into_iter().any(|role| password(role).is_some())
        && let Some(missing) = Role::ALL.into_iter().find(|role| password(*role).is_none())
    {
        return Err(anyhow::anyhow!("{} is not set, though others are", variable(missing)).context(Exit::Config));
    }
    let mut salt = service::chance::rng();
    let hash = |role| match password(role) {
        Some(password) => PasswordHash::of(password, salt.u32(..).to_be_bytes()),
        None => PasswordHash::none(),
    };
    let definitions = Definitions::new(broker, intake_bytes, hash)?;
    print::line(serde_json::to_string_pretty(&definitions)?)?;
    Ok(Exit::Done)
}

fn told(queue: &QueueContents) -> String {
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
        print::json(topology)?;
        return Ok(Exit::Done);
    }
    let mut entities = table(["entity", "name", "definition"]);
    for exchange in &topology.exchanges {
        let alternate = exchange.alternate.as_deref().map_or(String::new(), |name| format!(", alternate {name}"));
        entities.add_row(["exchange", &exchange.name, &format!("{:?}{alternate}", exchange.kind)]);
    }
    for queue in &topology.queues {
        let arguments: Vec<_> = queue.arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
        entities.add_row(["queue", &queue.name, &arguments.join(" ")]);
    }
    for binding in &topology.bindings {
        entities.add_row(["binding", &format!("{} → {}", binding.from, binding.to), &binding.key]);
    }
    print::line(entities)?;
    Ok(Exit::Done)
}
