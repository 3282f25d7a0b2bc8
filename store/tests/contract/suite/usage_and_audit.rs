//! Usage and the audit log.

use schemas::Counts;
use serde_json::json;
use store::{AuditEntry, Edit, Store, Usage, UsageReport, UsageScope};

use crate::{
    fixture::Fixture,
    story::{AT, SECRETS, edit, put, remove, tenant},
};

fn report(process: &str, sequence: u64, endpoint: Option<&str>, day: &str, attempts: u64) -> UsageReport {
    UsageReport {
        process: process.into(),
        sequence,
        tenant: "acme".into(),
        endpoint_id: endpoint.map(Into::into),
        day: day.into(),
        counts: Counts { attempts, events: 1, deliveries: 2, delivered: 3, dead: 4, bytes: 5 },
    }
}

async fn record(store: &dyn Store, reports: Vec<UsageReport>) {
    store.usage_and_audit().expect("books").record_usage(reports).await.expect("kept");
}

async fn usage(store: &dyn Store, from: &str, to: &str) -> Vec<Usage> {
    store.usage_and_audit().expect("books").usage("acme", UsageScope::Endpoints, from, to).await.expect("usage")
}

pub(crate) async fn usage_is_summed_over_processes_and_an_old_report_changes_nothing<F: Fixture>() {
    let mut fixture = F::start().await;
    let day = "2026-11-21";
    record(&*fixture.store(), vec![report("a", 1, Some("crm"), day, 10), report("b", 1, Some("crm"), day, 5)]).await;
    record(&*fixture.store(), vec![report("a", 3, Some("crm"), day, 30), report("a", 2, Some("crm"), day, 20)]).await;
    record(&*fixture.store(), vec![report("a", 2, Some("crm"), day, 20)]).await;
    record(&*fixture.store(), vec![report("a", 3, Some("crm"), day, 30)]).await;
    record(&*fixture.store(), vec![]).await;
    for _ in 0..2 {
        let counts = Counts { attempts: 35, events: 2, deliveries: 4, delivered: 6, dead: 8, bytes: 10 };
        let sum = Usage { day: day.into(), endpoint_id: Some("crm".into()), counts };
        assert_eq!(usage(&*fixture.store(), day, day).await, [sum]);
        fixture.reopen().await;
    }
}

pub(crate) async fn usage_is_listed_by_day_and_endpoint<F: Fixture>() {
    let fixture = F::start().await;
    let days = ["2026-11-19", "2026-11-20", "2026-11-21"];
    let reports = days.iter().flat_map(|day| [Some("crm"), None, Some("bi")].map(|one| report("a", 1, one, day, 1)));
    record(&*fixture.store(), reports.collect()).await;
    let listed = usage(&*fixture.store(), days[1], days[2]).await;
    let places: Vec<_> = listed.iter().map(|usage| (usage.day.as_str(), usage.endpoint_id.as_deref())).collect();
    let each = |day| [(day, None), (day, Some("bi")), (day, Some("crm"))];
    assert_eq!(places, [each(days[1]), each(days[2])].concat());
    let store = fixture.store();
    let others = store.usage_and_audit().expect("books").usage("beta", UsageScope::Endpoints, days[0], days[2]).await;
    assert_eq!(others.expect("usage"), []);
}

pub(crate) async fn usage_is_rolled_up_once_and_a_late_report_of_such_a_day_counts_nothing<F: Fixture>() {
    let mut fixture = F::start().await;
    let days = ["2026-11-19", "2026-11-20", "2026-11-21"];
    let reports = days.iter().flat_map(|day| ["a", "b"].map(|one| report(one, 2, Some("crm"), day, 5)));
    record(&*fixture.store(), reports.collect()).await;
    let before = usage(&*fixture.store(), days[0], days[2]).await;
    for rows in [4, 0] {
        let store = fixture.store();
        let kept = store.usage_and_audit().expect("books");
        assert_eq!(kept.roll_up_usage(days[2]).await, Ok(rows));
    }
    assert_eq!(usage(&*fixture.store(), days[0], days[2]).await, before, "nothing is lost or counted twice");
    let store = fixture.store();
    let kept = store.usage_and_audit().expect("books");
    let late = days.map(|day| report("a", 3, Some("crm"), day, 9)).to_vec();
    assert_eq!(kept.record_usage(late).await, Ok(2));
    assert_eq!(
        kept.record_usage(vec![report("a", 3, Some("new"), days[0], 9)]).await,
        Ok(0),
        "nothing of it was counted"
    );
    let sums = usage(&*store, days[0], days[2]).await;
    let attempts: Vec<_> = sums.iter().map(|usage| usage.counts.attempts).collect();
    assert_eq!(attempts, [10, 9, 10, 14]);
    let whole = kept.usage("acme", UsageScope::Tenant, days[0], days[2]).await.expect("usage");
    let whole: Vec<_> = whole.iter().map(|usage| (usage.endpoint_id.is_none(), usage.counts.attempts)).collect();
    assert_eq!(whole, [(true, 19), (true, 10), (true, 14)]);
    let one = kept.usage("acme", UsageScope::Endpoint("new"), days[0], days[2]).await.expect("usage");
    assert_eq!((one.len(), one[0].counts.attempts), (1, 9));
    assert_eq!(kept.trim_usage(days[1]).await, Ok(2));
    drop(store);
    fixture.reopen().await;
    let left = usage(&*fixture.store(), days[0], days[2]).await;
    assert_eq!(left, sums[2..]);
}

async fn audit(store: &dyn Store, tenant: Option<&str>, before: Option<u64>, limit: u32) -> Vec<AuditEntry> {
    store.usage_and_audit().expect("books").audit(tenant, before, limit).await.expect("a log")
}

