//! The broker's delivery limit, lowered to what a test can reach: an alarm does not use it up, and what a deliverer that
//! dies again and again uses it up for comes back by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use carteiro::receiver::Answer;

use crate::{
    harness::{Rabbit, Receiver, Recorder, Site, acme, eventually, ids, report},
    parking::listed,
};

/// Most often that a delivery may be handed out again. It is 100 otherwise.
const LIMIT: usize = 2;
/// Length of the alarm. A deliverer that gave back what it cannot publish would reach the limit in a fraction of it.
const ALARM: Duration = Duration::from_secs(30);
/// Few enough for the requests that may be in flight at first.
const EVENTS: usize = 4;

struct Fixture {
    rabbit: Rabbit,
    receiver: Receiver,
    answer: Arc<Mutex<Answer>>,
    site: Site,
}

impl Fixture {
    /// A node with the lowered limit, and an endpoint that answers 503.
    async fn start() -> Self {
        let rabbit = Rabbit::start().await;
        let limit = format!("{{\"delivery-limit\": {LIMIT}}}");
        rabbit.ctl(&["set_policy", "low", r"\.deliver\.", &limit, "--apply-to", "queues"]).await;
        let answer = Arc::new(Mutex::new(Answer::status(503)));
        let script = answer.clone();
        let receiver = Receiver::start(move |_| script.lock().unwrap_or_else(PoisonError::into_inner).clone()).await;
        let site = Site::on(rabbit.url(), &acme(&receiver.url("/crm")));
        Self { rabbit, receiver, answer, site }
    }

    fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    fn attempts(&self) -> usize {
        self.receiver.look(|recorder| recorder.requests("/crm").len())
    }
}

/// The numbers of each delivery's attempts, in order.
fn numbers(recorder: &Recorder) -> BTreeMap<String, Vec<u32>> {
    let mut numbers = BTreeMap::<String, Vec<u32>>::new();
    for request in recorder.requests("/crm") {
        let attempt = request.header("carteiro-attempt").parse().expect("a number");
        numbers.entry(request.header("webhook-id").to_owned()).or_default().push(attempt);
    }
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_of_the_broker_parks_nothing_and_repeats_no_attempt() {
    let fixture = Fixture::start().await;
    let (receiver, site) = (&fixture.receiver, &fixture.site);
    let producer = site.start("producer").await;
    let others = [site.start("router").await, site.start("deliverer").await, site.start("control").await];
    for process in others.iter().chain([&producer]) {
        process.ready().await;
    }
    let deliverer = &others[1];
    let accepted = producer.api().publish("acme", ids("event", EVENTS)).await;
    receiver.until("there are retries", |recorder| recorder.requests("/crm").len() >= 2 * EVENTS).await;

    fixture.rabbit.ctl(&["set_vm_memory_high_watermark", "0.00001"]).await;
    deliverer.logged("broker.blocked").await;
    let (blocked, attempts) = (Instant::now(), fixture.attempts());
    eventually("the alarm has lasted", || async { (blocked.elapsed() >= ALARM).then_some(()) }).await;
    assert_eq!(deliverer.readyz().await.0, 503, "it is still blocked");
    // What was published before the alarm may come back once.
    let more = fixture.attempts() - attempts;
    assert!(more <= EVENTS, "{more} attempts whose retries could not be published");

    fixture.rabbit.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    fixture.answer(Answer::status(200));
    receiver.until("all are delivered", |recorder| recorder.has_all("/crm", &accepted)).await;
    let last = receiver.look(numbers);
    report("an alarm", format!("{more} attempts in {ALARM:?}, {} in all", fixture.attempts()));
    for (id, numbers) in last {
        assert_eq!(numbers, (1..).take(numbers.len()).collect::<Vec<u32>>(), "{id}");
    }
    assert_eq!(listed(site).await.len(), 0, "nothing was given back");
    for process in others.into_iter().chain([producer]) {
        assert_eq!(process.end().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dying_deliverer_was_handed_too_often_comes_back_and_is_delivered_as_the_attempt_that_it_was() {
    let fixture = Fixture::start().await;
    let (receiver, site) = (&fixture.receiver, &fixture.site);
    let (producer, router) = (site.start("producer").await, site.start("router").await);
    let first = site.start("deliverer").await;
    for process in [&producer, &router, &first] {
        process.ready().await;
    }
    let accepted = producer.api().publish("acme", ids("event", EVENTS)).await;
    receiver.until("all have failed once", |recorder| numbers(recorder).len() == EVENTS).await;
    assert_eq!(first.end().await, 0);

    fixture.answer(Answer::Hang);
    let (mut before, mut deaths) = (fixture.attempts(), 0);
    let mut deliverer = site.start("deliverer").await;
    loop {
        let parked = eventually("each is in hand or parked", || async {
            let parked = parked(site).await;
            let is_in_hand = |id: &String| {
                let after = |recorder: &Recorder| {
                    recorder.requests("/crm")[before..].iter().any(|request| request.header("webhook-id") == id)
                };
                receiver.look(after)
            };
            accepted.iter().all(|id| parked.contains(id) || is_in_hand(id)).then_some(parked)
        })
        .await;
        if parked == accepted {
            break;
        }
        deliverer.kill().await;
        (before, deaths) = (fixture.attempts(), deaths + 1);
        deliverer.restart().await;
    }
    // The end of the first deliverer may count, too.
    assert!(deaths >= LIMIT, "{deaths}");
    report("a deliverer that died over and over", format!("all are parked after {deaths} deaths"));
    let held = receiver.look(numbers);

    fixture.answer(Answer::status(200));
    let control = site.start("control").await;
    receiver.until("all are delivered", |recorder| recorder.has_all("/crm", &accepted)).await;
    for (id, numbers) in receiver.look(numbers) {
        assert!(numbers.last() >= Some(&2) && numbers.last() == held[&id].last(), "{id}: {numbers:?}");
    }
    for process in [producer, router, deliverer, control] {
        assert_eq!(process.end().await, 0);
    }
}

/// The ids of the events whose deliveries the broker has parked.
async fn parked(site: &Site) -> BTreeSet<String> {
    let parked = listed(site).await.into_iter();
    parked
        .map(|record| {
            assert_eq!(record["reason"], "delivery_limit", "{record}");
            record["event_id"].as_str().expect("an id").to_owned()
        })
        .collect()
}
