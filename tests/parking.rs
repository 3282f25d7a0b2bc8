//! Messages of other programs that are no events: they are parked with a reason, can be listed, and delay nothing behind
//! them.

use broker::{Broker, Log, Target, rabbitmq::RabbitMq, records, sqlite::Sqlite};
use carteiro::process::broker_file;
use schemas::{Delivery, EventType, ParkReason, Parked, Part};
use serde_json::Value;

use crate::harness::{AmqpClient, AmqpMessage, Process, Receiver, Site, acme, eventually, ids};

const KEY: &str = "acme.-.-.ticket.created";
const GOOD: &[u8] = br#"{"type":"ticket.created"}"#;

struct Fixture {
    receiver: Receiver,
    site: Site,
    standalone: Process,
    amqp: AmqpClient,
}

impl Fixture {
    async fn start() -> Self {
        let receiver = Receiver::accepting().await;
        let site = Site::on_rabbitmq(&acme(&receiver.url("/crm"))).await;
        let standalone = site.start("standalone").await;
        standalone.ready().await;
        let amqp = AmqpClient::connect(&site).await;
        Self { receiver, site, standalone, amqp }
    }

    /// Publishes the messages one after the other, each before a valid event. Returns the parked messages, oldest first.
    async fn parked_after(self, messages: &[AmqpMessage<'_>]) -> (Vec<Value>, Site) {
        for (number, message) in messages.iter().enumerate() {
            let id = format!("good-{number}");
            self.amqp.publish(message).await;
            self.amqp.publish(&AmqpMessage { key: KEY, id: Some(&id), tenant: None, body: GOOD }).await;
            self.receiver.until("the good event arrives", |recorder| recorder.delivered("/crm") == number + 1).await;
        }
        let parked = eventually("everything is parked", || async {
            let parked = listed(&self.site).await;
            (parked.len() == messages.len()).then_some(parked)
        });
        let parked = parked.await;
        assert_eq!(self.standalone.end().await, 0);
        (parked, self.site)
    }
}

/// What `carteiro parked list` prints.
pub(crate) async fn listed(site: &Site) -> Vec<Value> {
    let output = site.look(&["parked", "list", "--order", "oldest", "--output", "json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn reasons(parked: &[Value]) -> Vec<&str> {
    let mut reasons: Vec<_> = parked.iter().map(|record| record["reason"].as_str().expect("a reason")).collect();
    reasons.sort_unstable();
    reasons
}

#[tokio::test]
async fn a_message_that_is_no_json_is_parked_as_undecodable_and_can_be_shown() {
    let fixture = Fixture::start().await;
    let garbage = AmqpMessage { key: KEY, id: Some("garbage"), tenant: None, body: b"\xff\x00 no JSON" };
    let (parked, site) = fixture.parked_after(&[garbage, AmqpMessage { body: b"{\"type\":", ..garbage }]).await;
    assert_eq!(reasons(&parked), ["decode", "decode"]);
    assert_eq!((&parked[0]["tenant"], &parked[0]["event_id"]), (&Value::from("acme"), &Value::from("garbage")));
    let shown = site.look(&["parked", "show", parked[0]["id"].as_str().expect("an id"), "--output", "json"]).await;
    assert_eq!(shown.status.code(), Some(0));
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(shown["routing_key"], KEY);
    assert!(!shown["body"].is_null(), "{shown}");
}

#[tokio::test]
async fn a_message_parked_for_a_missing_tenant_is_exported_and_requeued_once_the_tenant_exists() {
    let fixture = Fixture::start().await;
    let key = KEY.replace("acme", "late");
    fixture.amqp.publish(&AmqpMessage { key: &key, id: Some("early"), tenant: None, body: GOOD }).await;
    let Fixture { receiver, site, standalone, .. } = fixture;
    let parked = eventually("it is parked", || async { listed(&site).await.pop() }).await;
    let id = parked["id"].as_str().expect("an id");

    let file = site.path("parked.ndjson");
    let exported = site.look(&["parked", "export", "--to", file.to_str().expect("text")]).await;
    assert_eq!(exported.status.code(), Some(0), "{}", String::from_utf8_lossy(&exported.stderr));
    let kept = std::fs::read_to_string(&file).expect("the file");
    let mut kept: Vec<Value> = kept.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(kept[0].as_object_mut().and_then(|kept| kept.remove("body")).expect("a body")["type"], "ticket.created");
    assert_eq!(kept, std::slice::from_ref(&parked));

    site.configure(&acme(&receiver.url("/crm")).replace("id: acme", "id: late"));
    let url = standalone.api().url();
    let again = site.run(&["parked", "requeue", id, "999999", "--server", &url, "--output", "json"]).await;
    let said = String::from_utf8(again.stdout).expect("text");
    let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(
        (again.status.code(), &said[0]),
        (Some(1), &serde_json::json!({"id": id})),
        "one is not there: {said:?}"
    );
    assert!(said[1]["error"].as_str().is_some_and(|error| error.starts_with("404")), "{said:?}");
    receiver.until("it is delivered", |recorder| recorder.delivered("/crm") == 1).await;
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test]
async fn a_delivery_that_was_handed_out_too_often_comes_back_by_itself_as_the_attempt_that_it_was() {
    let receiver = Receiver::accepting().await;
    let site = Site::on_rabbitmq(&acme(&receiver.url("/crm"))).await;
    let (producer, router) = (site.start("producer").await, site.start("router").await);
    producer.ready().await;
    router.ready().await;
    let amqp = AmqpClient::connect(&site).await;
    producer.api().publish("acme", ids("event", 3)).await;
    // As deliverers do that die of something else, over and over.
    let lane = format!("{}.v1.deliver.fast", site.broker().prefix);
    eventually("all three are parked", || async {
        amqp.give_back_until_parked(&lane).await;
        (listed(&site).await.len() == 3).then_some(())
    })
    .await;

    let (deliverer, control) = (site.start("deliverer").await, site.start("control").await);
    receiver.until("they are delivered", |recorder| recorder.delivered("/crm") == 3).await;
    let attempts = receiver.look(|recorder| {
        recorder
            .requests("/crm")
            .iter()
            .map(|request| request.header("carteiro-attempt").to_owned())
            .collect::<Vec<_>>()
    });
    assert_eq!(attempts, ["1"; 3]);
    for process in [producer, router, deliverer, control] {
        assert_eq!(process.end().await, 0);
    }
}

/// Parks the third attempt at a delivery as a deliverer does that panicked, and another as the broker does.
async fn park_deliveries(broker: &dyn Broker) {
    let now = service::clock::system()();
    for (id, is_the_brokers) in [("panicked", false), ("returned", true)] {
        let event_id = id.to_owned().try_into().expect("an id");
        let owed = Delivery::owed("acme", &event_id, EventType::TICKET_CREATED, "crm", Part::First, now);
        let message = Delivery { attempt: 3, ..owed }.to_message(GOOD.into());
        let record = Parked {
            id: String::new(),
            reason: ParkReason::Panic,
            detail: None,
            tenant: Some("acme".to_owned()),
            event_id: Some(id.to_owned()),
            routing_key: Some("fast".to_owned()),
            parked_at: None,
            accepted_at: None,
            requeued: 0,
            body: None,
        };
        let (to, message) = if is_the_brokers {
            (Target::Log(Log::Parked, "delivery_limit.acme".to_owned()), message)
        } else {
            records::parked(&record, message)
        };
        broker.publish(&to, &message).await.expect("parked");
    }
    broker.close().await;
}

/// Requeues the first parked message by hand, and waits until both are delivered.
async fn until_both_are_delivered(site: &Site, receiver: &Receiver) {
    let standalone = site.start("standalone").await;
    standalone.ready().await;
    let parked = listed(site).await;
    assert_eq!(reasons(&parked), ["delivery_limit", "panic"]);
    let (id, url) = (parked[0]["id"].as_str().expect("an id"), standalone.api().url());
    let again = site.run(&["parked", "requeue", id, "--server", &url]).await;
    assert_eq!(again.status.code(), Some(0), "{}", String::from_utf8_lossy(&again.stderr));
    receiver.until("the first is delivered", |recorder| recorder.delivered("/crm") == 1).await;
    receiver.until("the second came back by itself", |recorder| recorder.delivered("/crm") == 2).await;
    let delivered = receiver.look(|recorder| {
        let requests = recorder.requests("/crm");
        let header = |name: &'static str| requests.iter().map(move |request| request.header(name).to_owned());
        header("webhook-id").zip(header("carteiro-attempt")).collect::<Vec<_>>()
    });
    let expected = [("panicked", "3"), ("returned", "3")];
    assert_eq!(delivered, expected.map(|(id, attempt)| (id.to_owned(), attempt.to_owned())));
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test]
async fn parked_deliveries_on_the_embedded_broker_come_back_by_hand_or_by_themselves() {
    let receiver = Receiver::accepting().await;
    let site = Site::embedded(&acme(&receiver.url("/crm")));
    let file = Sqlite::open(&broker_file(&site.path("")), service::clock::system()).expect("the file");
    park_deliveries(&file).await;
    drop(file);
    until_both_are_delivered(&site, &receiver).await;
}

#[tokio::test]
async fn parked_deliveries_on_rabbitmq_come_back_by_hand_or_by_themselves() {
    let receiver = Receiver::accepting().await;
    let site = Site::on_rabbitmq(&acme(&receiver.url("/crm"))).await;
    let client = RabbitMq::connect(site.broker(), service::clock::system(), service::chance::rng()).expect("a URL");
    client.first_session().await.expect("a topology");
    park_deliveries(&client).await;
    until_both_are_delivered(&site, &receiver).await;
}

#[tokio::test]
async fn a_message_without_a_clear_id_and_tenant_is_parked_for_its_identity() {
    let fixture = Fixture::start().await;
    let good = AmqpMessage { key: KEY, id: Some("an-id"), tenant: None, body: GOOD };
    let messages = [
        AmqpMessage { id: None, ..good },
        AmqpMessage { id: Some("not an id"), ..good },
        AmqpMessage { tenant: Some("another"), ..good },
        AmqpMessage { body: br#"{"id":"another-id","type":"ticket.created"}"#, ..good },
    ];
    let (parked, _site) = fixture.parked_after(&messages).await;
    assert_eq!(reasons(&parked), ["identity"; 4]);
}

#[tokio::test]
async fn another_event_under_a_routed_id_is_parked_and_can_be_requeued_once_the_id_is_forgotten() {
    let Fixture { receiver, site, mut standalone, amqp } = Fixture::start().await;
    let first = AmqpMessage { key: KEY, id: Some("an-id"), tenant: None, body: GOOD };
    let another = AmqpMessage { body: br#"{"type":"ticket.created","ticket":{"id":7}}"#, ..first };
    amqp.publish(&first).await;
    receiver.until("the first is delivered", |recorder| recorder.delivered("/crm") == 1).await;
    amqp.publish(&another).await;
    let parked = eventually("the other is parked", || async { listed(&site).await.pop() }).await;
    assert_eq!((&parked["reason"], &parked["event_id"]), (&Value::from("identity"), &Value::from("an-id")));
    assert_eq!(parked["detail"], "message_id: another event came under this id lately, with other bytes");
    // A repeat of the first is neither parked nor delivered; the event behind it is.
    amqp.publish(&first).await;
    amqp.publish(&AmqpMessage { id: Some("behind"), ..first }).await;
    receiver.until("the next is delivered", |recorder| recorder.delivered("/crm") == 2).await;

    let id = parked["id"].as_str().expect("an id");
    let requeue = async |standalone: &Process, id: &str| {
        let url = standalone.api().url();
        let requeued = site.run(&["parked", "requeue", id, "--server", &url]).await;
        assert_eq!(requeued.status.code(), Some(0), "{}", String::from_utf8_lossy(&requeued.stderr));
    };
    requeue(&standalone, id).await;
    let parked = eventually("it is parked again", || async {
        let parked = listed(&site).await;
        parked.into_iter().find(|parked| parked["id"] != id)
    });
    let again = parked.await;
    assert_eq!(again["reason"], "identity");
    let id = again["id"].as_str().expect("an id");

    standalone.terminate().await;
    assert_eq!(standalone.ended().await, Some(0));
    // A process that has just started remembers no ids.
    standalone.restart().await;
    standalone.ready().await;
    requeue(&standalone, id).await;
    receiver.until("it is delivered", |recorder| recorder.requests("/crm").len() == 3).await;
    let body: Value =
        receiver.look(|recorder| serde_json::from_slice(&recorder.requests("/crm")[2].body).expect("JSON"));
    assert_eq!((&body["id"], &body["ticket"]["id"]), (&Value::from("an-id"), &Value::from(7)));
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test]
async fn a_message_with_an_invalid_event_or_an_unknown_tenant_is_parked_with_that_reason() {
    let fixture = Fixture::start().await;
    let good = AmqpMessage { key: KEY, id: Some("an-id"), tenant: None, body: GOOD };
    let messages = [
        AmqpMessage { key: "nobody.-.-.ticket.created", ..good },
        AmqpMessage { body: br#"{"type":"ticket"}"#, ..good },
        AmqpMessage { body: br#"{"type":"ticket.created","ticket":[]}"#, ..good },
    ];
    let (parked, _site) = fixture.parked_after(&messages).await;
    assert_eq!(reasons(&parked), ["schema", "schema", "tenant"]);
}
