//! What one tenant's requests leave to the others.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use broker::{Broker, BrokerLayer, PublishError, Target, memory::Memory};
use bytes::Bytes;
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, join_all},
    poll, stream,
};
use schemas::{Message, Strictness};
use service::{SeenConfig, metrics::Registry};
use store::Pulled;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::fixture::{Answer, EVENTS, NOW, TestIntake, request};
use crate::{EventOrigin, Producer, ProducerConfig, ProducerMetrics, publish::Submitted};

const EVENT: &str = r#"{"type":"a.b"}"#;

/// Requests that have begun and have no answer yet, and the answers of the others.
async fn begin<'a>(
    requests: impl IntoIterator<Item = BoxFuture<'a, Answer>>,
) -> (Vec<BoxFuture<'a, Answer>>, Vec<u16>) {
    let (mut begun, mut answered) = (Vec::new(), Vec::new());
    for mut request in requests {
        match poll!(&mut request) {
            std::task::Poll::Ready(answer) => answered.push(answer.status),
            std::task::Poll::Pending => begun.push(request),
        }
    }
    (begun, answered)
}

/// A body of so many chunks that does not end.
fn slow(chunk: Bytes, chunks: usize) -> Body {
    let chunks = stream::repeat(chunk).take(chunks).map(Ok::<_, std::io::Error>);
    Body::from_stream(chunks.chain(stream::pending()))
}

async fn other_tenant(intake: &TestIntake) -> u16 {
    let request = request("/v1/tenants/zeta/events").header("authorization", "Bearer zeta's");
    intake.send(request, EVENT).await.status
}

#[tokio::test]
async fn slow_requests_of_one_tenant_leave_places_to_others() {
    let intake = TestIntake::with(|config| config.max_concurrent = 64);
    let requests = (0..64).map(|_| intake.post(EVENTS, slow(Bytes::new(), 0)).boxed());
    let (begun, answered) = begin(requests).await;
    assert_eq!((begun.len(), answered), (56, vec![429; 8]), "a tenant that is alone has all but an eighth");
    for _ in 0..3 {
        assert_eq!(other_tenant(&intake).await, 202);
    }
    drop(begun);
    assert_eq!(intake.post(EVENTS, EVENT).await.status, 202);
}

#[tokio::test]
async fn several_tenants_that_want_all_places_get_equal_parts() {
    let intake = TestIntake::with(|config| config.max_concurrent = 60);
    let zeta = || request("/v1/tenants/zeta/events").header("authorization", "Bearer zeta's");
    let requests = (0..120).map(|number| match number % 2 {
        0 => intake.post(EVENTS, slow(Bytes::new(), 0)).boxed(),
        _ => intake.send(zeta(), slow(Bytes::new(), 0)).boxed(),
    });
    let (begun, answered) = begin(requests).await;
    assert_eq!((begun.len(), answered.len()), (56, 64));
    let slow_tenant = request("/v1/tenants/slow/events").header("authorization", "Bearer slow's");
    assert_eq!(intake.send(slow_tenant, EVENT).await.status, 202);
}

#[tokio::test]
async fn large_batches_of_one_tenant_leave_bytes_to_another() {
    let intake = TestIntake::new();
    let mebibyte = Bytes::from(vec![b' '; 1 << 20]);
    let requests = (0..8).map(|_| intake.post(EVENTS, slow(mebibyte.clone(), 8)).boxed());
    let (begun, answered) = begin(requests).await;
    assert_eq!((begun.len(), answered), (7, vec![429]));
    assert_eq!(other_tenant(&intake).await, 202);
    drop(begun);
    assert_eq!(intake.post(EVENTS, EVENT).await.status, 202);
}

