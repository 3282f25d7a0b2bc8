//! Jobs and leases.

use store::{Job, JobProgress, JobQuery, JobState, Store};

use crate::{fixture::Fixture, story::AT};

const KIND: &str = "replay";

/// A job whose id has this number, so that jobs of higher numbers are newer.
fn job(number: u64, tenant: &str) -> Job {
    Job {
        id: format!("0190a000-0000-7000-8000-{number:012x}"),
        tenant: tenant.to_owned(),
        tenant_created: 7,
        kind: KIND.to_owned(),
        state: JobState::Running,
        spec: r#"{"filter":{}}"#.to_owned(),
        matched: 20,
        position: String::new(),
        done: 0,
        skipped: 0,
        started_at: AT,
        ended_at: None,
    }
}

async fn insert(store: &dyn Store, job: Job) {
    assert_eq!(store.control_state().expect("a place").insert_job(job, 100).await, Ok(true));
}

async fn newest(store: &dyn Store, query: JobQuery<'_>) -> Vec<Job> {
    store.control_state().expect("a place").jobs(query).await.expect("jobs")
}

fn of(tenant: Option<(&str, u64)>) -> JobQuery<'_> {
    JobQuery { kind: KIND, tenant, before: None, limit: 100 }
}

pub(crate) async fn a_job_and_its_progress_outlive_the_process<F: Fixture>() {
    let mut fixture = F::start().await;
    let (one, two) = (job(1, "acme"), job(2, "acme"));
    insert(&*fixture.store(), one.clone()).await;
    insert(&*fixture.store(), two.clone()).await;
    fixture.reopen().await;
    let store = fixture.store();
    let state = store.control_state().expect("a place");
    assert_eq!(state.running_jobs().await, Ok(vec![one.clone(), two.clone()]), "the oldest first");
    let position = r#"{"next":9}"#;
    let progress = [(&one, 5), (&two, 7)].map(|(job, done)| JobProgress {
        id: job.id.clone(),
        position: position.to_owned(),
        done,
        skipped: 1,
    });
    state.record_progress(progress.to_vec()).await.expect("kept");
    drop(store);
    fixture.reopen().await;
    let store = fixture.store();
    let shown = store.control_state().expect("a place").job(&one.id).await.expect("it is read");
    assert_eq!(shown, Some(Job { position: position.to_owned(), done: 5, skipped: 1, ..one }));
    assert_eq!(store.control_state().expect("a place").job("another").await, Ok(None));
}

pub(crate) async fn a_job_ends_once_and_its_last_progress_is_kept<F: Fixture>() {
    let fixture = F::start().await;
    let store = fixture.store();
    let state = store.control_state().expect("a place");
    insert(&*store, job(1, "acme")).await;
    let id = job(1, "acme").id;
    assert_eq!(state.end_job(&id, JobState::Stopped, AT + 5).await, Ok(true));
    assert_eq!(state.end_job(&id, JobState::Done, AT + 9).await, Ok(false), "it has ended");
    assert_eq!(state.end_job("another", JobState::Done, AT).await, Ok(false));
    let progress = JobProgress { id: id.clone(), position: "{}".to_owned(), done: 3, skipped: 0 };
    state.record_progress(vec![progress]).await.expect("kept");
    let ended = state.job(&id).await.expect("it is read").expect("there");
    assert_eq!((ended.state, ended.ended_at, ended.done), (JobState::Stopped, Some(AT + 5), 3));
    assert_eq!(state.running_jobs().await, Ok(vec![]));
}

pub(crate) async fn jobs_beyond_the_most_of_their_kind_are_not_inserted_until_one_ends<F: Fixture>() {
    let fixture = F::start().await;
    let store = fixture.store();
    let state = store.control_state().expect("a place");
    let other = Job { kind: "erasure".to_owned(), ..job(9, "acme") };
    assert_eq!(state.insert_job(other, 1).await, Ok(true));
    assert_eq!(state.insert_job(job(1, "acme"), 1).await, Ok(true), "another kind has places of its own");
    assert_eq!(state.insert_job(job(2, "zeta"), 1).await, Ok(false));
    assert_eq!(state.job(&job(2, "zeta").id).await, Ok(None));
    state.end_job(&job(1, "acme").id, JobState::Done, AT).await.expect("ended");
    assert_eq!(state.insert_job(job(2, "zeta"), 1).await, Ok(true));
}

