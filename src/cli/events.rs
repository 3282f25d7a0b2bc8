//! `carteiro events`: the canonical event, as a JSON Schema and as samples.

use clap::Subcommand;
use service::Exit;

use super::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: EventsCommand,
}

#[derive(Debug, Subcommand)]
enum EventsCommand {
    /// Print the JSON Schema of the canonical event.
    Schema,
    /// Print a sample event.
    Sample {
        /// The event's type. The error for a type without a sample lists the types that have one.
        #[arg(default_value = "message.received")]
        event_type: String,
    },
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.command {
        EventsCommand::Schema => {
            let schemas = schemas::json_schemas();
            let event = schemas.iter().find(|(name, _)| *name == "event");
            let (_, schema) = event.ok_or_else(|| anyhow::anyhow!("this build has no schema of the event"))?;
            output::pretty(schema)?;
            Ok(Exit::Done)
        }
        EventsCommand::Sample { event_type } => {
            let samples = schemas::samples();
            let Some((_, json)) = samples.iter().find(|(known, _)| known == event_type) else {
                let known: Vec<_> = samples.iter().map(|(known, _)| *known).collect();
                return Err(
                    anyhow::anyhow!("no sample of {event_type}; there are {}", known.join(", ")).context(Exit::Usage)
                );
            };
            output::line(json.trim_end())?;
            Ok(Exit::Done)
        }
    }
}
