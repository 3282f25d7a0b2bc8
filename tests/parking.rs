//! What another program publishes to the exchange and nobody can make an event of: it is parked with its reason, can be
//! looked at, and keeps nothing behind it waiting.

use serde_json::Value;

use crate::harness::{Letter, Outsider, Process, Receiver, Site, acme, eventually};

const KEY: &str = "acme.-.-.ticket.created";
const GOOD: &[u8] = br#"{"type":"ticket.created"}"#;

struct Scene {
    receiver: Receiver,
    site: Site,
    standalone: Process,
    outsider: Outsider,
}

impl Scene {
    async fn set() -> Self {
        let receiver = Receiver::accepting().await;
        let site = Site::on_rabbitmq(&acme(&receiver.url("/crm"))).await;
        let standalone = site.start("standalone").await;
        standalone.ready().await;
        let outsider = Outsider::on(&site).await;
        Self { receiver, site, standalone, outsider }
    }

    /// Publishes one after the other, each before a good event. Gives what is parked then, oldest first.
    async fn parked_after(self, letters: &[Letter<'_>]) -> (Vec<Value>, Site) {
        for (number, letter) in letters.iter().enumerate() {
            let id = format!("good-{number}");
            self.outsider.publish(letter).await;
            self.outsider.publish(&Letter { key: KEY, id: Some(&id), tenant: None, body: GOOD }).await;
            self.receiver.until("the good event arrives", |ledger| ledger.delivered("/crm") == number + 1).await;
        }
        let parked = eventually("everything is parked", || async {
            let parked = listed(&self.site).await;
            (parked.len() == letters.len()).then_some(parked)
        });
        let parked = parked.await;
        assert_eq!(self.standalone.end().await, 0);
        (parked, self.site)
    }
}

async fn listed(site: &Site) -> Vec<Value> {
    let output = site.run(&["parked", "list", "--output", "json"]).await;
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
async fn garbage_is_parked_as_undecodable_and_can_be_looked_at() {
    let scene = Scene::set().await;
    let garbage = Letter { key: KEY, id: Some("garbage"), tenant: None, body: b"\xff\x00 no JSON" };
    let (parked, site) = scene.parked_after(&[garbage, Letter { body: b"{\"type\":", ..garbage }]).await;
    assert_eq!(reasons(&parked), ["decode", "decode"]);
    assert_eq!((&parked[0]["tenant"], &parked[0]["event_id"]), (&Value::from("acme"), &Value::from("garbage")));
    let shown = site.run(&["parked", "show", parked[0]["id"].as_str().expect("an id"), "--output", "json"]).await;
    assert_eq!(shown.status.code(), Some(0));
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(shown["routing_key"], KEY);
    assert!(!shown["body"].is_null(), "{shown}");
}

#[tokio::test]
async fn what_was_parked_for_a_tenant_that_was_missing_is_kept_in_a_file_and_delivered_once_it_is_there() {
    let scene = Scene::set().await;
    let key = KEY.replace("acme", "late");
    scene.outsider.publish(&Letter { key: &key, id: Some("early"), tenant: None, body: GOOD }).await;
    let Scene { receiver, site, standalone, .. } = scene;
    let parked = eventually("it is parked", || async { listed(&site).await.pop() }).await;
    let id = parked["id"].as_str().expect("an id");

    let file = site.path("parked.ndjson");
    let exported = site.run(&["parked", "export", "--to", file.to_str().expect("text")]).await;
    assert_eq!(exported.status.code(), Some(0), "{}", String::from_utf8_lossy(&exported.stderr));
    let kept = std::fs::read_to_string(&file).expect("the file");
    assert_eq!(
        kept.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).collect::<Vec<_>>(),
        std::slice::from_ref(&parked)
    );

    site.configure(&acme(&receiver.url("/crm")).replace("id: acme", "id: late"));
    let url = standalone.api().url();
    let again = site.run(&["parked", "requeue", id, "999999", "--url", &url, "--output", "json"]).await;
    let said = String::from_utf8(again.stdout).expect("text");
    let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(
        (again.status.code(), &said[0]),
        (Some(1), &serde_json::json!({"id": id})),
        "one is not there: {said:?}"
    );
    assert!(said[1]["error"].as_str().is_some_and(|error| error.starts_with("404")), "{said:?}");
    receiver.until("it is delivered", |ledger| ledger.delivered("/crm") == 1).await;
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test]
async fn what_does_not_say_which_event_it_is_and_whose_is_parked_for_its_identity() {
    let scene = Scene::set().await;
    let good = Letter { key: KEY, id: Some("an-id"), tenant: None, body: GOOD };
    let letters = [
        Letter { id: None, ..good },
        Letter { id: Some("not an id"), ..good },
        Letter { tenant: Some("another"), ..good },
        Letter { body: br#"{"id":"another-id","type":"ticket.created"}"#, ..good },
    ];
    let (parked, _site) = scene.parked_after(&letters).await;
    assert_eq!(reasons(&parked), ["identity"; 4]);
}

#[tokio::test]
async fn what_is_no_event_or_of_no_tenant_is_parked_as_such() {
    let scene = Scene::set().await;
    let good = Letter { key: KEY, id: Some("an-id"), tenant: None, body: GOOD };
    let letters = [
        Letter { key: "nobody.-.-.ticket.created", ..good },
        Letter { body: br#"{"type":"ticket"}"#, ..good },
        Letter { body: br#"{"type":"ticket.created","ticket":[]}"#, ..good },
    ];
    let (parked, _site) = scene.parked_after(&letters).await;
    assert_eq!(reasons(&parked), ["schema", "schema", "tenant"]);
}
