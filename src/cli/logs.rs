//! What `dead-letters`, `replays` and `parked` share. They ask the running process, or, with `--broker`, read the streams
//! of a RabbitMQ themselves: then they serve control's API to themselves, so that both ways are one.

use std::{
    fmt::Display,
    future::Future,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use broker::{Broker, BrokerConfig, ConnectionState, rabbitmq::RabbitMq};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use service::{ConfigError, Exit, config::mask_url};
use tempfile::NamedTempFile;

use super::{
    client::{ApiArgs, ApiRefusal, Client, Method, path_segment},
    output,
    server::ServerAddress,
    setup::Setup,
};
use crate::{config::Config, process::serve_logs};

/// Longest wait of a command for its broker. Roles have no such limit.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time after which a command says what it waits for.
const SILENCE: Duration = Duration::from_secs(2);
/// Largest page of the API.
const PAGE: usize = 1_000;
/// How often a request is repeated that is refused soon, as something is away or another search is under way.
const REPEATS: u32 = 10;
/// Pause before a request is repeated.
const PAUSE: Duration = Duration::from_secs(1);
/// Time after which a refusal is no sign that something is away: a search took long, and goes on when it is asked again.
const LONG_SEARCH: Duration = Duration::from_secs(15);

/// The flags that say where a log is read.
#[derive(Debug, clap::Args)]
pub(super) struct LogArgs {
    /// Read the streams of this RabbitMQ, where no process can be asked. Nothing is changed.
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
}

impl LogArgs {
    pub(super) async fn open(&self, setup: &Setup) -> anyhow::Result<LogClient> {
        let Some(url) = &self.broker else { return LogClient::new(&self.api, setup) };
        let config = setup.load_with_broker(Some(url))?.config;
        let (address, key) = serve_logs(&config, connect(&config).await?).await?;
        let address = ServerAddress::parse(&format!("http://{address}")).map_err(anyhow::Error::msg)?;
        Ok(LogClient { client: Client::at(address, key, None)?, has_tenants: false })
    }
}

/// A client of the calls that look through a log. They take long where the log is long.
pub(super) struct LogClient {
    pub(super) client: Client,
    /// False where nothing is known of tenants, so that one is a filter and no part of the path.
    has_tenants: bool,
}

/// Parameters of a query, with their names.
pub(super) type Query = Vec<(&'static str, String)>;

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

impl LogClient {
    pub(super) fn new(api: &ApiArgs, setup: &Setup) -> anyhow::Result<Self> {
        Ok(Self { client: Client::new(api, setup)?, has_tenants: true })
    }

    /// The path of a collection of one tenant or of all, and what the query needs besides.
    pub(super) fn path(&self, collection: &str, tenant: Option<&str>) -> (String, Query) {
        match tenant {
            Some(tenant) if self.has_tenants => (tenant_path(tenant, collection), Query::new()),
            Some(tenant) => (format!("/v1/{collection}"), vec![("tenant", tenant.to_owned())]),
            None => (format!("/v1/{collection}"), Query::new()),
        }
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, query: &Query) -> anyhow::Result<T> {
        self.call(Method::GET, &with_query(path, query), None).await
    }

    /// Makes a call that searches a log. Repeats it while the search takes long, or another one is under way.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> anyhow::Result<T> {
        let mut repeats = 0;
        loop {
            let begun = Instant::now();
            let call = self.client.call(method.clone(), path, body.clone());
            let error = match patiently("the process looks through its log", call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let refusal = error.downcast_ref::<ApiRefusal>().filter(|refusal| matches!(refusal.status, 429 | 503));
            let Some(refusal) = refusal else { return Err(explained(path, error)) };
            if begun.elapsed() < LONG_SEARCH {
                repeats += 1;
            }
            if repeats > REPEATS {
                return Err(error.context(Exit::Unavailable));
            }
            if repeats == 1 {
                anstream::eprintln!("{refusal}; asking again");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Reads a list to its end, or `limit` items of it. Returns false if there are more.
    pub(super) async fn each<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Query,
        limit: usize,
        mut see: impl FnMut(T) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let (mut left, mut cursor) = (limit, None::<String>);
        loop {
            let mut query = query.clone();
            query.push(("limit", left.clamp(1, PAGE).to_string()));
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            let page: Page<T> = self.get(path, &query).await?;
            left = left.saturating_sub(page.items.len());
            page.items.into_iter().try_for_each(&mut see)?;
            cursor = page.next;
            if cursor.is_none() || left == 0 {
                return Ok(cursor.is_none());
            }
        }
    }
}

/// The path of a tenant's collection.
pub(super) fn tenant_path(tenant: &str, collection: &str) -> String {
    format!("/v1/tenants/{}/{collection}", path_segment(tenant))
}

/// A path with the parameters of a query.
pub(super) fn with_query(path: &str, query: &Query) -> String {
    let pairs: Vec<_> = query.iter().map(|(name, text)| format!("{name}={}", path_segment(text))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

/// Says what a tenant's key is to do for what the operator alone may see.
fn explained(path: &str, error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<ApiRefusal>() {
        Some(ApiRefusal { status: 403, .. }) if !path.starts_with("/v1/tenants/") => {
            error.context("only the operator sees all tenants; with a tenant's key, give --tenant")
        }
        _ => error,
    }
}

/// Waits, and says what is waited for where that takes long.
pub(super) async fn patiently<T>(what: impl Display, waiting: impl Future<Output = T>) -> T {
    let mut waiting = std::pin::pin!(waiting);
    match tokio::time::timeout(SILENCE, &mut waiting).await {
        Ok(done) => done,
        Err(_) => {
            anstream::eprintln!("waiting: {what}");
            waiting.await
        }
    }
}

/// Connects to RabbitMQ without declaring anything, because a mistyped prefix must not make queues. Fails with
/// [`Exit::Unavailable`] after [`CONNECT_TIMEOUT`], and with [`Exit::Config`] when the topology differs.
pub(super) async fn connect(config: &Config) -> anyhow::Result<Arc<RabbitMq>> {
    let broker_config = BrokerConfig { declare: false, ..config.broker.clone() };
    let broker = RabbitMq::connect(&broker_config, service::clock::system(), service::chance::rng())
        .map_err(|error| ConfigError::new("broker.url", error))?;
    let session = tokio::time::timeout(CONNECT_TIMEOUT, broker.first_session());
    let what = format!("connecting to {} for at most {} s", mask_url(&broker_config.url), CONNECT_TIMEOUT.as_secs());
    match patiently(what, session).await {
        Ok(session) => session.context(Exit::Config)?,
        Err(_) => {
            let reason = unavailable(&broker.connection_state().borrow());
            return Err(anyhow::anyhow!(reason).context(Exit::Unavailable));
        }
    }
    Ok(Arc::new(broker))
}

/// Explains why a broker could not be used in time.
pub(super) fn unavailable(connection: &ConnectionState) -> String {
    match connection {
        ConnectionState::Away(why) => why.clone(),
        ConnectionState::Blocked(why) => format!("the broker is blocked: {why}"),
        ConnectionState::Ready => "the broker was too slow".to_owned(),
    }
}

/// Order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Order {
    #[default]
    Newest,
    Oldest,
}

impl Order {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
        }
    }
}

/// The flags of a list.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Most to print.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: u32,
    /// Which come first.
    #[arg(long, value_enum, default_value_t)]
    pub(super) order: Order,
    /// How to print them.
    #[arg(long, value_enum, default_value_t)]
    pub(super) output: output::Output,
}

impl ListArgs {
    /// Prints below a table what to do about each reason in it.
    pub(super) fn explain<R: Display + Copy>(
        &self,
        reasons: impl IntoIterator<Item = R>,
        what_to_do: impl Fn(R) -> &'static str,
    ) -> anyhow::Result<()> {
        if self.output == output::Output::Table {
            for reason in reasons {
                output::line(format_args!("{reason}: {}", what_to_do(reason)))?;
            }
        }
        Ok(())
    }

    /// Says on stderr that a list has more than was printed.
    pub(super) fn note_rest(&self, is_whole: bool) {
        if !is_whole {
            anstream::eprintln!("there are more than {}: give --limit, narrow it down, or `export` all", self.limit);
        }
    }
}

/// Where an export is written.
#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// Write into this file, replacing it, instead of to standard output.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

impl ExportArgs {
    /// Writes a list as lines of JSON, with the bodies, the oldest first. A file appears, or is replaced, only once it is
    /// complete.
    pub(super) async fn write<T: Serialize + DeserializeOwned>(
        &self,
        client: &LogClient,
        path: &str,
        mut query: Query,
    ) -> anyhow::Result<Exit> {
        query.extend([("bodies", "true".to_owned()), ("order", Order::Oldest.as_str().to_owned())]);
        let Some(file) = &self.to else {
            client.each(path, &query, usize::MAX, |item: T| output::json(&item)).await?;
            return Ok(Exit::Done);
        };
        let mut draft = BufWriter::new(draft_of(file)?);
        let mut count = 0_u64;
        let write = |item: T| {
            serde_json::to_writer(&mut draft, &item)?;
            draft.write_all(b"\n")?;
            count += 1;
            Ok(())
        };
        client.each(path, &query, usize::MAX, write).await?;
        let draft = draft.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        draft.as_file().sync_all()?;
        draft.persist(file).with_context(|| format!("writing {}", file.display()))?;
        output::line(format_args!("{count} in {}", file.display()))?;
        Ok(Exit::Done)
    }
}

/// A temporary file in the folder of `file`, so that it can be renamed to it.
fn draft_of(file: &Path) -> anyhow::Result<NamedTempFile> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    NamedTempFile::new_in(folder).with_context(|| format!("writing in {}", folder.display()))
}

/// What counts are asked for, and how they come.
#[derive(Debug, Deserialize)]
pub(super) struct Counts {
    pub(super) items: Vec<serde_json::Value>,
    pub(super) total: u64,
    counted: String,
}

impl Counts {
    /// The total, as far as it is known.
    pub(super) fn total(&self) -> String {
        if self.counted == "exactly" { self.total.to_string() } else { format!("at least {}", self.total) }
    }

    /// Prints the counts by something as a table or as lines of JSON. `advice` says what to do about a reason.
    pub(super) fn print(
        &self,
        by: &str,
        output: output::Output,
        advice: impl Fn(&str) -> &'static str,
    ) -> anyhow::Result<Exit> {
        let names = if by == "endpoint_id" { vec!["tenant", by] } else { vec![by] };
        let what_to_do = names.contains(&"reason").then_some("what to do");
        let mut list = output::List::new(output, names.iter().copied().chain(["count"]).chain(what_to_do));
        for item in &self.items {
            list.push(item, || {
                let mut row: Vec<_> = names.iter().map(|name| output::cell(&item[*name])).collect();
                row.push(output::cell(&item["count"]));
                row.extend(what_to_do.map(|_| advice(item["reason"].as_str().unwrap_or_default()).to_owned()));
                row
            })?;
        }
        list.end()?;
        if output == output::Output::Table {
            output::line(format_args!("{} in all", self.total()))?;
        } else if self.counted != "exactly" {
            anstream::eprintln!("there are {}", self.total());
        }
        Ok(Exit::Done)
    }
}
