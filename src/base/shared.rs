//! [`Shared`]: immutable bytes that many receivers, on whichever core, hold at once.

use std::{fmt, iter, ops::Deref, sync::Arc};

use super::copy;

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

    /// The bytes of two pieces, one behind the other, in one allocation.
    #[must_use]
    pub fn concat(head: &[u8], body: &[u8]) -> Self {
        // An iterator of known length fills the allocation of the `Arc` itself.
        let mut bytes: Arc<[u8]> = iter::repeat_n(0, head.len() + body.len()).collect();
        if let Some(bytes) = Arc::get_mut(&mut bytes) {
            let (first, second) = bytes.split_at_mut(head.len());
            first.copy_from_slice(head);
            copy::overwrite(second, body);
        }
        Self(bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pieces_become_one() {
        for (head, body) in [(&b"ab"[..], &b"cde"[..]), (b"", b"x"), (b"x", b""), (b"", b"")] {
            let shared = Shared::concat(head, body);
            assert_eq!(&*shared, [head, body].concat());
            assert!(shared.same_buffer(&shared.clone()));
        }
    }
}
