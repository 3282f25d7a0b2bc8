//! A broker layer that bounds the bytes of large bodies that are on their way to the broker, and shares them fairly
//! between tenants.
//!
//! A broker stores what it is sent in the order in which it comes. A hundred bodies of 1 MiB would stand for a second and
//! more in front of every small one, whoever's it is. A tenant whose messages are the only ones has nobody in front of
//! whom they could stand, and is not limited: a distant broker takes many bodies at once.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use schemas::{Message, wire};
use service::FairSemaphore;
use tokio::time::{Instant, sleep};

use crate::{Broker, BrokerLayer, PublishError, Target, latest_tenant::LatestTenant, records::tenant_of_key};

/// Largest number of bytes of large bodies that are published at once while several tenants publish. A larger one goes
/// out alone.
const ROOM: u32 = 1024 * 1024;
/// The room of a body that fills it stays taken for this many times as long as the broker took to confirm it, so that the
/// broker has this time for others: it goes on writing the body long afterwards. Smaller bodies take as much less.
const PAUSE: f64 = 12.0;
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// Bytes of a body that is not large. Any number of these may be published at once.
const SMALL: usize = 16 * 1024;

pub(crate) fn is_large(bytes: usize) -> bool {
    bytes > SMALL
}

pub struct LargeBodies {
    broker: Arc<dyn Broker>,
    room: Arc<FairSemaphore>,
    /// Room of bodies for the logs. A record may wait for its turn among the tenant's records, and must not keep the room
    /// of others' events and deliveries meanwhile.
    log_room: Arc<FairSemaphore>,
    latest: LatestTenant,
}

impl LargeBodies {
    pub fn new(broker: Arc<dyn Broker>) -> Self {
        let [room, log_room] = [ROOM; 2].map(FairSemaphore::new);
        Self { broker, room, log_room, latest: LatestTenant::new() }
    }
}

impl BrokerLayer for LargeBodies {
    fn inner(&self) -> &dyn Broker {
        &*self.broker
    }

    fn publish<'a>(&'a self, to: &'a Target, message: &'a Message) -> BoxFuture<'a, Result<(), PublishError>> {
        let bytes = message.body.len();
        let tenant = owner(to, message);
        let is_alone = self.latest.note(tenant);
        if !is_large(bytes) || is_alone {
            return self.broker.publish(to, message);
        }
        let room = if matches!(to, Target::Log(..)) { &self.log_room } else { &self.room };
        async move {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            // An event that is taken in while deliveries wait would fill the router, where others wait for it.
            let room = match to {
                Target::Ingest { .. } => room.acquire_last(tenant, bytes).await,
                _ => room.acquire(tenant, bytes).await,
            };
            let began = Instant::now();
            let published = self.broker.publish(to, message).await;
            let filled = f64::from(bytes.min(ROOM)) / f64::from(ROOM);
            let pause = began.elapsed().mul_f64(PAUSE * filled).min(LONGEST_PAUSE);
            tokio::spawn(async move {
                sleep(pause).await;
                drop(room);
            });
            published
        }
        .boxed()
    }
}

