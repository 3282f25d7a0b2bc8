//! A small disk that is filled through the API drains by itself once the receivers answer, and nothing is lost.
//!
//! The test binary starts itself again in a mount namespace, where the folder of temporary files is a file system of its
//! own.

use std::{
    collections::BTreeSet,
    env, fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use carteiro::receiver::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{MetricsPage, Process, Receiver, Site, acme, eventually, ids, in_its_own_place, report};

const SIZE: &str = "64m";
/// Bytes of an event. Large ones fill the disk with few deliveries: an endpoint that has failed gets them one by one.
const EVENT: usize = 500_000;

#[test]
fn a_full_disk_refuses_events_and_drains_by_itself() {
    in_its_own_place("small-disk", [SIZE], "full_disk::a_full_disk_refuses_events_and_drains_by_itself", inside());
}

async fn inside() {
    let answers = Arc::new(AtomicBool::new(false));
    let is_up = answers.clone();
    let receiver = Receiver::start(move |_| {
        let status = if is_up.load(Relaxed) { 200 } else { 503 };
        Answer::Status(status, Duration::ZERO)
    })
    .await;
    let site = Site::embedded(&acme(&receiver.url("/crm")));
    let process = site.start("standalone").await;
    process.ready().await;

    let mut accepted = BTreeSet::new();
    let problem = fill(&process, &mut accepted).await;
    assert_eq!(problem["code"], "storage_full", "{problem}");
    assert!(accepted.len() > 40, "{} were accepted", accepted.len());
    let (ready, degraded) = readyz(&process).await;
    assert_eq!(ready, 200, "it still delivers");
    assert!(degraded["broker"].as_str().is_some_and(|why| why.starts_with("takes in no events: ")), "{degraded}");
    is_full(&process, 1.0).await;
    assert_eq!(receiver.look(|recorder| recorder.delivered("/crm")), 0);

    // Another program takes the reserve as well, to the last byte.
    let other = env::temp_dir().join("other");
    fs::write(&other, vec![1; 64 * 1024 * 1024]).expect_err("there is less than that");
    answers.store(true, Relaxed);
    receiver.until("all arrive", |recorder| recorder.has_all("/crm", &accepted)).await;
    fs::remove_file(&other).expect("its own file");
    is_full(&process, 0.0).await;
    assert_eq!(readyz(&process).await, (200, Value::Null));

    accepted.extend(process.api().publish("acme", ids("again", 10)).await);
    receiver.until("later ones arrive", |recorder| recorder.has_all("/crm", &accepted)).await;
    let counts = receiver.counts("/crm", &accepted);
    report("a full disk of 64 MiB", &counts);
    assert_eq!((counts.lost, counts.unexpected), (0, 0));
    assert_eq!(process.end().await, 0);
}

/// Publishes one event after another until one is refused. Returns its problem.
async fn fill(process: &Process, accepted: &mut BTreeSet<String>) -> Value {
    let text = "x".repeat(EVENT);
    for number in 0.. {
        let id = format!("first-{number}");
        let event = json!({"id": id, "type": "message.received", "message": {"direction": "inbound", "text": text}});
        let request = process.api().request(Method::POST, "/v1/tenants/acme/events");
        let answer = request.header("content-type", "application/json").body(event.to_string()).send().await;
        let answer = answer.expect("it answers");
        if answer.status() == 202 {
            accepted.insert(id);
            continue;
        }
        let (status, retry_after) = (answer.status(), answer.headers().contains_key("retry-after"));
        let problem = answer.text().await.expect("a body");
        assert_eq!((status.as_u16(), retry_after), (503, true), "{problem}");
        return serde_json::from_str(&problem).expect("JSON");
    }
    unreachable!("numbers never end")
}

/// The status of `/readyz`, and what it says is degraded.
async fn readyz(process: &Process) -> (u16, Value) {
    let answer = process.ops().anonymous(Method::GET, "/readyz").send().await.expect("it answers");
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    (status, body["degraded"].clone())
}

async fn is_full(process: &Process, value: f64) {
    eventually("the metric says how full it is", || async {
        (MetricsPage::of(process).await.value("carteiro_broker_storage_full") == value).then_some(())
    })
    .await;
}
