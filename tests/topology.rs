//! `carteiro topology` on a real RabbitMQ: plan, apply, verify, drain and remove.

use serde_json::Value;

use crate::harness::{Receiver, Site, acme, eventually, ids};

/// Runs the binary to its end. Returns its exit code, its stdout and its stderr.
async fn run(site: &Site, arguments: &[&str]) -> (i32, String, String) {
    let output = site.run(arguments).await;
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("it ends by itself"), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_topology_is_planned_applied_and_verified() {
    let site = Site::on_rabbitmq(&acme("http://127.0.0.1:9/")).await;
    let plan = run(&site, &["topology", "plan", "--output", "json"]).await.1;
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    let queues = plan["queues"].as_array().expect("queues").len();
    let (code, missing, _) = run(&site, &["topology", "verify"]).await;
    assert_eq!((code, missing.matches("\n").count() >= queues), (78, true), "{missing}");
    assert_eq!(run(&site, &["topology", "apply"]).await, (0, "everything is declared\n".to_owned(), String::new()));
    assert_eq!(run(&site, &["topology", "apply"]).await, (0, "everything is declared\n".to_owned(), String::new()));
    assert_eq!(run(&site, &["topology", "verify"]).await, (0, "everything is as required\n".to_owned(), String::new()));
    let embedded = Site::embedded("tenants: []");
    assert_eq!(run(&embedded, &["topology", "verify"]).await.0, 78);
}

#[tokio::test]
async fn a_topology_is_drained_while_roles_run_and_removed_once_it_is_empty() {
    let receiver = Receiver::accepting().await;
    let site = Site::on_rabbitmq(&acme(&receiver.url("/hook"))).await;
    assert_eq!(run(&site, &["topology", "apply"]).await.0, 0);
    let (producer, router) = (site.start("producer").await, site.start("router").await);
    let accepted = producer.api().publish("acme", ids("drained", 100)).await;
    let deliverer = site.start("deliverer").await;
    // A role that connects lets events in again.
    deliverer.ready().await;
    assert_eq!(run(&site, &["topology", "drain"]).await.1, "nothing is on its way any more\n");
    receiver.until("what was inside arrives", |recorder| recorder.has_all("/hook", &accepted)).await;
    let (code, used, told) = run(&site, &["topology", "remove", "--yes"]).await;
    // A role has as many consumers of a queue as its bytes in hand allow.
    let is_used = used.lines().any(|line| line.contains(".v1.ingest: 0 inside, ") && !line.ends_with(" 0 consumers"));
    assert_eq!((code, is_used), (1, true), "{used}");
    assert!(told.contains("nothing was deleted"), "{told}");

    let late = producer.api().publish("acme", ids("late", 1)).await.pop_first().expect("one");
    let parked = eventually("it is parked", || async {
        let (_, listed, _) = run(&site, &["parked", "list", "--output", "json", "--broker", &site.broker().url]).await;
        listed.lines().find(|line| line.contains(&late)).map(str::to_owned)
    });
    assert!(parked.await.contains("unroutable"));
    for role in [producer, router, deliverer] {
        assert_eq!(role.end().await, 0);
    }
    let (code, used, told) = run(&site, &["topology", "remove"]).await;
    assert_eq!((code, used.as_str(), told.contains("then give --yes")), (1, "", true), "{told}");
    for _ in 0..2 {
        let removed = run(&site, &["topology", "remove", "--yes"]).await;
        assert_eq!(removed, (0, "everything is deleted\n".to_owned(), String::new()));
    }
    assert_eq!(run(&site, &["topology", "verify"]).await.0, 78);
}
