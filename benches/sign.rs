//! What the signature of a request costs, and the parse of a secret, which is done once for each version of an endpoint.
//!
//! `cargo bench --bench sign`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use schemas::{
    Signature,
    signature::{Signed, SigningKey},
};

/// Bytes of a body: about a message in the format of a vendor.
const BODY: usize = 1_024;

fn signing(criterion: &mut Criterion) {
    let body = vec![b'x'; BODY];
    let signed = Signed { id: "01981e96-4822-7a10-8c1e-000000000013", timestamp: "1790000000", body: &body };
    let mut group = criterion.benchmark_group("sign");
    for (name, kind) in [("v1", Signature::V1), ("v1a", Signature::V1a)] {
        let secret = SigningKey::write(kind, [7; 32]);
        group.bench_function(format!("parse a secret of {name}"), |bencher| {
            bencher.iter(|| SigningKey::parse(black_box(&secret)));
        });
        let key = SigningKey::parse(&secret).expect("a secret");
        group.throughput(Throughput::Bytes(BODY as u64));
        group.bench_function(name, |bencher| bencher.iter(|| key.sign(black_box(&signed))));
    }
    group.finish();
}

criterion_group!(benches, signing);
criterion_main!(benches);
