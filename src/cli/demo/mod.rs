//! `carteiro demo`: runs the whole pipeline in this process with every vendor's events, on free ports and in a
//! temporary folder. With `--broker`, it uses names of its own, which it removes.

mod expected;
mod fixtures;
mod report;
mod tenants;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use control::{DeadLetterFilter, dead_letters};
use expected::ExpectedDeliveries;
use fixtures::{CANONICAL, VENDOR};
use futures_util::TryStreamExt as _;
use report::Report;
use service::Exit;
use store::{FileStore, Snapshot, Store as _};
use tokio_util::sync::CancellationToken;

use super::{
    client::Method,
    output::Output,
    sandbox::{Sandbox, SandboxOptions, client_of},
    setup::Setup,
};
use crate::{
    config::Config,
    process::Process,
    receiver::{Received, Receiver},
};

/// Longest wait for all deliveries. They need about 3 s, because of two retries.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Interval of polling the dead letters.
const POLL: Duration = Duration::from_millis(250);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// End once everything has arrived.
    #[arg(long)]
    exit: bool,
    /// Use this RabbitMQ, with a prefix and an exchange of its own, instead of the embedded broker.
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// How to print what happens: for people (text), or as lines of JSON.
    #[arg(long, value_enum, default_value = "text")]
    output: ReportFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ReportFormat {
    Text,
    Json,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let shutdown = service::shutdown::on_signals()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let receiver = Receiver::start(listener, tenants::script())?;
    let options = SandboxOptions {
        command: "demo",
        broker: args.broker.as_deref(),
        tenants: &tenants::yaml(&format!("http://{}", receiver.address)),
        settings: &[
            // A short pause keeps the demo from waiting through outages.
            ("deliverer.breaker.first", "1s"),
            ("deliverer.breaker.longest", "1s"),
            ("telemetry.level", "warn"),
        ],
    };
    let sandbox = Sandbox::prepare(setup, &options)?;
    setup.start_logging(&sandbox.config, &[])?;
    let output = if args.output == ReportFormat::Json { Output::Json } else { Output::Table };
    let ended = show(&sandbox, receiver, Report::new(output), args.exit, &shutdown).await;
    // On a broker that never answered there is nothing to remove.
    let is_away = ended.as_ref().is_err_and(|error| Exit::of(error) == Exit::Unavailable);
    if !is_away {
        sandbox.remove().await?;
    }
    ended
}

/// Publishes all fixtures and reports until every delivery has ended. Then it ends, or stays up until the shutdown.
async fn show(
    sandbox: &Sandbox,
    receiver: Receiver,
    mut report: Report,
    exit: bool,
    shutdown: &CancellationToken,
) -> anyhow::Result<Exit> {
    let stop = CancellationToken::new();
    let process = tokio::select! {
        process = sandbox.start(stop.clone()) => process?,
        () = shutdown.cancelled() => {
            return Err(anyhow::anyhow!("stopped before the broker answered").context(Exit::Unavailable));
        }
    };
    report.begin(&sandbox.config, &process, &receiver)?;
    let demo = Demo { process: &process, snapshot: snapshot(&sandbox.config).await? };
    let mut expected = ExpectedDeliveries::default();
    let watched = demo.watch(receiver, &mut expected, &mut report);
    let result = tokio::select! {
        result = watched => result,
        () = shutdown.cancelled() => Ok(()),
    };
    result?;
    report.end(&expected)?;
    if !exit && !shutdown.is_cancelled() {
        report.stay(&process)?;
        shutdown.cancelled().await;
    }
    drop(demo);
    stop.cancel();
    process.finish().await?;
    Ok(if expected.awaited() == 0 { Exit::Done } else { Exit::Failed })
}

async fn snapshot(config: &Config) -> anyhow::Result<Arc<Snapshot>> {
    let store = FileStore::open(&config.data_dir.join("conf.d")).await?;
    store.snapshot().context("the demo's own configuration was not read")
}

struct Demo<'a> {
    process: &'a Process,
    snapshot: Arc<Snapshot>,
}

