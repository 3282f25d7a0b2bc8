//! `carteiro listen`: a receiver that prints what arrives. It accepts everything; it does not verify signatures yet.

use std::{collections::BTreeMap, sync::Arc};

use anstyle::{AnsiColor, Style};
use service::{Exit, Shutdown, listen};

use super::{print, setup::Output};
use crate::receiver::{Answer, Received, Receiver};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to listen, as host:port.
    #[arg(long, default_value = "127.0.0.1:9900", value_name = "HOST:PORT")]
    listen: String,
    /// The status to answer with.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..600))]
    status: u16,
    /// How to print what arrives.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<Exit> {
    let shutdown = Shutdown::on_signals()?;
    let listener = listen::bind("--listen", &args.listen).await?;
    let mut receiver = Receiver::start(listener, Arc::new(move |_| Answer::status(args.status)))?;
    anstream::eprintln!("listening on {}, answering {}", receiver.url("/"), args.status);
    loop {
        tokio::select! {
            () = shutdown.requested() => return Ok(Exit::Done),
            Some(received) = receiver.received.recv() => match args.output {
                Output::Table => print_text(&received)?,
                Output::Json => print_json(&received)?,
            },
        }
    }
}

fn print_text(received: &Received) -> anyhow::Result<()> {
    let (bold, dim) = (Style::new().bold().fg_color(Some(AnsiColor::Green.into())), Style::new().dimmed());
    let (kind, attempt) = (received.header("carteiro-event-type"), received.header("carteiro-attempt"));
    print::line(format_args!("{bold}POST {}{bold:#} {kind} {dim}attempt {attempt}{dim:#}", received.path))?;
    for (name, value) in &received.headers {
        print::line(format_args!("  {dim}{name}: {}{dim:#}", String::from_utf8_lossy(value.as_bytes())))?;
    }
    print::line(format_args!("  {}", String::from_utf8_lossy(&received.body)))
}

/// What is printed of a request.
#[derive(serde::Serialize)]
struct Line<'a> {
    path: &'a str,
    headers: BTreeMap<&'a str, String>,
    status: Option<u16>,
    body: Option<Box<serde_json::value::RawValue>>,
}

fn print_json(received: &Received) -> anyhow::Result<()> {
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let line = Line {
        path: &received.path,
        headers: received.headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect(),
        status: received.status,
        body: schemas::body_as_json(&received.body),
    };
    print::json(&line)
}
