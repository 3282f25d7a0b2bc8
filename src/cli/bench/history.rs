//! A history of many tenants over a month: what writing it costs, and how long it takes to find something in it after a
//! restart.
//!
//! It is in files of its own, or in the database that `history.url` names, from which its days are dropped at the end.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use history::{
    AttemptRecord, Batch, EventRecord, Filter, History, OwedDelivery, PageRequest, Post, PostgresHistory, Record,
    RecordedDelivery, RecordedVerdict, SqliteHistory, Timing, tenant_scope,
};
use schemas::{EventId, EventType, OutcomeClass, Part, delivery_id};
use serde::Serialize;
use service::Exit;

use super::{
    latencies::Latencies,
    progress,
    results::{Format, Results, mib, whole},
    usage,
};
use crate::cli::{output, setup::Setup};

const DAY_MS: u64 = 86_400_000;
const DAYS: u64 = 30;
/// Records of one batch: those of a quarter of a second at 5,000 a second.
const BATCH: usize = 1_250;
/// Most tries to remove what was made.
const TRIES: u32 = 60;
/// Questions of each kind.
const QUESTIONS: u64 = 200;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Number of attempts, each of an event of its own.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    attempts: u64,
    /// Number of tenants. One in ten events is of the first one.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    tenants: u64,
    /// How to print the results: for people (table), as JSON objects, or as a table in Markdown.
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Where the measured history is.
enum Place {
    Folder(PathBuf),
    /// The URL of a database.
    Database(String),
}

impl Place {
    async fn open(&self) -> anyhow::Result<Box<dyn History>> {
        Ok(match self {
            Self::Folder(folder) => Box::new(SqliteHistory::open(folder, u64::MAX)?),
            Self::Database(url) => {
                let history = PostgresHistory::open(url, u64::MAX).await.context(Exit::Config)?;
                let kept = history.kept().await;
                kept.context("history.url: the database cannot be used").context(Exit::Unavailable)?;
                Box::new(history)
            }
        })
    }
}

#[derive(Serialize)]
struct Writing {
    scenario: &'static str,
    records: u64,
    /// CPU time of all threads of this process, for each record. That of a database is not in it.
    cpu_us_per_record: f64,
    /// Part of a core that 5,000 records a second take.
    cores_at_5000_per_second: f64,
    records_per_second: f64,
    bytes: u64,
}

#[derive(Serialize)]
struct Asking {
    scenario: &'static str,
    question: &'static str,
    #[serde(flatten)]
    latencies: Latencies,
}

