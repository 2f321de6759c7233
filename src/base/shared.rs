//! [`Shared`]: immutable bytes that many receivers, on whichever core, hold at once.

use std::{
    fmt, iter,
    ops::{Deref, Range},
    sync::Arc,
};

use super::copy;

/// Immutable bytes behind a reference count. A broadcast is framed once into one of these.
///
/// Cloning costs an atomic increment, so the hot path clones per batch, not per receiver.
#[derive(Clone)]
pub struct Shared(Bytes);

#[derive(Clone)]
enum Bytes {
    // One allocation for both, the count and the bytes.
    Framed(Arc<[u8]>),
    // Bytes that had a place already, too many to be moved from there.
    Gathered(Arc<Vec<u8>>),
}

impl Shared {
    /// Whether both are the same buffer (not merely equal bytes).
    #[must_use]
    pub fn same_buffer(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Bytes::Framed(one), Bytes::Framed(other)) => Arc::ptr_eq(one, other),
            (Bytes::Gathered(one), Bytes::Gathered(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// Where in this buffer `part` stands, if it is a part of it (not merely equal bytes).
    #[must_use]
    pub fn range_of(&self, part: &[u8]) -> Option<Range<usize>> {
        let start = part.as_ptr().addr().checked_sub(self.as_ptr().addr())?;
        let end = start.checked_add(part.len())?;
        (end <= self.len()).then_some(start..end)
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
        Self(Bytes::Framed(bytes))
    }
}

impl From<&[u8]> for Shared {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::Framed(Arc::from(bytes)))
    }
}

impl From<Vec<u8>> for Shared {
    /// Moves no byte.
    fn from(bytes: Vec<u8>) -> Self {
        Self(Bytes::Gathered(Arc::new(bytes)))
    }
}

impl Deref for Shared {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Framed(bytes) => bytes,
            Bytes::Gathered(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({} bytes)", self.len())
    }
}

const _: () = assert!(size_of::<Shared>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_have_a_place_stay_there() {
        let bytes = b"gathered".to_vec();
        let place = bytes.as_ptr();
        let shared = Shared::from(bytes);
        assert_eq!((&*shared, shared.as_ptr()), (&b"gathered"[..], place));
        assert!(shared.same_buffer(&shared.clone()));
        assert!(!shared.same_buffer(&Shared::from(&b"gathered"[..])));
    }

    #[test]
    fn a_part_is_known_by_its_place_and_not_by_its_bytes() {
        let shared = Shared::from(b"aaaaaaaa".to_vec());
        assert_eq!(shared.range_of(&shared), Some(0..8));
        assert_eq!(shared.range_of(&shared[2..5]), Some(2..5));
        assert_eq!(shared.range_of(&shared[8..]), Some(8..8));
        assert_eq!(shared.range_of(b"aaa"), None);
        let all = *b"aaaaaaaa";
        let part = Shared::from(&all[2..5]);
        assert_eq!((part.range_of(&all), part.range_of(&all[2..5])), (None, None));
    }

    #[test]
    fn two_pieces_become_one() {
        for (head, body) in [(&b"ab"[..], &b"cde"[..]), (b"", b"x"), (b"x", b""), (b"", b"")] {
            let shared = Shared::concat(head, body);
            assert_eq!(&*shared, [head, body].concat());
            assert!(shared.same_buffer(&shared.clone()));
        }
    }
}
