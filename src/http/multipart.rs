//! [`Multipart`]: form data in parts (RFC 7578, RFC 2046 §5.1), as its bytes arrive.
//!
//! The crates for it pull their input from streams of an async runtime, and this one has to be
//! pushed. Invariant: any split of the input yields the same parts, if adjoining pieces are
//! joined. What is kept is the head of a part, or less than a delimiter of its data.

use std::fmt;

use super::token::is_token;

/// Reads form data. The head of a part has 4 KiB at most, and a form 1,000 parts; how long its
/// parts may be is up to who is handed them.
///
/// ```
/// use sockeye::{Multipart, Part};
/// let body = b"--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--X--\r\n";
/// let mut form = Multipart::new("multipart/form-data; boundary=X")?;
/// let mut seen = String::new();
/// form.push(body, |part| match part {
///     Part::Begin(head) => seen += &head.name,
///     Part::Data(piece) => seen += &String::from_utf8_lossy(piece),
///     Part::End => seen += ".",
/// })?;
/// form.finish()?;
/// assert_eq!(seen, "a1.");
/// # Ok::<(), sockeye::http::MultipartError>(())
/// ```
#[derive(Debug)]
pub struct Multipart {
    // CRLF, two dashes, and the boundary.
    delimiter: Vec<u8>,
    // What has not been told apart yet.
    kept: Vec<u8>,
    state: State,
    part_count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first delimiter.
    Start,
    /// Behind a delimiter: a line end, or two dashes.
    Delimiter,
    Head,
    Data,
    Done,
    Failed(MultipartError),
}

/// What comes next in a form.
#[derive(Debug)]
pub enum Part<'a> {
    /// A part begins.
    Begin(PartHead),
    /// The next bytes of the part, never none.
    Data(&'a [u8]),
    /// The part is complete.
    End,
}

/// What is said of a part before its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartHead {
    /// The name of the field in the form.
    pub name: String,
    /// The name of the file that the user has chosen. Never to be used as a path.
    pub filename: Option<String>,
    /// The media type that the client takes it for.
    pub content_type: Option<String>,
}

impl Multipart {
    /// A reader for the body of a request with this Content-Type.
    ///
    /// # Errors
    /// [`MultipartError::ContentType`].
    pub fn new(content_type: &str) -> Result<Self, MultipartError> {
        let boundary = boundary_of(content_type).ok_or(MultipartError::ContentType)?;
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        // The first delimiter has no line before it whose end it would begin with.
        let kept = b"\r\n".to_vec();
        Ok(Self { delimiter, kept, state: State::Start, part_count: 0 })
    }