#[tokio::test]
async fn a_body_that_is_alone_may_have_all_the_bytes_however_it_comes() {
    let intake = TestIntake::with(|config| config.max_in_flight_bytes = 100);
    let event = format!(r#"{{"type":"a.b","x":"{}"}}"#, "x".repeat(79));
    assert_eq!(event.len(), 100);
    let chunks: Vec<_> = event.bytes().map(|byte| Ok::<_, std::io::Error>(Bytes::from(vec![byte]))).collect();
    assert_eq!(intake.post(EVENTS, Body::from_stream(stream::iter(chunks))).await.status, 202);
}

#[tokio::test]
async fn unknown_tokens_and_keys_wait_for_the_store_in_places_of_their_own() {
    let intake = TestIntake::with(|config| config.max_concurrent = 16);
    intake.store.when_pulled(|| Pulled::Silence);
    let guess = |number: usize| match number % 2 {
        0 => intake.send(request(&format!("/v1/in/guess-{number}")), "{}").boxed(),
        _ => intake.send(request(EVENTS).header("authorization", format!("Bearer guess-{number}")), EVENT).boxed(),
    };
    let (begun, answered) = begin((0..6).map(guess)).await;
    assert_eq!((begun.len(), answered), (2, vec![429; 4]));
    let known = (0..14).map(|_| intake.post(EVENTS, slow(Bytes::new(), 0)).boxed());
    assert_eq!(begin(known).await.0.len(), 14);
    assert_eq!(intake.send(request("/v1/in/t-slow"), "{}").await.status, 202);
}

#[tokio::test]
async fn a_known_key_for_another_tenant_takes_no_place_of_unknown_ones() {
    let intake = TestIntake::new();
    intake.store.when_pulled(|| Pulled::Silence);
    let answer = intake.post("/v1/tenants/zeta/events", EVENT).await;
    assert_eq!((answer.code(), intake.store.pulls()), ((404, "not_found"), 0));
}

/// A broker with a window of 1,000 unconfirmed publishes, first come, first served, which confirms after a second.
struct Windowed(Memory, Semaphore);

impl BrokerLayer for Windowed {
    fn inner(&self) -> &dyn Broker {
        &self.0
    }

    fn publish<'a>(&'a self, to: &'a Target, message: &'a Message) -> BoxFuture<'a, Result<(), PublishError>> {
        async {
            let _permit = self.1.acquire().await;
            Broker::publish(&self.0, to, message).await
        }
        .boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenants_batches_do_not_stand_in_front_of_anothers_event() {
    let memory = Memory::calm(Arc::new(|| NOW));
    memory.delay_confirms(Duration::from_secs(1));
    let broker = Arc::new(Windowed(memory, Semaphore::new(1_000)));
    let duplicates = SeenConfig { ids: 0, window: Duration::ZERO };
    let config =
        ProducerConfig { max_event_bytes: 1 << 20, max_concurrent: 1, max_in_flight_bytes: 8 << 20, duplicates };
    let metrics = ProducerMetrics::register(&Registry::default()).unwrap();
    let deps: (service::Clock, service::Chance) = (Arc::new(|| NOW), Arc::new(|| 0.5));
    let producer = Producer::new(&config, broker, None, metrics, deps);
    let (origin, begun) = (EventOrigin::default(), Instant::now());
    let batch = || {
        let events = (0..1_000).map(|number| Submitted {
            pointer: String::new(),
            text: Bytes::from(format!(r#"{{"id":"{number}","type":"a.b"}}"#)),
            read: None,
        });
        producer.publish_all("acme", events, &origin, Strictness::Lenient)
    };
    let batches = join_all((0..5).map(|_| batch()));
    let other = async {
        // The batches fill the window meanwhile.
        sleep(Duration::from_millis(500)).await;
        producer.publish("zeta", Bytes::from_static(EVENT.as_bytes()), &origin, Strictness::Lenient).await.unwrap();
        begun.elapsed()
    };
    let (batches, other) = tokio::join!(biased; batches, other);
    assert_eq!(batches.into_iter().map(|accepted| accepted.unwrap().len()).sum::<usize>(), 5_000);
    assert_eq!((other.as_secs(), begun.elapsed().as_secs()), (2, 6), "it comes next, and no room is left empty");
}
