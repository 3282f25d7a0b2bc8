//! `carteiro erase`: what is kept of a contact, or of some events, goes.

use serde_json::{Value, json};
use service::Exit;

use super::{
    client::{ApiArgs, Method},
    confirm::ConfirmArgs,
    job,
    logs::{LogClient, tenant_path},
    output::{self, Output},
    setup::Setup,
};

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
    let client = LogClient::new(&api, setup)?;
    let path = tenant_path(&tenant, "erasures");
    let mut body = json!({"waiting": waiting});
    match contact {
        Some(contact) => body["contact"] = contact.into(),
        None => body["event_ids"] = event_id.into(),
    }
    let erasure: Value = client.client.call(Method::POST, &path, Some(body.to_string())).await?;
    anstream::eprintln!("erasure {} was started; it goes on by itself", job::id(&erasure)?);
    let erasure = job::ended(&client, &path, erasure, |_| {}).await?;
    output::result(output, &erasure, || {
        let text = |of: &str| erasure["erased"][of].to_string();
        format!(
            "erased: {} events, {} deliveries, {} dead letters, {} parked messages",
            text("events"),
            text("deliveries"),
            text("dead_letters"),
            text("parked")
        )
    })?;
    Ok(job::exit(&erasure))
}