    /// Takes the next bytes of the body, and hands on what they bring.
    ///
    /// # Errors
    /// What is wrong with the form; again and again.
    pub fn push(
        &mut self,
        bytes: &[u8],
        mut sink: impl FnMut(Part<'_>),
    ) -> Result<(), MultipartError> {
        self.kept.extend_from_slice(bytes);
        let mut done = 0_usize;
        let result = loop {
            match self.step(done, &mut sink) {
                Ok(Some(taken)) => done = done.saturating_add(taken),
                Ok(None) => break Ok(()),
                Err(error) => {
                    self.state = State::Failed(error);
                    done = self.kept.len();
                    break Err(error);
                }
            }
        };
        self.kept.drain(..done);
        result
    }

    /// The body is over.
    ///
    /// # Errors
    /// If the form is not.
    pub fn finish(&self) -> Result<(), MultipartError> {
        match self.state {
            State::Done => Ok(()),
            State::Failed(error) => Err(error),
            _ => Err(MultipartError::Incomplete),
        }
    }

    /// Takes what can be told apart from what is kept, from byte `start` on: returns how much
    /// that is, or `None` if more is needed.
    fn step(
        &mut self,
        start: usize,
        sink: &mut impl FnMut(Part<'_>),
    ) -> Result<Option<usize>, MultipartError> {
        let Self { delimiter, kept, state, part_count } = self;
        let rest = kept.get(start..).unwrap_or_default();
        match *state {
            State::Start => {
                let is_delimiter = rest.iter().zip(&*delimiter).all(|(a, b)| a == b);
                if !is_delimiter {
                    return Err(MultipartError::Delimiter);
                }
                if rest.len() < delimiter.len() {
                    return Ok(None);
                }
                *state = State::Delimiter;
                Ok(Some(delimiter.len()))
            }
            State::Delimiter => {
                let Some(two) = rest.first_chunk::<2>() else { return Ok(None) };
                *state = match two {
                    b"\r\n" => State::Head,
                    b"--" => State::Done,
                    _ => return Err(MultipartError::Delimiter),
                };
                Ok(Some(2))
            }
            State::Head => {
                let window = rest.get(..MAX_HEAD_BYTES).unwrap_or(rest);
                let Some(end) = window.windows(4).position(|four| four == b"\r\n\r\n") else {
                    let is_full = window.len() == MAX_HEAD_BYTES;
                    return if is_full { Err(MultipartError::HeadTooLong) } else { Ok(None) };
                };
                *part_count = part_count.saturating_add(1);
                if *part_count > MAX_PARTS {
                    return Err(MultipartError::TooManyParts);
                }
                let length = end.saturating_add(4);
                sink(Part::Begin(head(rest.get(..length).unwrap_or_default())?));
                *state = State::Data;
                Ok(Some(length))
            }
            State::Data => {
                let found = find(rest, delimiter);
                // Without a whole delimiter: its beginning may stand at the end.
                let sure = rest.len().saturating_add(1).saturating_sub(delimiter.len());
                let end = found.unwrap_or(sure);
                if let Some(data) = rest.get(..end).filter(|data| !data.is_empty()) {
                    sink(Part::Data(data));
                }
                if found.is_some() {
                    sink(Part::End);
                    *state = State::Delimiter;
                    return Ok(Some(end.saturating_add(delimiter.len())));
                }
                Ok(Some(end).filter(|end| *end > 0))
            }
            // RFC 2046 §5.1.1: what follows the last delimiter is to be ignored.
            State::Done => Ok(Some(rest.len()).filter(|length| *length > 0)),
            State::Failed(error) => Err(error),
        }
    }
}

/// Where the delimiter is. Its first byte is rare in most data.
fn find(bytes: &[u8], delimiter: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    loop {
        let start = rest.iter().position(|byte| *byte == b'\r')?;
        rest = rest.get(start..)?;
        if rest.starts_with(delimiter) {
            return bytes.len().checked_sub(rest.len());
        }
        rest = rest.get(1..)?;
    }
}

fn head(bytes: &[u8]) -> Result<PartHead, MultipartError> {
    let mut slots = [httparse::EMPTY_HEADER; 16];
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(bytes, &mut slots)
    else {
        return Err(MultipartError::Head);
    };
    let field = |name: &str| {
        let mut found = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        let value = found.next().map(|field| std::str::from_utf8(field.value));
        value.transpose().ok().filter(|_| found.next().is_none()).ok_or(MultipartError::Head)
    };
    let disposition = field("content-disposition")?.ok_or(MultipartError::Head)?;
    let (kind, parameters) = disposition.split_once(';').ok_or(MultipartError::Head)?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(MultipartError::Head);
    }
    Ok(PartHead {
        name: parameter(parameters, "name").ok_or(MultipartError::Head)?,
        filename: parameter(parameters, "filename"),
        content_type: field("content-type")?.map(str::to_owned),
    })
}

/// The boundary of `multipart/form-data` (RFC 2046 §5.1.1).
fn boundary_of(content_type: &str) -> Option<String> {
    let (media_type, parameters) = content_type.split_once(';')?;
    let boundary = parameter(parameters, "boundary")?;
    let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let is_boundary = (1..=70).contains(&boundary.len())
        && boundary.bytes().all(is_sound)
        && !boundary.ends_with(' ');
    let is_form = media_type.trim().eq_ignore_ascii_case("multipart/form-data");
    Some(boundary).filter(|_| is_form && is_boundary)
}

/// The value of a parameter: a token, or quoted. `None` if it is not there, or is malformed.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                let (value, after) = after.split_at_checked(end)?;
                let value = value.trim();
                if !is_token(value.as_bytes()) {
                    return None;
                }
                (value.to_owned(), after)
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after.trim_start().strip_prefix(';')?;
    }
}

/// Up to the closing quote, and what is behind it. Browsers write `"` as `%22`, which is left to
/// the application; others as `\"`.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return Some((value, characters.as_str())),
            '\\' if characters.as_str().starts_with(['"', '\\']) => {
                value.push(characters.next()?);
            }
            _ => value.push(character),
        }
    }
    None
}

/// What is wrong with a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MultipartError {
    /// Not `multipart/form-data`, or without a boundary.
    ContentType,
    /// Something else than a delimiter, or something behind one.
    Delimiter,
    /// A head that is none, or names no field of a form.
    Head,
    /// A head of more than 4 KiB.
    HeadTooLong,
    /// More than 1,000 parts.
    TooManyParts,
    /// The body ends before the form does.
    Incomplete,
}

impl fmt::Display for MultipartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ContentType => "no multipart/form-data with a boundary",
            Self::Delimiter => "no delimiter where there should be one",
            Self::Head => "malformed head of a part",
            Self::HeadTooLong => "head of a part too long",
            Self::TooManyParts => "too many parts",
            Self::Incomplete => "the body ends before the form does",
        })
    }
}

impl std::error::Error for MultipartError {}

