//! A cluster of three: the node that all are connected to is killed under load and comes back, and then another; what was
//! accepted arrives.

use crate::{
    crash::{ANSWER, CREDIT, SLOTS, bounded, everything, judge, middle},
    harness::{RabbitCluster, Receiver, Site, UNANSWERED, acme, ids, report},
};

/// Events of the story.
const EVENTS: usize = 3_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_cluster_killed_under_load_and_back_again_loses_nothing() {
    let cluster = RabbitCluster::start().await;
    let receiver = Receiver::accepting_after(ANSWER).await;
    let site = bounded(Site::on(cluster.url(), &acme(&receiver.url("/crm"))));
    let producer = site.start("producer").await;
    let others = [site.start("router").await, site.start("deliverer").await, site.start("deliverer").await];
    producer.ready().await;
    let api = producer.api();
    let publishing = tokio::spawn(async move { api.publish("acme", ids("event", EVENTS)).await });

    // The first of the url's hosts is the one that all are connected to, and where the leaders are.
    for (milestone, number) in [(500, 1), (1_500, 2)] {
        let delivered = middle(&receiver, milestone, EVENTS).await;
        cluster.kill(number).await;
        report("a node killed", format!("node {number}, {delivered} delivered of {EVENTS}"));
        receiver.until("the others go on", |ledger| ledger.delivered("/crm") >= delivered + 300).await;
        cluster.revive(number).await;
    }

    let accepted = publishing.await.expect("it publishes");
    let tally = everything(&receiver, &producer, accepted).await;
    judge("two nodes of a cluster killed in turn", &tally, 2 * (UNANSWERED + CREDIT + 2 * SLOTS));
    for process in others.into_iter().chain([producer]) {
        assert_eq!(process.end().await, 0);
    }
}
