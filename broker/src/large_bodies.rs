//! A broker layer that bounds the bytes of large bodies that are on their way to the broker, and shares them fairly
//! between tenants.
//!
//! A broker stores what it is sent in the order in which it comes. A hundred bodies of 1 MiB would stand for a second and
//! more in front of every small one, whoever's it is.

use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};
use schemas::{Message, wire};
use service::FairSemaphore;

use crate::{Broker, BrokerLayer, PublishError, Target};

/// Largest number of bytes of large bodies that are published at once: a broker stores as many in some 10 ms, so that more
/// of them would not be faster. A larger one goes out alone.
const ROOM: u32 = 1024 * 1024;
/// Bytes of a body that is not large. Any number of these may be published at once.
const SMALL: usize = 16 * 1024;

pub struct LargeBodies {
    broker: Arc<dyn Broker>,
    room: Arc<FairSemaphore>,
}

impl LargeBodies {
    pub fn new(broker: Arc<dyn Broker>) -> Self {
        Self { broker, room: FairSemaphore::new(ROOM) }
    }
}

impl BrokerLayer for LargeBodies {
    fn inner(&self) -> &dyn Broker {
        &*self.broker
    }

    fn publish<'a>(&'a self, to: &'a Target, message: &'a Message) -> BoxFuture<'a, Result<(), PublishError>> {
        let bytes = message.body.len();
        if bytes <= SMALL {
            return self.broker.publish(to, message);
        }
        async move {
            let tenant = message.headers.text(wire::TENANT).unwrap_or_default();
            let _room = self.room.acquire(tenant, u32::try_from(bytes).unwrap_or(u32::MAX)).await;
            self.broker.publish(to, message).await
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::{StreamExt as _, stream::FuturesUnordered};
    use schemas::{HeaderValue, Headers};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::{Lane, memory::Memory};

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

    #[tokio::test]
    async fn large_bodies_of_one_tenant_stand_in_front_of_no_other() {
        let inner = Memory::calm(service::clock::system());
        let slow = Arc::new(SlowBroker { inner, confirms: Semaphore::new(0), came: Mutex::default() });
        let layer: Arc<dyn Broker> = Arc::new(LargeBodies::new(slow.clone()));
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
}
