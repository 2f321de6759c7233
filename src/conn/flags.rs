//! [`Flags`]: what is true of a connection, a bit each.

use bitflags::bitflags;

bitflags! {
    /// What is true of a connection, and everybody's to change.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct Flags: u8 {
        /// The request at hand has a state of its own, apart from the connection.
        const HAS_EXCHANGE = 1;
        /// A header of the PROXY protocol has to come first.
        const EXPECTS_PROXY_HEADER = 1 << 1;
        /// A ping has been sent and nothing was heard since.
        const IS_PINGED = 1 << 2;
        /// The peer has ended its direction.
        const IS_PEER_ENDED = 1 << 3;
        /// The application is to be told when everything has left.
        const OWES_DRAIN = 1 << 4;
        /// The application has begun a message in fragments and not ended it.
        const IS_FRAGMENTING = 1 << 5;
        /// Nothing is read: the application wishes it.
        const IS_PAUSED = 1 << 6;
        /// Nothing is read: too many control frames.
        const IS_THROTTLED = 1 << 7;
    }
}

bitflags! {
    /// How a connection stands with the reactor.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub(super) struct Flow: u8 {
        /// The kernel has refused bytes; `Writable` will come.
        const IS_BLOCKED = 1;
        /// So much has been produced that decoding waits until the kernel has taken it.
        const IS_FULL = 1 << 1;
        /// The reactor has been told to pause.
        const IS_NOT_READ = 1 << 2;
        /// Our direction has been ended.
        const IS_SHUT_DOWN = 1 << 3;
        /// The key is in the list of those to look at at the end of the turn...
        const IS_DIRTY = 1 << 4;
        /// ...and of those to look at when their sends have settled.
        const IS_AWAITED = 1 << 5;
    }
}

impl Flags {
    /// Reasons not to read. While there is one, nothing is decoded either.
    pub const PAUSES: Self = Self::IS_PAUSED.union(Self::IS_THROTTLED);

    /// Takes flags away, and says whether there was one of them.
    pub fn take(&mut self, flags: Self) -> bool {
        let was = self.intersects(flags);
        self.remove(flags);
        was
    }
}

impl Flow {
    /// Raises a flag, and says whether that is new.
    pub(super) fn raise(&mut self, flag: Self) -> bool {
        let is_new = !self.contains(flag);
        self.insert(flag);
        is_new
    }
}
