//! What a broker or a line does to us: V12, cuts, crashes, refusals. On nodes of their own.

use std::time::Duration;

use broker::{
    Broker, ConnectionState, Deadline, Lane, PublishError, Queue, Settlement, Target, publish_until_confirmed, rabbitmq,
};
use futures_util::future::join_all;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    node::Node,
    road::{PATIENCE, Road, connect, message, next, take_all, unique},
};

const FAST: Target = Target::Lane(Lane::Fast, None);

async fn node() -> &'static Node {
    let node = tokio::task::spawn_blocking(Node::start).await.expect("a node");
    // Held for the length of the process: dropping the handle would not stop it either.
    Box::leak(Box::new(node))
}

async fn on(node: &'static Node, act: impl FnOnce(&Node) + Send + 'static) {
    tokio::task::spawn_blocking(move || act(node)).await.expect("done");
}

fn for_ever() -> (CancellationToken, Deadline) {
    let sender = CancellationToken::new();
    let stop = sender.clone();
    (sender, Deadline { stop, limit: None })
}

/// Publishes these ids at once, each until it is confirmed.
async fn insist_on(road: &Road, ids: &[String]) {
    let (_running, patience) = for_ever();
    let publishes = ids.iter().map(|id| {
        let patience = patience.clone();
        async move { publish_until_confirmed(&road.broker, &FAST, &message(id), patience).await }
    });
    for answer in timeout(PATIENCE, join_all(publishes)).await.expect("in time") {
        answer.expect("confirmed");
    }
}

fn ids(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name}-{n}")).collect()
}

/// One test, since a node takes seconds to start: each part leaves the road whole, which the next one needs.
#[tokio::test(flavor = "multi_thread")]
async fn v12_alarms_cuts_and_crashes_are_waited_out_and_lose_nothing() {
    let node = node().await;
    let road = Road::lay_on(&node.url).await;
    let mut consumer = road.broker.consume(Queue::Lane(Lane::Fast), 10);

    alarm(node, &road, &mut consumer).await;
    cut(node, &road, &mut consumer).await;
    crash(node, &road, &mut consumer).await;
}

/// An alarm blocks publishing, visibly and at once; acknowledging goes on.
async fn alarm(node: &'static Node, road: &Road, consumer: &mut broker::Consumer) {
    insist_on(road, &ids("before", 30)).await;
    on(node, |node| node.ctl(&["set_vm_memory_high_watermark", "0.00001"])).await;
    // The broker tells those who publish; the canary does, all the time.
    road.until(|link| matches!(link, ConnectionState::Blocked(_))).await;
    let refused = timeout(Duration::from_secs(1), road.broker.publish(&FAST, &message("refused"))).await;
    assert!(matches!(refused, Ok(Err(PublishError::Blocked(_)))), "{refused:?}");
    // Three times the prefetch: more only comes if acknowledgements are read.
    take_all(consumer, ids("before", 30)).await;
    // A session that begins during an alarm stands too: what is consumed is what lets the broker recover.
    let cutting = on(node, |node| node.ctl(&["close_all_connections", "a test"]));
    tokio::join!(cutting, road.until(|link| matches!(link, ConnectionState::Away(_))));
    road.until(|link| matches!(link, ConnectionState::Blocked(_))).await;

    on(node, |node| node.ctl(&["set_vm_memory_high_watermark", "0.4"])).await;
    road.until(|link| *link == ConnectionState::Ready).await;
    insist_on(road, &ids("after", 10)).await;
    take_all(consumer, ids("after", 10)).await;
}

/// All connections are cut under load: what was not confirmed is published again, what was not settled comes again.
async fn cut(node: &'static Node, road: &Road, consumer: &mut broker::Consumer) {
    let mut notices = road.broker.notices();
    insist_on(road, &ids("held", 1)).await;
    let held = next(consumer).await;
    let ids = ids("cut", 2000);
    let cutting = on(node, |node| node.ctl(&["close_all_connections", "a test"]));
    let taking = take_all(consumer, ids.clone());
    tokio::join!(insist_on(road, &ids), taking, cutting);
    assert_eq!(held.message.id, "held-0");
    held.settle(Settlement::Done);
    // Who listened before hears again, without asking anew.
    road.until(|link| *link == ConnectionState::Ready).await;
    road.broker.announce("we are back".into());
    let heard = timeout(PATIENCE, notices.next()).await.expect("in time");
    assert_eq!(heard.expect("the broker is open"), "we are back");
}

/// The node dies and comes back on its disk: so do we, by ourselves.
async fn crash(node: &'static Node, road: &Road, consumer: &mut broker::Consumer) {
    road.until(|link| *link == ConnectionState::Ready).await;
    insist_on(road, &ids("durable", 20)).await;
    tokio::join!(on(node, Node::crash), road.until(|link| matches!(link, ConnectionState::Away(_))));
    road.until(|link| *link == ConnectionState::Ready).await;
    take_all(consumer, ids("durable", 20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_waited_out_and_said_without_it() {
    let url = tokio::task::spawn_blocking(crate::node::shared).await.expect("a node");
    let config = unique(&url.replace("guest:guest", "guest:hunter2"));
    let role = connect(&config);
    let refused =
        |link: &ConnectionState| matches!(link, ConnectionState::Away(reason) if reason.contains("access refused"));
    let away =
        timeout(PATIENCE, role.connection_state().wait_for(refused)).await.expect("in time").expect("a link").clone();
    let ConnectionState::Away(reason) = away else { unreachable!("as waited for") };
    assert!(!reason.contains("hunter2"), "{reason}");
    assert!(matches!(role.publish(&FAST, &message("e")).await, Err(PublishError::Away(_))));
    let waiting = timeout(Duration::from_millis(500), role.first_session()).await;
    assert!(waiting.is_err(), "it is no reason to end: {waiting:?}");
    assert_eq!(*role.defect().borrow(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_hosts_the_one_that_answers_is_used() {
    let url = tokio::task::spawn_blocking(crate::node::shared).await.expect("a node");
    // Nothing listens on port 1.
    let config = unique(&url.replace("@127.0.0.1", "@127.0.0.1:1,127.0.0.1"));
    let role = connect(&config);
    timeout(PATIENCE, role.first_session()).await.expect("in time").expect("connects");
    role.close().await;
    assert!(matches!(role.publish(&FAST, &message("e")).await, Err(PublishError::Away(_))));
    rabbitmq::remove(&config).await.expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_writes_what_is_settled_and_ends_the_consumers() {
    let road = Road::lay().await;
    insist_on(&road, &ids("settled", 50)).await;
    let mut consumer = road.broker.consume(Queue::Lane(Lane::Fast), 50);
    let _other = road.broker.consume(Queue::Lane(Lane::Slow), 50);
    take_all(&mut consumer, ids("settled", 50)).await;
    road.broker.close().await;
    assert!(timeout(PATIENCE, consumer.next()).await.expect("in time").is_none());
    let successor = connect(&road.config);
    let mut consumer = successor.consume(Queue::Lane(Lane::Fast), 50);
    timeout(PATIENCE, successor.first_session()).await.expect("in time").expect("connects");
    successor.publish(&FAST, &message("new")).await.expect("confirmed");
    assert_eq!(next(&mut consumer).await.message.id, "new", "nothing settled came again");
}
