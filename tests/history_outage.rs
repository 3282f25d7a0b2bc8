//! Where history is kept may be away, full or silent: no delivery waits for it, and what it then lacks is said.

use std::{collections::BTreeSet, path::Path};

use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    Api, KEY, MetricsPage, Postgres, Process, Receiver, Site, acme, eventually, ids, in_its_own_place, report,
};

const TENANT: &str = "/v1/tenants/acme";
/// Bytes of an event, and as many events as take more than the 32 MiB in which records wait.
const LARGE: usize = 400_000;
const MANY: usize = 120;

/// A page of acme's deliveries, and whether it is complete. None while history does not answer.
async fn listed(api: &Api, filter: &str) -> Option<(Vec<Value>, bool)> {
    let path = format!("{TENANT}/deliveries?state=delivered&limit=1000{filter}");
    let (status, page) = api.ask(KEY, Method::GET, &path, None).await;
    (status == 200).then(|| (page["items"].as_array().expect("items").clone(), page["complete"] == true))
}

/// The deliveries of some events in a list.
fn among<'a>(ids: &BTreeSet<String>, items: &'a [Value]) -> Vec<&'a Value> {
    items.iter().filter(|item| item["event_id"].as_str().is_some_and(|id| ids.contains(id))).collect()
}

/// Waits until history has a delivery of each event.
async fn recorded(api: &Api, ids: &BTreeSet<String>) {
    eventually("they are in history", || async {
        let (items, _) = listed(api, "").await?;
        (among(ids, &items).len() == ids.len()).then_some(())
    })
    .await;
}

/// Publishes events that do not become smaller when they are compressed.
async fn publish_large(api: &Api) -> BTreeSet<String> {
    let publish = |id: String| async move {
        let text: String = std::iter::repeat_with(fastrand::alphanumeric).take(LARGE).collect();
        let event = json!({"id": id, "type": "message.received", "message": {"direction": "inbound", "text": text}});
        api.done(KEY, Method::POST, &format!("{TENANT}/events"), Some(event)).await;
        id
    };
    stream::iter(ids("large", MANY)).map(publish).buffer_unordered(8).collect().await
}

/// History goes away for longer than records can wait for it, and comes back.
async fn long_outage(
    standalone: &Process,
    receiver: &Receiver,
    goes_away: impl Future<Output = ()>,
    comes_back: impl Future<Output = ()>,
) {
    let api = standalone.api();
    recorded(&api, &api.publish("acme", ids("before", 3)).await).await;
    goes_away.await;
    let meanwhile = publish_large(&api).await;
    receiver.until("they arrive all the same", |recorder| recorder.has_all("/crm", &meanwhile)).await;
    const DROPPED: &str = "carteiro_history_records_total{result=\"dropped\"}";
    let dropped = eventually("some records are dropped", || async {
        let dropped = MetricsPage::of(standalone).await.value(DROPPED);
        (dropped > 0.0).then_some(dropped)
    })
    .await;
    report("an outage of history", format!("{dropped} records of {} are dropped", 2 * MANY));

    comes_back.await;
    // What is published before there is room again is dropped, too.
    let mut nth = 0;
    let later = eventually("later ones are in history", || {
        nth += 1;
        let id = format!("after-{nth}");
        let api = &api;
        async move {
            api.publish("acme", vec![id]).await;
            let (items, _) = listed(api, "").await?;
            let is_later = |item: &&Value| item["event_id"].as_str().is_some_and(|id| id.starts_with("after-"));
            items.iter().find(is_later).map(|item| item["accepted_at"].as_str().expect("a time").to_owned())
        }
    })
    .await;
    let (items, complete) = listed(&api, "").await.expect("it answers");
    let found = among(&meanwhile, &items).len();
    assert!((1..MANY).contains(&found), "{found} of {MANY}");
    assert!(!complete, "what is missing is said");
    const GAPS: &str = "carteiro_history_gaps_total{cause=\"overflow\"}";
    assert!(MetricsPage::of(standalone).await.value(GAPS) > 0.0);
    eventually("later times are complete", || async {
        let (_, complete) = listed(&api, &format!("&since={later}")).await?;
        complete.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_history_may_be_away_for_longer_than_records_can_wait() {
    let postgres = Postgres::start().await;
    let receiver = Receiver::accepting().await;
    let site = Site::embedded(&acme(&receiver.url("/crm"))).set("history.url", postgres.url());
    let standalone = site.start("standalone").await;
    let goes_away = async {
        postgres.kill().await;
        let (status, problem) = standalone.api().ask(KEY, Method::GET, &format!("{TENANT}/deliveries"), None).await;
        assert_eq!(status, 503, "{problem}");
    };
    long_outage(&standalone, &receiver, goes_away, postgres.revive()).await;
    assert!(!site.path("history").exists());
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_history_that_is_silent_for_a_while_gets_every_record_later() {
    let postgres = Postgres::start().await;
    let receiver = Receiver::accepting().await;
    let site = Site::embedded(&acme(&receiver.url("/crm"))).set("history.url", postgres.url());
    let standalone = site.start("standalone").await;
    let api = standalone.api();
    let mut all = api.publish("acme", ids("before", 3)).await;
    recorded(&api, &all).await;
    postgres.freeze().await;
    for nth in 0..5 {
        let meanwhile = api.publish("acme", ids(&format!("meanwhile-{nth}"), 50)).await;
        receiver.until("they arrive all the same", |recorder| recorder.has_all("/crm", &meanwhile)).await;
        all.extend(meanwhile);
    }
    postgres.thaw().await;
    recorded(&api, &all).await;
    eventually("nothing is missing", || async { listed(&api, "").await?.1.then_some(()) }).await;
    assert_eq!(standalone.end().await, 0);
}

#[test]
fn a_full_disk_of_history_delays_no_delivery_and_what_it_lacks_is_said() {
    let name = "history_outage::a_full_disk_of_history_delays_no_delivery_and_what_it_lacks_is_said";
    in_its_own_place("small-disk", ["400m"], name, on_a_small_disk());
}

async fn on_a_small_disk() {
    let receiver = Receiver::accepting().await;
    let site = Site::embedded(&acme(&receiver.url("/crm")));
    let folder = site.path("history");
    std::fs::create_dir(&folder).expect("its own folder");
    mount(&folder, "size=8m");
    let standalone = site.start("standalone").await;
    let is_full = async {
        let other = folder.join("other");
        let written = std::fs::write(&other, vec![1; 8 << 20]);
        written.expect_err("there is less than that");
    };
    let is_larger = async {
        mount(&folder, "remount,size=100m");
    };
    long_outage(&standalone, &receiver, is_full, is_larger).await;
    assert_eq!(standalone.end().await, 0);
}

/// Mounts a file system in memory on a folder, or changes the size of the one that is there.
fn mount(folder: &Path, options: &str) {
    let mut command = std::process::Command::new("mount");
    let status = command.args(["-t", "tmpfs", "-o", options, "carteiro"]).arg(folder).status();
    assert!(status.expect("mount runs").success(), "{options}");
}
