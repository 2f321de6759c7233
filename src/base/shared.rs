//! [`Shared`]: immutable bytes that many receivers, on whichever core, hold at once.

use std::{fmt, ops::Deref, sync::Arc};

/// Immutable bytes behind a reference count. A broadcast is framed once into one of these.
///
/// Cloning costs an atomic increment, so the hot path clones per batch, not per receiver.
#[derive(Clone)]
pub struct Shared(Arc<[u8]>);

impl Shared {
    /// Whether both are the same buffer (not merely equal bytes).
    #[must_use]
    pub fn same_buffer(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl From<&[u8]> for Shared {
    fn from(bytes: &[u8]) -> Self {
        Self(Arc::from(bytes))
    }
}

impl Deref for Shared {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({} bytes)", self.0.len())
    }
}
