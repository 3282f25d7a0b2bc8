//! Replays: what is published, what a fault or a crash repeats, and how one is stopped.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use broker::{Broker, Lane, Log, Queue, ReadError, Target, memory::Memory};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use history::{Batch, Record, RecordSink, Recorder, RecorderMetrics};
use schemas::{Delivery, wire};
use serde_json::json;
use service::Clock;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::{
    fixture::{DeadDelivery, Fixture, NOW, append, append_without_body, tracker},
    reading_broker::ReadingBroker,
};
use crate::{DeadLetterFilter, Replay, ReplayEnd, Runs, WINDOW, dead_letters};

const SLOW: Queue = Queue::Lane(Lane::Slow);
const ALL: &str = r#"{"filter":{}}"#;

/// How often each event's delivery waits in the lane.
async fn waiting(broker: &Memory) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let mut consumer = broker.consume(SLOW, u16::MAX.into());
    for _ in 0..broker.depth(SLOW) {
        *counts.entry(consumer.next().await.unwrap().message.id.clone()).or_default() += 1;
    }
    counts
}

async fn alive(broker: &Memory) -> usize {
    dead_letters::find(broker, None, &DeadLetterFilter::default()).await.unwrap().len()
}

/// Replays everything directly, as the command line does.
async fn replay_all(broker: &dyn Broker) -> ReplayEnd {
    let clock: Clock = Arc::new(|| NOW);
    let _running = CancellationToken::new();
    let stop = _running.clone();
    let live = dead_letters::find(broker, None, &DeadLetterFilter::default()).await.unwrap();
    let (receivers, replay_id, clock) = (None, "job", &clock);
    let tracker = tracker(&live);
    Replay {
        broker,
        receivers,
        replay_id,
        has_room: None,
        rate: None,
        clock,
        outbox: None,
        runs: None,
        metrics: None,
        stop,
    }
    .run(live, tracker, |_| ())
    .await
}

#[tokio::test]
async fn a_replayed_delivery_starts_anew_under_its_old_name_with_its_old_bytes() {
    let fixture = Fixture::new();
    let dead = DeadDelivery::default();
    append(&fixture.broker, &dead).await;
    let replay = fixture.replay(ALL).await;
    assert_eq!((&replay["state"], &replay["matched"], &replay["replayed"]), (&json!("done"), &json!(1), &json!(1)));

    let again = fixture.broker.consume(SLOW, 1.into()).next().await.unwrap();
    let read = Delivery::from_message(&again.message).unwrap();
    let job = replay["id"].as_str().unwrap().to_owned();
    let (accepted_at, replay) = (NOW, Some(job));
    let (due, first_at, last) = (None, None, None);
    let (revision, attempt, deferrals) = (1, 1, 0);
    let first_accepted_at = Some(dead.delivery.accepted_at);
    let anew = Delivery { revision, accepted_at, first_accepted_at, attempt, due, ..dead.delivery.clone() };
    let expected = Delivery { first_at, last, deferrals, replay, ..anew };
    assert_eq!(read, expected);
    assert_eq!(read.webhook_id(), dead.delivery.webhook_id());
    assert_eq!(&again.message.body[..], br#"{"of" : "e0"}"#);
    assert_eq!(again.message.headers.text(wire::RECORD), None);
    assert_eq!(fixture.control.metrics.replays.with_label_values(&[dead.reason.as_str()]).get(), 1);
}

/// Passes on the batches that it is handed.
struct Taken(UnboundedSender<Batch>);

impl RecordSink for Taken {
    fn hand_over(&self, batch: Batch) -> BoxFuture<'_, ()> {
        async move { self.0.send(batch).unwrap() }.boxed()
    }
}

