//! [`room`]: how much room a table begins with that grows with the connections.

/// Entries for which a table of `T` should have room from the beginning.
///
/// It is address space, not memory: a block of this size is mapped by itself, its pages are taken
/// when they are first used, and it grows by being mapped anew instead of being copied. Tables
/// that begin small and double leave their former halves behind as holes in the heap: with 10,000
/// connections that was a third of all they took.
#[must_use]
pub(crate) const fn room<T>() -> usize {
    match size_of::<T>() {
        0 => 0,
        size => MAPPED_BYTES / size,
    }
}

/// Above what allocators keep in their heaps.
const MAPPED_BYTES: usize = 4 << 20;
