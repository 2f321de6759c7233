//! [`Limits`]: how much one worker, and one peer of it, may take.

use std::time::Duration;

use crate::{http, pubsub};

/// Limits of a server. Each holds for one worker, and each connection on it.
///
/// Those of single WebSockets are in [`WebSocketConfig`](crate::WebSocketConfig).
///
/// ```
/// use sockeye::{App, Limits, Server};
///
/// let limits = Limits { max_connections: 10_000, ..Limits::default() };
/// let server = Server::new(App::new).limits(limits);
/// ```
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time; further ones are closed at once. Default 1,048,576; no more than
    /// 16,777,216 have an effect.
    pub max_connections: usize,
    /// Connections at a time from one IP address; further ones are closed at once. Default no
    /// limit.
    pub max_connections_per_address: usize,
    /// From the first byte of a request (or from the accept) to the end of its head; then 408.
    /// Default 10 s.
    pub header_timeout: Duration,
    /// Between two requests; then the connection is closed. Default 60 s.
    pub keep_alive_timeout: Duration,
    /// For the body of a request as a whole; then 408. Default 60 s.
    pub body_timeout: Duration,
    /// From a request to an answer that comes later; then 503. Default 30 s.
    pub answer_timeout: Duration,
    /// For the peer to answer a close frame, and again for it to close the connection after the
    /// last byte has left. Begins anew whenever a slow peer takes what waits before that. Default
    /// 5 s.
    pub close_timeout: Duration,
    /// Bytes of bodies that are being collected, over all connections; who sends more then gets
    /// a 503. Default 256 MiB.
    pub max_collected_bytes: usize,
    /// Requests of one connection that are answered ahead of its client: further ones wait as the
    /// bytes they are until the kernel has taken the answers, as they do behind 64 KiB of answers
    /// and behind an answer that is still to come. Default 256.
    pub max_pipelined_requests: usize,
    /// Names and values of the header fields of a response; more is a mistake of the application's
    /// and answered with 500. Default 64 KiB.
    pub max_response_header_bytes: usize,
    /// Bytes that may wait for an event stream whose client has taken nothing for a second; then
    /// it is closed, and comes back. For one that reads, bursts of up to 16 MiB may wait. Default
    /// 64 KiB.
    pub max_event_backpressure: usize,
    /// Pings and pongs of one WebSocket in a second; those beyond are read in the next second.
    /// Default 1,000.
    pub max_control_frames_per_second: u16,
    /// Bytes of messages that wait for one worker, from other threads and workers. Default
    /// 16 MiB.
    pub max_mailbox_bytes: usize,
    /// Of requests.
    pub http: http::Limits,
    /// Of topics.
    pub topics: pubsub::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1 << 20,
            max_connections_per_address: usize::MAX,
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            answer_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
            max_collected_bytes: 256 << 20,
            max_pipelined_requests: 256,
            max_response_header_bytes: 64 << 10,
            max_event_backpressure: 64 << 10,
            max_control_frames_per_second: 1000,
            max_mailbox_bytes: 16 << 20,
            http: http::Limits::default(),
            topics: pubsub::Limits::default(),
        }
    }
}

impl Limits {
    /// Whether a server can work within these limits.
    pub(super) fn check(&self) -> Result<(), String> {
        let counts = [
            (self.max_connections, "max_connections"),
            (self.max_connections_per_address, "max_connections_per_address"),
            (self.max_control_frames_per_second.into(), "max_control_frames_per_second"),
            (self.max_collected_bytes, "max_collected_bytes"),
            (self.max_pipelined_requests, "max_pipelined_requests"),
            (self.max_event_backpressure, "max_event_backpressure"),
            (self.max_mailbox_bytes, "max_mailbox_bytes"),
            (self.topics.max_subscribers, "topics.max_subscribers"),
            (self.topics.max_topics, "topics.max_topics"),
            (self.topics.max_topics_per_subscriber, "topics.max_topics_per_subscriber"),
            (self.topics.max_topic_name_bytes, "topics.max_topic_name_bytes"),
            (self.topics.max_pending_messages, "topics.max_pending_messages"),
            (self.topics.max_pending_bytes, "topics.max_pending_bytes"),
            (self.topics.max_sets, "topics.max_sets"),
        ];
        let times = [
            (self.header_timeout, "header_timeout"),
            (self.keep_alive_timeout, "keep_alive_timeout"),
            (self.body_timeout, "body_timeout"),
            (self.answer_timeout, "answer_timeout"),
            (self.close_timeout, "close_timeout"),
        ];
        let zero_count = counts.iter().find(|(count, _)| *count == 0).map(|(_, name)| name);
        let zero_time = times.iter().find(|(time, _)| time.is_zero()).map(|(_, name)| name);
        if let Some(name) = zero_count.or(zero_time) {
            return Err(format!("{name} must not be zero: nothing would be served"));
        }
        self.http.check().map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_let_nothing_through_are_refused() {
        let limits = Limits::default();
        assert_eq!(limits.check(), Ok(()));
        let none = Limits { max_connections: 0, ..limits.clone() };
        assert!(none.check().is_err_and(|text| text.contains("max_connections")));
        let none = Limits { header_timeout: Duration::ZERO, ..limits.clone() };
        assert!(none.check().is_err_and(|text| text.contains("header_timeout")));
        let http = http::Limits { max_head_bytes: 1, ..limits.http };
        assert!(Limits { http, ..limits }.check().is_err());
    }
}
