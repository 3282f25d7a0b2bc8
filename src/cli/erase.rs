//! `carteiro erase`: what is kept of a contact, or of some events, goes.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use service::Exit;

use super::{
    client::{ApiArgs, Client, Method, path_segment},
    confirm::ConfirmArgs,
    output::{self, Output},
    setup::Setup,
};

/// Pause between two looks at an erasure.
const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The tenant's id.
    #[arg(long)]
    tenant: String,
    /// The contact's number in any notation, or its id where it has none.
    #[arg(long, required_unless_present = "event_id", conflicts_with = "event_id")]
    contact: Option<String>,
    /// An event instead of a contact; may be repeated.
    #[arg(long)]
    event_id: Vec<String>,
    /// Also drop deliveries that still wait for an attempt. Otherwise they are delivered.
    #[arg(long)]
    waiting: bool,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    api: ApiArgs,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Starts an erasure, and waits for its end. Ctrl-C does not stop it.
pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let Args { tenant, contact, event_id, waiting, confirm, api, output } = args;
    let whose = match &contact {
        Some(contact) => format!("of contact {contact}"),
        None => format!("of {} events", event_id.len()),
    };
    let and_waiting = if waiting { ", and what waits for an attempt is dropped" } else { "" };
    confirm.confirm(&format!("what is kept {whose} of tenant {tenant} will be erased{and_waiting}"))?;
    let client = Client::new(&api, setup)?;
    let path = format!("/v1/tenants/{}/erasures", path_segment(&tenant));
    let mut body = json!({"waiting": waiting});
    match contact {
        Some(contact) => body["contact"] = contact.into(),
        None => body["event_ids"] = event_id.into(),
    }
    let mut erasure: Value = client.call(Method::POST, &path, Some(body.to_string())).await?;
    let id = erasure["id"].as_str().context("the answer has no id")?.to_owned();
    anstream::eprintln!("erasure {id} was started; it goes on by itself");
    while erasure["state"] == "running" {
        tokio::time::sleep(POLL).await;
        erasure = client.call(Method::GET, &format!("{path}/{}", path_segment(&id)), None).await?;
    }
    let text = |of: &str| erasure["erased"][of].to_string();
    match output {
        Output::Json => output::line(erasure.to_string())?,
        _ => output::line(format!(
            "erased: {} events, {} deliveries, {} dead letters, {} parked messages",
            text("events"),
            text("deliveries"),
            text("dead_letters"),
            text("parked")
        ))?,
    }
    Ok(if erasure["state"] == "done" { Exit::Done } else { Exit::Failed })
}
