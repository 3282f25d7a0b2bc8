//! A tenant whose endpoints have names that no name server answers for delays no other tenant.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{NameServer, Receiver, Site, Zone, eventually, ids, report};

/// The YAML of a tenant with these URLs as endpoints, which all get every event.
fn tenant(id: &str, urls: &[String]) -> String {
    let (mut endpoints, mut subscriptions) = (String::new(), String::new());
    for (nth, url) in urls.iter().enumerate() {
        endpoints += &format!("      - {{id: e{nth}, url: \"{url}\"}}\n");
        subscriptions += &format!("      - {{id: e{nth}, endpoint_id: e{nth}, event_types: [\"*\"]}}\n");
    }
    format!("  - id: {id}\n    endpoints:\n{endpoints}    subscriptions:\n{subscriptions}")
}

#[tokio::test]
async fn names_that_nobody_answers_for_delay_no_other_tenants_first_attempts() {
    let receiver = Receiver::accepting().await;
    let url = receiver.url("/calm");
    let silent: Vec<_> = (0..300).map(|nth| format!("{nth}.silent.example")).collect();
    let calm: Vec<_> = (0..20).map(|nth| format!("{nth}.calm.example")).collect();
    let mut zone: Zone = silent.iter().map(|name| (name.clone(), vec![])).collect();
    let here = "127.0.0.1".parse().expect("an address");
    zone.extend(calm.iter().map(|name| (name.clone(), vec![vec![here]])));
    let names = NameServer::start(0, zone).await;

    let urls = |names: &[String]| names.iter().map(|name| url.replace("127.0.0.1", name)).collect::<Vec<_>>();
    let tenants = format!("tenants:\n{}{}", tenant("flood", &urls(&silent)), tenant("calm", &urls(&calm)));
    let site = Site::embedded(&tenants).set("deliverer.name_servers", &names.address.to_string());
    let process = site.start("standalone").await;
    process.api().publish("flood", ids("flood", 1)).await;
    let began = Instant::now();
    process.api().publish("calm", ids("calm", 1)).await;
    receiver.until("each endpoint of the other", |recorder| recorder.requests("/calm").len() >= calm.len()).await;
    let others = began.elapsed();

    let outcomes = eventually("the end of every first attempt", || async {
        let log = process.log();
        let first = |line: &&Value| line["message"] == "delivery.attempted" && line["attempt"] == 1;
        let outcomes: Vec<_> =
            log.iter().filter(first).map(|line| (line["tenant"].clone(), line["outcome"].clone())).collect();
        (outcomes.len() == silent.len() + calm.len()).then_some(outcomes)
    })
    .await;
    for (tenant, outcome) in &outcomes {
        assert_eq!(outcome, if tenant == "flood" { "dns" } else { "2xx" }, "of {tenant}");
    }
    report("300 silent names", format_args!("the other tenant had its 20 after {others:?}"));
    assert!(others < Duration::from_secs(2), "it waited for {others:?}");
}
