//! `carteiro topology`: what the broker must have; declare it, or compare.

use broker::rabbitmq::{self, Topology, TopologyError};
use clap::Subcommand;
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
    /// Declare what is missing. Never changes or deletes what is there.
    Apply,
    /// Compare everything, and send a probe through a delay.
    Verify,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let config = setup.load_on(args.broker.as_deref())?.config;
    match args.command {
        Command::Plan { output } => plan(&Topology::plan(&config.broker), output),
        Command::Apply => {
            needs_rabbitmq(&config)?;
            rabbitmq::apply(&config.broker).await.map_err(with_exit)?;
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
    }
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
