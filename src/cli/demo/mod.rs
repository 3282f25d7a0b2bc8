//! `carteiro demo`: the whole pipeline at work in this process, with every vendor's events, on free ports and in a
//! temporary folder; on `--broker` with names of its own, which it removes.

mod cast;
mod fixtures;
mod ledger;
mod story;

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use broker::{BrokerConfig, rabbitmq};
use control::{Filter, dead_letters};
use fixtures::{CANONICAL, VENDOR};
use futures_util::TryStreamExt as _;
use ledger::Ledger;
use service::Exit;
use store::{FileStore, Snapshot, Store as _};
use story::Story;
use tokio_util::sync::CancellationToken;

use super::{
    client::{ApiArgs, Client, Method},
    contained::{Contained, wait_for_broker},
    setup::{Output, Setup},
};
use crate::{
    config::Config,
    process::{self, Process, Roles},
    receiver::{Received, Receiver},
};

/// How long the pipeline gets for what it owes. It needs some 3 s, for two retries.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the dead letters are looked at.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// End once everything has arrived.
    #[arg(long)]
    exit: bool,
    /// On this RabbitMQ, with a prefix and an exchange of its own.
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    /// A story for people (text), or JSON lines.
    #[arg(long, value_enum, default_value = "text")]
    output: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    Text,
    Json,
}

pub(super) async fn run(setup: &Setup, args: Args) -> anyhow::Result<Exit> {
    let folder = tempfile::tempdir().context("making a temporary folder")?;
    let shutdown = service::shutdown::on_signals()?;
    let receiver = Receiver::start(tokio::net::TcpListener::bind("127.0.0.1:0").await?, cast::script())?;
    let config = configure(setup, &args, folder.path(), &receiver)?;
    setup.log(&config, &[])?;
    let output = if args.output == Form::Json { Output::Json } else { Output::Table };
    let played = play(&config, receiver, Story::new(output), args.exit, &shutdown).await;
    if !config.broker.is_embedded() {
        remove(&config.broker).await?;
    }
    played
}

fn configure(setup: &Setup, args: &Args, folder: &Path, receiver: &Receiver) -> anyhow::Result<Config> {
    let contained = Contained {
        name: "demo",
        broker: args.broker.as_deref(),
        folder,
        tenants: &cast::conf(&format!("http://{}", receiver.address)),
        settings: &[
            // Nobody waits through the pauses of an outage for a demonstration.
            ("deliverer.breaker.first", "1s"),
            ("deliverer.breaker.longest", "1s"),
            ("telemetry.level", "warn"),
        ],
    };
    contained.configure(setup)
}

async fn play(
    config: &Config,
    receiver: Receiver,
    mut story: Story,
    exit: bool,
    shutdown: &CancellationToken,
) -> anyhow::Result<Exit> {
    let own = CancellationToken::new();
    let end = own.clone();
    let process = process::start(config, Roles::STANDALONE, own).await?;
    wait_for_broker(&process).await?;
    story.begin(config, &process, &receiver)?;
    let stage = Stage { process: &process, snapshot: snapshot(config).await? };
    let mut ledger = Ledger::default();
    let watched = stage.watch(receiver, &mut ledger, &mut story);
    let result = tokio::select! {
        result = watched => result,
        () = shutdown.cancelled() => Ok(()),
    };
    result?;
    story.end(&ledger)?;
    if !exit && !shutdown.is_cancelled() {
        story.stay(&process)?;
        shutdown.cancelled().await;
    }
    drop(stage);
    end.cancel();
    process.finish().await?;
    Ok(if ledger.awaited() == 0 { Exit::Done } else { Exit::Failed })
}

async fn snapshot(config: &Config) -> anyhow::Result<std::sync::Arc<Snapshot>> {
    let store = FileStore::open(&config.data_dir.join("conf.d")).await?;
    store.snapshot().context("the demo's own configuration was not read")
}

/// What the demo plays on.
struct Stage<'a> {
    process: &'a Process,
    snapshot: std::sync::Arc<Snapshot>,
}

