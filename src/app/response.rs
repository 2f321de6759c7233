//! [`Response`]: the answer to a request.

use std::borrow::Cow;

use crate::http::{ResponseError, ResponseWriter, Status};

/// The answer to a request: status, header fields, and a body that is there as a whole.
///
/// Content-Length, Connection and Date are written by the server.
///
/// ```
/// use sockeye::{Response, Status};
///
/// let page = Response::html("<p>Hello</p>").header("Cache-Control", "no-store");
/// let gone = Response::new(Status::GONE);
/// assert_eq!((page.status(), gone.status()), (Status::OK, Status::GONE));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    status: Status,
    content_type: Option<&'static str>,
    headers: Vec<(Cow<'static, str>, Cow<'static, [u8]>)>,
    body: Cow<'static, [u8]>,
}

impl Response {
    /// A response without a body.
    #[must_use]
    pub const fn new(status: Status) -> Self {
        Self { status, content_type: None, headers: Vec::new(), body: Cow::Borrowed(&[]) }
    }

    /// 200 with plain text. Static text costs no allocation.
    #[must_use]
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::OK).body("text/plain; charset=utf-8", bytes_of(text.into()))
    }

    /// 200 with a page.
    #[must_use]
    pub fn html(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::OK).body("text/html; charset=utf-8", bytes_of(text.into()))
    }

    /// 200 with JSON.
    #[must_use]
    pub fn json(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::OK).body("application/json", bytes_of(text.into()))
    }

    /// The same with this status.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// The same with this body.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, body: impl Into<Cow<'static, [u8]>>) -> Self {
        self.content_type = Some(content_type);
        self.body = body.into();
        self
    }

    /// The same with one more header field. A field that cannot be sent (a name that is no token,
    /// a value with line ends, a field that the server writes itself) makes the response a 500.
    #[must_use]
    pub fn header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.headers.push((name.into(), bytes_of(value.into())));
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// A response to a request that failed, with its status as text for a person.
    pub(super) fn of_status(status: Status) -> Self {
        Self::text(status.to_string()).with_status(status)
    }

    pub(super) fn write(&self, writer: &mut ResponseWriter<'_>) -> Result<(), ResponseError> {
        let content_type = self.content_type.map(|value| ("Content-Type", value.as_bytes()));
        let headers = self.headers.iter().map(|(name, value)| (&**name, &**value));
        writer.send(self.status, content_type.into_iter().chain(headers), &self.body)
    }
}

fn bytes_of(text: Cow<'static, str>) -> Cow<'static, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}
