//! `carteiro publish`: publishes events from a file or standard input, over a running process' API or directly to
//! RabbitMQ. It prints the ids of what was accepted, what was not, and where to go on after Ctrl-C.

use std::{
    collections::BTreeMap,
    io::{BufReader, IsTerminal as _, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use broker::PublishError;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use producer::{AcceptedEvent, EventOrigin, NotAccepted, Producer, ProducerMetrics};
use schemas::{ChannelId, Dialect, SourceContext, Strictness, VendorEvent, Warning};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use service::{Exit, metrics::Registry};

use super::{
    client::{ApiArgs, ApiWarning, Client, Method, path_segment},
    logs,
    output::{self, Output},
    setup::Setup,
    words::typed_word,
};

/// Largest number of events that wait for their confirms.
const MAX_UNCONFIRMED: usize = 256;
/// Source of vendors' bodies. It is part of an event's id: a body published twice is one event.
const SOURCE: &str = "cli";
/// Most ids, and most warnings, that are printed as text.
const MOST_LINES: usize = 10;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// File with one event as JSON, a list of events, or one after the other (NDJSON); `-` is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// The tenant's id.
    #[arg(long)]
    tenant: String,
    /// Read the input as a vendor's webhook bodies.
    #[arg(long, value_parser = typed_word::<Dialect>())]
    dialect: Option<Dialect>,
    /// Channel of vendor bodies that name none.
    #[arg(long, requires = "dialect", value_name = "ID")]
    channel: Option<String>,
    /// Begin with this event of the input, counted from 1.
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    from: u32,
    /// Refuse events with warnings instead of publishing them.
    #[arg(long)]
    strict: bool,
    /// Publish straight to this RabbitMQ instead of over the API. What was accepted before is then not recognised.
    #[arg(long, value_name = "URL", conflicts_with_all = ["server", "key"])]
    broker: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let config = setup.load_with_broker(args.broker.as_deref())?.config;
    let publisher = if args.broker.is_some() {
        let broker = logs::connect(&config).await?;
        let metrics = ProducerMetrics::register(&Registry::default())?;
        let clock_and_chance = (service::clock::system(), service::chance::system());
        EventPublisher::Broker(Producer::new(&config.producer, broker, None, metrics, clock_and_chance))
    } else {
        EventPublisher::Api(Client::new(&args.api, setup)?)
    };
    let input = read(&args.file)?;
    let summary = publish_all(&publisher, &args, &input.values).await?;
    summary.print(args.output)?;
    match input.broken {
        Some(broken) => Err(broken.context(format!("{}: not read to its end", args.file.display()))),
        None if input.is_empty => Err(anyhow::anyhow!("nothing to publish: the input is empty").context(Exit::Usage)),
        None => Ok(summary.exit()),
    }
}

struct Input {
    values: Vec<Box<RawValue>>,
    /// True when the input has no JSON at all. An empty list is not empty: it says that there is nothing.
    is_empty: bool,
    /// The error that ended the reading.
    broken: Option<anyhow::Error>,
}

fn read(file: &Path) -> anyhow::Result<Input> {
    let input: Box<dyn Read> = if file.as_os_str() == "-" {
        if std::io::stdin().is_terminal() {
            anstream::eprintln!("Reading events from standard input; Ctrl-D ends them.");
        }
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).with_context(|| file.display().to_string())?)
    };
    let mut read = Input { values: Vec::new(), is_empty: true, broken: None };
    for value in serde_json::Deserializer::from_reader(BufReader::new(input)).into_iter::<Box<RawValue>>() {
        match value {
            Ok(value) if value.get().starts_with('[') => {
                read.values.extend(serde_json::from_str::<Vec<Box<RawValue>>>(value.get())?);
            }
            Ok(value) => read.values.push(value),
            Err(error) => read.broken = Some(error.into()),
        }
        read.is_empty = false;
        if read.broken.is_some() {
            break;
        }
    }
    Ok(read)
}

enum EventPublisher {
    Broker(Arc<Producer>),
    Api(Client),
}

/// An accepted event, as it is printed.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename = "accepted")]
struct Accepted {
    /// Position in the input, from 1.
    number: usize,
    id: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repeated: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<ApiWarning>,
}

/// The API's answer to one event.
#[derive(Deserialize)]
struct AcceptedAnswer {
    accepted: [AcceptedId; 1],
    #[serde(default)]
    warnings: Vec<ApiWarning>,
}

