//! `carteiro publish`: events from a file or standard input, to a running process or straight to RabbitMQ. It resumes
//! nothing: it says how many were confirmed, and which were not.

use std::{
    io::{BufReader, Read},
    path::PathBuf,
    sync::Arc,
};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use producer::{Producer, ProducerMetrics};
use schemas::{ChannelId, Dialect, SourceContext, TraceContext};
use serde_json::value::RawValue;
use service::{Exit, metrics::Registry};

use super::{
    client::{ApiArgs, Client, Method},
    logs, print,
    setup::{Output, Setup},
};

/// How many wait for their confirms at once.
const WINDOW: usize = 256;
/// What vendors' bodies from here come from, so that a body published twice is the same event.
const SOURCE: &str = "cli";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// One JSON value, a list of them, or one after the other (NDJSON); `-` is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Whose events they are.
    #[arg(long)]
    tenant: String,
    /// They are a vendor's bodies: whazing, whaticket or boticario.
    #[arg(long, value_parser = dialect)]
    dialect: Option<Dialect>,
    /// The channel, where a vendor's body names none.
    #[arg(long, requires = "dialect", value_name = "ID")]
    channel: Option<String>,
    /// Publish straight to this RabbitMQ.
    #[arg(long, value_name = "URL", conflicts_with_all = ["url", "key"])]
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
    let config = setup.load_on(args.broker.as_deref())?.config;
    let road = if args.broker.is_some() {
        let broker = logs::connect(&config).await?;
        let metrics = ProducerMetrics::register(&Registry::default())?;
        let world = (service::clock::system(), service::chance::system());
        Road::Broker(Producer::new(&config.producer, broker, metrics, world))
    } else {
        Road::Api(Client::new(&args.api, &config)?)
    };
    let (values, broken) = read(&args.file)?;
    let outbox = publish_all(&road, &args, values).await?;
    outbox.print(args.output)?;
    if let Some(broken) = broken {
        return Err(broken.context(format!("{}: not read to its end", args.file.display())));
    }
    Ok(outbox.exit())
}

/// All values of the input, and what ended it early.
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

/// How events get there.
enum Road {
    Broker(Arc<Producer>),
    Api(Client),
}

impl Road {
    async fn publish(&self, tenant: &str, event: &str) -> anyhow::Result<()> {
        match self {
            Self::Broker(producer) => {
                let event = Bytes::copy_from_slice(event.as_bytes());
                producer.publish(tenant, event, &TraceContext::default()).await.map(drop).map_err(told)
            }
            Self::Api(client) => {
                let path = format!("/v1/tenants/{tenant}/events");
                client.call::<serde::de::IgnoredAny>(Method::POST, &path, Some(event.to_owned())).await.map(drop)
            }
        }
    }
}

/// A refusal with its details, which are the refusals themselves.
fn told(refused: producer::NotAccepted) -> anyhow::Error {
    match refused {
        producer::NotAccepted::Invalid { refusals, .. } => {
            let words: Vec<_> = refusals.iter().map(ToString::to_string).collect();
            anyhow::anyhow!(words.join("; "))
        }
        other => other.into(),
    }
}

/// How many there were.
#[derive(Debug, Default, serde::Serialize)]
#[serde(tag = "kind", rename = "summary")]
struct PublishSummary {
    read: u64,
    confirmed: u64,
    failed: u64,
    /// Of those that failed, because nobody was there.
    #[serde(skip)]
    unanswered: u64,
}

/// One that was not confirmed.
#[derive(Debug, serde::Serialize)]
#[serde(tag = "kind", rename = "failed")]
struct Failure {
    /// Its place in the input, from 1.
    number: usize,
    reason: String,
}

impl Failure {
    fn print(&self, output: Output) -> anyhow::Result<()> {
        match output {
            Output::Json => print::json(self),
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
            Output::Json => print::json(self),
            Output::Table => {
                let Self { read, confirmed, failed, .. } = self;
                print::line(format_args!("{confirmed} of {read} confirmed, {failed} failed"))
            }
        }
    }

    /// Where nobody answered at all, that is what is to be said.
    fn exit(&self) -> Exit {
        match self.failed {
            0 => Exit::Done,
            failed if failed == self.unanswered && self.confirmed == 0 => Exit::Unavailable,
            _ => Exit::Failed,
        }
    }
}

async fn publish_all(road: &Road, args: &Args, values: Vec<Box<RawValue>>) -> anyhow::Result<PublishSummary> {
    let bar = super::progress::bar(values.len() as u64);
    let mut outbox = PublishSummary { read: values.len() as u64, ..PublishSummary::default() };
    let sent = stream::iter(values.iter().enumerate()).map(async |(at, value)| {
        let event = match args.dialect {
            Some(dialect) => vendor_event(args, dialect, value.get()),
            None => Ok(value.get().to_owned()),
        };
        match event {
            Ok(event) => (at, road.publish(&args.tenant, &event).await),
            Err(error) => (at, Err(error)),
        }
    });
    let mut ends = std::pin::pin!(sent.buffer_unordered(WINDOW));
    while let Some((at, end)) = ends.next().await {
        bar.inc(1);
        match end {
            Ok(()) => outbox.confirmed += 1,
            Err(error) => {
                outbox.failed += 1;
                outbox.unanswered += u64::from(Exit::of(&error) == Exit::Unavailable);
                let failure = Failure { number: at + 1, reason: super::describe(&error) };
                bar.suspend(|| failure.print(args.output))?;
            }
        }
    }
    bar.finish_and_clear();
    Ok(outbox)
}

/// A vendor's body as the event it is.
fn vendor_event(args: &Args, dialect: Dialect, body: &str) -> anyhow::Result<String> {
    let channel_id = args.channel.clone().map(ChannelId::Text);
    let chance = service::chance::bytes(&service::chance::system());
    let intake = SourceContext {
        tenant: &args.tenant,
        source: SOURCE,
        channel_id: channel_id.as_ref(),
        keep_original: true,
        token: None,
        now: service::clock::system()(),
        chance,
    };
    Ok(schemas::read(dialect, body.as_bytes(), &intake)?.envelope)
}
