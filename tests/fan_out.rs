//! A batch of events with large fan-outs is delivered in full, and an event of another tenant does not wait for it.

use broker::{Broker, Target, rabbitmq::RabbitMq, sqlite::Sqlite};
use carteiro::process::broker_file;
use schemas::Message;

use crate::harness::{Process, Receiver, Site, eventually, ids, report};

const EVENTS: usize = 18;
const ENDPOINTS: usize = 400;
/// Events that the router has in hand at once: fewer than the batch.
const PREFETCH: usize = 8;

/// The tenant `many` with many endpoints, and `one` with one. Each gets every event.
fn conf(receiver: &Receiver) -> String {
    let endpoints: String = (0..ENDPOINTS)
        .map(|n| format!("      - {{id: e{n}, url: \"{}\"}}\n", receiver.url(&format!("/many/{n}"))))
        .collect();
    let subscriptions: String =
        (0..ENDPOINTS).map(|n| format!("      - {{id: e{n}, endpoint_id: e{n}, event_types: [\"*\"]}}\n")).collect();
    format!(
        "tenants:
  - id: many
    endpoints:
{endpoints}    subscriptions:
{subscriptions}  - id: one
    endpoints:
      - {{id: crm, url: \"{}\"}}
    subscriptions:
      - {{id: all, endpoint_id: crm, event_types: [\"*\"]}}
",
        receiver.url("/one")
    )
}

/// Publishes a batch of one tenant and then an event of the other, before there is a router.
async fn publish(broker: &dyn Broker) {
    for (tenant, ids) in [("many", ids("batch", EVENTS)), ("one", ids("single", 1))] {
        for id in ids {
            let to = Target::Ingest { key: format!("{tenant}.-.-.ticket.created") };
            let (kind, body) = ("ticket.created".to_owned(), r#"{"type":"ticket.created"}"#.into());
            broker.publish(&to, &Message { id, kind, body, ..Message::default() }).await.expect("confirmed");
        }
    }
    broker.close().await;
}

/// Waits until everything has arrived. Asserts that the other tenant's event, which waited behind the whole batch, was
/// routed before most of it.
async fn arrives(receiver: &Receiver, router: &Process) {
    receiver.until("the other tenant's event", |recorder| recorder.delivered("/one") == 1).await;
    let paths: Vec<_> = (0..ENDPOINTS).map(|n| format!("/many/{n}")).collect();
    receiver.until("the batch", |recorder| paths.iter().all(|path| recorder.delivered(path) == EVENTS)).await;
    let routed = eventually("all are routed", || async {
        let routed = router.log().into_iter().filter(|line| line["message"] == "event.routed");
        let tenants: Vec<_> = routed.map(|line| line["tenant"].as_str().expect("a tenant").to_owned()).collect();
        (tenants.len() > EVENTS).then_some(tenants)
    })
    .await;
    let before = routed.iter().position(|tenant| tenant == "one").expect("it was routed");
    report("fan-out", format_args!("another tenant's event was routed after {before} of {EVENTS}"));
    // A router that takes events in their order has settled this many when it takes the last one.
    assert!(before < EVENTS - PREFETCH, "it was routed after {before} of {EVENTS} events");
}

#[tokio::test]
async fn an_event_does_not_wait_for_another_tenants_batch_that_fans_out_embedded() {
    let receiver = Receiver::accepting().await;
    let site = Site::embedded(&conf(&receiver)).set("router.prefetch", &PREFETCH.to_string());
    publish(&Sqlite::open(&broker_file(&site.path("")), service::clock::system()).expect("it opens")).await;
    arrives(&receiver, &site.start("standalone").await).await;
}

#[tokio::test]
async fn an_event_does_not_wait_for_another_tenants_batch_that_fans_out_on_rabbitmq() {
    let receiver = Receiver::accepting().await;
    let site = Site::on_rabbitmq(&conf(&receiver)).await.set("router.prefetch", &PREFETCH.to_string());
    let broker = RabbitMq::connect(site.broker(), service::clock::system(), fastrand::Rng::new()).expect("a URL");
    broker.first_session().await.expect("a session");
    publish(&broker).await;
    let (router, _deliverer) = tokio::join!(site.start("router"), site.start("deliverer"));
    arrives(&receiver, &router).await;
}
