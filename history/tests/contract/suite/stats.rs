//! Counts.

use history::{StatsBy, StatsRequest};

use crate::{fixture::Fixture, records::*};

pub(crate) const BYTES: u64 = crate::fixture::MAX_BYTES;

pub(crate) fn by_day(endpoint: Option<&str>) -> StatsRequest {
    StatsRequest {
        tenant: Some(ACME.into()),
        endpoint_id: endpoint.map(str::to_owned),
        since: TODAY / DAY * DAY,
        until: TODAY + 3 * DAY,
        by: StatsBy::Day,
    }
}

pub(crate) async fn counts_are_by_hour_and_day_and_endpoint(fixture: Box<dyn Fixture>) {
    const HOUR: u64 = 3_600_000;
    let history = fixture.history();
    let mut records = vec![record(to(bare("e1", TODAY), &["crm", "bi"])), record(bare("e2", TODAY + HOUR))];
    records.extend([
        failed("e1", TODAY, 1, "crm", ""),
        delivered("e1", TODAY, 2, "crm"),
        delivered("e1", TODAY, 1, "bi"),
    ]);
    records.push(ended("e1", TODAY, "gone", schemas::DeadReason::EndpointGone));
    write(&*history, records).await;
    let days = history.stats(&by_day(None)).await.expect("an answer");
    let day = &days[0];
    assert_eq!(days.len(), 1);
    assert_eq!((day.at, day.events, day.delivered, day.failed_attempts, day.dead), (TODAY / DAY * DAY, 2, 2, 1, 1));
    for quantile in [day.p50_ms, day.p95_ms] {
        assert!((40..=48).contains(&quantile.expect("attempts")), "{quantile:?}");
    }
    let hours = history.stats(&StatsRequest { by: StatsBy::Hour, ..by_day(None) }).await.expect("an answer");
    assert_eq!(hours.iter().map(|hour| (hour.at, hour.events)).collect::<Vec<_>>(), [(TODAY, 1), (TODAY + HOUR, 1)]);
    let crm = history.stats(&by_day(Some("crm"))).await.expect("an answer");
    assert_eq!((crm[0].events, crm[0].delivered, crm[0].failed_attempts, crm[0].dead), (1, 1, 1, 0));
    assert_eq!(history.stats(&by_day(Some("nobody"))).await.expect("an answer"), []);
    let foreign = StatsRequest { tenant: Some(ZETA.into()), ..by_day(None) };
    assert_eq!(history.stats(&foreign).await.expect("an answer"), []);
    let all = StatsRequest { tenant: None, ..by_day(None) };
    assert_eq!(history.stats(&all).await.expect("an answer")[0].events, 2);
    let before = StatsRequest { until: TODAY, ..by_day(None) };
    assert_eq!(history.stats(&before).await.expect("an answer"), [], "a time ends before its end");
}
