//! The folder of YAML is read again whenever it changes.

use carteiro::receiver::Answer;

use crate::harness::{Receiver, Site, acme, eventually, ids};

#[tokio::test]
async fn a_corrected_url_applies_to_deliveries_that_wait() {
    let receiver = Receiver::start(|received| Answer::status(if received.path == "/right" { 200 } else { 404 })).await;
    let site = Site::embedded(&acme(&receiver.url("/wrong")));
    let standalone = site.start("standalone").await;
    let accepted = standalone.api().publish("acme", ids("queued", 20)).await;
    receiver.until("all have failed", |recorder| recorder.requests("/wrong").len() >= accepted.len()).await;

    site.configure(&acme(&receiver.url("/right")));
    receiver.until("all arrive", |recorder| recorder.has_all("/right", &accepted)).await;
    let counts = receiver.counts("/right", &accepted);
    assert_eq!((counts.lost, counts.duplicates, counts.unexpected), (0, 0, 0), "{counts}");
}

#[tokio::test]
async fn a_broken_file_keeps_the_last_good_one_in_force() {
    let receiver = Receiver::accepting().await;
    let site = Site::embedded(&acme(&receiver.url("/crm")));
    let standalone = site.start("standalone").await;
    site.configure("tenants: [{id: acme, endpoinst: []}]");
    let error = eventually("the error is logged", || async {
        let log = standalone.log();
        log.iter().map(ToString::to_string).find(|line| line.contains("endpoinst"))
    })
    .await;
    assert!(error.contains("site.yaml:1:"), "it names the line: {error}");
    standalone.ready().await;

    let accepted = standalone.api().publish("acme", ids("event", 5)).await;
    receiver.until("all arrive", |recorder| recorder.has_all("/crm", &accepted)).await;

    site.configure(&acme(&receiver.url("/mended")));
    standalone.logged("store.recovered").await;
    let accepted = standalone.api().publish("acme", ids("later", 5)).await;
    receiver.until("all arrive", |recorder| recorder.has_all("/mended", &accepted)).await;
}
