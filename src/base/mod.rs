//! Floor 0: containers that know neither protocols nor the kernel.
//!
//! Everything here is plain data. Time arrives as [`Tick`]s, memory is counted by its owner.

mod compact_slab;
mod copy;
mod deadlines;
mod key;
mod keyed_slab;
mod outbox;
mod room;
mod shared;
mod tick;

pub use compact_slab::CompactSlab;
pub(crate) use copy::BLOCK_BYTES;
pub use deadlines::Deadlines;
pub use key::Key;
pub use keyed_slab::{KeyedSlab, SlabFull};
pub use outbox::{Chunk, Outbox};
pub(crate) use room::room;
pub use shared::Shared;
pub use tick::Tick;