#[derive(Deserialize)]
struct AcceptedId {
    id: String,
    #[serde(default)]
    repeated: bool,
}

impl EventPublisher {
    /// Publishes the event of a position in the input.
    async fn publish(&self, args: &Args, number: usize, event: &str) -> anyhow::Result<Accepted> {
        match self {
            Self::Broker(producer) => {
                let (event, strictness) = (Bytes::copy_from_slice(event.as_bytes()), args.strictness());
                let accepted = producer.publish(&args.tenant, event, &EventOrigin::default(), strictness).await;
                let AcceptedEvent { id, repeated, warnings } = accepted.map_err(with_details)?;
                let warnings = warnings.into_iter().map(shown).collect();
                Ok(Accepted { number, id: id.to_string(), repeated, warnings })
            }
            Self::Api(client) => {
                let query = if args.strict { "?strict=true" } else { "" };
                let path = format!("/v1/tenants/{}/events{query}", path_segment(&args.tenant));
                let answer = client.call_silently(Method::POST, &path, Some(event.to_owned())).await?;
                let AcceptedAnswer { accepted: [AcceptedId { id, repeated }], warnings } = answer;
                Ok(Accepted { number, id, repeated, warnings })
            }
        }
    }
}

fn shown(warning: Warning) -> ApiWarning {
    let code = serde_json::to_value(warning.code).ok().and_then(|code| Some(code.as_str()?.to_owned()));
    ApiWarning { code: code.unwrap_or_default(), pointer: warning.pointer, message: warning.message }
}

/// An error with every invalid field of an event.
fn with_details(refused: NotAccepted) -> anyhow::Error {
    match refused {
        NotAccepted::Invalid { refusals, .. } => {
            let details: Vec<_> = refusals.iter().map(ToString::to_string).collect();
            anyhow::anyhow!(details.join("; "))
        }
        NotAccepted::Warned { warnings } => refused_warnings(warnings),
        NotAccepted::Unconfirmed { error: PublishError::TooLarge, .. } => refused.into(),
        NotAccepted::Unconfirmed { .. } => anyhow::Error::from(refused).context(Exit::Unavailable),
        other => other.into(),
    }
}

fn refused_warnings(warnings: Vec<Warning>) -> anyhow::Error {
    let details: Vec<_> = warnings.into_iter().map(|warning| shown(warning).to_string()).collect();
    anyhow::anyhow!("{}", details.join("; "))
}

/// Numbers of events that were read, confirmed and refused.
#[derive(Debug, Default, Serialize)]
#[serde(tag = "kind", rename = "summary")]
struct PublishSummary {
    read: u64,
    confirmed: u64,
    failed: u64,
    /// Confirmed events that had been accepted before.
    repeated: u64,
    /// First event that was not confirmed when Ctrl-C ended the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    go_on_from: Option<usize>,
    /// Failed events without any answer.
    #[serde(skip)]
    unanswered: u64,
    /// The first accepted events by their positions, each as a line of text.
    #[serde(skip)]
    accepted: BTreeMap<usize, String>,
    #[serde(skip)]
    warnings: u64,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename = "failed")]
struct PublishFailure {
    /// Position in the input, from 1.
    number: usize,
    reason: String,
}

impl PublishFailure {
    fn print(&self, output: Output) -> anyhow::Result<()> {
        match output {
            Output::Json => output::json(self),
            Output::Table => {
                anstream::eprintln!("event {}: {}", self.number, self.reason);
                Ok(())
            }
        }
    }
}

impl PublishSummary {
    /// Adds an accepted event, and prints its warnings, and as JSON the event itself.
    fn add(&mut self, accepted: &Accepted, output: Output) -> anyhow::Result<()> {
        let Accepted { number, id, repeated, warnings } = accepted;
        self.confirmed += 1;
        self.repeated += u64::from(*repeated);
        for warning in warnings {
            self.warnings += 1;
            if self.warnings <= MOST_LINES as u64 {
                output::warning(format_args!("event {number}: {warning}"));
            }
        }
        if output == Output::Json {
            return output::json(accepted);
        }
        self.accepted.insert(*number, format!("{id}{}", if *repeated { "  repeated" } else { "" }));
        if self.accepted.len() > MOST_LINES {
            self.accepted.pop_last();
        }
        Ok(())
    }

