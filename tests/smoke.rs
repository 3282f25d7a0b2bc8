//! The shortest way through: one event, one endpoint.

use crate::harness::{Receiver, Site, acme, ids};

#[tokio::test]
async fn an_event_that_was_accepted_reaches_its_endpoint() {
    let receiver = Receiver::accepting().await;
    let site = Site::embedded(&acme(&receiver.url("/crm")));
    let standalone = site.start("standalone").await;
    let accepted = standalone.api().publish("acme", ids("one", 1)).await;
    receiver.until("the event arrives", |ledger| ledger.has_all("/crm", &accepted)).await;
    let tally = receiver.tally("/crm", &accepted);
    assert_eq!((tally.lost, tally.duplicates, tally.strangers), (0, 0, 0), "{tally}");
    assert_eq!(standalone.end().await, 0);
}
