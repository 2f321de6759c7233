//! [`Message`]: what one side says to the other, lent.

use super::Opcode;

/// A message, or a piece of one: text or bytes, lent by whoever holds them.
///
/// ```
/// use sockeye::Message;
/// let text = Message::from("Käse");
/// assert_eq!((text.is_text(), text.len()), (true, 5));
/// assert_eq!(Message::from(b"\x01\x02"), Message::Binary(&[1, 2]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text, known to be UTF-8.
    Text(&'a str),
    /// Bytes of any kind.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The bytes, of a text also.
    #[inline]
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The text, if it is one.
    #[inline]
    #[must_use]
    pub const fn as_text(&self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// How many bytes it has.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether it has no bytes.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is text.
    #[inline]
    #[must_use]
    pub const fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// The opcode of the frame that carries it, or of its first fragment.
    #[inline]
    #[must_use]
    pub const fn opcode(&self) -> Opcode {
        if self.is_text() { Opcode::Text } else { Opcode::Binary }
    }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Message<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Binary(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Message<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Binary(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Message<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Binary(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_bytes_become_messages() {
        let (text, bytes) = (String::from("abc"), vec![1, 2]);
        assert_eq!(Message::from(&text), Message::Text("abc"));
        assert_eq!(Message::from(&bytes), Message::Binary(&[1, 2]));
        assert_eq!(Message::from(&bytes[..1]), Message::Binary(&[1]));
        assert_eq!(Message::from(&text).opcode(), Opcode::Text);
        assert_eq!(Message::from(&bytes).opcode(), Opcode::Binary);
        assert_eq!(Message::from("a").as_text(), Some("a"));
        assert_eq!(Message::from(b"a").as_text(), None);
        assert!(Message::from("").is_empty() && !Message::from(&bytes).is_text());
    }
}
