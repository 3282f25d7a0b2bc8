//! Replays go on by themselves after `control` was killed with SIGKILL: every dead letter arrives, and only deliveries in
//! flight arrive twice.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use carteiro::receiver::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    crash::{UNSETTLED, bounded, check, everything, middle},
    harness::{KEY, Process, Receiver, Site, eventually, ids, report},
};

/// Dead letters of each test.
const LETTERS: usize = 2_000;
/// Dead letters that a replay starts a second, so that a kill comes before the end.
const RATE: usize = 600;
/// Most deliveries that a replay has under way at once.
const WINDOW: usize = 100;

const REPLAYS: &str = "/v1/tenants/acme/replays";

/// The YAML of a tenant whose endpoint is tried once.
fn tried_once(url: &str) -> String {
    format!(
        "tenants:
  - id: acme
    endpoints: [{{id: crm, url: \"{url}\", retry: {{schedule: [], max_age: 1h}}}}]
    subscriptions: [{{id: all, endpoint_id: crm, event_types: [\"*\"]}}]
"
    )
}

/// A receiver that refuses everything until it is told to accept.
struct Switch {
    receiver: Receiver,
    status: Arc<AtomicU16>,
}

impl Switch {
    async fn refusing() -> Self {
        let status = Arc::new(AtomicU16::new(500));
        let answer = status.clone();
        let receiver = Receiver::without_bodies(move |_| Answer::status(answer.load(Ordering::Relaxed))).await;
        Self { receiver, status }
    }

    /// Publishes events, all of which end as dead letters. Returns their ids.
    async fn dead_letters(&self, producer: &Process, control: &Process) -> BTreeSet<String> {
        let accepted = producer.api().publish("acme", ids("event", LETTERS)).await;
        self.receiver.until("all were tried", |recorder| recorder.requests("/crm").len() >= LETTERS).await;
        eventually("all are dead letters", || async {
            let dry_run = Some(json!({"filter": {}, "dry_run": true}));
            let (_, counted) = control.api().ask(KEY, Method::POST, REPLAYS, dry_run).await;
            (counted["matched"] == LETTERS).then_some(())
        })
        .await;
        self.status.store(200, Ordering::Relaxed);
        accepted
    }
}

/// Replays all, and kills control in the middle. Returns the replay once it has ended.
async fn replay_through_a_kill(switch: &Switch, control: &mut Process) -> Value {
    let body = json!({"filter": {}, "rate_per_second": RATE});
    let started = control.api().done(KEY, Method::POST, REPLAYS, Some(body)).await;
    assert_eq!(started["matched"], LETTERS);
    let delivered = middle(&switch.receiver, LETTERS / 3, LETTERS).await;
    control.kill().await;
    report("control killed in a replay", format!("{delivered} delivered of {LETTERS} dead letters"));
    control.restart().await;
    let path = format!("{REPLAYS}/{}", started["id"].as_str().expect("an id"));
    eventually("the replay goes on and ends", || async {
        let (_, replay) = control.api().ask(KEY, Method::GET, &path, None).await;
        (replay["state"] == "done").then_some(replay)
    })
    .await
}

fn assert_whole(replay: &Value) {
    let numbers = ["matched", "replayed", "skipped"].map(|name| replay[name].as_u64().expect("a number"));
    assert_eq!(numbers, [LETTERS as u64, LETTERS as u64, 0], "{replay}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_standalone_goes_on_after_a_kill_and_loses_nothing() {
    let switch = Switch::refusing().await;
    let site = bounded(Site::embedded(&tried_once(&switch.receiver.url("/crm"))));
    let mut standalone = site.start("standalone").await;
    let accepted = switch.dead_letters(&standalone, &standalone).await;
    assert_whole(&replay_through_a_kill(&switch, &mut standalone).await);
    let counts = everything(&switch.receiver, &standalone, accepted).await;
    check("standalone killed in a replay", &counts, WINDOW + UNSETTLED);
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_control_on_rabbitmq_goes_on_after_a_kill_and_loses_nothing() {
    let switch = Switch::refusing().await;
    let site = bounded(Site::on_rabbitmq(&tried_once(&switch.receiver.url("/crm"))).await);
    let (producer, worker) = (site.start("producer").await, site.start("worker").await);
    let mut control = site.start("control").await;
    for process in [&producer, &worker, &control] {
        process.ready().await;
    }
    let accepted = switch.dead_letters(&producer, &control).await;
    assert_whole(&replay_through_a_kill(&switch, &mut control).await);
    let counts = everything(&switch.receiver, &producer, accepted).await;
    check("control killed in a replay", &counts, WINDOW);
    for process in [producer, worker, control] {
        assert_eq!(process.end().await, 0);
    }
}
