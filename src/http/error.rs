//! [`Error`]: what a peer can do wrong, and the status that answers it.

use std::fmt;

use super::Status;

/// A fault of the peer's. The connection can only answer [`Error::status`] and close: after a
/// fault nobody knows where the next request begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The first byte cannot begin a message (TLS or another protocol, perhaps).
    NotHttp,
    /// The request-line is none.
    RequestLine,
    /// The status-line is none (responses only).
    StatusLine,
    /// The target has a form that is wrong for the method, or bytes no target has.
    Target,
    /// The target is longer than the limit.
    TargetTooLong,
    /// The method is longer than any that exists.
    MethodTooLong,
    /// A tunnel is asked for, which is not implemented.
    Connect,
    /// A version of HTTP other than 1.0 and 1.1.
    Version,
    /// A line of the head ends with LF alone.
    BareLineFeed,
    /// A field line without a name, with white space around it, or folded.
    FieldName,
    /// A field value with CR, NUL or another control.
    FieldValue,
    /// The head is longer than the limit.
    HeadTooLong,
    /// The head has more field lines than the limit.
    TooManyFields,
    /// No Host in a request of HTTP/1.1.
    MissingHost,
    /// Several Host fields, or one that names no host.
    Host,
    /// A Content-Length that is no number, or several.
    ContentLength,
    /// Both Content-Length and Transfer-Encoding.
    TwoLengths,
    /// A Transfer-Encoding whose last coding is not chunked, or in HTTP/1.0.
    TransferEncoding,
    /// A body without Content-Length, where one is required.
    LengthRequired,
    /// A transfer coding other than chunked.
    UnknownTransferCoding,
    /// An expectation other than 100-continue.
    Expectation,
    /// The body is longer than the limit.
    BodyTooLong,
    /// A chunk size that is none: empty, signed, spaced, or of more than 16 digits.
    ChunkSize,
    /// An extension of a chunk that is none, or a line end other than CRLF.
    ChunkLine,
    /// The line before a chunk is longer than the limit.
    ChunkLineTooLong,
    /// Chunk data is not followed by CRLF.
    ChunkEnd,
    /// The chunks cost more beyond their data than the limit.
    ChunkOverhead,
    /// A trailer field that is none.
    Trailer,
    /// The trailer section is longer than the limit.
    TrailerTooLong,
}

impl Error {
    /// The status with which a server answers.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::NotHttp
            | Self::RequestLine
            | Self::StatusLine
            | Self::Target
            | Self::BareLineFeed
            | Self::FieldName
            | Self::FieldValue
            | Self::MissingHost
            | Self::Host
            | Self::ContentLength
            | Self::TwoLengths
            | Self::TransferEncoding
            | Self::ChunkSize
            | Self::ChunkLine
            | Self::ChunkLineTooLong
            | Self::ChunkEnd
            | Self::Trailer => Status::BAD_REQUEST,
            Self::BodyTooLong | Self::ChunkOverhead => Status::CONTENT_TOO_LARGE,
            Self::LengthRequired => Status::LENGTH_REQUIRED,
            Self::TargetTooLong => Status::URI_TOO_LONG,
            Self::Expectation => Status::EXPECTATION_FAILED,
            Self::HeadTooLong | Self::TooManyFields | Self::TrailerTooLong => {
                Status::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::MethodTooLong | Self::Connect | Self::UnknownTransferCoding => {
                Status::NOT_IMPLEMENTED
            }
            Self::Version => Status::HTTP_VERSION_NOT_SUPPORTED,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::NotHttp => "the first byte is not HTTP",
            Self::RequestLine => "malformed request-line",
            Self::StatusLine => "malformed status-line",
            Self::Target => "malformed request target",
            Self::TargetTooLong => "request target too long",
            Self::MethodTooLong => "method too long",
            Self::Connect => "CONNECT is not implemented",
            Self::Version => "HTTP version not supported",
            Self::BareLineFeed => "line feed without carriage return",
            Self::FieldName => "malformed field name",
            Self::FieldValue => "malformed field value",
            Self::HeadTooLong => "head too long",
            Self::TooManyFields => "too many fields",
            Self::MissingHost => "no Host",
            Self::Host => "malformed or repeated Host",
            Self::ContentLength => "malformed or repeated Content-Length",
            Self::TwoLengths => "both Content-Length and Transfer-Encoding",
            Self::TransferEncoding => "Transfer-Encoding does not end with chunked",
            Self::LengthRequired => "no Content-Length",
            Self::UnknownTransferCoding => "transfer coding not implemented",
            Self::Expectation => "unknown expectation",
            Self::BodyTooLong => "body too long",
            Self::ChunkSize => "malformed chunk size",
            Self::ChunkLine => "malformed chunk extension or line end",
            Self::ChunkLineTooLong => "chunk line too long",
            Self::ChunkEnd => "no line end after chunk data",
            Self::ChunkOverhead => "too many small or adorned chunks",
            Self::Trailer => "malformed trailer",
            Self::TrailerTooLong => "trailer section too long",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Error {}