/// The tenant whose message it is. Events and parked messages of other publishers may bear any header, so their keys say
/// it.
fn owner<'a>(to: &'a Target, message: &'a Message) -> &'a str {
    match to {
        Target::Ingest { key } | Target::IngestSlow { key } => key.split('.').next().unwrap_or_default(),
        Target::Log(_, key) => tenant_of_key(key),
        Target::Lane(..) => message.headers.text(wire::TENANT).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::{StreamExt as _, stream::FuturesUnordered};
    use schemas::{HeaderValue, Headers};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::{Lane, Log, latest_tenant::ALONE_AFTER, memory::Memory};

    const TARGET: Target = Target::Lane(Lane::Fast, None);

    /// A broker that confirms large bodies only as it is told.
    struct SlowBroker {
        inner: Memory,
        confirms: Semaphore,
        /// Ids in the order of their coming.
        came: Mutex<Vec<String>>,
    }

    impl BrokerLayer for SlowBroker {
        fn inner(&self) -> &dyn Broker {
            &self.inner
        }

        fn publish<'a>(&'a self, _: &'a Target, message: &'a Message) -> BoxFuture<'a, Result<(), PublishError>> {
            async move {
                self.came.lock().unwrap().push(message.id.clone());
                if message.body.len() > SMALL {
                    self.confirms.acquire().await.unwrap().forget();
                }
                Ok(())
            }
            .boxed()
        }
    }

    fn message(tenant: &str, number: usize, bytes: usize) -> Message {
        let mut headers = Headers::default();
        headers.set(wire::TENANT, HeaderValue::Text(tenant.into()));
        Message { id: format!("{tenant}-{number}"), headers, body: vec![b' '; bytes].into(), ..Message::default() }
    }

    /// A broker for large bodies, and the layer in front of it, through which another tenant has just published.
    async fn beside_another() -> (Arc<SlowBroker>, Arc<dyn Broker>) {
        let inner = Memory::calm(service::clock::system());
        let slow = Arc::new(SlowBroker { inner, confirms: Semaphore::new(0), came: Mutex::default() });
        let layer: Arc<dyn Broker> = Arc::new(LargeBodies::new(slow.clone()));
        layer.publish(&TARGET, &message("other", 0, SMALL)).await.unwrap();
        slow.came.lock().unwrap().clear();
        (slow, layer)
    }

    #[tokio::test]
    async fn large_bodies_of_one_tenant_stand_in_front_of_no_other() {
        let (slow, layer) = beside_another().await;
        let half = ROOM as usize / 2;
        let messages: Vec<_> = (0..4).map(|number| message("acme", number, half)).collect();
        let (small, large) = (message("beta", 0, SMALL), message("beta", 1, half));
        let came = || slow.came.lock().unwrap().clone();
        let mut publishes: FuturesUnordered<_> =
            messages.iter().map(|message| layer.publish(&TARGET, message)).collect();
        assert_eq!(publishes.next().now_or_never(), None);
        assert_eq!(came(), ["acme-0", "acme-1"]);
        layer.publish(&TARGET, &small).await.unwrap();
        publishes.push(layer.publish(&TARGET, &large));
        assert_eq!(publishes.next().now_or_never(), None);
        assert_eq!(came()[2..], ["beta-0"]);
        slow.confirms.add_permits(5);
        while publishes.next().await.is_some() {}
        assert_eq!(came()[3..], ["beta-1", "acme-2", "acme-3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_that_is_alone_for_a_while_may_send_any_number_of_large_bodies() {
        let (slow, layer) = beside_another().await;
        let messages: Vec<_> = (0..9).map(|number| message("acme", number, ROOM as usize)).collect();
        layer.publish(&TARGET, &message("acme", 9, SMALL)).await.unwrap();
        tokio::time::advance(ALONE_AFTER).await;
        let mut publishes: FuturesUnordered<_> =
            messages[..6].iter().map(|message| layer.publish(&TARGET, message)).collect();
        assert_eq!(publishes.next().now_or_never(), None);
        assert_eq!(slow.came.lock().unwrap().len(), 1 + 6);
        layer.publish(&TARGET, &message("beta", 1, SMALL)).await.unwrap();
        publishes.extend(messages[6..].iter().map(|message| layer.publish(&TARGET, message)));
        assert_eq!(publishes.next().now_or_never(), None);
        assert_eq!(slow.came.lock().unwrap().len(), 1 + 6 + 1 + 1, "one at a time again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_body_leaves_its_broker_time_for_others() {
        let (memory, took) = (Memory::calm(service::clock::system()), Duration::from_millis(10));
        memory.delay_confirms(took);
        let layer: Arc<dyn Broker> = Arc::new(LargeBodies::new(Arc::new(memory)));
        layer.publish(&TARGET, &message("beta", 0, SMALL)).await.unwrap();
        let began = Instant::now();
        for number in 0..2 {
            layer.publish(&TARGET, &message("acme", number, ROOM as usize)).await.unwrap();
        }
        assert_eq!(began.elapsed(), took + took.mul_f64(PAUSE) + took);
    }

    #[tokio::test]
    async fn an_event_waits_behind_the_deliveries_of_its_tenant() {
        let (slow, layer) = beside_another().await;
        let ingest = Target::Ingest { key: "acme.7.12.ticket.created".to_owned() };
        let [first, event, delivery] = [0, 1, 2].map(|number| message("acme", number, ROOM as usize));
        let mut publishes = FuturesUnordered::from_iter([layer.publish(&TARGET, &first)]);
        assert_eq!(publishes.next().now_or_never(), None);
        for (to, message) in [(&ingest, &event), (&TARGET, &delivery)] {
            publishes.push(layer.publish(to, message));
            assert_eq!(publishes.next().now_or_never(), None);
        }
        slow.confirms.add_permits(3);
        while publishes.next().await.is_some() {}
        assert_eq!(*slow.came.lock().unwrap(), ["acme-0", "acme-2", "acme-1"]);
    }

    #[tokio::test]
    async fn records_that_wait_for_a_log_keep_no_room_of_deliveries() {
        let (slow, layer) = beside_another().await;
        let log = Target::Log(Log::Dead, "exhausted.acme".to_owned());
        let (record, delivery) = (message("acme", 0, ROOM as usize), message("beta", 0, ROOM as usize));
        let mut publishes =
            FuturesUnordered::from_iter([layer.publish(&log, &record), layer.publish(&TARGET, &delivery)]);
        assert_eq!(publishes.next().now_or_never(), None);
        assert_eq!(*slow.came.lock().unwrap(), ["acme-0", "beta-0"]);
    }

    #[test]
    fn the_owner_of_an_event_or_a_record_is_in_its_key() {
        let message = message("forged", 0, 1);
        let key = |key: &str| key.to_owned();
        for target in [
            Target::Ingest { key: key("acme.7.12.ticket.created") },
            Target::IngestSlow { key: key("acme.7.12.ticket.created") },
            Target::Log(Log::Parked, key("schema.acme")),
        ] {
            assert_eq!(owner(&target, &message), "acme");
        }
        assert_eq!(owner(&TARGET, &message), "forged", "nobody else publishes to lanes");
    }
}
