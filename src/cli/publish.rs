//! `carteiro publish`: publishes events from a file or standard input, over a running process' API or directly to
//! RabbitMQ. It reports confirmed and failed events, and cannot resume.

use std::{
    io::{BufReader, Read},
    path::PathBuf,
    sync::Arc,
};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use producer::{EventOrigin, Producer, ProducerMetrics};
use schemas::{ChannelId, Dialect, SourceContext};
use serde_json::value::RawValue;
use service::{Exit, metrics::Registry};

use super::{
    client::{ApiArgs, Client, Method},
    logs,
    output::{self, Output},
    setup::Setup,
};

/// Largest number of events that wait for their confirms.
const MAX_UNCONFIRMED: usize = 256;
/// Source of vendors' bodies. It is part of an event's id: a body published twice is one event.
const SOURCE: &str = "cli";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// File with one event as JSON, a list of events, or one after the other (NDJSON); `-` is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// The tenant's id.
    #[arg(long)]
    tenant: String,
    /// Read the input as a vendor's webhook bodies: whazing, whaticket or boticario.
    #[arg(long, value_parser = dialect)]
    dialect: Option<Dialect>,
    /// Channel of vendor bodies that name none.
    #[arg(long, requires = "dialect", value_name = "ID")]
    channel: Option<String>,
    /// Publish straight to this RabbitMQ instead of over the API.
    #[arg(long, value_name = "URL", conflicts_with_all = ["server", "key"])]
    broker: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

fn dialect(text: &str) -> Result<Dialect, String> {
    serde_json::from_value(text.into()).map_err(|_| "expected whazing, whaticket or boticario".to_owned())
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
    let (values, broken) = read(&args.file)?;
    let summary = publish_all(&publisher, &args, values).await?;
    summary.print(args.output)?;
    if let Some(broken) = broken {
        return Err(broken.context(format!("{}: not read to its end", args.file.display())));
    }
    Ok(summary.exit())
}

/// Reads all values of the input, and the error that ended the reading.
fn read(file: &std::path::Path) -> anyhow::Result<(Vec<Box<RawValue>>, Option<anyhow::Error>)> {
    let input: Box<dyn Read> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).with_context(|| file.display().to_string())?)
    };
    let mut values = Vec::new();
    for value in serde_json::Deserializer::from_reader(BufReader::new(input)).into_iter::<Box<RawValue>>() {
        match value {
            Ok(value) if value.get().starts_with('[') => {
                values.extend(serde_json::from_str::<Vec<Box<RawValue>>>(value.get())?);
            }
            Ok(value) => values.push(value),
            Err(error) => return Ok((values, Some(error.into()))),
        }
    }
    Ok((values, None))
}

enum EventPublisher {
    Broker(Arc<Producer>),
    Api(Client),
}

impl EventPublisher {
    async fn publish(&self, tenant: &str, event: &str) -> anyhow::Result<()> {
        match self {
            Self::Broker(producer) => {
                let event = Bytes::copy_from_slice(event.as_bytes());
                producer.publish(tenant, event, &EventOrigin::default()).await.map(drop).map_err(with_details)
            }
            Self::Api(client) => {
                let path = format!("/v1/tenants/{tenant}/events");
                client.call::<serde::de::IgnoredAny>(Method::POST, &path, Some(event.to_owned())).await.map(drop)
            }
        }
    }
}

/// An error with every invalid field of an event.
fn with_details(refused: producer::NotAccepted) -> anyhow::Error {
    match refused {
        producer::NotAccepted::Invalid { refusals, .. } => {
            let details: Vec<_> = refusals.iter().map(ToString::to_string).collect();
            anyhow::anyhow!(details.join("; "))
        }
        other => other.into(),
    }
}

/// Numbers of events that were read, confirmed and refused.
#[derive(Debug, Default, serde::Serialize)]
#[serde(tag = "kind", rename = "summary")]
struct PublishSummary {
    read: u64,
    confirmed: u64,
    failed: u64,
    /// Failed events without any answer.
    #[serde(skip)]
    unanswered: u64,
}

#[derive(Debug, serde::Serialize)]
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
    fn print(&self, output: Output) -> anyhow::Result<()> {
        match output {
            Output::Json => output::json(self),
            Output::Table => {
                let Self { read, confirmed, failed, .. } = self;
                output::line(format_args!("{confirmed} of {read} confirmed, {failed} failed"))
            }
        }
    }

    /// Returns [`Exit::Unavailable`] if no event got an answer.
    fn exit(&self) -> Exit {
        match self.failed {
            0 => Exit::Done,
            failed if failed == self.unanswered && self.confirmed == 0 => Exit::Unavailable,
            _ => Exit::Failed,
        }
    }
}

async fn publish_all(
    publisher: &EventPublisher,
    args: &Args,
    values: Vec<Box<RawValue>>,
) -> anyhow::Result<PublishSummary> {
    let bar = output::progress_bar(values.len() as u64);
    let mut summary = PublishSummary { read: values.len() as u64, ..PublishSummary::default() };
    let publishes = stream::iter(values.iter().enumerate()).map(async |(at, value)| {
        let event = match args.dialect {
            Some(dialect) => vendor_event(args, dialect, value.get()),
            None => Ok(value.get().to_owned()),
        };
        match event {
            Ok(event) => (at, publisher.publish(&args.tenant, &event).await),
            Err(error) => (at, Err(error)),
        }
    });
    let mut ends = std::pin::pin!(publishes.buffer_unordered(MAX_UNCONFIRMED));
    while let Some((at, end)) = ends.next().await {
        bar.inc(1);
        match end {
            Ok(()) => summary.confirmed += 1,
            Err(error) => {
                summary.failed += 1;
                summary.unanswered += u64::from(Exit::of(&error) == Exit::Unavailable);
                let failure = PublishFailure { number: at + 1, reason: super::describe(&error) };
                bar.suspend(|| failure.print(args.output))?;
            }
        }
    }
    bar.finish_and_clear();
    Ok(summary)
}

fn vendor_event(args: &Args, dialect: Dialect, body: &str) -> anyhow::Result<String> {
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
    Ok(schemas::read(dialect, body.as_bytes(), &intake)?.envelope)
}
