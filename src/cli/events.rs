//! `carteiro events`: events and what became of them, the known event types, the JSON Schema of the canonical event, and samples of all formats and of
//! what the vendors send.

use clap::Subcommand;
use schemas::{Dialect, EventId, Format, catalogue, time::rfc3339, vendor_samples};
use serde_json::Value;
use service::Exit;

use super::{
    history::{EventListArgs, EventShowArgs, list_events, show_event},
    output::{self, List, Output},
    setup::Setup,
    words::typed_word,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: EventsCommand,
}

#[derive(Debug, Subcommand)]
enum EventsCommand {
    /// List events, newest first.
    List(Box<EventListArgs>),
    /// Show one event, who got it, and why others did not.
    Show(EventShowArgs),
    /// List the known event types: what each means, and which formats have it.
    Types {
        /// How to print the types; as JSON, with their samples.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Print the JSON Schema of the canonical event.
    Schema,
    /// Print a sample: an event to publish, what an endpoint gets of it, or what a vendor sends.
    Sample(SampleArgs),
}

#[derive(Debug, clap::Args)]
struct SampleArgs {
    /// Type of the event, such as ticket.closed; see `events types`. With --dialect, the vendor's name of the event, such
    /// as NewTicket. Default: message.received, or the vendor's message.
    event_type: Option<String>,
    /// Print what an endpoint of this format gets.
    #[arg(long, value_parser = typed_word::<Format>())]
    format: Option<Format>,
    /// Print what this vendor sends to the URL of a source.
    #[arg(long, value_parser = typed_word::<Dialect>(), conflicts_with = "format")]
    dialect: Option<Dialect>,
    /// Id of the event. Default: a fresh one each time, because an id is for one event.
    #[arg(long, conflicts_with_all = ["format", "dialect"])]
    id: Option<String>,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    match args.command {
        EventsCommand::List(args) => list_events(setup, *args).await,
        EventsCommand::Show(args) => show_event(setup, args).await,
        EventsCommand::Types { output } => types(output),
        EventsCommand::Schema => {
            let schemas = schemas::json_schemas();
            let event = schemas.iter().find(|(name, _)| *name == "event");
            let (_, schema) = event.ok_or_else(|| anyhow::anyhow!("this build has no schema of the event"))?;
            output::pretty(schema)?;
            Ok(Exit::Done)
        }
        EventsCommand::Sample(sample) => {
            let (now, chance) = (service::clock::system()(), service::chance::bytes(&service::chance::system()));
            output::pretty(&sample.body(now, chance).map_err(|error| error.context(Exit::Usage))?)?;
            Ok(Exit::Done)
        }
    }
}

fn types(output: Output) -> anyhow::Result<Exit> {
    let mut list = List::new(output, ["type", "formats", "meaning"]);
    for entry in catalogue() {
        let formats = || entry.formats.iter().map(|format| format.as_str()).collect::<Vec<_>>().join(", ");
        list.push(entry, || vec![entry.event_type.to_string(), formats(), entry.description.clone()])?;
    }
    list.end()
}

impl SampleArgs {
    fn body(&self, now: u64, chance: [u8; 10]) -> anyhow::Result<Value> {
        match self.dialect {
            Some(dialect) => self.vendor_body(dialect, now, &schemas::hex(&chance)),
            None => self.event(now, chance),
        }
    }

    fn event(&self, now: u64, chance: [u8; 10]) -> anyhow::Result<Value> {
        let (name, format) = (self.event_type.as_deref().unwrap_or("message.received"), self.format);
        let format = format.unwrap_or(Format::Canonical);
        let sample = |entry: &schemas::EventTypeEntry| Some(entry.samples.in_format(format)?.get().to_owned());
        let entry = catalogue().iter().find(|entry| entry.event_type.as_str() == name);
        let Some(text) = entry.and_then(sample) else {
            let known = catalogue().iter().filter(|entry| sample(entry).is_some());
            let known: Vec<_> = known.map(|entry| entry.event_type.as_str()).collect();
            let what =
                if self.format.is_some() { format!(" in the format {}", format.as_str()) } else { String::new() };
            anyhow::bail!("no sample of {name}{what}; there are {}", none_or(&known));
        };
        let mut event: Value = serde_json::from_str(&text)?;
        match (format, &self.id) {
            (Format::Canonical, Some(id)) => event["id"] = EventId::try_from(id.clone())?.as_str().into(),
            (Format::Canonical, None) => {
                event["id"] = EventId::fresh(now, chance).as_str().into();
                event["occurred_at"] = rfc3339(now).into();
            }
            _ => {}
        }
        Ok(event)
    }

