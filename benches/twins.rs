//! Kernels against their plain twins and against other libraries that do the same:
//! `cargo bench --bench twins`. `cargo test --benches` runs each once.
#![allow(clippy::disallowed_methods, reason = "benchmarks read the clock")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sockeye::simd;

/// RFC 6455 §5.3, word by word.
fn mask_plainly(bytes: &mut [u8], key: [u8; 4]) {
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte ^= key[index % 4];
    }
}

fn mask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    let key = [0x37, 0xfa, 0x21, 0x3d];
    for length in [5, 20, 100, 1 << 10, 16 << 10, 256 << 10] {
        group.throughput(Throughput::Bytes(length as u64));
        let mut payload = vec![0x5a; length];
        group.bench_function(BenchmarkId::new("ours", length), |bencher| {
            bencher.iter(|| simd::mask(black_box(&mut payload), black_box(key), 0));
        });
        group.bench_function(BenchmarkId::new("plain", length), |bencher| {
            bencher.iter(|| mask_plainly(black_box(&mut payload), black_box(key)));
        });
    }
    group.finish();
}

fn utf8(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("utf8");
    for (kind, unit) in [("ASCII", "0123456789abcdef"), ("mixed", "Grüße, 世界! ")] {
        for length in [20, 100, 1 << 10, 16 << 10] {
            let text: String = unit.chars().cycle().take(length).collect();
            let bytes = text.as_bytes();
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            let id = |who: &str| BenchmarkId::new(format!("{who}, {kind}"), length);
            group.bench_function(id("ours"), |bencher| {
                bencher.iter(|| simd::from_utf8(black_box(bytes)).is_ok());
            });
            group.bench_function(id("std"), |bencher| {
                bencher.iter(|| std::str::from_utf8(black_box(bytes)).is_ok());
            });
            group.bench_function(id("simdutf8"), |bencher| {
                bencher.iter(|| simdutf8::basic::from_utf8(black_box(bytes)).is_ok());
            });
            group.bench_function(id("ours, in pieces"), |bencher| {
                bencher.iter(|| {
                    let mut utf8 = simd::Utf8::default();
                    let pieces = black_box(bytes).chunks(1460);
                    pieces.map(|piece| utf8.push(piece)).all(|result| result.is_ok())
                        && utf8.finish().is_ok()
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, mask, utf8);
criterion_main!(benches);
