//! What the embedded broker does in a second: publishes that are confirmed once they are on the disk, and messages that go all
//! the way through a lane. The disk decides about the first, so compare only runs on one machine.
//!
//! `cargo bench --bench embedded`.

use std::{hint::black_box, sync::Arc};

use broker::{Broker as _, Consumer, Lane, Prefetch, Queue, Settlement, Target, sqlite::Sqlite};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use schemas::{Delivery, EventId, EventType, Message, Part};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Publishes under way at once, which share a commit.
const TOGETHER: usize = 100;
/// Bytes of a body: about a message in the format of a vendor.
const BODY: usize = 1_024;

fn message() -> Message {
    let id = EventId::try_from("01981e96-4822-7a10-8c1e-000000000013".to_owned()).expect("an id");
    let kind = EventType::try_from("message.received".to_owned()).expect("a type");
    Delivery::owed("acme", &id, kind, "crm", Part::First, 1_790_000_000_000).to_message(Bytes::from(vec![b'x'; BODY]))
}

async fn publish(broker: &Sqlite, message: &Message, count: usize) {
    let target = Target::Lane(Lane::Fast, None);
    for confirmed in join_all((0..count).map(|_| broker.publish(&target, black_box(message)))).await {
        confirmed.expect("the disk takes it");
    }
}

async fn settle(consumer: &mut Consumer, count: usize) {
    for _ in 0..count {
        consumer.next().await.expect("the broker is open").settle(Settlement::Done);
    }
}

fn publishing(criterion: &mut Criterion) {
    let (runtime, message) = (Runtime::new().expect("a runtime"), message());
    // A broker locks its folder, so each has its own.
    let folders = [(); 2].map(|()| TempDir::new().expect("a folder"));
    let open = |folder: &TempDir| {
        // The writer's thread answers through the runtime.
        let _entered = runtime.enter();
        Arc::new(Sqlite::open(&folder.path().join("broker.db"), service::clock::system()).expect("it opens"))
    };
    let mut group = criterion.benchmark_group("embedded");
    let broker = open(&folders[0]);
    for count in [1, TOGETHER] {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("publish {count} at once"), |bencher| {
            bencher.iter(|| runtime.block_on(publish(&broker, &message, count)));
        });
    }
    let broker = open(&folders[1]);
    let mut consumer = {
        let _entered = runtime.enter();
        broker.consume(Queue::Lane(Lane::Fast), Prefetch::from(TOGETHER as u16))
    };
    group.throughput(Throughput::Elements(TOGETHER as u64));
    group.bench_function(format!("publish, hand out and settle {TOGETHER}"), |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                publish(&broker, &message, TOGETHER).await;
                settle(&mut consumer, TOGETHER).await;
            });
        });
    });
    group.finish();
}

criterion_group!(benches, publishing);
criterion_main!(benches);