pub(crate) async fn jobs_are_listed_newest_first_in_pages_and_per_tenant<F: Fixture>() {
    let fixture = F::start().await;
    let store = fixture.store();
    for number in 1..=4 {
        insert(&*store, job(number, "acme")).await;
    }
    insert(&*store, job(5, "zeta")).await;
    insert(&*store, Job { kind: "erasure".to_owned(), ..job(6, "acme") }).await;
    let all = newest(&*store, of(None)).await;
    let ids: Vec<_> = (1..=5).rev().map(|number| job(number, "").id).collect();
    assert_eq!(all.iter().map(|job| job.id.clone()).collect::<Vec<_>>(), ids);
    let acme = newest(&*store, of(Some(("acme", 7)))).await;
    assert_eq!(acme, all[1..]);
    let first = newest(&*store, JobQuery { limit: 3, ..of(Some(("acme", 7))) }).await;
    let second = newest(&*store, JobQuery { before: Some(&first[2].id), limit: 3, ..of(Some(("acme", 7))) }).await;
    assert_eq!((&first[..], &second[..]), (&acme[..3], &acme[3..]));
    assert_eq!(newest(&*store, of(Some(("acme", 8)))).await, [], "a tenant made anew has none of the former one's");
}

pub(crate) async fn jobs_that_ended_are_deleted_by_age_and_beyond_a_number_of_each_tenant<F: Fixture>() {
    let fixture = F::start().await;
    let store = fixture.store();
    let state = store.control_state().expect("a place");
    let tenants = ["acme", "acme", "acme", "acme", "zeta", "zeta"];
    for (number, tenant) in (1..).zip(tenants) {
        insert(&*store, job(number, tenant)).await;
    }
    for (number, tenant) in (1..).zip(tenants).filter(|(number, _)| *number != 1) {
        state.end_job(&job(number, tenant).id, JobState::Done, AT + number).await.expect("ended");
    }
    assert_eq!(state.trim_jobs(AT, 3).await, Ok(0));
    assert_eq!(state.trim_jobs(AT, 2).await, Ok(1), "acme's second one; the first one runs");
    assert_eq!(state.trim_jobs(AT + 6, 2).await, Ok(3), "all that ended before the last one");
    let left: Vec<_> = newest(&*store, of(None)).await.into_iter().map(|job| job.id).collect();
    assert_eq!(left, [job(6, "").id, job(1, "").id]);
}

pub(crate) async fn a_lease_is_its_holders_until_it_runs_out_or_is_released<F: Fixture>() {
    let fixture = F::start().await;
    let store = fixture.store();
    let state = store.control_state().expect("a place");
    assert_eq!(state.acquire_lease("jobs", "one", 10, AT).await, Ok(true));
    assert_eq!(state.acquire_lease("jobs", "two", 10, AT + 9).await, Ok(false));
    assert_eq!(state.acquire_lease("history", "two", 10, AT + 9).await, Ok(true), "another lease");
    assert_eq!(state.acquire_lease("jobs", "one", 10, AT + 9).await, Ok(true), "renewed");
    state.release_lease("jobs", "two").await.expect("it has none");
    assert_eq!(state.acquire_lease("jobs", "two", 10, AT + 18).await, Ok(false));
    assert_eq!(state.acquire_lease("jobs", "two", 10, AT + 19).await, Ok(true), "it has run out");
    assert_eq!(state.acquire_lease("jobs", "one", 10, AT + 20).await, Ok(false));
    state.release_lease("jobs", "two").await.expect("released");
    assert_eq!(state.acquire_lease("jobs", "one", 10, AT + 20).await, Ok(true));
}

pub(crate) async fn a_lease_that_many_want_at_once_goes_to_one<F: Fixture>() {
    let fixture = F::start().await;
    let store = fixture.store();
    let state = store.control_state().expect("a place");
    for round in 0..5 {
        let holders: Vec<_> = (0..8).map(|number| format!("{round}-{number}")).collect();
        let now = AT + round * 10;
        let each = holders.iter().map(|holder| state.acquire_lease("jobs", holder, 10, now));
        let held = futures_util::future::join_all(each).await;
        assert_eq!(held.iter().filter(|held| **held == Ok(true)).count(), 1, "{held:?}");
    }
}
