//! Conditional requests (RFC 9110 §13).

use std::time::UNIX_EPOCH;

use crate::app::Request;

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Validators<'a> {
    /// With its quotes; strong.
    pub(super) tag: &'a str,
    /// In seconds since 1970.
    pub(super) modified: u64,
}

/// What a request is to be answered with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// 304.
    NotModified,
    /// 412.
    Failed,
    /// The file as a whole, whatever Range says.
    Whole,
    /// What Range says.
    Ranged,
}

impl Validators<'_> {
    /// In the order of RFC 9110 §13.2.2.
    pub(super) fn judge(&self, request: &Request<'_>) -> Outcome {
        if let Some(passes) = self.matches(request, "if-match", true) {
            if !passes {
                return Outcome::Failed;
            }
        } else if let Some(time) = time(request, "if-unmodified-since")
            && self.modified > time
        {
            return Outcome::Failed;
        }
        if let Some(is_known) = self.matches(request, "if-none-match", false) {
            if is_known {
                return Outcome::NotModified;
            }
        } else if let Some(time) = time(request, "if-modified-since")
            && self.modified <= time
        {
            return Outcome::NotModified;
        }
        match request.header("if-range") {
            // §14.2: Range is defined for GET only.
            _ if request.method() != "GET" || request.header("range").is_none() => Outcome::Whole,
            None => Outcome::Ranged,
            Some(tag) if tag.starts_with('"') && tag == self.tag => Outcome::Ranged,
            Some(date) if parse(date) == Some(self.modified) => Outcome::Ranged,
            Some(_) => Outcome::Whole,
        }
    }

    /// Whether one of the tags in this field is ours; `None` without the field.
    fn matches(&self, request: &Request<'_>, field: &str, strongly: bool) -> Option<bool> {
        request.header(field)?;
        let mut tags = request.list(field);
        Some(tags.any(|tag| match tag.strip_prefix("W/") {
            // §13.1.1: If-Match compares strongly.
            Some(weak) => !strongly && weak == self.tag,
            None => tag == self.tag || tag == "*",
        }))
    }
}

/// Dates that are none are ignored (§13.1.3).
fn time(request: &Request<'_>, field: &str) -> Option<u64> {
    parse(request.header(field)?)
}

fn parse(date: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(date).ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}
