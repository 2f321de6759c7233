//! `loadgen http`: one resource, again and again, over connections that are kept.
//!
//! The first response is parsed, and what follows is compared with it byte by byte, but for the
//! value of Date. A response that differs is parsed again: it must have the same status and body.

use std::{collections::VecDeque, ops::Range, time::Duration};

use sockeye::{
    base::Shared,
    http::{HeaderSlots, Limits, ResponseHeadDecoder, Status},
    reactor::{Reactor, Socket},
};

use crate::{
    Error,
    driver::{At, Driver, Scenario},
    meter::Measured,
    options,
    wire::Wire,
};

/// The scenario's state.
#[derive(Debug)]
pub(crate) struct Http {
    request: Shared,
    // The requests that begin a connection, all in one write.
    first_requests: Shared,
    pipeline: usize,
    expected: Option<Response>,
    connections: Vec<Connection>,
    now: Duration,
    due: u64,
}

#[derive(Debug, Default)]
struct Connection {
    // The begin of a response that is not complete.
    partial: Vec<u8>,
    times: VecDeque<(Duration, usize)>,
    // Requests to be sent.
    free: usize,
}

/// A whole response, as it has been received.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) bytes: Vec<u8>,
    pub(crate) head_bytes: usize,
    pub(crate) status: Status,
    // The value of Date.
    date: Range<usize>,
}

impl Http {
    /// Measures. What is counted is responses.
    pub(crate) fn run<R: Reactor<Socket = Socket>>(
        options: &options::Http,
        mut driver: Driver<R>,
        host: &str,
        target: &str,
    ) -> Result<Measured, Error> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let mut http = Self {
            request: Shared::from(request.as_bytes()),
            first_requests: Shared::from(request.repeat(options.pipeline).as_bytes()),
            pipeline: options.pipeline,
            expected: None,
            connections: (0..options.connections).map(|_| Connection::default()).collect(),
            now: Duration::ZERO,
            due: 0,
        };
        for index in 0..options.connections {
            driver.wire.connect(index)?;
            driver.meter.opened(index + 1, options.connections);
        }
        driver.run(options.connections, &mut http)
    }

    fn sent(&mut self, index: usize, count: usize) {
        self.connections[index].times.push_back((self.now, count));
        self.due += count as u64;
    }

    /// How many responses are complete in `bytes`, and how many bytes they take.
    fn responses(&mut self, index: usize, bytes: &[u8]) -> Result<(usize, usize), Error> {
        let (mut count, mut start) = (0, 0);
        while start < bytes.len() {
            let rest = &bytes[start..];
            let length = match &self.expected {
                Some(expected) if expected.begins(rest) => Some(expected.bytes.len()),
                Some(expected) => expected.same_meaning(index, rest)?,
                None => {
                    self.expected = Response::parse(rest)?;
                    self.expected.as_ref().map(|expected| expected.bytes.len())
                }
            };
            let Some(length) = length else { break };
            start += length;
            count += 1;
        }
        Ok((count, start))
    }
}

impl<R: Reactor<Socket = Socket>> Scenario<R> for Http {
    fn start(&mut self, index: usize, wire: &mut Wire<R>) {
        self.now = wire.now();
        wire.send_shared(index, &self.first_requests);
        self.sent(index, self.pipeline);
    }

    #[inline]
    fn received(&mut self, index: usize, bytes: &mut [u8], at: At<'_>) -> Result<(), Error> {
        self.now = at.now;
        let mut partial = std::mem::take(&mut self.connections[index].partial);
        let count = if partial.is_empty() {
            let (count, used) = self.responses(index, bytes)?;
            partial.extend_from_slice(&bytes[used..]);
            count
        } else {
            partial.extend_from_slice(bytes);
            let (count, used) = self.responses(index, &partial)?;
            partial.drain(..used);
            count
        };
        let connection = &mut self.connections[index];
        connection.partial = partial;
        connection.free += count;
        let mut left = count;
        while left > 0 {
            let Some((time, waiting)) = connection.times.front_mut() else {
                let what = "more responses than requests".into();
                return Err(Error::Wrong { connection: index, what });
            };
            let some = left.min(*waiting);
            at.meter.completed(some, at.now.saturating_sub(*time));
            left -= some;
            *waiting -= some;
            if *waiting == 0 {
                connection.times.pop_front();
            }
        }
        self.due -= count as u64;
        Ok(())
    }

