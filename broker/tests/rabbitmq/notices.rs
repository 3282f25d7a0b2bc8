//! Notices between processes: two brokers of ours on one node, under the same names.

use broker::{Broker, Notices};
use tokio::time::timeout;

use crate::fixture::{Fixture, TIMEOUT, connect};

#[tokio::test(flavor = "multi_thread")]
async fn every_process_receives_the_notices_of_each() {
    let fixture = Fixture::start().await;
    let other = connect(&fixture.config);
    timeout(TIMEOUT, other.first_session()).await.expect("in time").expect("connects");
    let (mut here, mut there) = (fixture.broker.notices(), other.notices());
    fixture.broker.announce("from here".into());
    other.announce("from there".into());
    for notices in [&mut here, &mut there] {
        let mut heard = [next(notices).await, next(notices).await];
        heard.sort();
        assert_eq!(heard, ["from here", "from there"]);
    }
    other.close().await;
}

async fn next(notices: &mut Notices) -> String {
    let notice = timeout(TIMEOUT, notices.next()).await.expect("in time").expect("the broker is open");
    String::from_utf8(notice.to_vec()).expect("text")
}
