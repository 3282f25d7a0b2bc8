//! A cluster of three: the node that all are connected to, and that leads all queues, is killed under load. It comes back, and
//! then it is another's turn; or it stays away, and what waits for another attempt does not wait for the node.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use carteiro::receiver::Answer;

use crate::{
    crash::{ANSWER, CREDIT, UNSETTLED, bounded, everything, judge, middle},
    harness::{Ledger, RabbitCluster, Receiver, Site, UNANSWERED, acme, eventually, ids, report},
};

/// Events published around each kill.
const EVENTS: usize = 1_500;
/// Events that wait for another attempt when a node is killed, a second long each time: some leave the ladder while the
/// queues that they leave for have no leader. Not more: an endpoint that failed so often may be given some ten a second.
const WAITING: usize = 250;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_cluster_killed_under_load_and_back_again_loses_nothing() {
    let cluster = RabbitCluster::start().await;
    let receiver = Receiver::accepting_after(ANSWER).await;
    let site = bounded(Site::on(cluster.url(), &acme(&receiver.url("/crm"))));
    let producer = site.start("producer").await;
    let others = [site.start("router").await, site.start("deliverer").await, site.start("deliverer").await];
    producer.ready().await;
    // The first of the url's hosts is the one that all are connected to, and where the leaders are; then it is the second.
    let mut accepted = BTreeSet::new();
    for node in [1, 2] {
        let before = accepted.len();
        let api = producer.api();
        let publishing = tokio::spawn(async move { api.publish("acme", ids(&format!("node-{node}"), EVENTS)).await });
        let delivered = middle(&receiver, before + EVENTS / 5, before + EVENTS).await;
        cluster.kill(node).await;
        report("a node killed", format!("node {node}, {} delivered of {EVENTS}", delivered - before));
        accepted.extend(publishing.await.expect("it publishes"));
        cluster.revive(node).await;
        all_arrive(&receiver, &accepted, &cluster, &[1, 2, 3]).await;
    }

    let tally = everything(&receiver, &producer, accepted).await;
    judge("two nodes of a cluster killed in turn", &tally, 2 * (UNANSWERED + CREDIT + 2 * UNSETTLED));
    for process in others.into_iter().chain([producer]) {
        assert_eq!(process.end().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_another_attempt_comes_while_a_node_stays_away() {
    let cluster = RabbitCluster::start().await;
    let accepts = Arc::new(AtomicBool::new(false));
    let script = accepts.clone();
    let receiver =
        Receiver::start(move |_| Answer::status(if script.load(Ordering::Relaxed) { 200 } else { 500 })).await;
    let site = Site::on(cluster.url(), &acme(&receiver.url("/crm")));
    let producer = site.start("producer").await;
    let others = [site.start("router").await, site.start("deliverer").await, site.start("deliverer").await];
    producer.ready().await;

    let mut accepted = BTreeSet::new();
    for (name, kill) in [("before", true), ("after", false)] {
        accepts.store(false, Ordering::Relaxed);
        let seen = receiver.look(|ledger| ledger.requests("/crm").len());
        accepted.extend(producer.api().publish("acme", ids(name, WAITING)).await);
        let retried = |ledger: &Ledger| ledger.requests("/crm").len() >= seen + 2 * WAITING;
        receiver.until("as many attempts fail as make it twice for each", retried).await;
        if kill {
            cluster.kill(1).await;
        }
        accepts.store(true, Ordering::Relaxed);
        let since = Instant::now();
        all_arrive(&receiver, &accepted, &cluster, &[2, 3]).await;
        report("retries while a node is away", format!("all {WAITING} came within {:.1?}", since.elapsed()));
    }

    cluster.revive(1).await;
    for process in others.into_iter().chain([producer]) {
        assert_eq!(process.end().await, 0);
    }
}

/// Waits for all. A RabbitMQ that is misled is put right on the nodes that are there, as operators are told to, also after the
/// one that misled it is back: what a worker was refused it only tries again three minutes later.
async fn all_arrive(receiver: &Receiver, accepted: &BTreeSet<String>, cluster: &RabbitCluster, there: &[usize]) {
    let misled = cluster.is_misled().await;
    eventually("all arrive", || async {
        let all = receiver.look(|ledger| ledger.has_all("/crm", accepted));
        if misled && !all {
            for &node in there {
                cluster.restart_dead_lettering(node).await;
            }
        }
        all.then_some(())
    })
    .await;
}
