//! What it costs to make an event of a vendor's body.
//!
//! `cargo bench --bench read`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use schemas::{Dialect, SourceContext, read};

const BODIES: [(&str, Dialect, &str); 4] = [
    ("whazing", Dialect::Whazing, include_str!("../tests/fixtures/vendor/whazing-channel-message.json")),
    ("whazing queue", Dialect::Whazing, include_str!("../tests/fixtures/vendor/whazing-queue-message.json")),
    ("whaticket", Dialect::Whaticket, include_str!("../tests/fixtures/vendor/whaticket-message.json")),
    ("boticario", Dialect::Boticario, include_str!("../tests/fixtures/vendor/boticario-response.json")),
];

fn reading(criterion: &mut Criterion) {
    let source = SourceContext {
        tenant: "acme",
        source: "main",
        channel_id: None,
        keep_original: false,
        tokens: &["a-long-token-of-a-source"],
        now: 1_790_000_000_000,
        chance: [7; 10],
    };
    let mut group = criterion.benchmark_group("read");
    for (name, dialect, body) in BODIES {
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        let body = body.to_string();
        let found = read(dialect, body.as_bytes(), &source).expect("an event");
        assert!(found.warnings.is_empty(), "{name} is known");
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| read(dialect, black_box(body.as_bytes()), &source));
        });
    }
    group.finish();
}

criterion_group!(benches, reading);
criterion_main!(benches);
