//! What only a database can do: be away, be shared, and be looked at with other tools.

use std::time::{Duration, Instant};

use history::{Erased, Filter, History, HistoryDatabaseError, PostgresHistory};

use super::{
    Database,
    line::{Line, State},
    run,
};
use crate::{
    fixture::MAX_BYTES,
    records::*,
    suite::{erasing::contact, stats::by_day},
};

/// No call waits longer for a database that does not answer.
const SOON: Duration = Duration::from_secs(4);

/// Repeats a call until it succeeds.
async fn until_done<T, E: std::fmt::Debug>(call: impl AsyncFn() -> Result<T, E>) -> T {
    let done = async {
        let mut next = tokio::time::interval(Duration::from_millis(20));
        loop {
            next.tick().await;
            if let Ok(done) = call().await {
                return done;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), done).await.expect("it succeeds at last")
}

#[tokio::test]
async fn a_day_is_a_native_partition_that_is_made_ahead_of_time() {
    let database = Database::start().await;
    let history = database.open().await;
    history.maintain(TODAY, 0, 0).await.expect("an answer");
    let partitions = "SELECT c.relname || ' ' || pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i
        JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relkind = 'r' ORDER BY 1";
    let made = database.ask(partitions).await;
    assert_eq!(made.len(), 5 * 3, "today and the next two days: {made:?}");
    assert!(made.contains(&"events_2024_10_04 FOR VALUES FROM ('2024-10-04') TO ('2024-10-05')".into()), "{made:?}");
    assert!(!made.iter().any(|one| one.contains("DEFAULT")), "{made:?}");
    write(&history, vec![record(to(bare("e1", TODAY - 9 * DAY), &["crm"]))]).await;
    assert_eq!(database.ask(partitions).await.len(), 5 * 4, "a day that has none is made by its first record");
    let foreign = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
        AND schemaname NOT LIKE 'pg_temp%' AND schemaname <> 'carteiro_history'";
    assert_eq!(database.ask(foreign).await, ["0"], "all of it is in a schema of its own");
}

#[tokio::test]
async fn a_day_that_somebody_uses_is_dropped_later_and_stops_nobody() {
    let database = Database::start().await;
    let history = database.open().await;
    write(&history, vec![record(to(bare("e1", TODAY - 5 * DAY), &["crm"])), record(bare("e2", TODAY))]).await;
    let (client, connection) =
        tokio_postgres::connect(&database.url, tokio_postgres::NoTls).await.expect("the node listens");
    let connection = tokio::spawn(connection);
    let reading = "BEGIN; SELECT count(*) FROM carteiro_history.events";
    client.batch_execute(reading).await.expect("an answer");
    let begun = Instant::now();
    assert!(history.maintain(TODAY, TODAY - DAY, 0).await.is_err(), "the day is read by another tool");
    assert!(begun.elapsed() < SOON);
    write(&history, vec![record(bare("e3", TODAY + 1))]).await;
    assert_eq!(events(&history, acme(), 10).await, ["e3", "e2", "e1"], "who reads and writes goes on");
    client.batch_execute("COMMIT").await.expect("an answer");
    let dropped = history.maintain(TODAY, TODAY - DAY, 0).await.expect("an answer");
    assert_eq!(dropped.days, 1);
    assert_eq!(events(&history, acme(), 10).await, ["e3", "e2"]);
    drop(client);
    connection.await.expect("no panic").expect("it ends well");
}

#[tokio::test]
async fn processes_share_it() {
    let database = Database::start().await;
    let (near, far) = (database.open().await, database.open().await);
    write(&near, vec![message("e1", TODAY, "5511999990001", "{}"), delivered("e1", TODAY, 1, "crm")]).await;
    let of_contact = Filter { contact: Some("+55 11 99999-0001".into()), ..acme() };
    assert_eq!(found(&far, of_contact).await, ["e1"], "another process knows the tenant and its key");
    let writing = (0..20).map(|nth| {
        let history = if nth % 2 == 0 { &near } else { &far };
        let event = format!("m{nth}");
        async move { write(history, vec![record(to(bare(&event, TODAY), &["crm", &event]))]).await }
    });
    let written = futures_util::future::join_all(writing).await;
    assert!(written.iter().all(|one| one.records == 1), "{written:?}");
    assert_eq!(events(&near, acme(), 100).await.len(), 21);
    let points = far.stats(&by_day(Some("crm"))).await.expect("an answer");
    assert_eq!(points[0].events, 21, "no count is lost");
    far.forget_tenant(ACME).await.expect("an answer");
    assert_eq!(events(&near, Filter::default(), 10).await, [""; 0], "it is hidden in every process at once");
    write(&near, vec![record(bare("e2", TODAY))]).await;
    assert_eq!(events(&far, acme(), 10).await, ["e2"]);
}

#[tokio::test]
async fn nothing_is_left_of_a_forgotten_tenant() {
    let database = Database::start().await;
    let history = database.open().await;
    write(&history, vec![message("e1", TODAY, "5511999990001", "{}"), delivered("e1", TODAY, 1, "crm")]).await;
    for table in ["tenants", "endpoints", "kept", "events", "deliveries", "attempts", "bodies"] {
        let rows = format!("SELECT count(*) > 0 FROM carteiro_history.{table}");
        assert_eq!(database.ask(&rows).await, ["t"], "{table} has something before");
    }
    history.forget_tenant(ACME).await.expect("an answer");
    for table in ["tenants", "endpoints", "kept", "events", "deliveries", "attempts", "bodies"] {
        let rows = format!("SELECT count(*) FROM carteiro_history.{table}");
        assert_eq!(database.ask(&rows).await, ["0"], "{table}");
    }
    assert_eq!(database.ask("SELECT count(*) FROM carteiro_history.counts WHERE tenant <> 0").await, ["0"]);
}

/// The partitions that were vacuumed by a command, as the database counts them.
const VACUUMED: &str = "SELECT relname FROM pg_stat_user_tables WHERE vacuum_count > 0 ORDER BY 1";

#[tokio::test]
async fn the_days_of_an_erasure_are_vacuumed_and_no_others() {
    let database = Database::start().await;
    let history = database.open().await;
    for (event, at, number) in
        [("e1", TODAY - DAY, "5511999990001"), ("e2", TODAY, "5511999990001"), ("e3", TODAY - 2 * DAY, "5511888880002")]
    {
        write(&history, vec![message(event, at, number, "{}"), failed(event, at, 1, "crm", "Maria said")]).await;
    }
    assert_eq!(database.ask(VACUUMED).await, [""; 0]);
    // The bodies of a day may be gone before its records.
    history.maintain(TODAY, 0, TODAY).await.expect("an answer");
    let erased = history.erase(ACME, &contact(&history, ACME, "5511999990001").await).await.expect("an answer");
    assert_eq!(erased, Erased { events: 2, deliveries: 2 });
    let of = |day: &'static str, tables: &'static [&str]| tables.iter().map(move |table| format!("{table}_{day}"));
    let mut expected: Vec<_> = of("2024_10_03", &["attempts", "counts", "deliveries", "events"])
        .chain(of("2024_10_04", &["attempts", "bodies", "counts", "deliveries", "events"]))
        .collect();
    expected.sort();
    assert_eq!(database.ask(VACUUMED).await, expected);
    let dead =
        "SELECT sum(n_dead_tup) FROM pg_stat_user_tables WHERE relname IN ('events_2024_10_04', 'bodies_2024_10_04')";
    assert_eq!(database.ask(dead).await, ["0"]);
}

#[tokio::test]
async fn the_days_of_a_forgotten_tenant_are_vacuumed() {
    let database = Database::start().await;
    let history = database.open().await;
    write(&history, vec![message("e1", TODAY, "5511999990001", "{}")]).await;
    assert_eq!(database.ask(VACUUMED).await, [""; 0]);
    history.forget_tenant(ACME).await.expect("an answer");
    assert!(database.ask(VACUUMED).await.contains(&"bodies_2024_10_04".to_owned()));
}

#[tokio::test]
async fn a_database_that_is_away_fails_soon_and_is_found_again() {
    let database = Database::start().await;
    let line = Line::to(&database.url).await;
    let history = PostgresHistory::open(&line.through(&database.url), MAX_BYTES).await.expect("it opens");
    write(&history, vec![record(bare("e1", TODAY))]).await;
    for state in [State::Cut, State::Mute] {
        line.set(state);
        let begun = Instant::now();
        assert!(history.position().await.is_err(), "{state:?}");
        assert!(begun.elapsed() < SOON, "{state:?}");
        line.set(State::Whole);
        let late = vec![record(bare("e2", TODAY + 1))];
        until_done(async || history.write(batch(late.clone()), Some(7), 0).await).await;
        until_done(async || history.position().await).await;
    }
    assert_eq!(events(&history, acme(), 10).await, ["e2", "e1"]);
}

#[tokio::test]
async fn it_opens_while_the_database_is_away() {
    let database = Database::start().await;
    let line = Line::to(&database.url).await;
    line.set(State::Cut);
    let history = PostgresHistory::open(&line.through(&database.url), MAX_BYTES).await.expect("it opens");
    assert!(history.position().await.is_err());
    line.set(State::Whole);
    assert_eq!(until_done(async || history.position().await).await, None);
}

#[tokio::test]
async fn tables_of_a_later_version_are_refused() {
    let database = Database::start().await;
    drop(database.open().await);
    run(&database.url, "UPDATE carteiro_history.meta SET format = 99").await;
    let refused = PostgresHistory::open(&database.url, MAX_BYTES).await.map(drop);
    let Err(HistoryDatabaseError::Newer { found: 99, .. }) = refused else { panic!("{refused:?}") };
}

#[tokio::test]
async fn one_process_at_a_time_has_the_lease() {
    let database = Database::start().await;
    let (near, far) = (database.open().await, database.open().await);
    let long = std::time::Duration::from_secs(3_600);
    assert!(near.lease("near", long).await.expect("an answer"));
    assert!(near.lease("near", long).await.expect("an answer"), "it is renewed");
    assert!(!far.lease("far", long).await.expect("an answer"));
    assert!(near.lease("near", std::time::Duration::ZERO).await.expect("an answer"), "it is given up");
    assert!(far.lease("far", long).await.expect("an answer"));
    assert!(!near.lease("near", long).await.expect("an answer"));
}
