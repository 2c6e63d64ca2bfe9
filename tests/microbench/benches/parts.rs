//! Times every case: `cargo bench -p order-microbench --features criterion [-- FILTER]`.

#![allow(missing_docs, reason = "criterion's macros generate undocumented functions")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use order_microbench::{CASES, EVENTS};

fn parts(criterion: &mut Criterion) {
    for case in &CASES {
        let (group, name) = case.name.split_once('/').unwrap_or((case.name, ""));
        let mut group = criterion.benchmark_group(group);
        group.throughput(Throughput::Elements(EVENTS as u64));
        group.bench_function(name, |bencher| {
            let mut run = case.prepare();
            bencher.iter(&mut run);
        });
        group.finish();
    }
}

criterion_group!(benches, parts);
criterion_main!(benches);