pub(super) async fn run(setup: &Setup, args: &Args) -> anyhow::Result<Exit> {
    let config = setup.load(&[super::LOG_LEVEL])?.config;
    setup.start_logging(&config, &[])?;
    let folder = tempfile::tempdir()?;
    let place = match config.history.database() {
        Some(url) => Place::Database(url.to_owned()),
        None => Place::Folder(folder.path().to_owned()),
    };
    let mut results = Results::new(args.output, ["history", "count", "p50 ms", "p95 ms", "max ms"]);
    let now = service::clock::system()();
    let story = Story { args, end: now / DAY_MS * DAY_MS };
    progress("history", &format!("writes {} attempts of {} tenants", args.attempts, args.tenants));
    let writing = write(&story, &*place.open().await?).await?;
    let size = format!("{} MiB", mib(writing.bytes));
    let cells = [
        format!("write: {:.1} µs of CPU a record", writing.cpu_us_per_record),
        whole(writing.records as f64),
        format!("{} a second", whole(writing.records_per_second)),
        format!("{:.2} cores at 5,000/s", writing.cores_at_5000_per_second),
        size,
    ];
    results.push(&writing, [cells])?;

    progress("history", "opens it again, and asks");
    let history = place.open().await?;
    for question in Question::ALL {
        let latencies = ask(&*history, &story, question).await?;
        let asking = Asking { scenario: "history", question: question.name(), latencies };
        results.push(&asking, [row(question.name(), &latencies)])?;
    }
    let second_day = story.end - (DAYS - 1) * DAY_MS;
    let began = Instant::now();
    history.maintain(now, second_day, second_day).await?;
    let dropping = Latencies::of(vec![began.elapsed()]);
    let asking = Asking { scenario: "history", question: "drop the oldest day", latencies: dropping };
    results.push(&asking, [row("drop the oldest day", &dropping)])?;
    results.end()?;
    // A database may be looking after a table just now, and then refuses to drop it.
    for left in (0..TRIES).rev() {
        match history.maintain(now, now + DAY_MS, now + DAY_MS).await {
            Ok(_) => break,
            Err(error) if left == 0 => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
    history.close().await;
    Ok(Exit::Done)
}

fn row(name: &str, latencies: &Latencies) -> [String; 5] {
    let Latencies { count, p50_ms, p95_ms, max_ms, .. } = latencies;
    [name.to_owned(), count.to_string(), format!("{p50_ms:.1}"), format!("{p95_ms:.1}"), format!("{max_ms:.1}")]
}

async fn write(story: &Story<'_>, history: &dyn History) -> anyhow::Result<Writing> {
    let is_empty = history.kept().await?.oldest_day.is_none();
    anyhow::ensure!(is_empty, "history.url: the database has a history already, which this measurement would mix up");
    let bar = output::progress_bar(story.args.attempts);
    let (mut records, mut written, mut cpu) = (Vec::new(), 0, Duration::ZERO);
    let mut took = Duration::ZERO;
    for nth in 0..story.args.attempts {
        records.extend(story.records(nth));
        if records.len() < BATCH && nth + 1 < story.args.attempts {
            continue;
        }
        let batch = Batch { records: std::mem::take(&mut records), ..Batch::default() };
        written += batch.records.len() as u64;
        let (began, before) = (Instant::now(), usage::cpu_time(std::process::id())?);
        history.write(batch, None, 0).await?;
        took += began.elapsed();
        cpu += usage::cpu_time(std::process::id())? - before;
        bar.set_position(nth);
    }
    bar.finish_and_clear();
    let bytes = history.kept().await?.bytes;
    history.close().await;
    let us = cpu.as_secs_f64() * 1e6 / written as f64;
    Ok(Writing {
        scenario: "history",
        records: written,
        cpu_us_per_record: us,
        cores_at_5000_per_second: us * 5_000.0 / 1e6,
        records_per_second: written as f64 / took.as_secs_f64(),
        bytes,
    })
}

/// Which records there are: the same in every run.
struct Story<'a> {
    args: &'a Args,
    /// End of the last day, in unix milliseconds.
    end: u64,
}

impl Story<'_> {
    /// A number below `bound` that follows from another one.
    fn scattered(nth: u64, salt: u64, bound: u64) -> u64 {
        let mut mixed = nth.wrapping_add(salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// One in ten is of the first tenant, one in ten of the next ten.
    fn tenant(&self, nth: u64) -> u64 {
        let all = self.args.tenants;
        match Self::scattered(nth, 1, 10) {
            0 => 0,
            1 => Self::scattered(nth, 2, 10).min(all - 1),
            _ => Self::scattered(nth, 3, all),
        }
    }

    fn tenant_name(&self, nth: u64) -> String {
        tenant_scope(&format!("t{}", self.tenant(nth)), 1)
    }

    fn endpoint(&self, nth: u64) -> String {
        format!("e{}", Self::scattered(nth, 4, 5))
    }

    /// Each ticket has five events or so.
    fn ticket(&self, nth: u64) -> String {
        Self::scattered(nth, 5, self.args.attempts / 5 + 1).to_string()
    }

    fn contact(&self, nth: u64) -> String {
        format!("55119{:08}", Self::scattered(nth, 6, self.args.attempts / 20 + 1))
    }

    fn accepted_at(&self, nth: u64) -> u64 {
        self.end - DAYS * DAY_MS + (u128::from(nth) * u128::from(DAYS * DAY_MS) / u128::from(self.args.attempts)) as u64
    }

    fn event_id(&self, nth: u64) -> EventId {
        let mut chance = [0; 10];
        chance[..8].copy_from_slice(&nth.to_be_bytes());
        EventId::fresh(self.accepted_at(nth), chance)
    }

    fn records(&self, nth: u64) -> [Record; 2] {
        let (tenant, endpoint_id, accepted_at) = (self.tenant_name(nth), self.endpoint(nth), self.accepted_at(nth));
        let (id, event_type) = (self.event_id(nth), EventType::MESSAGE_RECEIVED);
        let delivery = delivery_id(&tenant, &id, &endpoint_id, Part::First);
        let owed = OwedDelivery {
            id: delivery,
            endpoint_id: endpoint_id.clone(),
            part: String::new(),
            subscriptions: vec!["all".into()],
            body: 1,
            run_began: accepted_at,
        };
        let text = format!("Olá, preciso de ajuda com meu pedido número {nth}");
        let event = EventRecord {
            tenant: tenant.clone(),
            id: id.clone(),
            event_type: event_type.clone(),
            source: "whazing".into(),
            accepted_at,
            occurred_at: accepted_at,
            channel_id: Some((nth % 7).to_string()),
            queue_id: Some((nth % 3).to_string()),
            ticket_id: Some(self.ticket(nth)),
            protocol: Some(format!("2026{}", self.ticket(nth))),
            contact: Some(self.contact(nth)),
            deliveries: vec![owed],
            unmatched: Vec::new(),
            bodies: vec![
                format!("{{\"text\":\"{text}\",\"more\":\"{EVENT_FILL}\"}}").into(),
                format!("{{\"msg\":{{\"text\":\"{text}\"}},\"more\":\"{BODY_FILL}\"}}").into(),
            ],
        };
        let is_delivered = !nth.is_multiple_of(50);
        let post = Post {
            outcome: if is_delivered { OutcomeClass::Success } else { OutcomeClass::ServerError },
            status: Some(if is_delivered { 200 } else { 503 }),
            duration_ms: 20 + nth % 50,
            timing: Timing { first_byte_ms: Some(15), ..Timing::default() },
            remote_address: Some("192.0.2.7:443".into()),
            reused: true,
            request_headers: [
                ("webhook-id", id.as_str()),
                ("webhook-signature", SIGNATURE),
                ("user-agent", "carteiro"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            response_headers: vec![("content-type".into(), "application/json".into())],
            response_excerpt: "{\"ok\":true}".into(),
        };
        let attempt = AttemptRecord {
            delivery: RecordedDelivery {
                id: delivery,
                tenant,
                event_id: id,
                event_type,
                endpoint_id,
                part: String::new(),
                accepted_at,
                run_began: accepted_at,
                subscriptions: vec!["all".into()],
            },
            number: 1,
            at: accepted_at + 10,
            post: Some(post),
            verdict: match is_delivered {
                true => RecordedVerdict::Delivered,
                false => RecordedVerdict::Retry(accepted_at + 5_000),
            },
            deferrals: 0,
        };
        [Record::Event(Box::new(event)), Record::Attempt(Box::new(attempt))]
    }
}

const SIGNATURE: &str = "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=";
/// What makes an event and a body as long as usual ones: 1.4 and 0.7 kB.
const EVENT_FILL: &str = include_str!("../../../tests/fixtures/vendor/whazing-channel-message.json");
const BODY_FILL: &str = "{'type':'chat','fromMe':false,'ticketStatus':'open','queue':'Suporte','assignee':'Ana'}";

#[derive(Clone, Copy)]
enum Question {
    Tenant,
    LargestTenant,
    Endpoint,
    Ticket,
    Number,
    Waiting,
    AnyId,
    Story,
    Operator,
}

impl Question {
    const ALL: [Self; 9] = [
        Self::Tenant,
        Self::LargestTenant,
        Self::Endpoint,
        Self::Ticket,
        Self::Number,
        Self::Waiting,
        Self::AnyId,
        Self::Story,
        Self::Operator,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Tenant => "list a tenant's",
            Self::LargestTenant => "list the largest tenant's",
            Self::Endpoint => "list by endpoint",
            Self::Ticket => "list by ticket",
            Self::Number => "list by number",
            Self::Waiting => "list what waits",
            Self::AnyId => "search for any id",
            Self::Story => "one delivery's story",
            Self::Operator => "list all tenants'",
        }
    }

    /// The filter of a question that is about the event of this number.
    fn filter(self, story: &Story<'_>, nth: u64) -> Filter {
        let of_tenant = Filter { tenant: Some(story.tenant_name(nth)), ..Filter::default() };
        match self {
            Self::Tenant | Self::Story => of_tenant,
            Self::LargestTenant => Filter { tenant: Some(tenant_scope("t0", 1)), ..Filter::default() },
            Self::Endpoint => Filter { endpoint_id: Some(story.endpoint(nth)), ..of_tenant },
            Self::Ticket => Filter { ticket_id: Some(story.ticket(nth)), ..of_tenant },
            Self::Number => Filter { contact: Some(format!("+{}", story.contact(nth))), ..of_tenant },
            Self::Waiting => Filter { state: Some(history::DeliveryState::Waiting), ..of_tenant },
            Self::AnyId => Filter { q: Some(story.ticket(nth)), ..of_tenant },
            Self::Operator => Filter::default(),
        }
    }
}

async fn ask(history: &dyn History, story: &Story<'_>, question: Question) -> anyhow::Result<Latencies> {
    let mut times = Vec::new();
    for at in 0..QUESTIONS {
        let nth = Story::scattered(at, 9, story.args.attempts);
        let began = Instant::now();
        if let Question::Story = question {
            let id = delivery_id(&story.tenant_name(nth), &story.event_id(nth), &story.endpoint(nth), Part::First);
            let found = history.delivery(&story.tenant_name(nth), id).await?;
            anyhow::ensure!(found.is_some_and(|story| story.body.is_some()), "a delivery is missing");
        } else {
            let asked = PageRequest { filter: question.filter(story, nth), limit: 50, after: None };
            let page = history.deliveries(&asked).await?;
            let may_be_empty = matches!(question, Question::Waiting);
            anyhow::ensure!(may_be_empty || !page.items.is_empty(), "{} found nothing", question.name());
        }
        times.push(began.elapsed());
    }
    Ok(Latencies::of(times))
}
