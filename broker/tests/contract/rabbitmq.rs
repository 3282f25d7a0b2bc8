//! The contract on a real RabbitMQ: each test has names of its own on one shared node. That node cannot be crashed or blocked
//! here, because all tests would notice; `tests/rabbitmq` does so to nodes of its own.

use std::sync::Arc;

use broker::{Broker, BrokerConfig, rabbitmq::RabbitMq};
use service::Clock;
use tokio::time::timeout;

use crate::{
    fixture::{Features, Fixture, TIMEOUT, clock},
    node,
};

/// A broker under a prefix and an exchange that no other test uses.
struct RabbitMqFixture {
    config: BrokerConfig,
    clock: Clock,
    broker: Arc<RabbitMq>,
}

impl Fixture for RabbitMqFixture {
    async fn start() -> Self {
        let url = tokio::task::spawn_blocking(node::shared).await.expect("a node");
        let unique = format!("test-{:016x}", fastrand::u64(..));
        let config = BrokerConfig {
            url: url.to_owned(),
            prefix: unique.clone(),
            exchange: format!("{unique}.events"),
            declare: true,
            max_bytes: 0,
            dead_letters_bytes: 10_000_000_000,
            parked_bytes: 5_000_000_000,
        };
        let clock = clock();
        let broker = connect(&config, &clock).await;
        Self { config, clock, broker }
    }

    fn features(&self) -> Features {
        Features { durable: true, blocks: false, precise: false }
    }

    fn broker(&self) -> Arc<dyn Broker> {
        self.broker.clone()
    }

    fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// Ends only our own client, because all tests share the node. What is unsettled goes back.
    async fn restart(&mut self) {
        self.broker.close().await;
        self.broker = connect(&self.config, &self.clock).await;
    }
}

async fn connect(config: &BrokerConfig, clock: &Clock) -> Arc<RabbitMq> {
    let broker = RabbitMq::connect(config, clock.clone(), fastrand::Rng::new()).expect("a url");
    broker.pack_deliveries(true);
    timeout(TIMEOUT, broker.first_session()).await.expect("in time").expect("a topology");
    Arc::new(broker)
}

impl Drop for RabbitMqFixture {
    fn drop(&mut self) {
        node::remove_topology(&self.config);
    }
}

mod contract {
    crate::suite::contract!(super::RabbitMqFixture, flavor = "multi_thread");
}
