//! No count or finding is lost before it is noted, whatever notices or confirmations are lost; and nothing is kept for
//! ever.

use std::collections::HashMap;

use proptest::prelude::*;
use schemas::QuotaName;

use super::*;

const NOW: u64 = 1_790_000_000_000;
const DAY: u64 = 86_400_000;

fn attempts(count: u64) -> Counts {
    Counts { attempts: count, ..Counts::default() }
}

/// Tenant, endpoint, day and attempts.
type Line = (String, Option<String>, String, u64);

/// The number of a notice, and what it says.
fn said(notice: &Notice) -> (u64, Vec<Line>) {
    let Notice::Findings { sequence, findings: facts, process } = notice else { panic!("{notice:?}") };
    assert_eq!(process, "p");
    let usage = facts.iter().map(|fact| match fact {
        Finding::Usage { tenant, endpoint_id, day, counts } => {
            (tenant.clone(), endpoint_id.clone(), day.clone(), counts.attempts)
        }
        other => panic!("{other:?}"),
    });
    (*sequence, usage.collect())
}

fn line(attempts: u64) -> Line {
    ("acme".into(), Some("crm".into()), "2026-09-21".into(), attempts)
}

#[test]
fn a_count_is_sent_once_and_again_when_it_has_changed() {
    let outbox = Outbox::new("p");
    assert!(outbox.report(NOW).is_empty() && outbox.is_settled());
    outbox.add(NOW, "acme", Some("crm"), attempts(1));
    outbox.add(NOW, "acme", Some("crm"), attempts(2));
    assert_eq!(said(&outbox.report(NOW)[0]), (1, vec![line(3)]));
    assert!(outbox.report(NOW + 1_000).is_empty(), "nothing is new");
    outbox.add(NOW, "acme", Some("crm"), attempts(1));
    assert_eq!(said(&outbox.report(NOW + 2_000)[0]), (2, vec![line(4)]), "with what was before");
}

#[test]
fn an_unconfirmed_notice_is_sent_again_under_a_new_number() {
    let outbox = Outbox::new("p");
    outbox.add(NOW, "acme", Some("crm"), attempts(3));
    outbox.report(NOW);
    assert!(outbox.report(NOW + AGAIN - 1).is_empty());
    assert_eq!(said(&outbox.report(NOW + AGAIN)[0]), (2, vec![line(3)]));
    outbox.noted("another", 2);
    outbox.noted("p", 1);
    assert!(!outbox.is_settled(), "the first was replaced by the second");
    outbox.noted("p", 2);
    assert!(outbox.is_settled() && outbox.report(NOW + 3 * AGAIN).is_empty());
}

#[test]
fn an_unconfirmed_notice_is_sent_again_within_seconds_after_the_clock_was_set_back() {
    let outbox = Outbox::new("p");
    outbox.add(NOW, "acme", Some("crm"), attempts(3));
    outbox.report(NOW);
    outbox.add(NOW, "acme", Some("shop"), attempts(1));
    outbox.report(NOW);
    let set_back = NOW - DAY / 24;
    let again: Vec<_> = outbox.report(set_back).iter().flat_map(|notice| said(notice).1).collect();
    assert_eq!(again.len(), 2, "{again:?}");
    assert!(outbox.report(set_back + AGAIN - 1).is_empty(), "not each time");
    assert_eq!(outbox.report(set_back + AGAIN).len(), 1);
}

#[test]
fn a_new_day_begins_at_zero_and_the_old_one_stays_until_it_is_noted() {
    let outbox = Outbox::new("p");
    outbox.add(NOW, "acme", Some("crm"), attempts(3));
    outbox.add(NOW, "idle", None, attempts(1));
    outbox.report(NOW);
    outbox.noted("p", 1);
    outbox.add(NOW, "acme", Some("crm"), attempts(4));
    outbox.add(NOW + DAY, "acme", Some("crm"), attempts(1));
    let (sequence, mut lines) = said(&outbox.report(NOW + DAY)[0]);
    lines.sort();
    let tomorrow = ("acme".into(), Some("crm".into()), "2026-09-22".into(), 1);
    assert_eq!(lines, [line(7), tomorrow]);
    assert_eq!(outbox.state().usage.len(), 2, "what was noted of a day that is over is gone");
    outbox.noted("p", sequence);
    assert_eq!(outbox.state().usage.len(), 1);
    outbox.report(NOW + 2 * DAY);
    assert_eq!(outbox.state().usage.len(), 0);
    assert!(outbox.state().usage.is_empty_but_for_room());
}

#[test]
fn a_clock_that_is_put_back_over_midnight_begins_no_line_again() {
    let outbox = Outbox::new("p");
    for now in [NOW, NOW + DAY, NOW, NOW + DAY] {
        outbox.add(now, "acme", Some("crm"), attempts(1));
    }
    let (_, mut lines) = said(&outbox.report(NOW)[0]);
    lines.sort();
    assert_eq!(lines, [line(1), ("acme".into(), Some("crm".into()), "2026-09-22".into(), 3)]);
}

#[test]
fn a_finding_is_sent_until_it_is_noted_however_often_it_was_added() {
    let outbox = Outbox::new("p");
    let gone = Finding::Gone { tenant: "acme".into(), endpoint_id: "crm".into(), version: Some(7) };
    let reached = Finding::QuotaReached { tenant: "acme".into(), quota: QuotaName::Endpoints, limit: 3.0, at: NOW };
    outbox.record_finding(gone.clone());
    outbox.record_finding(gone.clone());
    outbox.record_finding(reached.clone());
    let facts = |sequence, facts| vec![Notice::Findings { process: "p".into(), sequence, findings: facts }];
    assert_eq!(outbox.report(NOW), facts(1, vec![gone.clone(), reached.clone()]));
    outbox.record_finding(gone.clone());
    assert_eq!(outbox.report(NOW + 1), []);
    assert_eq!(outbox.report(NOW + AGAIN), facts(2, vec![gone, reached]));
    outbox.noted("p", 2);
    assert!(outbox.is_settled());
}

