//! Every kernel, timed: `cargo bench --bench kernels`. `cargo test --benches` runs each once.
#![allow(clippy::disallowed_methods, reason = "benchmarks read the clock")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

#[path = "kernels/mod.rs"]
mod kernels;

fn run(criterion: &mut Criterion) {
    for mut kernel in kernels::all() {
        let (group, case) = kernel.name.split_once('/').unwrap_or((kernel.name, ""));
        let mut group = criterion.benchmark_group(group);
        group.throughput(Throughput::Elements(kernel.count.into()));
        let id = if case.is_empty() { "all" } else { case };
        group.bench_function(BenchmarkId::from_parameter(id), |bencher| {
            bencher.iter(|| (kernel.run)());
        });
        group.finish();
    }
}

criterion_group!(benches, run);
criterion_main!(benches);