/// Bytes of the head of a part.
const MAX_HEAD_BYTES: usize = 4 << 10;
/// Parts of a form.
const MAX_PARTS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a form means, in words, however it is cut.
    fn read(body: &[u8], size: usize) -> Result<String, MultipartError> {
        let mut form = Multipart::new("multipart/form-data; boundary=\"x-y\"")?;
        let mut text = String::new();
        for piece in body.chunks(size) {
            form.push(piece, |part| match part {
                Part::Begin(head) => {
                    let filename = head.filename.map(|name| format!("@{name}"));
                    let media_type = head.content_type.map(|media_type| format!("<{media_type}>"));
                    text += &head.name;
                    text += &filename.unwrap_or_default();
                    text += &media_type.unwrap_or_default();
                    text += "[";
                }
                Part::Data(piece) => text += &String::from_utf8_lossy(piece),
                Part::End => text += "]",
            })?;
        }
        form.finish()?;
        Ok(text)
    }

    fn whole_and_cut(body: &str) -> Result<String, MultipartError> {
        let whole = read(body.as_bytes(), body.len().max(1));
        for size in [1, 2, 3, 7, 20] {
            assert_eq!(read(body.as_bytes(), size), whole, "{body:?} by {size}");
        }
        whole
    }

    const A: &str = "Content-Disposition: form-data; name=\"a\"\r\n\r\n";

    #[test]
    fn forms_are_read() {
        let file = "content-disposition: FORM-DATA; name=b; filename=\"c \\\"d\\\" %22.txt\"\r\n\
            Content-Type: text/plain\r\n\r\n";
        let body = format!("--x-y\r\n{A}1\r\n--x-y\r\n{file}\r\n--x-\r\n\r\n--x-y--\r\nepilogue");
        let expected = "a[1]b@c \"d\" %22.txt<text/plain>[\r\n--x-\r\n]";
        assert_eq!(whole_and_cut(&body).as_deref(), Ok(expected));
        assert_eq!(whole_and_cut(&format!("--x-y\r\n{A}\r\n--x-y--")).as_deref(), Ok("a[]"));
        assert_eq!(whole_and_cut("--x-y--\r\n").as_deref(), Ok(""));
        assert_eq!(whole_and_cut("\r\n").err(), Some(MultipartError::Delimiter));
    }

    #[test]
    fn faults_are_found() {
        use MultipartError::{Delimiter, Head, HeadTooLong, Incomplete, TooManyParts};
        let cases = [
            (String::new(), Incomplete),
            ("preamble\r\n--x-y--".into(), Delimiter),
            ("--x-z".into(), Delimiter),
            ("--x-y \r\n".into(), Delimiter),
            ("--x-y-\r\n".into(), Delimiter),
            ("--x-y\nX".into(), Delimiter),
            (format!("--x-y\r\n{A}1"), Incomplete),
            (format!("--x-y\r\n{A}1\r\n--x-y"), Incomplete),
            ("--x-y\r\nA: b\r\n\r\n".into(), Head),
            ("--x-y\r\nContent-Disposition: form-data\r\n\r\n".into(), Head),
            ("--x-y\r\nContent-Disposition: file; name=a\r\n\r\n".into(), Head),
            ("--x-y\r\nContent-Disposition: form-data; name=\"a\r\n\r\n".into(), Head),
            (format!("--x-y\r\nContent-Disposition: form-data; name=a\r\n{A}"), Head),
            ("--x-y\r\nno colon\r\n\r\n".into(), Head),
            (format!("--x-y\r\nX: {}", "y".repeat(5000)), HeadTooLong),
            (format!("--x-y\r\n{A}\r\n").repeat(1001), TooManyParts),
        ];
        for (body, error) in cases.into_iter().filter(|(body, _)| !cfg!(miri) || body.len() < 500) {
            assert_eq!(whole_and_cut(&body), Err(error), "{body:.60?}");
        }
    }

    #[test]
    fn boundaries_are_those_of_the_grammar() {
        let boundary = |value: &str| boundary_of(value);
        let long = "b".repeat(70);
        assert_eq!(boundary("multipart/form-data; boundary=x").as_deref(), Some("x"));
        let mixed = "Multipart/Form-Data;charset=utf-8 ; Boundary=\"a b\"";
        assert_eq!(boundary(mixed).as_deref(), Some("a b"));
        assert!(boundary(&format!("multipart/form-data; boundary={long}")).is_some());
        for value in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"\"",
            "multipart/form-data; boundary=\"a \"",
            "multipart/form-data; boundary=\"a\r\nb\"",
            "multipart/form-data; boundary=\"a",
            "multipart/form-data; boundary=a b",
            "multipart/mixed; boundary=x",
            &format!("multipart/form-data; boundary={long}b"),
        ] {
            assert_eq!(boundary(value), None, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn any_split_yields_the_same(
            tokens in prop::collection::vec(prop::sample::select(&[
                "--x-y", "\r\n--x-y", "\r\n", "--", "\r", "-", "data", A, "\r\n\r\n", "--x-y--",
            ][..]), 0..14),
            size in 1_usize..9,
        ) {
            let body = ["--x-y\r\n", &tokens.concat()].concat();
            prop_assert_eq!(read(body.as_bytes(), size), read(body.as_bytes(), body.len()));
        }
    }
}