    #[inline]
    fn react(&mut self, index: usize, wire: &mut Wire<R>) {
        let free = std::mem::take(&mut self.connections[index].free);
        if free == 0 {
            return;
        }
        if free == self.pipeline {
            wire.send_shared(index, &self.first_requests);
        } else {
            let mut outbox = sockeye::base::Outbox::default();
            for _ in 0..free {
                outbox.append(&self.request);
            }
            wire.send(index, &mut outbox);
        }
        self.sent(index, free);
    }

    fn due(&self) -> u64 {
        self.due
    }
}

impl Response {
    /// The response at the begin of `bytes`, if it is complete.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let mut input = bytes.to_vec();
        let mut slots = HeaderSlots::new();
        let mut decoder = ResponseHeadDecoder::default();
        let step =
            decoder.next(&mut input, &mut slots, &Limits::default()).map_err(Error::NotHttp)?;
        let Some(head) = step.head else { return Ok(None) };
        let head_bytes = step.consumed;
        let status = head.status();
        let fields = head.fields();
        let body_bytes = match fields.first("content-length").map(std::str::from_utf8) {
            Some(Ok(digits)) => digits.trim().parse::<usize>().ok(),
            _ if !status.allows_body() => Some(0),
            _ => None,
        };
        let Some(body_bytes) = body_bytes else {
            return Err(Error::Options("the response has no Content-Length: try another path"));
        };
        if bytes.len() < head_bytes + body_bytes {
            return Ok(None);
        }
        let date = find_date(&bytes[..head_bytes]);
        let bytes = bytes[..head_bytes + body_bytes].to_vec();
        Ok(Some(Self { bytes, head_bytes, status, date }))
    }

    /// Whether these bytes begin with the same response, but for its date.
    #[inline]
    fn begins(&self, bytes: &[u8]) -> bool {
        let Range { start, end } = self.date;
        bytes.len() >= self.bytes.len()
            && bytes[..start] == self.bytes[..start]
            && bytes[end..self.bytes.len()] == self.bytes[end..]
    }

    /// The length of a response with the same status and body, if it is complete.
    #[cold]
    fn same_meaning(&self, connection: usize, bytes: &[u8]) -> Result<Option<usize>, Error> {
        let Some(other) = Self::parse(bytes)? else { return Ok(None) };
        let what = if other.status != self.status {
            format!("status {} after {}", other.status.code(), self.status.code())
        } else if other.bytes[other.head_bytes..] != self.bytes[self.head_bytes..] {
            "another body than at first".into()
        } else {
            return Ok(Some(other.bytes.len()));
        };
        Err(Error::Wrong { connection, what })
    }
}

/// Where the value of Date stands; an empty range at the begin if there is none.
fn find_date(head: &[u8]) -> Range<usize> {
    const NAME: &[u8] = b"\r\ndate:";
    let found = head.windows(NAME.len()).position(|name| name.eq_ignore_ascii_case(NAME));
    let Some(start) = found.map(|at| at + NAME.len()) else { return 0..0 };
    let length = head[start..].iter().position(|byte| *byte == b'\r').unwrap_or(0);
    start..start + length
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
        Content-Length: 2\r\n\r\nhi";

    #[test]
    fn only_the_date_may_differ() {
        let response = Response::parse(ONE).unwrap().unwrap();
        assert_eq!((response.bytes.len(), response.status), (ONE.len(), Status::OK));
        assert_eq!(&ONE[response.date.clone()], b" Sun, 06 Nov 1994 08:49:37 GMT");
        let change = |from: &str, to: &str| {
            String::from_utf8(ONE.to_vec()).unwrap().replace(from, to).into_bytes()
        };
        assert!(response.begins(&change("37 GMT", "38 GMT")));
        assert!(!response.begins(&change("hi", "ho")));
        assert!(!response.begins(&ONE[..ONE.len() - 1]));
        // Another order of fields means the same.
        let other = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        assert!(!response.begins(other));
        assert_eq!(response.same_meaning(0, other).unwrap(), Some(other.len()));
        assert_eq!(response.same_meaning(0, &other[..30]).unwrap(), None);
        assert!(response.same_meaning(0, &change("hi", "ho")).is_err());
        assert!(response.same_meaning(0, &change("200", "500")).is_err());
    }

    #[test]
    fn a_response_without_a_length_is_refused() {
        assert!(Response::parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(Response::parse(b"HTTP/1.1 204 OK\r\n\r\n").unwrap().is_some());
        assert!(Response::parse(b"HTTP/1.1 20").unwrap().is_none());
    }
}
