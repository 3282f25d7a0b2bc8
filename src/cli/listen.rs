//! `carteiro listen`: a receiver that prints each webhook and the validity of its signature. It answers all requests
//! with the given status, including untrusted ones: it only displays webhooks.

use std::{collections::BTreeMap, sync::Arc};

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use schemas::signature::{Unverified, VerifyingKey, check};
use service::{Exit, listen};

use super::{
    client::{ApiArgs, Forward},
    listen_tenant,
    output::{self, Output},
    resources::secret,
    setup::Setup,
};
use crate::receiver::{Answer, Received, Receiver};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:9900", value_name = "HOST:PORT")]
    listen: String,
    /// Status to answer with.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..600))]
    status: u16,
    /// Verify signatures with the endpoint's secret whsec_…, its public key whpk_…, or @FILE that holds one; may be
    /// repeated, and one of several is enough.
    #[arg(long = "secret", value_name = "SECRET", value_parser = secret)]
    secrets: Vec<String>,
    /// How to print the webhooks.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Print the deliveries that this tenant's endpoints could get, instead of receiving any: for a machine that no endpoint
    /// can reach. `--secret` signs them, otherwise a secret that is shown.
    #[arg(long, value_name = "TENANT", conflicts_with_all = ["listen", "status"])]
    tenant: Option<String>,
    /// POST each delivery to this address, and say what it answers.
    #[arg(long, value_name = "URL", requires = "tenant")]
    forward: Option<String>,
    /// Only these types, separated by commas: `message.*`.
    #[arg(long, value_name = "TYPES", requires = "tenant")]
    event_type: Option<String>,
    /// Only these channels, separated by commas.
    #[arg(long, value_name = "IDS", requires = "tenant")]
    channel_id: Option<String>,
    /// Only these queues, separated by commas; `-` means "in no queue".
    #[arg(long, value_name = "IDS", requires = "tenant")]
    queue_id: Option<String>,
    /// Format of the bodies, as of an endpoint.
    #[arg(long, value_name = "FORMAT", requires = "tenant")]
    format: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
}

/// Result of verifying a signature. None without a key.
type Verification = Option<Result<(), Unverified>>;

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let Some(tenant) = args.tenant else { return receive(args).await };
    let filters = [
        ("event_type", args.event_type),
        ("channel_id", args.channel_id),
        ("queue_id", args.queue_id),
        ("format", args.format),
    ];
    let filters = filters.into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
    let secret = args.secrets.into_iter().next();
    let forward = args.forward.map(Forward::new).transpose()?;
    let request = listen_tenant::Request { tenant, forward, filters, output: args.output, secret };
    listen_tenant::run(setup, &args.api, request).await
}

async fn receive(args: Args) -> anyhow::Result<Exit> {
    let keys = args.secrets.iter().map(|secret| VerifyingKey::parse(secret)).collect::<Result<Vec<_>, _>>();
    let keys = keys.context("--secret").context(Exit::Usage)?;
    let (shutdown, clock) = (service::shutdown::on_signals()?, service::clock::system());
    let listener = listen::bind("--listen", &args.listen).await?;
    let mut receiver = Receiver::start(listener, Arc::new(move |_| Answer::status(args.status)))?;
    anstream::eprintln!("listening on {}, answering {}", receiver.url("/"), args.status);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(Exit::Done),
            Some(received) = receiver.received.recv() => {
                let verified = verify(&keys, &received, clock() / 1_000);
                match args.output {
                    Output::Table => print_text(&received, verified)?,
                    Output::Json => print_json(&received, verified)?,
                }
            }
        }
    }
}

fn verify(keys: &[VerifyingKey], received: &Received, now: u64) -> Verification {
    let header = |name: &str| received.headers.get(name)?.to_str().ok();
    (!keys.is_empty()).then(|| check(keys, header, &received.body, now))
}

fn print_text(received: &Received, verified: Verification) -> anyhow::Result<()> {
    let (bold, dim) = (Style::new().bold().fg_color(Some(AnsiColor::Green.into())), Style::new().dimmed());
    let (kind, attempt) = (received.header("carteiro-event-type"), received.header("carteiro-attempt"));
    output::line(format_args!("{bold}POST {}{bold:#} {kind} {dim}attempt {attempt}{dim:#}", received.path))?;
    for (name, value) in &received.headers {
        output::line(format_args!("  {dim}{name}: {}{dim:#}", String::from_utf8_lossy(value.as_bytes())))?;
    }
    let (good, bad) = (Style::new().fg_color(Some(AnsiColor::Green.into())), AnsiColor::Red.on_default());
    match verified {
        Some(Ok(())) => output::line(format_args!("  {good}✔ the signature is good{good:#}"))?,
        Some(Err(why)) => output::line(format_args!("  {bad}✘ {why}{bad:#}"))?,
        None => {}
    }
    output::line(format_args!("  {}", String::from_utf8_lossy(&received.body)))
}

#[derive(serde::Serialize)]
struct ReceivedLine<'a> {
    path: &'a str,
    headers: BTreeMap<&'a str, String>,
    status: Option<u16>,
    /// Null without a key.
    verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unverified: Option<String>,
    body: Option<Box<serde_json::value::RawValue>>,
}

fn print_json(received: &Received, verified: Verification) -> anyhow::Result<()> {
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let line = ReceivedLine {
        path: &received.path,
        headers: received.headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect(),
        status: received.status,
        verified: verified.map(|result| result.is_ok()),
        unverified: verified.and_then(Result::err).map(|why| why.to_string()),
        body: schemas::body_as_json(&received.body),
    };
    output::json(&line)
}
