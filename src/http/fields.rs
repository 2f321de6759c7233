//! [`Fields`]: the field lines of a message, as views into the bytes they were parsed from.
//!
//! Names are compared without regard to case, values are bytes without surrounding white space
//! (RFC 9110 §5). That names are tokens and values free of controls is the parser's promise.

use httparse::Header;

/// The field lines of a request or response, in the order of their arrival.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fields<'a>(&'a [Header<'a>]);

impl<'a> Fields<'a> {
    /// Views of what the parser has checked.
    #[must_use]
    pub fn new(headers: &'a [Header<'a>]) -> Self {
        Self(headers)
    }

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
        let fields = self.0;
        fields.iter().filter(move |f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value)
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
        let fields = self.0;
        fields.iter().map(|field| (field.name, field.value))
    }
}

/// A field that may stand once stands several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated;
