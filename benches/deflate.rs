//! What it costs to compress and to inflate one message of 1 KiB of JSON-like text.
//!
//!     cargo bench --bench deflate
#![allow(missing_docs, reason = "made by a macro")]
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sockeye::{
    base::Outbox,
    ws::{
        Decoder, Limits, Opcode, Role, append_deflated,
        deflate::{Deflaters, History, Inflaters, Inflating},
    },
};

#[path = "texts/mod.rs"]
mod texts;

use texts::texts;

/// Calls with one text after the other.
fn each<'t>(texts: &'t [Vec<u8>]) -> impl FnMut() -> &'t [u8] {
    let mut all = texts.iter().cycle();
    move || all.next().unwrap()
}

fn deflate(criterion: &mut Criterion) {
    let texts = texts(BYTES, 256);
    let mut group = criterion.benchmark_group("deflate 1 KiB");
    group.throughput(Throughput::Elements(1));
    let mut deflaters = Deflaters::default();
    for level in [1, 2, 3, 6] {
        let bytes: usize =
            texts.iter().map(|text| deflaters.deflate(text, 15, level, b"").unwrap().len()).sum();
        let mut next = each(&texts);
        group.bench_function(format!("shared, level {level}, {} bytes", bytes / 256), |bencher| {
            bencher.iter(|| deflaters.deflate(black_box(next()), 15, level, b"").unwrap().len());
        });
    }
    for (level, bits) in [(1, 10), (1, 12), (6, 12), (1, 15)] {
        let mut next = each(&texts);
        let mut history = History::new(bits);
        let name = format!("dedicated, level {level}, window of {bits} bits");
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let text = black_box(next());
                let length = deflaters.deflate(text, bits, level, history.bytes()).unwrap().len();
                history.push(text);
                length
            });
        });
    }
}

fn inflate(criterion: &mut Criterion) {
    let texts = texts(BYTES, 256);
    let mut group = criterion.benchmark_group("inflate 1 KiB");
    group.throughput(Throughput::Elements(1));
    let mut deflaters = Deflaters::default();
    let mut inflaters = Inflaters::default();
    let limits = Limits::default();
    for level in [1, 6] {
        let frame = |text: &Vec<u8>| {
            let mut outbox = Outbox::default();
            let payload = deflaters.deflate(text, 15, level, b"").unwrap();
            append_deflated(&mut outbox, Opcode::Text, payload, None);
            outbox.contiguous().unwrap().to_vec()
        };
        let frames: Vec<Vec<u8>> = texts.iter().map(frame).collect();
        for is_kept in [false, true] {
            let mut next = each(&frames);
            let mut history = is_kept.then(|| History::new(15));
            let mut decoder = Decoder::new(Role::Client);
            let mut input = Vec::new();
            let name = format!("of level {level}{}", if is_kept { ", dedicated" } else { "" });
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    input.clear();
                    input.extend_from_slice(black_box(next()));
                    let mut inflating =
                        Inflating { inflaters: &mut inflaters, history: history.as_mut() };
                    let step = decoder.next_deflated(&mut input, &limits, &mut inflating);
                    step.unwrap().consumed
                });
            });
        }
    }
}

const BYTES: usize = 1024;

criterion_group!(benches, deflate, inflate);
criterion_main!(benches);
