//! [`Candidate`]: a server that is measured.

use crate::{
    options::{Backend, Compress, Mode},
    shape::Shape,
};

/// A server that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidate {
    Uring,
    Epoll,
    Uwebsockets,
    Fastwebsockets,
    TokioWebsockets,
    TokioTungstenite,
    SockudoWs,
    Bun,
    Ws,
    FloorUring,
    FloorEpoll,
}

impl Candidate {
    /// Ours first, the floors last.
    pub(crate) const ALL: [Self; 11] = [
        Self::Uring,
        Self::Epoll,
        Self::Uwebsockets,
        Self::Fastwebsockets,
        Self::TokioWebsockets,
        Self::TokioTungstenite,
        Self::SockudoWs,
        Self::Bun,
        Self::Ws,
        Self::FloorUring,
        Self::FloorEpoll,
    ];

    /// The one that ratios are counted from.
    pub(crate) const BASELINE: Self = Self::Uwebsockets;

    /// All but ours.
    pub(crate) fn peers() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|candidate| !candidate.is_ours())
    }

    /// Its name on command lines and in files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
            Self::Uwebsockets => "uwebsockets",
            Self::Fastwebsockets => "fastwebsockets",
            Self::TokioWebsockets => "tokio-websockets",
            Self::TokioTungstenite => "tokio-tungstenite",
            Self::SockudoWs => "sockudo-ws",
            Self::Bun => "bun",
            Self::Ws => "ws",
            Self::FloorUring => "floor-uring",
            Self::FloorEpoll => "floor-epoll",
        }
    }

    /// Its name for readers.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Uring => "Sockeye, io_uring",
            Self::Epoll => "Sockeye, epoll",
            Self::Uwebsockets => "uWebSockets 20.58",
            Self::Fastwebsockets => "fastwebsockets 0.10",
            Self::TokioWebsockets => "tokio-websockets 0.13",
            Self::TokioTungstenite => "tokio-tungstenite 0.30",
            Self::SockudoWs => "sockudo-ws 3.1",
            Self::Bun => "Bun 1.4",
            Self::Ws => "ws 8.23 (Node)",
            Self::FloorUring => "no protocol, io_uring",
            Self::FloorEpoll => "no protocol, epoll",
        }
    }

    /// Whether this is Sockeye.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Uring | Self::Epoll)
    }

    /// Whether this is an echo without any protocol.
    pub(crate) fn is_floor(self) -> bool {
        matches!(self, Self::FloorUring | Self::FloorEpoll)
    }

    /// Whether it can serve this.
    pub(crate) fn can(self, shape: &Shape) -> bool {
        if shape.workers > 1 && !self.is_ours() {
            return false;
        }
        let compresses = shape.compress != Compress::None;
        match self {
            Self::Uring | Self::Epoll | Self::Uwebsockets => true,
            Self::Bun | Self::Ws => shape.compress != Compress::Dedicated,
            // It cannot be told to send while it waits for something to read.
            Self::Fastwebsockets => shape.mode == Mode::Echo && !compresses,
            Self::TokioWebsockets | Self::TokioTungstenite | Self::SockudoWs => {
                matches!(shape.mode, Mode::Echo | Mode::Broadcast) && !compresses
            }
            Self::FloorUring | Self::FloorEpoll => shape.has_floor(),
        }
    }
}

impl From<Backend> for Candidate {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Uring => Self::Uring,
            Backend::Epoll => Self::Epoll,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape;

    #[test]
    fn names_are_different_and_every_shape_has_somebody_to_compare() {
        let mut names: Vec<_> = Candidate::ALL.iter().map(|candidate| candidate.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Candidate::ALL.len());
        for shape in shape::all() {
            assert!(Candidate::Uring.can(&shape) && Candidate::Epoll.can(&shape), "{}", shape.name);
            assert!(Candidate::BASELINE.can(&shape) || shape.workers > 1, "{}", shape.name);
        }
    }
}
