//! [`Fields`]: the field lines of a message, as views into the bytes they were parsed from.
//!
//! Names are compared without regard to case, values are bytes without surrounding white space
//! (RFC 9110 §5). That names are tokens and values free of controls is the parser's promise.

use std::ops::Range;

use super::Limits;

/// The field lines of a request or response, in the order of their arrival.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    places: &'a [FieldPlace],
}

/// Where in a head one of its fields is.
#[derive(Debug, Clone)]
pub(super) struct FieldPlace {
    pub(super) name: Range<usize>,
    pub(super) value: Range<usize>,
}

/// Room for the places of the field lines of one head, lent to the parser, and used again for the
/// next one: 32 bytes for each line there has been.
#[derive(Debug, Default)]
pub struct HeaderSlots(Vec<FieldPlace>);

impl HeaderSlots {
    /// The most field lines a head can have; [`Limits::max_field_count`] may ask for fewer.
    pub const CAPACITY: usize = 256;

    /// No room yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Notes the next field line, unless there are too many.
    #[inline]
    pub(super) fn push(&mut self, place: FieldPlace, limits: &Limits) -> Option<()> {
        if self.0.len() == Self::most(limits) {
            return None;
        }
        self.0.push(place);
        Some(())
    }

    /// How many field lines a head may have.
    #[inline]
    pub(super) fn most(limits: &Limits) -> usize {
        limits.max_field_count.min(Self::CAPACITY)
    }

    /// Notes what a parser has found in these bytes.
    pub(super) fn note(&mut self, bytes: &[u8], headers: &[httparse::Header<'_>]) {
        let place_of = |part: &[u8]| {
            let start = part.as_ptr().addr().saturating_sub(bytes.as_ptr().addr());
            start..start.saturating_add(part.len())
        };
        self.0.clear();
        self.0.extend(headers.iter().map(|header| FieldPlace {
            name: place_of(header.name.as_bytes()),
            value: place_of(header.value),
        }));
    }

    /// The fields of this head, whose places have been noted.
    #[inline]
    pub(super) fn fields<'a>(&'a self, bytes: &'a [u8]) -> Fields<'a> {
        Fields { bytes, places: &self.0 }
    }
}

impl FieldPlace {
    fn name<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.name.clone()).unwrap_or_default()
    }

    fn value<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.value.clone()).unwrap_or_default()
    }
}

impl<'a> Fields<'a> {
    /// The value of the first field of this name.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The value of the only field of this name: `Err` if there are several.
    ///
    /// # Errors
    /// [`Repeated`] if there are several.
    pub fn single(&self, name: &str) -> Result<Option<&'a [u8]>, Repeated> {
        let mut all = self.all(name);
        let first = all.next();
        if all.next().is_some() { Err(Repeated) } else { Ok(first) }
    }

    /// The values of all fields of this name.
    pub fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let Self { bytes, places } = *self;
        let is_it = move |place: &&FieldPlace| {
            place.name.len() == name.len()
                && place.name(bytes).eq_ignore_ascii_case(name.as_bytes())
        };
        places.iter().filter(is_it).map(|place| place.value(bytes))
    }

    /// Whether the comma-separated list in the fields of this name has this member, without
    /// regard to case (RFC 9110 §5.6.1).
    #[must_use]
    pub fn list_contains(&self, name: &str, member: &str) -> bool {
        self.list(name).any(|item| item.eq_ignore_ascii_case(member.as_bytes()))
    }

    /// The members of the comma-separated list in the fields of this name. Empty members are
    /// left out (RFC 9110 §5.6.1.2). Not for values with quoted strings.
    pub fn list<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|item| !item.is_empty())
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        // Names are tokens, and so ASCII.
        self.raw().map(|(name, value)| (str::from_utf8(name).unwrap_or_default(), value))
    }

    /// All fields, with names as bytes.
    #[inline]
    pub(super) fn raw(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let Self { bytes, places } = *self;
        places.iter().map(|place| (place.name(bytes), place.value(bytes)))
    }
}

/// A field that may stand once stands several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated;

/// Field lines out of names and values, as no parser would need to find them.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    slots: HeaderSlots,
}

#[cfg(test)]
impl Lines {
    pub(crate) fn new<'l>(lines: impl IntoIterator<Item = (&'l str, &'l [u8])>) -> Self {
        let mut new = Self::default();
        for (name, value) in lines {
            let start = new.bytes.len();
            let middle = start + name.len();
            new.bytes.extend_from_slice(name.as_bytes());
            new.bytes.extend_from_slice(value);
            new.slots.0.push(FieldPlace { name: start..middle, value: middle..new.bytes.len() });
        }
        new
    }

    pub(crate) fn fields(&self) -> Fields<'_> {
        self.slots.fields(&self.bytes)
    }
}
