//! Replays go on after a restart, in another process, and after the store was away; one control at a time runs them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use broker::{Broker, Lane, Queue, memory::Memory, records::ReplayMarker};
use schemas::Delivery;
use serde_json::{Value, json};
use store::{Job, JobState, MemoryStore, Store};

use super::fixture::{DeadDelivery, Fixture, NOW, append};

const SLOW: Queue = Queue::Lane(Lane::Slow);
const REPLAYS: &str = "/v1/tenants/acme/replays";
const SLOWLY: &str = r#"{"filter":{},"rate_per_second":10}"#;

/// Controls on one broker and one store.
struct Site {
    broker: Memory,
    store: Arc<MemoryStore>,
}

impl Site {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::read_only(super::fixture::tenants()));
        Self { broker: Memory::calm(Arc::new(|| NOW)), store }
    }

    fn control(&self, name: &str) -> Fixture {
        Fixture::named(name, Arc::new(self.broker.clone()), self.broker.clone(), self.store.clone())
    }

    async fn job(&self, started: &Value) -> Job {
        let id = started["id"].as_str().unwrap();
        self.store.control_state().unwrap().job(id).await.unwrap().unwrap()
    }

    /// How often each event's delivery was published.
    async fn published(&self) -> BTreeMap<String, usize> {
        let (mut counts, mut consumer) = (BTreeMap::new(), self.broker.consume(SLOW, u16::MAX.into()));
        for _ in 0..self.broker.depth(SLOW) {
            *counts.entry(consumer.next().await.unwrap().message.id.clone()).or_default() += 1;
        }
        counts
    }
}

async fn start(control: &Fixture, body: &str) -> Value {
    let (status, started) = control.ask("POST", REPLAYS, body).await;
    assert_eq!(status, 202, "{started}");
    started
}