#[tokio::test]
async fn a_replayed_delivery_is_recorded_as_waiting_in_its_next_run() {
    let (broker, dead) = (Memory::calm(Arc::new(|| NOW)), DeadDelivery::default());
    append(&broker, &dead).await;
    let (clock, ended): (Clock, _) = (Arc::new(|| NOW), CancellationToken::new());
    let (taken, mut batches) = unbounded_channel();
    let metrics = RecorderMetrics::register(&Default::default()).unwrap();
    let (recorder, task) = Recorder::new("p1".into(), Box::new(Taken(taken)), clock.clone(), metrics, ended.clone());
    let live = dead_letters::find(&broker, None, &DeadLetterFilter::default()).await.unwrap();
    let tracker = tracker(&live);
    let replay = Replay {
        broker: &broker,
        receivers: None,
        replay_id: "job",
        has_room: None,
        rate: None,
        clock: &clock,
        outbox: None,
        runs: Some(Runs { recorder: &recorder, tenant_created: 7 }),
        metrics: None,
        stop: CancellationToken::new(),
    };
    replay.run(live, tracker, |_| ()).await;
    ended.cancel();
    task.run().await;
    let mut records = Vec::new();
    while let Some(batch) = batches.recv().await {
        records.extend(batch.records);
    }
    let [Record::Run(run)] = &records[..] else { panic!("{records:?}") };
    assert_eq!((run.delivery.id, run.delivery.run_began), (dead.delivery.id, NOW));
    assert_eq!(run.delivery.accepted_at, dead.delivery.accepted_at, "its day is that of the first acceptance");
    assert_eq!(run.delivery.tenant, history::tenant_scope(&dead.delivery.tenant, 7));
    assert_eq!(run.body.as_deref(), Some(&br#"{"of" : "e0"}"#[..]));
}

#[tokio::test]
async fn what_was_replayed_is_not_replayed_again_until_it_dies_again() {
    let fixture = Fixture::new();
    fixture.append(3).await;
    assert_eq!(fixture.replay(r#"{"filter":{"ids":["1"]}}"#).await["replayed"], 1);
    assert_eq!(fixture.replay(ALL).await["matched"], 2);
    assert_eq!(fixture.replay(ALL).await["matched"], 0);
    append(&fixture.broker, &DeadDelivery::default().event("e1")).await;
    assert_eq!(fixture.replay(ALL).await["matched"], 1);
    assert_eq!(waiting(&fixture.broker).await, BTreeMap::from([("e0".into(), 1), ("e1".into(), 2), ("e2".into(), 1)]));
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_replayed_stays_alive_and_stops_no_other() {
    let fixture = Fixture::new();
    fixture.append(1).await;
    let mut broken = fixture.broker.records(Log::Dead).remove(0).message;
    broken.headers.set(wire::RECORD, schemas::HeaderValue::Text(letter_of("e9").into()));
    broken.headers.remove(wire::ATTEMPT);
    fixture.broker.publish(&Target::Log(Log::Dead, "exhausted.acme".into()), &broken).await.unwrap();
    let replay = fixture.replay(ALL).await;
    assert_eq!((&replay["state"], &replay["matched"], &replay["replayed"]), (&json!("done"), &json!(2), &json!(1)));
    assert_eq!(alive(&fixture.broker).await, 1);
}

fn letter_of(event: &str) -> String {
    let DeadDelivery { delivery, reason, dead_at } = DeadDelivery::default().event(event);
    serde_json::to_string(&schemas::DeadLetter::of(&delivery, reason, 1, None, dead_at)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn lost_and_refused_confirms_repeat_and_lose_nothing() {
    let fixture = Fixture::on(Memory::hostile(Arc::new(|| NOW), 7));
    fixture.append(50).await;
    for nth in 1..=20 {
        fixture.broker.lose_confirm(3 * nth);
        fixture.broker.nack_confirm(3 * nth + 1);
    }
    assert_eq!(fixture.replay(r#"{"filter":{},"rate_per_second":1000000}"#).await["replayed"], 50);
    assert_eq!(waiting(&fixture.broker).await.len(), 50);
    assert_eq!(alive(&fixture.broker).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_crash_repeats_a_window_at_most_and_loses_none() {
    let fixture = Fixture::new();
    fixture.append(250).await;
    let confirm = Duration::from_millis(10);
    fixture.broker.delay_confirms(confirm);
    // The second window's deliveries are published and not yet confirmed when the process dies.
    let crashed = tokio::time::timeout(2 * confirm + confirm / 2, replay_all(&fixture.broker)).await;
    assert!(crashed.is_err());
    assert_eq!(alive(&fixture.broker).await, 150);

    assert_eq!(replay_all(&fixture.broker).await, ReplayEnd::Done);
    let waiting = waiting(&fixture.broker).await;
    assert_eq!((waiting.len(), alive(&fixture.broker).await), (250, 0));
    assert_eq!(waiting.values().sum::<usize>(), 250 + WINDOW);
}

#[tokio::test(start_paused = true)]
async fn a_blocked_broker_is_waited_for() {
    let fixture = Fixture::new();
    fixture.append(5).await;
    fixture.broker.block("alarm");
    let (status, started) = fixture.ask("POST", "/v1/tenants/acme/replays", ALL).await;
    assert_eq!((status, &started["state"], &started["replayed"]), (202, &json!("running"), &json!(0)));
    tokio::time::sleep(Duration::from_secs(60)).await;
    let path = format!("/v1/tenants/acme/replays/{}", started["id"].as_str().unwrap());
    assert_eq!(fixture.ask("GET", &path, "").await.1["state"], "running");
    fixture.broker.unblock();
    assert_eq!(fixture.ended(&started).await["replayed"], 5);
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept_and_delete_stops_the_rest() {
    let fixture = Fixture::new();
    fixture.append(100).await;
    let (_, started) = fixture.ask("POST", "/v1/tenants/acme/replays", r#"{"filter":{},"rate_per_second":10}"#).await;
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    let path = format!("/v1/tenants/acme/replays/{}", started["id"].as_str().unwrap());
    let (status, stopped) = fixture.ask("DELETE", &path, "").await;
    assert_eq!((status, &stopped["state"], &stopped["replayed"]), (200, &json!("stopped"), &json!(11)));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fixture.ask("GET", &path, "").await.1, stopped);
    assert_eq!((fixture.broker.depth(SLOW), alive(&fixture.broker).await), (11, 89));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_read_on_is_read_again_from_there() {
    let fixture = Fixture::new();
    fixture.append(30).await;
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = reads.clone();
    // Every read but the first ends after seven records, as if the connection went.
    let broker = ReadingBroker::new(&fixture.broker, move |records| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => records,
        _ => records.take(7).chain(stream::iter([Err(ReadError("torn".into()))])).boxed(),
    });
    assert_eq!(replay_all(&broker).await, ReplayEnd::Done);
    let waiting = waiting(&fixture.broker).await;
    assert_eq!((waiting.len(), waiting.values().sum::<usize>()), (30, 30));
    assert_eq!(reads.load(Ordering::SeqCst), 1 + 5, "found in one, replayed in five");
}

#[tokio::test]
async fn what_has_no_body_is_skipped_and_stays_and_the_rest_is_replayed_and_counted() {
    let fixture = Fixture::new();
    fixture.append(2).await;
    append_without_body(&fixture.broker, &DeadDelivery::default().event("bare")).await;
    let replay = fixture.replay(ALL).await;
    assert_eq!((&replay["matched"], &replay["replayed"], &replay["skipped"]), (&json!(3), &json!(2), &json!(1)));
    assert_eq!(waiting(&fixture.broker).await.len(), 2);
    let (_, left) = fixture.ask("POST", "/v1/tenants/acme/replays", r#"{"filter":{},"dry_run":true}"#).await;
    assert_eq!(left["matched"], 1, "it is still there");
    let made = String::from_utf8(fixture.outbox.report(NOW)[0].write()).unwrap();
    assert!(made.contains(r#""deliveries":2,"#), "{made}");
}

#[tokio::test]
async fn a_replay_to_endpoints_that_are_disabled_or_gone_is_refused_and_ends_no_dead_letter() {
    let fixture = Fixture::new();
    for endpoint in ["off", "gone"] {
        append(&fixture.broker, &DeadDelivery::default().to("acme", endpoint)).await;
    }
    for filter in [json!({}), json!({"endpoint_id": "off"}), json!({"ids": ["1"]})] {
        let body = json!({"filter": filter}).to_string();
        let (status, problem) = fixture.ask("POST", "/v1/tenants/acme/replays", &body).await;
        assert_eq!((status, &problem["code"]), (409, &json!("conflict")), "{filter}");
        let named = if filter["endpoint_id"] == "off" { "\"off\" (1 in all)" } else { "\"gone\" (" };
        assert!(problem["detail"].as_str().unwrap().contains(named), "{problem}");
    }
    append(&fixture.broker, &DeadDelivery::default()).await;
    let replay = fixture.replay(ALL).await;
    assert_eq!((&replay["matched"], &replay["replayed"], &replay["skipped"]), (&json!(3), &json!(1), &json!(2)));
    assert_eq!((fixture.broker.depth(SLOW), alive(&fixture.broker).await), (1, 2));
}

#[tokio::test]
async fn a_replay_to_a_paused_endpoint_is_made_and_waits_with_its_full_time() {
    let fixture = Fixture::new();
    let mut dead = DeadDelivery::default().to("acme", "later");
    dead.delivery.found_paused = 7;
    append(&fixture.broker, &dead).await;
    let replay = fixture.replay(ALL).await;
    assert_eq!((&replay["matched"], &replay["replayed"], &replay["skipped"]), (&json!(1), &json!(1), &json!(0)));
    let mut consumer = fixture.broker.consume(SLOW, 1.into());
    let again = Delivery::from_message(&consumer.next().await.unwrap().message).unwrap();
    assert_eq!((again.endpoint_id.as_str(), again.accepted_at, again.found_paused), ("later", NOW, 0));
}