#[test]
fn findings_are_sent_without_counts_which_stay_for_the_next_report() {
    let outbox = Outbox::new("p");
    outbox.add(NOW, "acme", Some("crm"), attempts(3));
    assert_eq!(outbox.report_findings(NOW), []);
    let gone = Finding::Gone { tenant: "acme".into(), endpoint_id: "crm".into(), version: Some(7) };
    outbox.record_finding(gone.clone());
    let notice = Notice::Findings { process: "p".into(), sequence: 1, findings: vec![gone] };
    assert_eq!(outbox.report_findings(NOW), [notice]);
    assert_eq!(said(&outbox.report(NOW)[0]), (2, vec![line(3)]));
}

#[test]
fn many_findings_are_sent_in_several_notices() {
    let outbox = Outbox::new("p");
    for nth in 0..2 * TOGETHER + 1 {
        outbox.add(NOW, "acme", Some(&nth.to_string()), attempts(1));
    }
    let sizes: Vec<_> = outbox.report(NOW).iter().map(|notice| said(notice).1.len()).collect();
    assert_eq!(sizes, [TOGETHER, TOGETHER, 1]);
}

/// What may happen to an outbox.
#[derive(Clone, Debug)]
enum Step {
    Add {
        endpoint: u8,
        attempts: u64,
    },
    Pass {
        ms: u64,
    },
    /// Control receives the notices if `heard`, and its confirmations arrive if `answered`.
    Report {
        heard: bool,
        answered: bool,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4_u8, 1..5_u64).prop_map(|(endpoint, attempts)| Step::Add { endpoint, attempts }),
        prop_oneof![0..2_000_u64, DAY / 3..DAY].prop_map(|ms| Step::Pass { ms }),
        any::<(bool, bool)>().prop_map(|(heard, answered)| Step::Report { heard, answered }),
    ]
}

proptest! {
    #[test]
    fn whatever_gets_lost_the_last_word_on_every_day_is_all_that_was_counted(
        steps in prop::collection::vec(any_step(), 0..60),
    ) {
        let outbox = Outbox::new("p");
        let (mut now, mut counted, mut kept) = (NOW, HashMap::new(), HashMap::new());
        let mut hear = |notices: &[Notice], answered: bool| {
            for notice in notices {
                let (sequence, lines) = said(notice);
                for (tenant, endpoint, day, attempts) in lines {
                    let (at, known) = kept.entry((tenant, endpoint, day)).or_insert((0, 0));
                    if sequence > *at {
                        (*at, *known) = (sequence, attempts);
                    }
                }
                if answered {
                    outbox.noted("p", sequence);
                }
            }
        };
        for step in steps {
            match step {
                Step::Add { endpoint, attempts: count } => {
                    let endpoint = endpoint.to_string();
                    outbox.add(now, "acme", Some(&endpoint), attempts(count));
                    *counted.entry(("acme".to_owned(), Some(endpoint), schemas::time::day(now))).or_insert(0) += count;
                }
                Step::Pass { ms } => now += ms,
                Step::Report { heard, answered } => {
                    let notices = outbox.report(now);
                    if heard {
                        hear(&notices, answered);
                    }
                }
            }
        }
        now += AGAIN;
        hear(&outbox.report(now), true);
        prop_assert!(outbox.is_settled());
        let kept: HashMap<_, _> = kept.into_iter().map(|(key, (_, attempts))| (key, attempts)).collect();
        prop_assert_eq!(kept, counted);
        outbox.report(now + 2 * DAY);
        prop_assert!(outbox.state().usage.is_empty_but_for_room(), "nothing stays for ever");
    }
}

#[test]
fn a_refusal_is_a_finding_once_an_hour_for_each_tenant_quota_and_source() {
    let (outbox, hour) = (Outbox::new("p"), NOW - NOW % HOUR);
    let refuse = |tenant: &str, at: u64| {
        outbox.record_quota_reached(tenant, QuotaName::Keys, 3.0, hour + at);
        outbox.record_event_loop(tenant, Some("main"), hour + at);
        outbox.record_event_loop(tenant, None, hour + at);
    };
    for (tenant, at) in [("acme", 0), ("beta", 1), ("acme", HOUR - 1), ("acme", HOUR), ("acme", HOUR + 1)] {
        refuse(tenant, at);
    }
    let found = outbox.report(hour).into_iter().flat_map(|notice| match notice {
        Notice::Findings { findings, .. } => findings,
        other => panic!("{other:?}"),
    });
    let found: Vec<_> = found.collect();
    let expected = [("acme", 0), ("beta", 1), ("acme", HOUR)].into_iter().flat_map(|(tenant, at)| {
        let (tenant, at) = (tenant.to_owned(), hour + at);
        let looping = |source_id| Finding::EventLoop { tenant: tenant.clone(), source_id, at };
        let reached = Finding::QuotaReached { tenant: tenant.clone(), quota: QuotaName::Keys, limit: 3.0, at };
        [reached, looping(Some("main".to_owned())), looping(None)]
    });
    assert_eq!(found, expected.collect::<Vec<_>>());
}