fn each_once(count: usize) -> BTreeMap<String, usize> {
    (0..count).map(|nth| (format!("e{nth}"), 1)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_replay_from_history_is_stopped_and_not_done_where_history_is_off() {
    let site = Site::new();
    let control = site.control("first");
    let spec = json!({"from": "history", "filter": {}, "since": 0, "until": NOW, "rate": 5.0});
    let job = Job {
        id: "0190a000-0000-7000-8000-000000000001".to_owned(),
        tenant: "acme".to_owned(),
        tenant_created: control.control.created("acme"),
        kind: crate::replays::REPLAY.to_owned(),
        state: JobState::Running,
        spec: spec.to_string(),
        matched: 3,
        position: String::new(),
        done: 0,
        skipped: 0,
        started_at: NOW,
        ended_at: None,
    };
    assert_eq!(site.store.control_state().unwrap().insert_job(job.clone(), 8).await, Ok(true));
    let ended = control.ended(&json!({"id": job.id})).await;
    assert_eq!(
        (&ended["state"], &ended["replayed"], &ended["from"]),
        (&json!("stopped"), &json!(0), &json!("history"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_replay_goes_on_with_the_next_start_and_replays_each_letter_once() {
    let site = Site::new();
    let first = site.control("first");
    first.append(40).await;
    let started = start(&first, SLOWLY).await;
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    first.process.cancel();
    first.control.drain().await;
    let job = site.job(&started).await;
    assert_eq!((job.state, job.done, job.ended_at), (JobState::Running, 11, None));
    append(&site.broker, &DeadDelivery::default().event("later")).await;

    let second = site.control("second");
    let ended = second.ended(&started).await;
    let numbers = ["state", "matched", "replayed", "skipped"].map(|name| ended[name].clone());
    assert_eq!(numbers, [json!("done"), json!(40), json!(40), json!(0)]);
    assert_eq!(site.published().await, each_once(40), "the one that died later stays");
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_a_crash_interrupted_counts_what_its_markers_say() {
    let site = Site::new();
    let control = site.control("control");
    control.append(10).await;
    site.broker.block("no control replays anything yet");
    let started = start(&control, SLOWLY).await;
    control.process.cancel();
    control.control.drain().await;
    site.broker.unblock();
    // Two letters are before the position that was stored last, and two after it.
    let id = started["id"].as_str().unwrap();
    for nth in 0..4 {
        let DeadDelivery { delivery, .. } = DeadDelivery::default().event(&format!("e{nth}"));
        let (to, marker) = ReplayMarker::of(&Delivery { ..delivery }, nth, id, NOW);
        site.broker.publish(&to, &marker).await.unwrap();
    }
    let position = json!({"next": 2, "replayed": 2, "skipped": 0}).to_string();
    let progress = store::JobProgress { id: id.to_owned(), position, done: 2, skipped: 0 };
    site.store.control_state().unwrap().record_progress(vec![progress]).await.unwrap();

    let ended = site.control("again").ended(&started).await;
    assert_eq!((&ended["replayed"], &ended["matched"]), (&json!(10), &json!(10)));
    let published: Vec<_> = site.published().await.into_keys().collect();
    assert_eq!(published, (4..10).map(|nth| format!("e{nth}")).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn one_control_runs_a_replay_and_another_one_shows_and_stops_it() {
    let site = Site::new();
    let (runner, other) = (site.control("runner"), site.control("other"));
    runner.append(60).await;
    let first = start(&runner, r#"{"filter":{"ids":["0"]},"rate_per_second":0.01}"#).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    // The other control starts it, and the one that has the lease runs it.
    let started = start(&other, SLOWLY).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let path = format!("{REPLAYS}/{}", started["id"].as_str().unwrap());
    let shown = other.ask("GET", &path, "").await.1;
    assert!(shown["replayed"].as_u64().unwrap() >= 10, "{shown}");
    let (status, stopped) = other.ask("DELETE", &path, "").await;
    assert_eq!((status, &stopped["state"]), (200, &json!("stopped")));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let at_the_end = other.ask("GET", &path, "").await.1;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(runner.ask("GET", &path, "").await.1, at_the_end);
    let published = site.published().await;
    assert!(published.len() < 60 && published.values().all(|times| *times == 1), "{published:?}");
    assert_eq!(at_the_end["replayed"].as_u64().unwrap() + 1, published.len() as u64, "one is the first replay's");
    assert_eq!(site.job(&first).await.state, JobState::Done);
}

#[tokio::test(start_paused = true)]
async fn a_control_that_cannot_renew_its_lease_stops_before_another_may_go_on() {
    let site = Site::new();
    let control = site.control("control");
    control.append(300).await;
    let started = start(&control, SLOWLY).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    site.store.set_away(true);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let so_far = site.broker.depth(SLOW);
    assert!((20..100).contains(&so_far), "{so_far}");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(site.broker.depth(SLOW), so_far);
    let (status, problem) = control.ask("POST", REPLAYS, SLOWLY).await;
    assert_eq!((status, &problem["code"]), (503, &json!("unavailable")));
    site.store.set_away(false);
    assert_eq!(control.ended(&started).await["replayed"], 300);
    assert_eq!(site.published().await, each_once(300));
}

#[tokio::test(start_paused = true)]
async fn replays_that_ended_are_kept_up_to_a_number_of_each_tenant() {
    let site = Site::new();
    let control = site.control("control");
    for _ in 0..crate::jobs::MOST_ENDED + 1 {
        control.now.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        control.replay(r#"{"filter":{}}"#).await;
    }
    control.append(1).await;
    tokio::time::sleep(Duration::from_secs(61)).await;
    site.broker.block("the last one runs for a while");
    start(&control, SLOWLY).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (_, listed) = control.ask("GET", &format!("{REPLAYS}?limit=1000"), "").await;
    let states: Vec<_> = listed["items"].as_array().unwrap().iter().map(|replay| replay["state"].clone()).collect();
    assert_eq!((states.len(), &states[0]), (crate::jobs::MOST_ENDED as usize + 1, &json!("running")));
}