impl Demo<'_> {
    /// Publishes all fixtures, and watches until no delivery is missing or the timeout has passed.
    async fn watch(
        &self,
        mut receiver: Receiver,
        expected: &mut ExpectedDeliveries,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        self.publish_all(expected, report).await?;
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        let mut poll = tokio::time::interval(POLL);
        let mut seen = 0;
        while expected.awaited() > 0 && tokio::time::Instant::now() < deadline {
            tokio::select! {
                Some(received) = receiver.received.recv() => self.received(&received, expected, report)?,
                _ = poll.tick() => self.look_at_dead_letters(&mut seen, expected, report).await?,
            }
        }
        // Further requests may have arrived together with the last expected one.
        while let Ok(received) = receiver.received.try_recv() {
            self.received(&received, expected, report)?;
        }
        Ok(())
    }

    async fn publish_all(&self, expected: &mut ExpectedDeliveries, report: &mut Report) -> anyhow::Result<()> {
        let client = client_of(self.process)?;
        for (name, json) in CANONICAL {
            let tenant = tenants::tenant_of(name);
            let path = format!("/v1/tenants/{tenant}/events");
            let answer: AcceptedBatch = client.call(Method::POST, &path, Some((*json).to_owned())).await?;
            let [AcceptedId { id }] = answer.accepted.as_slice() else { anyhow::bail!("{name}: accepted nothing") };
            report.published(tenant, name, id)?;
            expected.add_event(&self.snapshot, tenant, id, json)?;
        }
        for (name, json) in VENDOR {
            let tenant = tenants::tenant_of(name);
            let path = format!("/v1/in/demo-{tenant}");
            let AcceptedId { id } = client.call(Method::POST, &path, Some((*json).to_owned())).await?;
            report.published(tenant, name, &id)?;
            expected.add_event(&self.snapshot, tenant, &id, &self.envelope(tenant, &id, json)?)?;
        }
        Ok(())
    }

    /// The envelope that the intake makes of a vendor's body.
    fn envelope(&self, tenant: &str, id: &str, body: &str) -> anyhow::Result<String> {
        let found =
            self.snapshot.owner_of_token(&format!("demo-{tenant}")).context("the demo's tenant has a source")?;
        let intake = schemas::SourceContext {
            tenant,
            source: &found.source.id,
            channel_id: found.source.channel_id.as_ref(),
            keep_original: found.source.keep_original,
            tokens: &[],
            now: 0,
            chance: [0; 10],
        };
        let event = schemas::read(found.source.dialect, body.as_bytes(), &intake)?;
        // An id that does not come from the body is random, so the intake's id replaces this one.
        Ok(event.envelope.replacen(event.id.as_str(), id, 1))
    }

    fn received(
        &self,
        received: &Received,
        expected: &mut ExpectedDeliveries,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let Some((tenant, endpoint)) = received.path[1..].split_once('/') else { return Ok(()) };
        report.received(received, tenant, endpoint, expected::format_of(&self.snapshot, tenant, endpoint))?;
        if received.is_accepted() {
            let webhook_id = received.header("webhook-id").to_owned();
            expected.add_delivered((tenant.to_owned(), endpoint.to_owned(), webhook_id));
        }
        Ok(())
    }

    async fn look_at_dead_letters(
        &self,
        seen: &mut usize,
        expected: &mut ExpectedDeliveries,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let letters = dead_letters::list(&*self.process.broker, None, &DeadLetterFilter::default()).await?;
        let letters: Vec<_> = letters.try_collect().await?;
        for letter in letters.iter().skip(*seen) {
            let webhook_id = match letter.part.as_str() {
                "" => letter.event_id.clone(),
                part => format!("{}_{part}", letter.event_id),
            };
            report.dead(letter, &webhook_id)?;
            expected.add_dead_letter((letter.tenant.clone(), letter.endpoint_id.clone(), webhook_id));
            *seen += 1;
        }
        Ok(())
    }
}

#[derive(serde::Deserialize)]
struct AcceptedBatch {
    accepted: Vec<AcceptedId>,
}

#[derive(serde::Deserialize)]
struct AcceptedId {
    id: String,
}
