//! Notices between processes: two brokers of ours on one node, under the same names.

use broker::{Broker, Notices};
use tokio::time::timeout;

use crate::road::{PATIENCE, Road, connect};

#[tokio::test(flavor = "multi_thread")]
async fn every_process_hears_what_one_of_them_says() {
    let road = Road::lay().await;
    let other = connect(&road.config);
    timeout(PATIENCE, other.first_session()).await.expect("in time").expect("connects");
    let (mut here, mut there) = (road.broker.notices(), other.notices());
    road.broker.announce("from here".into());
    other.announce("from there".into());
    for notices in [&mut here, &mut there] {
        let mut heard = [next(notices).await, next(notices).await];
        heard.sort();
        assert_eq!(heard, ["from here", "from there"]);
    }
    other.close().await;
}

async fn next(notices: &mut Notices) -> String {
    let notice = timeout(PATIENCE, notices.next()).await.expect("in time").expect("the broker is open");
    String::from_utf8(notice.to_vec()).expect("text")
}
