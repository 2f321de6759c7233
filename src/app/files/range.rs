//! Range requests (RFC 9110 §14), of one range. Several are answered with the whole, as §14.2
//! allows: nobody who asks for them needs them, and they have been used to multiply responses.

use crate::app::Request;

/// The part of a file that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    Whole,
    Part {
        first: u64,
        /// At least one.
        count: u64,
    },
    Unsatisfiable,
}

impl Range {
    /// What the Range field asks for, of a file of this length.
    pub(super) fn parse(request: &Request<'_>, length: u64) -> Self {
        match request.header("range") {
            Some(value) => Self::of(value, length),
            None => Self::Whole,
        }
    }

    fn of(value: &str, length: u64) -> Self {
        let Some((unit, set)) = value.split_once('=') else { return Self::Whole };
        let Some((first, last)) = set.trim().split_once('-') else { return Self::Whole };
        // Units that are not known, and fields that are malformed, are ignored.
        if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
            return Self::Whole;
        }
        match (number(first), number(last)) {
            (Some(first), Some(last)) if last < first => Self::Whole,
            (Some(first), _) if first >= length && (last.is_empty() || number(last).is_some()) => {
                Self::Unsatisfiable
            }
            (Some(first), Some(last)) => {
                let end = last.saturating_add(1).min(length);
                Self::Part { first, count: end.saturating_sub(first) }
            }
            (Some(first), None) if last.is_empty() => {
                Self::Part { first, count: length.saturating_sub(first) }
            }
            (None, Some(0)) if first.is_empty() => Self::Unsatisfiable,
            (None, Some(_)) if first.is_empty() && length == 0 => Self::Unsatisfiable,
            (None, Some(count)) if first.is_empty() => {
                let count = count.min(length);
                Self::Part { first: length.saturating_sub(count), count }
            }
            _ => Self::Whole,
        }
    }
}

/// Digits only; what is too great is as good as the greatest.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ten_bytes() {
        let part = |first, count| Range::Part { first, count };
        let cases = [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-9", part(0, 10)),
            ("bytes=3-5", part(3, 3)),
            ("Bytes = 3-5", part(3, 3)),
            ("bytes=3-", part(3, 7)),
            ("bytes=3-99999999999999999999999", part(3, 7)),
            ("bytes=9-9", part(9, 1)),
            ("bytes=-1", part(9, 1)),
            ("bytes=-10", part(0, 10)),
            ("bytes=-11", part(0, 10)),
            ("bytes=-0", Range::Unsatisfiable),
            ("bytes=10-", Range::Unsatisfiable),
            ("bytes=10-12", Range::Unsatisfiable),
            ("bytes=99999999999999999999999-", Range::Unsatisfiable),
            ("bytes=5-3", Range::Whole),
            ("bytes=0-1,3-4", Range::Whole),
            ("bytes=-", Range::Whole),
            ("bytes=", Range::Whole),
            ("bytes=a-b", Range::Whole),
            ("bytes=0-x", Range::Whole),
            ("bytes=+1-2", Range::Whole),
            ("lines=0-1", Range::Whole),
            ("0-1", Range::Whole),
        ];
        for (value, range) in cases {
            assert_eq!(Range::of(value, 10), range, "{value}");
        }
        assert_eq!(Range::of("bytes=0-", 0), Range::Unsatisfiable);
        assert_eq!(Range::of("bytes=-5", 0), Range::Unsatisfiable);
    }
}
