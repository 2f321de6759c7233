//! Decoders on the same streams, from memory: ours, and those of other libraries as a server
//! meets them, with a reader in front that never waits.

use std::{
    future::Future,
    hint::black_box,
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::FutureExt;
use sockeye::ws::{self, Opcode};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};

#[allow(dead_code, reason = "the kernels themselves are timed elsewhere")]
#[path = "../../../../benches/kernels/mod.rs"]
mod kernels;

/// Gives a stream in receives of at most 64 KiB, and swallows what is written.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn receive(&mut self, most: usize) -> &[u8] {
        let (first, rest) = self.0.split_at(self.0.len().min(most).min(64 << 10));
        self.0 = rest;
        first
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.receive(buffer.len());
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl Write for Source<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Source<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = buffer.remaining();
        buffer.put_slice(self.receive(most));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Source<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Each returns the number of messages until the stream ends.
type Decode = fn(&[u8], &mut Vec<u8>) -> usize;

fn ours(stream: &[u8], receive: &mut Vec<u8>) -> usize {
    let (mut decoder, limits) = (ws::Decoder::new(ws::Role::Server), ws::Limits::default());
    let mut messages = 0;
    for chunk in stream.chunks(64 << 10) {
        receive.clear();
        receive.extend_from_slice(chunk);
        let mut rest = &mut receive[..];
        loop {
            let step = decoder.next(rest, &limits).expect("a good stream");
            match step.event {
                Some(ws::Event::Message(message)) => {
                    black_box(message.as_bytes());
                    messages += 1;
                }
                Some(_) => {}
                None => break,
            }
            let consumed = step.consumed;
            rest = &mut rest[consumed..];
        }
    }
    messages
}

fn tungstenite(stream: &[u8], _: &mut Vec<u8>) -> usize {
    let role = tungstenite::protocol::Role::Server;
    let mut socket = tungstenite::WebSocket::from_raw_socket(Source(stream), role, None);
    let mut messages = 0;
    while let Ok(message) = socket.read() {
        black_box(message.len());
        messages += 1;
    }
    messages
}

fn fastwebsockets(stream: &[u8], _: &mut Vec<u8>) -> usize {
    let role = fastwebsockets::Role::Server;
    let socket = fastwebsockets::WebSocket::after_handshake(Source(stream), role);
    let mut socket = fastwebsockets::FragmentCollector::new(socket);
    now(async {
        let mut messages = 0;
        while let Ok(frame) = socket.read_frame().await {
            black_box(&*frame.payload);
            messages += 1;
        }
        messages
    })
}

/// It puts no fragments together, and does not check text.
fn web_socket(stream: &[u8], _: &mut Vec<u8>) -> usize {
    let mut socket = web_socket::WebSocket::server(BufReader::new(Source(stream)));
    now(async {
        let mut messages = 0;
        while let Ok(event) = socket.recv().await {
            if let web_socket::Event::Data { data, .. } = event {
                black_box(data);
                messages += 1;
            }
        }
        messages
    })
}

/// Nothing ever waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("a source that is always ready")
}

fn decoders(criterion: &mut Criterion) {
    let binary = |bytes: usize, count: usize| vec![(Opcode::Binary, vec![0xa5; bytes]); count];
    let chat = (0..3000).map(|number| kernels::CHAT[number % kernels::CHAT.len()].as_bytes());
    let chat = chat.map(|text| (Opcode::Text, text.to_vec())).collect();
    let all: [(&str, Decode); 4] = [
        ("ours", ours),
        ("tungstenite", tungstenite),
        ("fastwebsockets", fastwebsockets),
        ("web-socket", web_socket),
    ];
    for (name, messages) in [
        ("20 B", binary(20, 5000)),
        ("1 KiB", binary(1 << 10, 500)),
        ("16 KiB", binary(16 << 10, 50)),
        ("chat", chat),
    ] {
        let stream = kernels::stream(&messages, 1);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(messages.len() as u64));
        for (library, decode) in all {
            let mut receive = Vec::new();
            group.bench_function(BenchmarkId::from_parameter(library), |bencher| {
                bencher.iter(|| assert_eq!(decode(&stream, &mut receive), messages.len()));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, decoders);
criterion_main!(benches);
