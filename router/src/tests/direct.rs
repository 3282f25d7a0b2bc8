//! What the deliverer of the same process takes over, and what it does not.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use broker::{DirectDelivery, Lane, Queue, SessionEnd, Settlement};
use bytes::Bytes;
use schemas::Delivery;
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    fixture::{Fixture, acme, one, received},
    recording::Step,
};

const FAST: Queue = Queue::Lane(Lane::Fast);

/// A deliverer whose attempts end as a test says.
struct ScriptedDeliverer {
    is_prompt: AtomicBool,
    attempts: Mutex<Vec<(Delivery, oneshot::Sender<Settlement>)>>,
}

impl ScriptedDeliverer {
    fn new() -> Arc<Self> {
        Arc::new(Self { is_prompt: true.into(), attempts: Mutex::default() })
    }

    /// The attempts that have begun since the last call.
    fn begun(&self) -> Vec<(Delivery, oneshot::Sender<Settlement>)> {
        std::mem::take(&mut *self.attempts.lock().unwrap())
    }

    /// The only attempt that has begun since the last call.
    async fn only_attempt(&self) -> (Delivery, oneshot::Sender<Settlement>) {
        pass_time().await;
        let [attempt] = <[_; 1]>::try_from(self.begun()).expect("one attempt");
        attempt
    }
}

impl DirectDelivery for ScriptedDeliverer {
    fn is_prompt(&self, _: &Delivery, _: &Bytes) -> bool {
        self.is_prompt.load(Relaxed)
    }

    fn offer(&self, delivery: &Delivery, _: &Bytes, _: &SessionEnd) -> Option<JoinHandle<Settlement>> {
        if !self.is_prompt.load(Relaxed) {
            return None;
        }
        let (end, ended) = oneshot::channel();
        self.attempts.lock().unwrap().push((delivery.clone(), end));
        Some(tokio::spawn(async move { ended.await.expect("a test that ends it, or a panic") }))
    }
}

/// So many endpoints that receive all events.
fn endpoints(count: usize) -> Value {
    let ids: Vec<_> = (0..count).map(|number| format!("e{number}")).collect();
    let endpoints: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
    let subscriptions: Vec<_> =
        ids.iter().map(|id| json!({"id": id, "endpoint_id": id, "event_types": ["*"]})).collect();
    acme(&json!(endpoints), &json!(subscriptions))
}

async fn pass_time() {
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_is_settled_once_the_last_of_its_attempts_has_ended() {
    let deliverer = ScriptedDeliverer::new();
    let fixture = Fixture::beside(deliverer.clone(), &endpoints(2));
    fixture.publish(&received("e1")).await;
    pass_time().await;
    let [(_, first), (_, second)] = <[_; 2]>::try_from(deliverer.begun()).expect("two attempts");
    first.send(Settlement::Done).expect("it waits");
    pass_time().await;
    assert_eq!((fixture.steps(), fixture.memory.depth(Queue::Ingest)), (vec![], 1), "one is under way");
    second.send(Settlement::Done).expect("it waits");
    fixture.idle().await;
    assert_eq!(fixture.steps(), [Step::Settled(Settlement::Done)], "nothing was published");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_not_prompt_takes_its_lane() {
    let deliverer = ScriptedDeliverer::new();
    let fixture = Fixture::beside(deliverer.clone(), &one());
    deliverer.is_prompt.store(false, Relaxed);
    fixture.route(&received("e1")).await;
    assert_eq!((deliverer.begun().len(), fixture.memory.depth(FAST)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn an_event_for_many_endpoints_takes_the_lanes() {
    let deliverer = ScriptedDeliverer::new();
    let fixture = Fixture::beside(deliverer.clone(), &endpoints(17));
    fixture.route(&received("e1")).await;
    assert_eq!((deliverer.begun().len(), fixture.memory.depth(FAST)), (0, 17));
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_attempt_is_given_back_comes_again_and_takes_its_lane() {
    let deliverer = ScriptedDeliverer::new();
    let fixture = Fixture::beside(deliverer.clone(), &one());
    fixture.publish(&received("e1")).await;
    let (delivery, attempt) = deliverer.only_attempt().await;
    attempt.send(Settlement::Again).expect("it waits");
    fixture.idle().await;
    assert_eq!(deliverer.begun().len(), 0, "what came again is not offered");
    assert_eq!(fixture.deliveries().await.into_keys().collect::<Vec<_>>(), [delivery.id], "under the same id");
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_attempt_panics_comes_again_and_takes_its_lane() {
    let deliverer = ScriptedDeliverer::new();
    let fixture = Fixture::beside(deliverer.clone(), &one());
    fixture.publish(&received("e1")).await;
    let (delivery, attempt) = deliverer.only_attempt().await;
    drop(attempt);
    fixture.idle().await;
    assert_eq!(fixture.deliveries().await.into_keys().collect::<Vec<_>>(), [delivery.id]);
}

#[tokio::test(start_paused = true)]
async fn events_beyond_half_of_the_prefetch_wait_shortly_and_then_take_the_lanes() {
    let deliverer = ScriptedDeliverer::new();
    let fixture = Fixture::beside(deliverer.clone(), &one());
    for number in 0..15 {
        fixture.publish(&received(&format!("e{number}"))).await;
    }
    pass_time().await;
    assert_eq!((deliverer.begun().len(), fixture.memory.depth(FAST)), (10, 5), "the prefetch is 20");
}