    fn vendor_body(&self, dialect: Dialect, now: u64, digits: &str) -> anyhow::Result<Value> {
        let samples = vendor_samples(dialect);
        let name = self.event_type.as_deref().unwrap_or(samples[0].0);
        let Some((_, text)) = samples.iter().find(|(known, _)| *known == name) else {
            let known: Vec<_> = samples.iter().map(|(known, _)| *known).collect();
            anyhow::bail!("no sample of {name} of {}; there are {}", dialect.as_str(), known.join(", "));
        };
        let mut body = serde_json::from_str(text)?;
        make_fresh(&mut body, now, digits);
        Ok(body)
    }
}

fn none_or(known: &[&str]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}

/// Gives a vendor's body ids and times of its own where these identify it: an equal body is a repeat.
fn make_fresh(body: &mut Value, now: u64, digits: &str) {
    for pointer in ["/messageId", "/message/messageId"] {
        if let Some(Value::String(id)) = body.pointer_mut(pointer) {
            id.truncate(id.len().saturating_sub(digits.len()));
            id.push_str(digits);
        }
    }
    for pointer in ["/ticketData/updatedAt", "/timestamp"] {
        match body.pointer_mut(pointer) {
            Some(Value::String(time)) => *time = rfc3339(now),
            Some(Value::Number(seconds)) => *seconds = (now / 1_000).into(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    fn sample(event_type: &str, dialect: Option<Dialect>, at: u64) -> Value {
        let args = SampleArgs { event_type: Some(event_type.to_owned()), format: None, dialect, id: None };
        args.body(at, [at as u8; 10]).unwrap()
    }

    #[test]
    fn a_sample_has_a_fresh_id_unless_one_is_given() {
        let [first, second] = [NOW, NOW + 1].map(|at| sample("ticket.closed", None, at));
        assert_ne!(first["id"], second["id"]);
        let args = SampleArgs { event_type: None, format: None, dialect: None, id: Some("E-1".to_owned()) };
        let [first, second] = [NOW, NOW + 1].map(|at| args.body(at, [at as u8; 10]).unwrap());
        assert_eq!((&first["id"], &first), (&Value::from("E-1"), &second), "a repeat has the same bytes");
    }

    #[test]
    fn no_sample_of_a_vendor_repeats_an_earlier_one() {
        for dialect in Dialect::ALL {
            for (kind, _) in vendor_samples(dialect) {
                let id = |at: u64| {
                    let source = schemas::SourceContext {
                        tenant: "acme",
                        source: "main",
                        channel_id: None,
                        keep_original: true,
                        tokens: &[],
                        now: at,
                        chance: [at as u8; 10],
                    };
                    let body = sample(kind, Some(dialect), at).to_string();
                    schemas::read(dialect, body.as_bytes(), &source).unwrap().id
                };
                assert_ne!(id(NOW), id(NOW + 1_000), "{kind}");
            }
        }
    }

    #[test]
    fn a_type_without_a_sample_is_answered_with_those_that_have_one() {
        let args = |event_type: &str, format| SampleArgs {
            event_type: Some(event_type.to_owned()),
            format: Some(format),
            dialect: None,
            id: None,
        };
        let error = args("ticket.created", Format::Boticario).body(NOW, [1; 10]).unwrap_err().to_string();
        assert_eq!(
            error,
            "no sample of ticket.created in the format boticario; there are message.received, message.status_changed"
        );
        let error = args("ticket.created", Format::Original).body(NOW, [1; 10]).unwrap_err().to_string();
        assert_eq!(error, "no sample of ticket.created in the format original; there are none");
    }
}
