//! What it costs to read an event from its message, and to make the body of a delivery in each format.
//!
//! `cargo bench --bench render`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use schemas::{Acceptance, Envelope, EventId, Format, FormatOptions, Match, render};

const EVENT: &str = include_str!("../tests/fixtures/canonical/whazing-channel-message.json");
const BOTICARIO_EVENT: &str = include_str!("../tests/fixtures/canonical/boticario-response.json");

/// The compact text of an event, as it travels, and what is known of it when it was accepted.
fn accepted(event: &str) -> (String, Acceptance) {
    let event: serde_json::Value = serde_json::from_str(event).expect("JSON");
    let id = EventId::try_from(event["id"].as_str().expect("an id").to_owned()).expect("an id");
    (event.to_string(), Acceptance::new(id, 1_790_000_000_000, "acme"))
}

fn rendering(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("render");
    let (text, acceptance) = accepted(EVENT);
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("decode an event", |bencher| {
        bencher.iter(|| Envelope::decode(black_box(text.as_bytes()), &acceptance).expect("an event"));
    });
    let (boticario_text, boticario_acceptance) = accepted(BOTICARIO_EVENT);
    let envelope = Envelope::decode(text.as_bytes(), &acceptance).expect("an event");
    let boticario = Envelope::decode(boticario_text.as_bytes(), &boticario_acceptance).expect("an event");
    let cases = [
        ("canonical", &envelope, Format::Canonical),
        ("whazing", &envelope, Format::Whazing),
        ("whaticket", &envelope, Format::Whaticket),
        ("boticario", &boticario, Format::Boticario),
    ];
    let (options, wanted) = (FormatOptions::default(), Match { event: true, shot: false });
    for (name, envelope, format) in cases {
        let bytes = render(envelope, format, &options, wanted).iter().map(|body| body.bytes.len() as u64).sum();
        assert!(bytes > 0, "{name} has a body");
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function(name, |bencher| {
            bencher.iter(|| render(black_box(envelope), format, &options, wanted));
        });
    }
    group.finish();
}

criterion_group!(benches, rendering);
criterion_main!(benches);
