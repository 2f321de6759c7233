//! Look-ups in a query string (`application/x-www-form-urlencoded`, WHATWG URL §5.1).

use std::borrow::Cow;

use super::percent::decode_form;

/// The decoded value of the first pair of this name. A pair whose name or value cannot be decoded
/// is treated as if it were absent. A name without `=` has an empty value.
///
/// ```
/// use sockeye::http::query;
/// assert_eq!(query("name=J%C3%BCrgen+M&x=1", "name").as_deref(), Some("Jürgen M"));
/// assert_eq!(query("name=x", "other"), None);
/// ```
#[must_use]
pub fn query<'q>(raw: &'q str, name: &str) -> Option<Cow<'q, str>> {
    pairs(raw)
        .filter(|(raw_name, _)| decode_form(raw_name).is_ok_and(|decoded| decoded == name))
        .find_map(|(_, value)| decode_form(value).ok())
}

/// The pairs of a query string as they stand there, not yet decoded. Empty pairs are left out.
pub fn pairs(raw: &str) -> impl Iterator<Item = (&str, &str)> {
    raw.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_up_decoded_names() {
        let raw = "a=1&b=2&a=3&&flag&empty=&c%20d=x+y%2Bz&bad=%zz&bad=good&eq=a=b";
        let cases = [
            ("a", Some("1")),
            ("b", Some("2")),
            ("flag", Some("")),
            ("empty", Some("")),
            ("c d", Some("x y+z")),
            ("bad", Some("good")),
            ("eq", Some("a=b")),
            ("A", None),
            ("", None),
        ];
        for (name, value) in cases {
            assert_eq!(query(raw, name).as_deref(), value, "{name}");
        }
        assert_eq!(query("", ""), None);
        assert_eq!(query("=v", "").as_deref(), Some("v"));
    }

    #[test]
    fn plain_values_are_lent() {
        assert!(matches!(query("a=b", "a"), Some(Cow::Borrowed("b"))));
        assert_eq!(pairs("a&b=c&").collect::<Vec<_>>(), [("a", ""), ("b", "c")]);
    }
}
