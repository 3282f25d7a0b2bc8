//! What 100,000 subscriptions of 10,000 tenants cost: a match, a change, a start, and memory.
//!
//! `cargo bench --bench subscriptions` runs all, and with `-- NAME` only one: `startup` reads a real file of the embedded
//! store. Memory is measured and printed first.

use std::{hint::black_box, path::Path, sync::Arc};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use router::IndexCache;
use schemas::{Event, EventFacts, Tenant};
use serde_json::json;
use store::{
    Author, Edit, Item, ItemChange, ItemKind, Keyring, Snapshot, SqliteStore, Store as _, TenantSelection,
    TenantSnapshot,
};
use tokio::runtime::Runtime;

const TENANTS: usize = 10_000;
/// Subscriptions of each tenant, to as many endpoints. Three of them match the event.
const SUBSCRIPTIONS: usize = 10;

fn main_tenant(number: usize) -> Tenant {
    let endpoint = |at: usize| json!({"id": format!("e{at}"), "url": format!("https://t{number}.example/{at}")});
    let subscription = |at: usize| {
        let (channel, types) = if at < 3 { (1, json!(["message.*"])) } else { (at, json!(["ticket.created"])) };
        json!({"id": format!("s{at}"), "endpoint_id": format!("e{at}"), "channel_ids": [channel], "event_types": types})
    };
    let tenant = json!({
        "id": format!("t{number}"),
        "endpoints": (0..SUBSCRIPTIONS).map(endpoint).collect::<Vec<_>>(),
        "subscriptions": (0..SUBSCRIPTIONS).map(subscription).collect::<Vec<_>>(),
    });
    serde_json::from_value(tenant).expect("a tenant")
}

fn snapshot() -> Snapshot {
    Snapshot::new(1, (0..TENANTS).map(|number| Arc::new(TenantSnapshot::from(main_tenant(number)))))
}

fn event() -> Event {
    let event = json!({
        "type": "message.received", "channel": {"id": 1, "kind": "whatsapp"},
        "ticket": {"id": 7, "status": "open", "is_group": false, "queue": {"id": 12}, "tags": []},
        "message": {"direction": "inbound", "media_type": "chat", "text": "oi", "is_deleted": false, "edited": false},
    });
    serde_json::from_str(&event.to_string()).expect("an event")
}

/// Resident memory of this process, in bytes; Linux.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * 4_096
}

/// Makes the index of every tenant, which a router makes when a tenant's first event comes.
fn indexed(snapshot: &Snapshot) -> IndexCache {
    let indexes = IndexCache::default();
    for tenant in snapshot.tenants() {
        indexes.get(snapshot, tenant);
    }
    indexes
}

fn matching(criterion: &mut Criterion) {
    let before = resident();
    let snapshot = snapshot();
    let held = resident();
    let indexes = indexed(&snapshot);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!("memory: snapshot {:.0} MiB, indexes {:.0} MiB", mib(held - before), mib(resident() - held));

    let tenants: Vec<_> = snapshot.tenants().cloned().collect();
    let event = event();
    let facts = EventFacts::of(&event);
    let found = indexes.get(&snapshot, &tenants[0]).interests(&tenants[0], &facts).len();
    assert_eq!(found, 3, "matches an event");
    let mut next = 0;
    criterion.bench_function("match an event, 3 of 100,000", |bencher| {
        bencher.iter(|| {
            // Another tenant each time, so that caches help no more than in production.
            next = (next + 7_919) % tenants.len();
            let tenant = snapshot.tenant(black_box(&tenants[next].id)).expect("a tenant");
            indexes.get(&snapshot, tenant).interests(tenant, &facts).len()
        });
    });
}

/// A change of an endpoint's URL.
fn change() -> ItemChange {
    let mut endpoint = main_tenant(5).endpoints.swap_remove(0);
    let before = Some(Item::Endpoint(Box::new(endpoint.clone())));
    endpoint.url = "https://new.example/".to_owned();
    let after = Some(Item::Endpoint(Box::new(endpoint)));
    ItemChange {
        tenant: "t5".to_owned(),
        kind: ItemKind::Endpoint,
        id: "e0".to_owned(),
        before,
        after,
        created: Some(0),
    }
}

fn changing(criterion: &mut Criterion) {
    let snapshot = snapshot();
    let indexes = indexed(&snapshot);
    let changes = [change()];
    let mut revision = 1;
    criterion.bench_function("the next snapshot, one endpoint changed", |bencher| {
        bencher.iter_batched(|| (), |()| snapshot.with(2, black_box(&changes)), BatchSize::PerIteration);
    });
    criterion.bench_function("the first match after a change", |bencher| {
        bencher.iter_batched(
            || {
                revision += 1;
                snapshot.with(revision, &changes)
            },
            |next| {
                let tenant = next.tenant("t5").expect("a tenant");
                let index = indexes.get(&next, tenant);
                (index, next)
            },
            BatchSize::PerIteration,
        );
    });
}

fn starting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("start");
    group.sample_size(10);
    group.bench_function("a snapshot of what was read", |bencher| {
        let read = || (0..TENANTS).map(main_tenant).collect::<Vec<_>>();
        bencher.iter_batched(
            read,
            |tenants| Snapshot::new(1, tenants.into_iter().map(|tenant| Arc::new(TenantSnapshot::from(tenant)))),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// Writes a database of all tenants. Each endpoint has a signing secret, so that each is encrypted.
async fn fill(path: &Path) {
    let tenants: Vec<_> = (0..TENANTS)
        .map(|number| {
            let mut tenant = main_tenant(number);
            for endpoint in &mut tenant.endpoints {
                endpoint.secrets = vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned().into()];
            }
            tenant
        })
        .collect();
    let edit = Edit {
        selection: TenantSelection::All,
        author: Author { name: "operator".to_owned(), address: None },
        at: 1_790_000_000_000,
        dry_run: false,
        decision: Box::new(move |draft| {
            tenants.into_iter().for_each(|tenant| draft.put(tenant));
            Ok(())
        }),
    };
    open(path).await.edit(edit).await.expect("it is written");
}

async fn open(path: &Path) -> SqliteStore {
    let keyring = Keyring::new(&"a key of many characters".to_owned().into(), []).expect("long enough");
    SqliteStore::open(path, keyring).await.expect("it opens")
}

/// Measures the time from the file to the snapshot with which the first event is matched.
fn startup(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    runtime.block_on(fill(&path));
    let mut group = criterion.benchmark_group("startup");
    group.sample_size(10);
    group.bench_function("sqlite: opened, decrypted, a snapshot", |bencher| {
        // Each store is dropped before the next is opened: the file is locked.
        bencher.iter_batched(|| (), |()| runtime.block_on(open(&path)), BatchSize::PerIteration);
    });
    group.finish();
    let snapshot = runtime.block_on(open(&path)).snapshot().expect("a snapshot");
    assert_eq!(snapshot.tenants().map(|tenant| tenant.subscriptions.len()).sum::<usize>(), TENANTS * SUBSCRIPTIONS);
}

criterion_group!(benches, matching, changing, starting, startup);
criterion_main!(benches);
