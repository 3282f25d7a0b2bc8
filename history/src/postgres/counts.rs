//! Counts by hour: a count is on its event's day. Beside those of each tenant stand those of all tenants.

use futures_util::future::try_join_all;
use service::postgres::{DatabaseError, LONG, PostgresSession, QUICK};
use tokio_postgres::{Row, types::Type};

use super::{
    days::{self, partition},
    names::NameCache,
    rows::unsigned,
};
use crate::{
    HistoryError, StatsPoint, StatsRequest,
    day::Day,
    draft::{CountKey, Counts},
    durations::Durations,
    row::signed,
    stats::{CountRow, HOUR_MS, NO_ENDPOINT, Stats},
};

/// The tenant of counts that are of all tenants. No tenant has this number.
const ALL_TENANTS: i64 = 0;

/// Adds counts of a day to those that are there. The transaction keeps other writers out.
pub(super) async fn add(session: &PostgresSession, day: Day, counts: Counts) -> Result<(), DatabaseError> {
    if counts.is_empty() {
        return Ok(());
    }
    let mut counts = with_all_tenants(counts);
    let keys: Vec<_> = counts.keys().copied().collect();
    let tenants: Vec<_> = keys.iter().map(|(_, tenant, ..)| *tenant).collect();
    let hours: Vec<_> = keys.iter().map(|(hour, ..)| *hour).collect();
    let endpoints: Vec<_> = keys.iter().map(|(_, _, endpoint, _)| *endpoint).collect();
    let words: Vec<_> = keys.iter().map(|(.., what)| *what).collect();
    let asked = "unnest($1::int8[], $2::int8[], $3::int8[], $4::text[])";
    let sql = format!(
        "SELECT asked.nth, c.durations
         FROM {asked} WITH ORDINALITY AS asked (tenant, hour, endpoint, what, nth)
         JOIN {table} c USING (tenant, hour, endpoint, what) WHERE length(c.durations) > 0",
        table = partition("counts", day)
    );
    let given = &[
        (&tenants as _, Type::INT8_ARRAY),
        (&hours as _, Type::INT8_ARRAY),
        (&endpoints as _, Type::INT8_ARRAY),
        (&words as _, Type::TEXT_ARRAY),
    ];
    for row in session.query(LONG, &sql, given).await? {
        let nth = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
        if let Some((_, durations)) = keys.get(nth).and_then(|key| counts.get_mut(key)) {
            durations.merge(&Durations::from_bytes(row.get(1)));
        }
    }
    let (numbers, durations): (Vec<_>, Vec<_>) = keys
        .iter()
        .map(|key| counts.get(key).map_or((0, Vec::new()), |(count, durations)| (signed(*count), durations.to_bytes())))
        .unzip();
    let sql = "INSERT INTO counts (day, tenant, hour, endpoint, what, count, durations)
        SELECT $5, * FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::text[], $6::int8[], $7::bytea[])
        ON CONFLICT (tenant, hour, endpoint, what, day)
        DO UPDATE SET count = counts.count + excluded.count, durations = excluded.durations";
    let given = &[
        (&tenants as _, Type::INT8_ARRAY),
        (&hours as _, Type::INT8_ARRAY),
        (&endpoints as _, Type::INT8_ARRAY),
        (&words as _, Type::TEXT_ARRAY),
        (&day as _, Type::DATE),
        (&numbers as _, Type::INT8_ARRAY),
        (&durations as _, Type::BYTEA_ARRAY),
    ];
    session.execute(LONG, sql, given).await?;
    Ok(())
}

/// Counts what is counted of tenants for all of them as well. An event is counted once there, whatever endpoints it has.
fn with_all_tenants(mut counts: Counts) -> Counts {
    let mut all = Counts::new();
    for ((hour, _, endpoint, what), (count, durations)) in &counts {
        if *what == crate::stats::EVENTS && *endpoint != NO_ENDPOINT {
            continue;
        }
        let key: CountKey = (*hour, ALL_TENANTS, NO_ENDPOINT, *what);
        let (sum, merged) = all.entry(key).or_default();
        *sum += count;
        merged.merge(durations);
    }
    counts.extend(all);
    counts
}

pub(super) async fn stats(
    session: &PostgresSession,
    cache: &NameCache,
    request: &StatsRequest,
) -> Result<Vec<StatsPoint>, HistoryError> {
    let names = cache.current(session).await?;
    let tenant = match &request.tenant {
        None => None,
        Some(name) => match names.tenant(name) {
            Some((no, _)) => Some(no),
            None => return Ok(Vec::new()),
        },
    };
    let endpoints = request.endpoint_id.as_ref().map(|id| match tenant {
        Some(no) => names.endpoint(no, id).into_iter().collect::<Vec<_>>(),
        None => names.endpoints_called(id),
    });
    let (since, last) = (signed(request.since / HOUR_MS), signed(request.until.saturating_sub(1) / HOUR_MS));
    let days = days::list(session).await?.records.into_iter().filter(|day| day.began() < request.until);
    let read = days.map(|day| {
        let endpoints = endpoints.as_deref();
        async move {
            let table = partition("counts", day);
            let columns = format!("SELECT hour, endpoint, what, count, durations FROM {table}");
            let rows = match (tenant, endpoints) {
                // An endpoint's id stands for one of each tenant.
                (None, Some(endpoints)) => {
                    let sql = format!("{columns} WHERE hour BETWEEN $1 AND $2 AND endpoint = ANY ($3)");
                    let given =
                        &[(&since as _, Type::INT8), (&last as _, Type::INT8), (&endpoints as _, Type::INT8_ARRAY)];
                    session.query(QUICK, &sql, given).await
                }
                (tenant, _) => {
                    let tenant = tenant.unwrap_or(ALL_TENANTS);
                    let sql = format!("{columns} WHERE hour BETWEEN $1 AND $2 AND tenant = $3");
                    let given = &[(&since as _, Type::INT8), (&last as _, Type::INT8), (&tenant as _, Type::INT8)];
                    session.query(QUICK, &sql, given).await
                }
            };
            days::unless_dropped(session, day, rows).await
        }
    });
    let mut sums = Stats::default();
    for row in try_join_all(read).await?.into_iter().flatten() {
        add_row(&mut sums, &row, request, endpoints.as_deref());
    }
    Ok(sums.points())
}

fn add_row(sums: &mut Stats, row: &Row, request: &StatsRequest, endpoints: Option<&[i64]>) {
    let count = CountRow {
        hour: unsigned(row.get(0)),
        endpoint: row.get(1),
        what: row.get(2),
        count: unsigned(row.get(3)),
        durations: row.get(4),
    };
    sums.add(&count, request, endpoints);
}
