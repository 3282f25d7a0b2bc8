//! `carteiro listen --tenant`: prints a tenant's deliveries as they would be POSTed, and POSTs them to an address of this
//! machine.

use std::time::{Duration, Instant};

use serde_json::Value;
use service::Exit;

use super::{
    client::{ApiArgs, ApiRefusal, Client, EventStream, Forward},
    logs::{Query, tenant_path, with_query},
    output::{self, Output},
    setup::Setup,
};

/// Pause before the next connection.
const RECONNECT: Duration = Duration::from_secs(2);

pub(super) struct Request {
    pub(super) tenant: String,
    pub(super) forward: Option<Forward>,
    /// Names and values of the API's filters.
    pub(super) filters: Query,
    pub(super) output: Output,
    /// Signs the deliveries. Without one, that of the first connection does.
    pub(super) secret: Option<String>,
}

pub(super) async fn run(setup: &Setup, api: &ApiArgs, mut request: Request) -> anyhow::Result<Exit> {
    let client = Client::new(api, setup)?;
    let shutdown = service::shutdown::on_signals()?;
    tokio::select! {
        () = shutdown.cancelled() => Ok(Exit::Done),
        ended = listen(&client, &mut request) => ended,
    }
}

/// Listens until the API refuses to be listened to.
async fn listen(client: &Client, request: &mut Request) -> anyhow::Result<Exit> {
    let path = with_query(&tenant_path(&request.tenant, "listen"), &request.filters);
    let mut was_connected = false;
    loop {
        match client.events(&path, request.secret.as_deref()).await {
            Ok(events) => {
                was_connected = true;
                follow(events, request).await?;
            }
            Err(error) if !was_connected || error.downcast_ref::<ApiRefusal>().is_some_and(is_final) => {
                return Err(error);
            }
            Err(_) => {}
        }
        anstream::eprintln!("the connection has ended; connecting again");
        tokio::time::sleep(RECONNECT).await;
    }
}

/// True for a refusal that another try would meet again.
fn is_final(refusal: &ApiRefusal) -> bool {
    (400..500).contains(&refusal.status) && refusal.status != 429
}

async fn follow(mut events: EventStream, request: &mut Request) -> anyhow::Result<()> {
    while let Some((name, data)) = events.next().await {
        match name.as_str() {
            "ready" => {
                let secret = data["secret"].as_str().unwrap_or_default().to_owned();
                if request.secret.is_none() {
                    anstream::eprintln!("listening to {}; signed with {secret}", request.tenant);
                }
                request.secret = Some(secret);
            }
            "delivery" => deliver(&data, request).await?,
            "lost" => anstream::eprintln!("too slow: {} events are lost", data["events"]),
            "end" => anstream::eprintln!("{}", data["reason"].as_str().unwrap_or_default()),
            _ => {}
        }
    }
    Ok(())
}

async fn deliver(delivery: &Value, request: &Request) -> anyhow::Result<()> {
    let body = delivery["body"].as_str().unwrap_or_default();
    let headers: Vec<_> = delivery["headers"].as_object().into_iter().flatten().collect();
    match request.output {
        Output::Json => output::json(delivery)?,
        Output::Table => {
            output::line(delivery["headers"]["carteiro-event-type"].as_str().unwrap_or_default())?;
            for (name, text) in &headers {
                output::line(format_args!("  {name}: {}", text.as_str().unwrap_or_default()))?;
            }
            output::line(format_args!("  {body}"))?;
        }
    }
    if let Some(forward) = &request.forward {
        let began = Instant::now();
        let headers = headers.iter().filter_map(|(name, text)| Some((name.as_str(), text.as_str()?)));
        let answered = forward.post(headers, body.to_owned()).await;
        let url = forward.url();
        match answered {
            Ok(status) => anstream::eprintln!("  {url} answered {status} in {} ms", began.elapsed().as_millis()),
            Err(error) => anstream::eprintln!("  {url}: {error:#}"),
        }
    }
    Ok(())
}
