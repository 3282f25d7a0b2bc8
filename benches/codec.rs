//! What it costs to make a message of a delivery, and a delivery of a message.
//!
//! `cargo bench --bench codec`. The size of a message without its body is printed first: brokers pay for these bytes.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use schemas::{Delivery, EventId, EventType, HeaderValue, Headers, Part, wire};

/// Time of acceptance, in unix milliseconds.
const ACCEPTED_AT: u64 = 1_790_000_000_000;

fn delivery() -> Delivery {
    let id = EventId::try_from("01981e96-4822-7a10-8c1e-000000000013".to_owned()).expect("an id");
    let kind = EventType::try_from("message.received".to_owned()).expect("a type");
    let mut delivery = Delivery::owed("acme", &id, kind, "crm", Part::First, ACCEPTED_AT);
    delivery.subscriptions = vec!["crm-all".to_owned()];
    delivery.revision = 12;
    delivery
}

fn coding(criterion: &mut Criterion) {
    let (delivery, body) = (delivery(), Bytes::from_static(b"{}"));
    let message = delivery.to_message(body.clone());
    assert_eq!(Delivery::from_message(&message).as_ref(), Ok(&delivery));
    println!("a delivery's message without its body: {} bytes", message.size() - body.len());
    let mut group = criterion.benchmark_group("codec");
    group.bench_function("a message of a delivery", |bencher| {
        bencher.iter(|| black_box(&delivery).to_message(body.clone()));
    });
    group.bench_function("a delivery of a message", |bencher| {
        bencher.iter(|| Delivery::from_message(black_box(&message)));
    });
    group.bench_function("headers: one is set, one is looked up", |bencher| {
        bencher.iter_batched_ref(
            || message.headers.clone(),
            |headers: &mut Headers| {
                headers.set(wire::DUE, HeaderValue::Int(ACCEPTED_AT as i64));
                headers.text(black_box(wire::TENANT)).map(str::len)
            },
            criterion::BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, coding);
criterion_main!(benches);
