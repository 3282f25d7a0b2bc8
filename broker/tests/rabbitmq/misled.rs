//! A queue whose recorded leader is a node that is gone, as after a crash and before the election is over. Before RabbitMQ
//! 3.12.5 this misleads a channel that publishes to the queue for the first time, for as long as the node is away:
//! docs/rabbitmq.md#a-channel-can-be-misled-about-a-leader

use broker::{Broker, Deadline, Due, Lane, PublishError, Queue, Settlement, Target, publish_until_confirmed};
use tokio::{task::spawn_blocking, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    fixture::{Fixture, TIMEOUT, clock, message, next},
    node::{Node, RESTART_DEAD_LETTERING, VERSION, is_misled},
};

/// A node that does not correct a wrong record. Usually a queue's leader checks the record every five seconds.
struct Misleading {
    node: &'static Node,
    /// True for a version that can be misled.
    is_old: bool,
}

impl Misleading {
    async fn start() -> Self {
        let node: &'static Node = Box::leak(Box::new(spawn_blocking(Node::start).await.expect("a node")));
        let version = spawn_blocking(|| node.ask(&VERSION)).await.expect("an answer");
        let this = Self { node, is_old: is_misled(&version) };
        this.eval("application:set_env(rabbit, quorum_tick_interval, 3600000).".to_owned()).await;
        this
    }

    async fn eval(&self, expression: String) -> String {
        let node = self.node;
        spawn_blocking(move || node.ask(&["--quiet", "eval", &expression])).await.expect("an answer")
    }

    /// Records a node as the leader of a queue, whichever it really is.
    async fn record(&self, queue: &str, leader: &str) {
        let name = format!("rabbit_misc:r(<<\"/\">>, queue, <<\"{queue}\">>)");
        let update = format!("fun(Q) -> amqqueue:set_pid(Q, {{element(1, amqqueue:get_pid(Q)), {leader}}}) end");
        let recorded = if self.is_old {
            format!(
                "rabbit_misc:execute_mnesia_transaction(fun() -> rabbit_amqqueue:update({name}, {update}) end), ok."
            )
        } else {
            format!("rabbit_amqqueue:update({name}, {update}), ok.")
        };
        assert_eq!(self.eval(recorded).await.trim(), "ok");
    }

    /// The queues whose dead-letter workers were restarted, as printed.
    async fn restart_dead_lettering(&self) -> String {
        self.eval(RESTART_DEAD_LETTERING.to_owned()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_refuses_one_channel_for_ever_gets_what_is_published_by_the_next() {
    let misleading = Misleading::start().await;
    let fixture = Fixture::start_on(&misleading.node.url).await;
    let (fast, queue) = (Target::Lane(Lane::Fast, None), fixture.name("deliver.fast"));
    misleading.record(&queue, "'gone@localhost'").await;
    let first = fixture.broker.publish(&fast, &message("first")).await;
    assert_eq!(matches!(first, Err(PublishError::Nacked)), misleading.is_old, "{first:?}");
    misleading.record(&queue, "node()").await;

    let _running = CancellationToken::new();
    let stop = _running.clone();
    let deadline = Deadline { stop, limit: None };
    let message = message("published");
    let publishing = publish_until_confirmed(&fixture.broker, &fast, &message, deadline);
    timeout(TIMEOUT, publishing).await.expect("in time").expect("confirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_misled_dead_letter_worker_holds_comes_once_the_worker_is_restarted() {
    let misleading = Misleading::start().await;
    let fixture = Fixture::start_on(&misleading.node.url).await;
    let queue = fixture.name("deliver.slow");
    misleading.record(&queue, "'gone@localhost'").await;
    let slow = Target::Lane(Lane::Slow, Some(Due { at: clock()() + 1000, exact: false }));
    fixture.broker.publish(&slow, &message("held")).await.expect("confirmed");
    let mut consumer = fixture.broker.consume(Queue::Lane(Lane::Slow), 10.into());
    if misleading.is_old {
        until_one_is_restarted(&misleading, &fixture).await;
        // The worker was restarted too early, and misled again.
        misleading.record(&queue, "node()").await;
        until_one_is_restarted(&misleading, &fixture).await;
    }
    let held = next(&mut consumer).await;
    assert_eq!(held.message.id, "held");
    held.settle(Settlement::Done);
}

/// Restarts workers until one was restarted: only the broker knows when the worker has been refused.
async fn until_one_is_restarted(misleading: &Misleading, fixture: &Fixture) {
    let restarted = async {
        loop {
            let restarted = misleading.restart_dead_lettering().await;
            if restarted.contains(&fixture.name("delay.1s")) {
                return;
            }
            assert_eq!(restarted.trim(), "[]");
        }
    };
    timeout(TIMEOUT, restarted).await.expect("in time");
}