pub(crate) async fn the_audit_log_says_who_changed_what_the_newest_first_and_hides_secrets<F: Fixture>() {
    let mut fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    let renamed = edit(&["acme"], |draft| {
        draft.tenant("acme")?.endpoints[0].name = Some("CRM".to_owned());
        Ok(())
    });
    fixture.store().edit(renamed).await.expect("done");
    fixture.reopen().await;
    let log = audit(&*fixture.store(), None, None, 10).await;
    assert_eq!(log.len(), 6);
    assert!(log.windows(2).all(|pair| pair[0].id > pair[1].id));
    let AuditEntry { at, revision, tenant, author, address, kind, item, before, after, .. } = log[0].clone();
    assert_eq!(
        (at.as_str(), revision, tenant.as_str(), author.as_str()),
        ("2026-11-21T00:00:00.000Z", 3, "acme", "operator")
    );
    assert_eq!((address.as_deref(), kind.as_str(), item.as_str()), (Some("192.0.2.7"), "endpoint", "crm"));
    let (before, after) = (before.expect("as it was"), after.expect("as it is"));
    assert_eq!((&before["name"], &after["name"]), (&serde_json::Value::Null, &serde_json::json!("CRM")));
    assert_eq!(after["n8n_api_key"], schemas::MASK);
    assert!(log[5].before.is_none(), "new");
    let text = format!("{log:?}");
    assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{text}");
}

pub(crate) async fn the_audit_log_has_what_changed_nothing_of_the_configuration<F: Fixture>() {
    let mut fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    let erasure = AuditEntry {
        id: 7,
        at: "2026-11-21T08:00:00.000Z".into(),
        revision: 1,
        tenant: "acme".into(),
        author: "operator".into(),
        address: None,
        kind: "erasure".into(),
        item: "e1".into(),
        before: None,
        after: Some(json!({"waiting": false})),
    };
    fixture.store().usage_and_audit().expect("books").add_audit(erasure.clone()).await.expect("kept");
    for _ in 0..2 {
        let log = audit(&*fixture.store(), Some("acme"), None, 9).await;
        assert_eq!(log[0], AuditEntry { id: log[0].id, ..erasure.clone() });
        assert!(log.len() > 1 && log[0].id > log[1].id);
        fixture.reopen().await;
    }
}

pub(crate) async fn the_audit_log_is_read_in_pages_and_per_tenant<F: Fixture>() {
    let fixture = F::start().await;
    for id in ["acme", "beta"] {
        put(&*fixture.store(), tenant(id)).await.expect("done");
    }
    remove(&*fixture.store(), "acme").await.expect("done");
    let store = fixture.store();
    let whole = audit(&*store, None, None, 100).await;
    assert_eq!(whole.len(), 15);
    let (mut paged, mut before) = (Vec::new(), None);
    loop {
        let page = audit(&*store, None, before, 4).await;
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 4);
        before = Some(last.id);
        paged.extend(page);
    }
    assert_eq!(paged, whole);
    let acme = audit(&*store, Some("acme"), None, 100).await;
    assert!(acme.len() == 10 && acme.iter().all(|entry| entry.tenant == "acme"));
    assert!(acme[..5].iter().all(|entry| entry.after.is_none()), "gone");
    assert_eq!(audit(&*store, Some("acme"), Some(acme[3].id), 2).await, acme[4..6]);
}

async fn trim(store: &dyn Store, before: u64) -> u64 {
    store.usage_and_audit().expect("books").trim_audit(before).await.expect("trimmed")
}

pub(crate) async fn the_audit_log_forgets_what_is_older_than_asked<F: Fixture>() {
    let mut fixture = F::start().await;
    put(&*fixture.store(), tenant("acme")).await.expect("done");
    // More than go at once.
    for later in 1..=600 {
        let renamed = edit(&["acme"], move |draft| {
            draft.tenant("acme")?.name = Some(later.to_string());
            Ok(())
        });
        fixture.store().edit(Edit { at: AT + later, ..renamed }).await.expect("done");
    }
    assert_eq!(trim(&*fixture.store(), AT).await, 0, "nothing is as old");
    assert_eq!(trim(&*fixture.store(), AT + 599).await, 5 + 598);
    let left = audit(&*fixture.store(), None, None, 100).await;
    let times: Vec<_> = left.iter().map(|entry| entry.at.as_str()).collect();
    assert_eq!(times, ["2026-11-21T00:00:00.600Z", "2026-11-21T00:00:00.599Z"]);
    assert_eq!(trim(&*fixture.store(), AT + 1_000).await, 2);
    assert_eq!(audit(&*fixture.store(), None, None, 100).await, []);
    fixture.reopen().await;
    remove(&*fixture.store(), "acme").await.expect("done");
    let next = audit(&*fixture.store(), None, None, 100).await;
    assert!(next[4].id > left[0].id, "an id that was given is not given again");
}

pub(crate) async fn of_what_is_long_the_audit_log_keeps_what_changed<F: Fixture>() {
    let fixture = F::start().await;
    let mut long = tenant("acme");
    long.endpoints[0].name = Some("a".repeat(20 << 10));
    put(&*fixture.store(), long.clone()).await.expect("done");
    let bytes = serde_json::to_string(&long.endpoints[0]).expect("JSON").len();
    let renamed = edit(&["acme"], |draft| {
        draft.tenant("acme")?.endpoints[0].name = Some("CRM".to_owned());
        Ok(())
    });
    fixture.store().edit(renamed).await.expect("done");
    let log = audit(&*fixture.store(), None, None, 10).await;
    assert_eq!(log[0].before, Some(json!({"omitted_bytes": bytes})));
    assert_eq!(log[0].after.as_ref().expect("as it is")["name"], "CRM");
}
