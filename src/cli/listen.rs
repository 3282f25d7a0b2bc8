//! `carteiro listen`: a receiver that prints what arrives, and whether its signature is good. It answers everything as it
//! was told, also what it does not trust: it is for looking, not for processing.

use std::{collections::BTreeMap, sync::Arc};

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use schemas::signature::{Unverified, VerifyingKey, check};
use service::{Exit, listen};

use super::{print, resources::secret, setup::Output};
use crate::receiver::{Answer, Received, Receiver};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to listen, as host:port.
    #[arg(long, default_value = "127.0.0.1:9900", value_name = "HOST:PORT")]
    listen: String,
    /// The status to answer with.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..600))]
    status: u16,
    /// Verify signatures with this: the endpoint's secret whsec_…, its public key whpk_…, or @FILE with one; one of
    /// several is enough.
    #[arg(long = "secret", value_name = "SECRET", value_parser = secret)]
    secrets: Vec<String>,
    /// How to print what arrives.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Whether a request is to be trusted; nothing where there is no key to tell by.
type Verdict = Option<Result<(), Unverified>>;

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
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
                let verdict = verify(&keys, &received, clock() / 1_000);
                match args.output {
                    Output::Table => print_text(&received, verdict)?,
                    Output::Json => print_json(&received, verdict)?,
                }
            }
        }
    }
}

fn verify(keys: &[VerifyingKey], received: &Received, now: u64) -> Verdict {
    let header = |name: &str| received.headers.get(name)?.to_str().ok();
    (!keys.is_empty()).then(|| check(keys, header, &received.body, now))
}

fn print_text(received: &Received, verdict: Verdict) -> anyhow::Result<()> {
    let (bold, dim) = (Style::new().bold().fg_color(Some(AnsiColor::Green.into())), Style::new().dimmed());
    let (kind, attempt) = (received.header("carteiro-event-type"), received.header("carteiro-attempt"));
    print::line(format_args!("{bold}POST {}{bold:#} {kind} {dim}attempt {attempt}{dim:#}", received.path))?;
    for (name, value) in &received.headers {
        print::line(format_args!("  {dim}{name}: {}{dim:#}", String::from_utf8_lossy(value.as_bytes())))?;
    }
    let (good, bad) = (Style::new().fg_color(Some(AnsiColor::Green.into())), AnsiColor::Red.on_default());
    match verdict {
        Some(Ok(())) => print::line(format_args!("  {good}✔ the signature is good{good:#}"))?,
        Some(Err(why)) => print::line(format_args!("  {bad}✘ {why}{bad:#}"))?,
        None => {}
    }
    print::line(format_args!("  {}", String::from_utf8_lossy(&received.body)))
}

/// What is printed of a request.
#[derive(serde::Serialize)]
struct Line<'a> {
    path: &'a str,
    headers: BTreeMap<&'a str, String>,
    status: Option<u16>,
    /// Null where no secret was given.
    verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unverified: Option<String>,
    body: Option<Box<serde_json::value::RawValue>>,
}

fn print_json(received: &Received, verdict: Verdict) -> anyhow::Result<()> {
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let line = Line {
        path: &received.path,
        headers: received.headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect(),
        status: received.status,
        verified: verdict.map(|verdict| verdict.is_ok()),
        unverified: verdict.and_then(Result::err).map(|why| why.to_string()),
        body: schemas::body_as_json(&received.body),
    };
    print::json(&line)
}