impl Stage<'_> {
    /// Publishes everything and watches until nothing is owed any more.
    async fn watch(&self, mut receiver: Receiver, ledger: &mut Ledger, story: &mut Story) -> anyhow::Result<()> {
        self.publish_all(ledger, story).await?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut look = tokio::time::interval(LOOK);
        let mut seen = 0;
        while ledger.awaited() > 0 && tokio::time::Instant::now() < deadline {
            tokio::select! {
                Some(received) = receiver.received.recv() => self.note(&received, ledger, story)?,
                _ = look.tick() => self.look_at_dead_letters(&mut seen, ledger, story).await?,
            }
        }
        // What arrived beside the last that was awaited.
        while let Ok(received) = receiver.received.try_recv() {
            self.note(&received, ledger, story)?;
        }
        Ok(())
    }

    async fn publish_all(&self, ledger: &mut Ledger, story: &mut Story) -> anyhow::Result<()> {
        let http = self.process.http.context("the demo's process has no API")?;
        let key = self.process.operator_key.as_ref().map(|key| key.reveal().to_owned());
        let client = Client::of(&ApiArgs { url: Some(format!("http://{http}")), key, ca_file: None })?;
        for (name, json) in CANONICAL {
            let tenant = cast::tenant_of(name);
            let path = format!("/v1/tenants/{tenant}/events");
            let answer: Accepted = client.call(Method::POST, &path, Some((*json).to_owned())).await?;
            let [Identified { id }] = answer.accepted.as_slice() else { anyhow::bail!("{name}: accepted nothing") };
            story.published(tenant, name, id)?;
            ledger.publish(&self.snapshot, tenant, id, json)?;
        }
        for (name, json) in VENDOR {
            let tenant = cast::tenant_of(name);
            let path = format!("/v1/in/demo-{tenant}");
            let Identified { id } = client.call(Method::POST, &path, Some((*json).to_owned())).await?;
            story.published(tenant, name, &id)?;
            ledger.publish(&self.snapshot, tenant, &id, &self.envelope(tenant, &id, json)?)?;
        }
        Ok(())
    }

    /// What the intake makes of a vendor's body.
    fn envelope(&self, tenant: &str, id: &str, body: &str) -> anyhow::Result<String> {
        let found =
            self.snapshot.owner_of_token(&format!("demo-{tenant}")).context("the demo's tenant has a source")?;
        let intake = schemas::SourceContext {
            tenant,
            source: &found.source.id,
            channel_id: found.source.channel_id.as_ref(),
            keep_original: found.source.keep_original,
            token: None,
            now: 0,
            chance: [0; 10],
        };
        let event = schemas::read(found.source.dialect, body.as_bytes(), &intake)?;
        // An id that was not taken from the body is another each time.
        Ok(event.envelope.replacen(event.id.as_str(), id, 1))
    }

    fn note(&self, received: &Received, ledger: &mut Ledger, story: &mut Story) -> anyhow::Result<()> {
        let Some((tenant, endpoint)) = received.path[1..].split_once('/') else { return Ok(()) };
        story.received(received, tenant, endpoint, ledger::format_of(&self.snapshot, tenant, endpoint))?;
        if received.is_accepted() {
            ledger.deliver((tenant.to_owned(), endpoint.to_owned(), received.header("webhook-id").to_owned()));
        }
        Ok(())
    }

    async fn look_at_dead_letters(&self, seen: &mut u64, ledger: &mut Ledger, story: &mut Story) -> anyhow::Result<()> {
        let letters = dead_letters::list(&*self.process.broker, None, &Filter::default()).await?;
        let letters: Vec<_> = letters.try_collect().await?;
        for letter in letters.iter().skip(usize::try_from(*seen)?) {
            let webhook_id = match letter.part.as_str() {
                "" => letter.event_id.clone(),
                part => format!("{}_{part}", letter.event_id),
            };
            story.dead(letter, &webhook_id)?;
            ledger.bury((letter.tenant.clone(), letter.endpoint_id.clone(), webhook_id));
            *seen += 1;
        }
        Ok(())
    }
}

#[derive(serde::Deserialize)]
struct Accepted {
    accepted: Vec<Identified>,
}

#[derive(serde::Deserialize)]
struct Identified {
    id: String,
}

async fn remove(broker: &BrokerConfig) -> anyhow::Result<()> {
    rabbitmq::remove(broker).await.with_context(|| format!("removing what is called {}", broker.prefix))
}
