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
/// Interval of polling the dead letters while some are awaited.
const POLL: Duration = Duration::from_millis(250);
/// Interval of polling them once the demo only stays up: each reads the whole log.
const STAY_POLL: Duration = Duration::from_secs(2);

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

/// Publishes all fixtures and reports until every delivery has ended. Then it ends, or stays up with its endpoints and
/// reports what else arrives until the shutdown.
async fn show(
    sandbox: &Sandbox,
    receiver: Receiver,
    report: Report,
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
    let mut demo = Demo {
        process: &process,
        snapshot: snapshot(&sandbox.config).await?,
        receiver,
        expected: ExpectedDeliveries::default(),
        dead_letters: 0,
        report,
    };
    let result = tokio::select! {
        result = demo.tell() => result,
        () = shutdown.cancelled() => Ok(()),
    };
    result?;
    let is_interrupted = shutdown.is_cancelled();
    demo.report.end(&demo.expected, is_interrupted)?;
    if !exit && !is_interrupted {
        demo.report.stay(&process)?;
        tokio::select! {
            result = demo.stay() => result?,
            () = shutdown.cancelled() => {}
        }
    }
    let lost = demo.expected.awaited();
    drop(demo);
    stop.cancel();
    process.finish().await?;
    // What still waits when someone ends the demo is not lost.
    Ok(if lost == 0 || is_interrupted { Exit::Done } else { Exit::Failed })
}

async fn snapshot(config: &Config) -> anyhow::Result<Arc<Snapshot>> {
    let store = FileStore::open(&config.data_dir.join("conf.d")).await?;
    store.snapshot().context("the demo's own configuration was not read")
}

struct Demo<'a> {
    process: &'a Process,
    snapshot: Arc<Snapshot>,
    receiver: Receiver,
    expected: ExpectedDeliveries,
    /// Number of dead letters that were reported.
    dead_letters: usize,
    report: Report,
}

impl Demo<'_> {
    /// Publishes all fixtures, and reports what happens until no delivery is missing or the timeout has passed.
    async fn tell(&mut self) -> anyhow::Result<()> {
        self.publish_all().await?;
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        let mut poll = tokio::time::interval(POLL);
        while self.expected.awaited() > 0 && tokio::time::Instant::now() < deadline {
            self.next(&mut poll).await?;
        }
        // Further requests may have arrived together with the last expected one.
        while let Ok(received) = self.receiver.received.try_recv() {
            self.received(&received)?;
        }
        Ok(())
    }

    /// Reports what happens, for ever.
    async fn stay(&mut self) -> anyhow::Result<()> {
        let mut poll = tokio::time::interval(STAY_POLL);
        loop {
            self.next(&mut poll).await?;
        }
    }

    /// Waits for a request or for the time to look at the dead letters, and reports what is new.
    async fn next(&mut self, poll: &mut tokio::time::Interval) -> anyhow::Result<()> {
        tokio::select! {
            Some(received) = self.receiver.received.recv() => self.received(&received),
            _ = poll.tick() => self.look_at_dead_letters().await,
        }
    }

    async fn publish_all(&mut self) -> anyhow::Result<()> {
        let client = client_of(self.process)?;
        for (name, json) in CANONICAL {
            let tenant = tenants::tenant_of(name);
            let path = format!("/v1/tenants/{tenant}/events");
            let answer: AcceptedBatch = client.call(Method::POST, &path, Some((*json).to_owned())).await?;
            let [AcceptedId { id }] = answer.accepted.as_slice() else { anyhow::bail!("{name}: accepted nothing") };
            self.report.published(tenant, name, id)?;
            self.expected.add_event(&self.snapshot, tenant, id, json)?;
        }
        for (name, json) in VENDOR {
            let tenant = tenants::tenant_of(name);
            let path = format!("/v1/in/demo-{tenant}");
            let AcceptedId { id } = client.call(Method::POST, &path, Some((*json).to_owned())).await?;
            self.report.published(tenant, name, &id)?;
            let envelope = self.envelope(tenant, &id, json)?;
            self.expected.add_event(&self.snapshot, tenant, &id, &envelope)?;
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

    fn received(&mut self, received: &Received) -> anyhow::Result<()> {
        let Some((tenant, endpoint)) = received.path[1..].split_once('/') else { return Ok(()) };
        self.report.received(received, tenant, endpoint, expected::format_of(&self.snapshot, tenant, endpoint))?;
        if received.is_accepted() {
            let webhook_id = received.header("webhook-id").to_owned();
            self.expected.add_delivered((tenant.to_owned(), endpoint.to_owned(), webhook_id));
        }
        Ok(())
    }

    async fn look_at_dead_letters(&mut self) -> anyhow::Result<()> {
        let letters = dead_letters::list(&*self.process.broker, None, &DeadLetterFilter::default()).await?;
        let letters: Vec<_> = letters.try_collect().await?;
        for letter in letters.iter().skip(self.dead_letters) {
            let webhook_id = match letter.part.as_str() {
                "" => letter.event_id.clone(),
                part => format!("{}_{part}", letter.event_id),
            };
            self.report.dead(letter, &webhook_id)?;
            self.expected.add_dead_letter((letter.tenant.clone(), letter.endpoint_id.clone(), webhook_id));
            self.dead_letters += 1;
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
