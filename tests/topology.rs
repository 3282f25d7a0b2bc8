//! `carteiro topology` on a real RabbitMQ: plan, apply, verify, drain and remove.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{AmqpClient, AmqpMessage, KEY, MetricsPage, Receiver, Site, acme, eventually, ids};

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
    let (code, asked, told) = run(&site, &["topology", "drain"]).await;
    assert_eq!((code, asked.as_str(), told.contains("give --yes")), (64, "", true), "{told}");
    assert_eq!(run(&site, &["topology", "verify"]).await.0, 0, "nothing was done");
    let (code, drained, told) = run(&site, &["topology", "drain", "--yes"]).await;
    assert_eq!((code, drained.as_str()), (0, "nothing is on its way any more\n"), "{told}");
    assert!(told.ends_with("the intake stays closed until `carteiro topology apply` opens it\n"), "{told}");
    receiver.until("what was inside arrives", |recorder| recorder.has_all("/hook", &accepted)).await;
    let (code, used, told) = run(&site, &["topology", "remove", "--yes"]).await;
    // A role has as many consumers of a queue as its bytes in hand allow.
    let is_used = used.lines().any(|line| line.contains(".v1.ingest: 0 inside, ") && !line.ends_with(" 0 consumers"));
    assert_eq!((code, is_used), (1, true), "{used}");
    assert!(told.contains("nothing was deleted"), "{told}");

    let (code, found, _) = run(&site, &["topology", "verify"]).await;
    assert_eq!(
        (code, found.contains("closed, by `carteiro topology drain`"), found.lines().count()),
        (78, true, 1),
        "{found}"
    );
    let event = json!({"id": "late", "type": "ticket.created"});
    let late = producer.api().ask(KEY, Method::POST, "/v1/tenants/acme/events", Some(event)).await;
    assert_eq!((late.0, late.1["detail"].to_string().contains("the intake is closed")), (503, true), "{late:?}");
    for role in [&producer, &router] {
        let (status, missing) = role.readyz().await;
        assert_eq!(
            (status, missing.to_string().contains("closed by `carteiro topology drain`")),
            (503, true),
            "{missing}"
        );
    }
    let foreign = AmqpMessage { key: "acme.-.-.ticket.created", id: Some("foreign"), tenant: None, body: b"{}" };
    AmqpClient::connect(&site).await.publish(&foreign).await;
    let parked = eventually("it is parked", || async {
        let (_, listed, _) = run(&site, &["parked", "list", "--output", "json", "--broker", &site.broker().url]).await;
        listed.lines().find(|line| line.contains("foreign")).map(str::to_owned)
    });
    assert!(parked.await.contains("unroutable"));
    for role in [producer, router, deliverer] {
        assert_eq!(role.end().await, 0);
    }
    let (code, used, told) = run(&site, &["topology", "remove"]).await;
    assert_eq!((code, used.as_str(), told.contains("give --yes")), (64, "", true), "{told}");
    for _ in 0..2 {
        let removed = run(&site, &["topology", "remove", "--yes"]).await;
        assert_eq!(removed, (0, "everything is deleted\n".to_owned(), String::new()));
    }
    assert_eq!(run(&site, &["topology", "verify"]).await.0, 78);
}

#[tokio::test]
async fn an_unbound_intake_is_named_by_its_roles_and_costs_no_event() {
    let receiver = Receiver::accepting().await;
    let site = Site::on_rabbitmq(&acme(&receiver.url("/hook"))).await;
    assert_eq!(run(&site, &["topology", "apply"]).await.0, 0);
    let (producer, router) = (site.start("producer").await, site.start("router").await);
    let (deliverer, control) = (site.start("deliverer").await, site.start("control").await);
    for role in [&producer, &router, &deliverer, &control] {
        role.ready().await;
    }
    let (exchange, queue) = (&site.broker().exchange, format!("{}.v1.ingest", site.broker().prefix));
    AmqpClient::connect(&site).await.unbind(&queue, exchange).await;
    let named = format!("the exchange {exchange} is not bound to {queue}: run `carteiro topology apply`");
    for role in [&producer, &router] {
        eventually("it says so", || async {
            let (status, missing) = role.readyz().await;
            (status == 503 && missing["intake"] == named.as_str()).then_some(())
        })
        .await;
    }
    for role in [&deliverer, &control] {
        assert_eq!(role.readyz().await.0, 200);
    }
    let event = json!({"id": "early", "type": "ticket.created"});
    let refused = producer.api().ask(KEY, Method::POST, "/v1/tenants/acme/events", Some(event)).await;
    assert_eq!(refused.0, 503, "{refused:?}");

    assert_eq!(run(&site, &["topology", "apply"]).await.0, 0);
    for role in [&producer, &router] {
        role.ready().await;
    }
    let accepted = producer.api().publish("acme", ids("after", 10)).await;
    receiver.until("they arrive", |recorder| recorder.has_all("/hook", &accepted)).await;
}

#[tokio::test]
async fn verifying_while_events_flow_neither_loses_nor_adds_anything() {
    let receiver = Receiver::accepting().await;
    let site = Site::on_rabbitmq(&acme(&receiver.url("/hook"))).await;
    let roles = [
        site.start("producer").await,
        site.start("router").await,
        site.start("deliverer").await,
        site.start("control").await,
    ];
    for role in &roles {
        role.ready().await;
    }
    let (api, mut accepted) = (roles[0].api(), BTreeSet::new());
    for round in 0..3 {
        let flow = api.publish("acme", ids(&format!("flow-{round}"), 200));
        let (published, verified) = tokio::join!(flow, run(&site, &["topology", "verify"]));
        assert_eq!((verified.0, verified.1.as_str()), (0, "everything is as required\n"), "{}", verified.2);
        accepted.extend(published);
    }
    receiver.until("all arrive", |recorder| recorder.has_all("/hook", &accepted)).await;
    assert_eq!(receiver.look(|recorder| recorder.requests("/hook").len()), accepted.len(), "each once");
    let nothing = String::new();
    for log in ["dead-letters", "parked"] {
        assert_eq!(run(&site, &[log, "list", "--output", "json"]).await.1, nothing, "{log}");
    }
    let pages = [MetricsPage::of(&roles[1]).await, MetricsPage::of(&roles[2]).await, MetricsPage::of(&roles[3]).await];
    for series in ["carteiro_parked_total", "carteiro_park_log_total", "carteiro_canary_unreadable_total"] {
        let lines = pages.iter().flat_map(|page| &page.series).filter(|(line, _)| line.starts_with(series));
        assert_eq!(lines.map(|(_, value)| value).sum::<f64>(), 0.0, "{series}");
    }
}
