//! [`Stats`]: what a worker has done, readable at any time from any thread.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What one worker has done since it began, as of its last turn.
        ///
        /// ```
        /// let before = sockeye::Stats::default();
        /// let after = sockeye::Stats { messages_in: 7, ..before };
        /// assert_eq!(after.messages_in - before.messages_in, 7);
        /// ```
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Stats {
            /// The counts with their names, for pages and metrics.
            ///
            /// ```
            /// let stats = sockeye::Stats { messages_in: 7, ..sockeye::Stats::default() };
            /// let lines: Vec<String> =
            ///     stats.iter().map(|(name, count)| format!("{name} {count}")).collect();
            /// assert!(lines.contains(&"messages_in 7".into()));
            /// ```
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }

        /// Where a worker leaves its [`Stats`] for others to read.
        #[derive(Debug, Default)]
        pub(super) struct Board {
            $($name: AtomicU64,)*
        }

        impl Board {
            /// Shows these counts from now on. One writer only.
            pub(super) fn publish(&self, stats: &Stats) {
                // No order among them is promised: a reader may see a message and not its bytes.
                $(self.$name.store(stats.$name, Ordering::Relaxed);)*
            }

            pub(super) fn read(&self) -> Stats {
                Stats { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl std::ops::AddAssign for Stats {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters! {
    /// Connections that exist now, whatever they speak.
    connections,
    /// WebSockets that are open now.
    websockets,
    /// Connections accepted.
    accepted,
    /// Connections closed at once because of a limit.
    refused,
    /// Times that accepting had to rest, because descriptors or memory had run out.
    accept_errors,
    /// Requests received, those for WebSockets among them.
    requests,
    /// Requests that were none: answered with a status of 400 or above and closed.
    bad_requests,
    /// Messages received by WebSockets.
    messages_in,
    /// Bytes received.
    bytes_in,
    /// Messages sent to WebSockets, published ones among them, and those published to event
    /// streams. One in fragments counts with its last one.
    messages_out,
    /// Bytes handed to the kernel, or waiting for it.
    bytes_out,
    /// Messages thrown away because a peer did not read.
    dropped_messages,
    /// Bytes of those messages, as framed.
    dropped_bytes,
    /// Messages published here, by whomever.
    published,
    /// Times that a published message went to a subscriber.
    deliveries,
    /// Times that a message was compressed: a published one once for all who subscribe.
    compressions,
    /// Messages to other workers that their mailboxes had no room for.
    mailbox_refused,
    /// WebSockets closed because of what the peer sent (1002, 1007, 1009).
    protocol_errors,
    /// WebSockets closed because nothing was heard of the peer.
    idle_timeouts,
    /// Panics of handlers.
    handler_panics,
    /// Turns: times that the worker looked for work.
    turns,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_shows_what_was_published_and_counts_add_up() {
        let board = Board::default();
        assert_eq!(board.read(), Stats::default());
        let stats = Stats { messages_in: 3, turns: 1, ..Stats::default() };
        board.publish(&stats);
        let mut sum = board.read();
        assert_eq!(sum, stats);
        sum += stats;
        assert_eq!((sum.messages_in, sum.turns), (6, 2));
    }
}
