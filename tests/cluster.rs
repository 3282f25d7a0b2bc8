//! A cluster of three: the node that all are connected to is killed under load and comes back, and then another; events are
//! taken in meanwhile, and what was accepted arrives. (What waits on the ladder may wait for the node: not looked at here.)

use std::collections::BTreeSet;

use crate::{
    crash::{ANSWER, CREDIT, UNSETTLED, bounded, everything, judge, middle},
    harness::{RabbitCluster, Receiver, Site, UNANSWERED, acme, ids, report},
};

/// Events published around each kill.
const EVENTS: usize = 1_500;

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
        receiver.until("all arrive", |ledger| ledger.has_all("/crm", &accepted)).await;
    }

    let tally = everything(&receiver, &producer, accepted).await;
    judge("two nodes of a cluster killed in turn", &tally, 2 * (UNANSWERED + CREDIT + 2 * UNSETTLED));
    for process in others.into_iter().chain([producer]) {
        assert_eq!(process.end().await, 0);
    }
}
