//! Floor 0: kernels that touch every byte, each with a plain twin that it is tested against.

mod head;
mod mask;
mod utf8;

pub use head::HeadBits;
pub(crate) use head::is_token_byte;
pub use mask::mask;
pub use utf8::{InvalidUtf8, Utf8, from_utf8};
