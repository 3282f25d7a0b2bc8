//! A cluster of three nodes. The node that all processes are connected to, and that leads all queues, is killed under load.
//! In one test it comes back, and then another one is killed. In the other it stays away, and retries do not wait for it.

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
    crash::{ANSWER, ROUTER_PREFETCH, UNSETTLED, bounded, check, everything, middle},
    harness::{RabbitCluster, Receiver, Recorder, Site, UNANSWERED, acme, eventually, ids, report},
};

/// Events published around each kill.
const EVENTS: usize = 1_500;
/// Events that wait a second for their retry when a node is killed: some leave their delay queue while the lane's queue has
/// no leader. No more than these, since an endpoint that failed so often may get only some ten requests a second.
const WAITING: usize = 250;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_cluster_killed_under_load_and_back_again_loses_nothing() {
    let cluster = RabbitCluster::start().await;
    let receiver = Receiver::accepting_after(ANSWER).await;
    let site = bounded(Site::on(cluster.url(), &acme(&receiver.url("/crm"))));
    let producer = site.start("producer").await;
    let others = [site.start("router").await, site.start("deliverer").await, site.start("deliverer").await];
    producer.ready().await;
    // All processes are connected to the URL's first host, and it leads the queues; later it is the second.
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

    let counts = everything(&receiver, &producer, accepted).await;
    check("two nodes of a cluster killed in turn", &counts, 2 * (UNANSWERED + ROUTER_PREFETCH + 2 * UNSETTLED));
    for process in others.into_iter().chain([producer]) {
        assert_eq!(process.end().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_are_delivered_while_a_node_of_a_cluster_stays_away() {
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
        let seen = receiver.look(|recorder| recorder.requests("/crm").len());
        accepted.extend(producer.api().publish("acme", ids(name, WAITING)).await);
        let retried = |recorder: &Recorder| recorder.requests("/crm").len() >= seen + 2 * WAITING;
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

/// Waits for all. Where the version needs it, dead-lettering is restarted on the nodes that run, as operators are told to do,
/// also after the killed node is back: a worker retries refused messages only after three minutes.
async fn all_arrive(receiver: &Receiver, accepted: &BTreeSet<String>, cluster: &RabbitCluster, there: &[usize]) {
    let is_misled = cluster.is_misled().await;
    eventually("all arrive", || async {
        let all = receiver.look(|recorder| recorder.has_all("/crm", accepted));
        if is_misled && !all {
            for &node in there {
                cluster.restart_dead_lettering(node).await;
            }
        }
        all.then_some(())
    })
    .await;
}
