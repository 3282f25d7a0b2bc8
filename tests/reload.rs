//! The folder of YAML is read again whenever it changes.

use carteiro::receiver::Answer;

use crate::harness::{Receiver, Site, acme, eventually, ids};

#[tokio::test]
async fn a_corrected_url_heals_what_is_already_queued() {
    let receiver = Receiver::start(|received| Answer::status(if received.path == "/right" { 200 } else { 404 })).await;
    let site = Site::embedded(&acme(&receiver.url("/wrong")));
    let standalone = site.start("standalone").await;
    let accepted = standalone.api().publish("acme", ids("queued", 20)).await;
    receiver.until("all have failed", |ledger| ledger.requests("/wrong").len() >= accepted.len()).await;

    site.configure(&acme(&receiver.url("/right")));
    receiver.until("all arrive", |ledger| ledger.has_all("/right", &accepted)).await;
    let tally = receiver.tally("/right", &accepted);
    assert_eq!((tally.lost, tally.duplicates, tally.strangers), (0, 0, 0), "{tally}");
}

#[tokio::test]
async fn a_broken_file_keeps_the_last_good_one_in_force() {
    let receiver = Receiver::accepting().await;
    let site = Site::embedded(&acme(&receiver.url("/crm")));
    let standalone = site.start("standalone").await;
    site.configure("tenants: [{id: acme, endpoinst: []}]");
    let complaint = eventually("it complains", || async {
        let log = standalone.log();
        log.iter().map(ToString::to_string).find(|line| line.contains("endpoinst"))
    })
    .await;
    assert!(complaint.contains("site.yaml:1:"), "it names the line: {complaint}");
    standalone.ready().await;

    let accepted = standalone.api().publish("acme", ids("event", 5)).await;
    receiver.until("all arrive", |ledger| ledger.has_all("/crm", &accepted)).await;

    site.configure(&acme(&receiver.url("/mended")));
    standalone.logged("store.recovered").await;
    let accepted = standalone.api().publish("acme", ids("later", 5)).await;
    receiver.until("all arrive", |ledger| ledger.has_all("/mended", &accepted)).await;
}
