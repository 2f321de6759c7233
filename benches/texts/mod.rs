//! Texts as applications send them, for whatever compresses.

use std::fmt::Write;

/// So many JSON-like texts of so many bytes, no two alike.
pub(crate) fn texts(bytes: usize, count: usize) -> Vec<Vec<u8>> {
    let mut state = 42_u64;
    let mut draw = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let text = |_| {
        let mut text = String::from("{\"type\":\"update\",\"items\":[");
        while text.len() < bytes {
            let (id, user) = (draw(1_000_000), NAMES[usize::try_from(draw(8)).unwrap_or(0)]);
            let (price, cents, tag) = (draw(1000), draw(100), draw(1 << 32));
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "{{\"id\":{id},\"user\":\"{user}\",\"price\":{price}.{cents:02},\
                 \"active\":{},\"tag\":\"{tag:08x}\"}},",
                tag % 2 == 0
            );
        }
        text.truncate(bytes);
        text.into_bytes()
    };
    (0..count).map(text).collect()
}

const NAMES: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];