    fn print(&self, output: Output) -> anyhow::Result<()> {
        if let Some(more) = self.warnings.checked_sub(MOST_LINES as u64).filter(|more| *more > 0) {
            output::warning(format_args!("{more} more; --output json lists all"));
        }
        if let Some(number) = self.go_on_from {
            anstream::eprintln!(
                "Interrupted: --from {number} goes on with the first event that was not confirmed. Some after it were \
                 confirmed or may have been; those that bring their ids are recognised."
            );
        }
        if output == Output::Json {
            return output::json(self);
        }
        self.accepted.values().try_for_each(output::line)?;
        let Self { read, confirmed, failed, repeated, .. } = self;
        if let Some(more) = confirmed.checked_sub(self.accepted.len() as u64).filter(|more| *more > 0) {
            output::line(format_args!("… and {more} more; --output json lists all"))?;
        }
        let repeats = match repeated {
            0 => String::new(),
            _ => format!(" ({repeated} repeated: accepted before under the same id, and not delivered again)"),
        };
        output::line(format_args!("{confirmed} of {read} confirmed{repeats}, {failed} failed"))
    }

    /// Returns [`Exit::Unavailable`] if no event got an answer.
    fn exit(&self) -> Exit {
        match self.failed {
            _ if self.go_on_from.is_some() => Exit::Failed,
            0 => Exit::Done,
            failed if failed == self.unanswered && self.confirmed == 0 => Exit::Unavailable,
            _ => Exit::Failed,
        }
    }
}

async fn publish_all(
    publisher: &EventPublisher,
    args: &Args,
    values: &[Box<RawValue>],
) -> anyhow::Result<PublishSummary> {
    let skipped = values.len().min(args.from as usize - 1);
    let values = &values[skipped..];
    let bar = output::progress_bar(values.len() as u64);
    let mut summary = PublishSummary { read: values.len() as u64, ..PublishSummary::default() };
    let publishes = stream::iter(values.iter().enumerate()).map(async |(at, value)| {
        let number = skipped + at + 1;
        (number, publish(publisher, args, number, value.get()).await)
    });
    let mut ends = std::pin::pin!(publishes.buffer_unordered(MAX_UNCONFIRMED));
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    // The positions that are done.
    let mut ended = vec![false; values.len()];
    loop {
        let (number, end) = tokio::select! {
            biased;
            _ = &mut interrupt => {
                summary.go_on_from = ended.iter().position(|done| !done).map(|at| skipped + at + 1);
                break;
            }
            end = ends.next() => match end {
                Some(end) => end,
                None => break,
            },
        };
        bar.inc(1);
        match end {
            Ok(accepted) => {
                ended[number - skipped - 1] = true;
                bar.suspend(|| summary.add(&accepted, args.output))?;
            }
            Err(error) => {
                summary.failed += 1;
                summary.unanswered += u64::from(Exit::of(&error) == Exit::Unavailable);
                let failure = PublishFailure { number, reason: super::describe(&error) };
                bar.suspend(|| failure.print(args.output))?;
            }
        }
    }
    bar.finish_and_clear();
    Ok(summary)
}

async fn publish(publisher: &EventPublisher, args: &Args, number: usize, value: &str) -> anyhow::Result<Accepted> {
    let Some(dialect) = args.dialect else { return publisher.publish(args, number, value).await };
    let VendorEvent { envelope, warnings, .. } = vendor_event(args, dialect, value)?;
    if args.strictness().refuses(&warnings) {
        return Err(refused_warnings(warnings));
    }
    let mut accepted = publisher.publish(args, number, &envelope).await?;
    accepted.warnings.extend(warnings.into_iter().map(shown));
    Ok(accepted)
}

impl Args {
    fn strictness(&self) -> Strictness {
        if self.strict { Strictness::Strict } else { Strictness::Lenient }
    }
}

fn vendor_event(args: &Args, dialect: Dialect, body: &str) -> anyhow::Result<VendorEvent> {
    let channel_id = args.channel.clone().map(ChannelId::Text);
    let chance = service::chance::bytes(&service::chance::system());
    let intake = SourceContext {
        tenant: &args.tenant,
        source: SOURCE,
        channel_id: channel_id.as_ref(),
        keep_original: true,
        tokens: &[],
        now: service::clock::system()(),
        chance,
    };
    Ok(schemas::read(dialect, body.as_bytes(), &intake)?)
}
