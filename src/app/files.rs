//! [`Files`]: answers requests with files of a folder (RFC 9110 §8.8, §13, §14).
//!
//! A path is cut into segments, each is decoded, and those that could mean anything but a name
//! below the folder are refused; then the kernel resolves what is left without ever leaving the
//! folder. Small files are sent with their heads, others in pieces as the client reads them, so
//! that neither their size nor their number costs memory. Reading comes from the page cache; a
//! piece that is not there holds the worker up for one read of the disk, 128 KiB at most, which is
//! why there are no threads here.

// Bytes of peers end in a result.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::arithmetic_side_effects)
)]

use std::{
    ffi::CString,
    fs::{File, Metadata},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::PathBuf,
};

use super::{BodySource, Request, Response};
use crate::{
    http::{self, Date, Status},
    reactor::open_beneath,
};

mod conditions;
mod range;
mod types;

use conditions::{Outcome, Validators};
use range::Range;

/// Files of a folder, for [`App::files`](crate::App::files), or by hand.
///
/// ```no_run
/// use sockeye::{App, Files};
///
/// let files = Files::new("public").cache_control("public, max-age=3600").precompressed(true);
/// let app = App::new().files("/static/*", files);
/// ```
#[derive(Debug)]
pub struct Files {
    folder: io::Result<File>,
    path: PathBuf,
    index: Option<&'static str>,
    cache_control: Option<&'static str>,
    precompressed: bool,
    hidden: bool,
    types: Vec<(&'static str, &'static str)>,
}

impl Files {
    /// The files below this folder. If it cannot be opened, the server does not start.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let folder = path.canonicalize().and_then(|path| {
            let folder = File::open(path)?;
            match folder.metadata()?.is_dir() {
                true => Ok(folder),
                false => Err(io::ErrorKind::NotADirectory.into()),
            }
        });
        Self {
            folder,
            path,
            index: Some("index.html"),
            cache_control: None,
            precompressed: false,
            hidden: false,
            types: Vec::new(),
        }
    }

    /// The file that stands for its folder; `None` for none. Default `index.html`.
    #[must_use]
    pub fn index(mut self, name: Option<&'static str>) -> Self {
        self.index = name;
        self
    }

    /// The value of Cache-Control. Default: no such field, so that caches go by Last-Modified.
    #[must_use]
    pub fn cache_control(mut self, value: &'static str) -> Self {
        self.cache_control = Some(value);
        self
    }

    /// Whether `name.br` or `name.gz` is sent for `name` to whoever takes it so. Default `false`.
    #[must_use]
    pub fn precompressed(mut self, precompressed: bool) -> Self {
        self.precompressed = precompressed;
        self
    }

    /// Whether names that begin with a dot are served. Default `false`.
    #[must_use]
    pub fn hidden(mut self, hidden: bool) -> Self {
        self.hidden = hidden;
        self
    }

    /// The media type of files with this extension.
    #[must_use]
    pub fn content_type(mut self, extension: &'static str, media_type: &'static str) -> Self {
        self.types.push((extension, media_type));
        self
    }

    /// The response to a request for the rest of its path, which `*` stands for in its route.
    #[must_use]
    pub fn respond(&self, request: &Request<'_>) -> Response {
        self.respond_with(request, request.raw_parameter("*").unwrap_or_default())
    }

    /// The response to a request for the file at this path below the folder, given as in a URL:
    /// percent-encoded, with slashes.
    #[must_use]
    pub fn respond_with(&self, request: &Request<'_>, path: &str) -> Response {
        let Some(mut name) = self.name(path) else {
            return Response::of_status(Status::NOT_FOUND);
        };
        if name.is_empty() || name.ends_with('/') {
            match self.index {
                Some(index) => name.push_str(index),
                None => return Response::of_status(Status::NOT_FOUND),
            }
        }
        match self.find(request, &name) {
            Ok(found) if found.metadata.is_file() => self.serve(request, &name, found),
            // Relative links in the index page need the slash.
            Ok(found) if found.metadata.is_dir() && self.index.is_some() => redirect(request),
            Ok(_) => Response::of_status(Status::NOT_FOUND),
            Err(error) => Response::of_status(status_of(&error)),
        }
    }

    /// Why the folder cannot be opened.
    pub(super) fn fault(&self) -> Option<String> {
        let error = self.folder.as_ref().err()?;
        Some(format!("the folder {} cannot be opened: {error}", self.path.display()))
    }

    /// The decoded path, if it is a plain one.
    fn name(&self, path: &str) -> Option<String> {
        let mut name = String::new();
        let mut segments = path.split('/').peekable();
        while let Some(segment) = segments.next() {
            let is_last = segments.peek().is_none();
            let segment = http::decode(segment).ok()?;
            if segment.is_empty() && is_last {
                break;
            }
            let is_hidden = segment.starts_with('.') && !self.hidden;
            // A slash that was encoded, or a name that is none.
            let is_bad = segment.contains(['/', '\0']) || matches!(&*segment, "" | "." | "..");
            if is_hidden || is_bad {
                return None;
            }
            name.push_str(&segment);
            if !is_last {
                name.push('/');
            }
        }
        Some(name)
    }

    /// Opens the file, or the compressed one that stands for it.
    fn find(&self, request: &Request<'_>, name: &str) -> io::Result<Found> {
        if self.precompressed {
            for (coding, extension) in [("br", ".br"), ("gzip", ".gz")] {
                if accepts(request, coding)
                    && let Ok(found) = self.open(&format!("{name}{extension}"), Some(coding))
                    && found.metadata.is_file()
                {
                    return Ok(found);
                }
            }
        }
        self.open(name, None)
    }

    fn open(&self, name: &str, coding: Option<&'static str>) -> io::Result<Found> {
        let folder = self.folder.as_ref().map_err(|error| io::Error::from(error.kind()))?;
        let path = CString::new(name).map_err(|_| io::ErrorKind::NotFound)?;
        // EAGAIN: the tree was changed while the path was resolved, openat2(2).
        let passing =
            |error: &io::Error| matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN));
        let mut opened = open_beneath(folder, &path);
        for _ in 0..MAX_OPEN_RETRIES {
            if opened.as_ref().err().is_none_or(|error| !passing(error)) {
                break;
            }
            opened = open_beneath(folder, &path);
        }
        let file = match opened {
            Ok(file) => File::from(file),
            // Not to be had, or forbidden by a sandbox that does not know the call.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                self.open_and_compare(name)?
            }
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        Ok(Found { file, metadata, coding })
    }

    /// As `open_beneath`, if nobody changes links meanwhile.
    fn open_and_compare(&self, name: &str) -> io::Result<File> {
        let folder = self.path.canonicalize()?;
        let path = folder.join(name).canonicalize()?;
        if !path.starts_with(&folder) {
            return Err(io::Error::from_raw_os_error(libc::EXDEV));
        }
        // A pipe would wait for its writer.
        if !path.metadata()?.is_file() && !path.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotFound.into());
        }
        File::open(path)
    }

    fn serve(&self, request: &Request<'_>, name: &str, found: Found) -> Response {
        let Found { file, metadata, coding } = found;
        let modified = u64::try_from(metadata.mtime()).unwrap_or_default();
        let tag = etag(&metadata, coding);
        let validators = Validators { tag: &tag, modified };
        let outcome = validators.judge(request);
        let date = Date::from_unix(modified);
        let dress = |response: Response| {
            let mut response = response
                .header("ETag", tag.clone())
                .header("Last-Modified", date.as_str().to_owned());
            if let Some(value) = self.cache_control {
                response = response.header("Cache-Control", value);
            }
            if self.precompressed {
                response = response.header("Vary", "Accept-Encoding");
            }
            response
        };
        let range = match outcome {
            Outcome::NotModified => return dress(Response::new(Status::NOT_MODIFIED)),
            Outcome::Failed => return Response::of_status(Status::PRECONDITION_FAILED),
            Outcome::Whole => Range::Whole,
            Outcome::Ranged => Range::parse(request, metadata.len()),
        };
        let length = metadata.len();
        let (first, count, status) = match range {
            Range::Whole => (0, length, Status::OK),
            Range::Part { first, count } => (first, count, Status::PARTIAL_CONTENT),
            Range::Unsatisfiable => {
                let response = Response::of_status(Status::RANGE_NOT_SATISFIABLE);
                return response.header("Content-Range", format!("bytes */{length}"));
            }
        };
        let mut response = dress(Response::new(status)).header("Accept-Ranges", "bytes");
        response = response.header("X-Content-Type-Options", "nosniff");
        if status == Status::PARTIAL_CONTENT {
            let last = first.saturating_add(count).saturating_sub(1);
            let range = format!("bytes {first}-{last}/{length}");
            response = response.header("Content-Range", range);
        }
        if let Some(coding) = coding {
            response = response.header("Content-Encoding", coding);
        }
        let mut pieces = Pieces { file, at: first, remaining: count };
        let media_type = self.type_of(name);
        let is_small = count <= WHOLE_BYTES;
        if is_small && request.method() == "GET" {
            let mut bytes = Vec::new();
            return match pieces.read_all(&mut bytes) {
                Ok(()) => response.body(media_type, bytes),
                Err(error) => Response::of_status(status_of(&error)),
            };
        }
        response.stream(media_type, Some(count), pieces)
    }

    fn type_of(&self, name: &str) -> &'static str {
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        let own = self.types.iter().find(|(own, _)| own.eq_ignore_ascii_case(extension));
        own.map_or_else(|| types::of(extension), |(_, media_type)| media_type)
    }
}

struct Found {
    file: File,
    metadata: Metadata,
    coding: Option<&'static str>,
}

/// A part of a file, piece by piece.
struct Pieces {
    file: File,
    at: u64,
    remaining: u64,
}

impl Pieces {
    fn read_all(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        while self.remaining > 0 {
            self.produce(bytes, PIECE_BYTES)?;
        }
        Ok(())
    }
}

impl BodySource for Pieces {
    fn produce(&mut self, piece: &mut Vec<u8>, max_bytes: usize) -> io::Result<()> {
        let max_bytes = max_bytes.min(PIECE_BYTES);
        let count = usize::try_from(self.remaining).map_or(max_bytes, |left| left.min(max_bytes));
        if count == 0 {
            return Ok(());
        }
        let start = piece.len();
        piece.resize(start.saturating_add(count), 0);
        let room = piece.get_mut(start..).unwrap_or_default();
        let mut read = self.file.read_at(room, self.at);
        while read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
            read = self.file.read_at(room, self.at);
        }
        piece.truncate(start.saturating_add(*read.as_ref().unwrap_or(&0)));
        let read = read?;
        if read == 0 {
            // Somebody has cut it off.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at = self.at.saturating_add(read as u64);
        self.remaining = self.remaining.saturating_sub(read as u64);
        Ok(())
    }
}

/// Changes with the file, as far as its time of change tells (RFC 9110 §8.8.3).
fn etag(metadata: &Metadata, coding: Option<&str>) -> String {
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    let coding = coding.map(|coding| format!("-{coding}")).unwrap_or_default();
    format!("\"{seconds:x}.{nanoseconds:x}-{:x}{coding}\"", metadata.len())
}

fn redirect(request: &Request<'_>) -> Response {
    let query = request.raw_query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("{}/{query}", request.path());
    Response::of_status(Status::MOVED_PERMANENTLY).header("Location", location)
}

/// Whether a coding is named, and not with the weight 0 (RFC 9110 §12.5.3).
fn accepts(request: &Request<'_>, coding: &str) -> bool {
    let mut codings = request.list("accept-encoding");
    codings.any(|item| {
        let (name, weight) = item.split_once(';').unwrap_or((item, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        name.trim().eq_ignore_ascii_case(coding) && weight.parse::<f32>().is_ok_and(|q| q > 0.0)
    })
}

fn status_of(error: &io::Error) -> Status {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EINTR | libc::EAGAIN) => {
            Status::SERVICE_UNAVAILABLE
        }
        Some(libc::EIO) => Status::INTERNAL_SERVER_ERROR,
        // Not there, not allowed, not a name, a way out: it is nobody's business which.
        Some(_) => Status::NOT_FOUND,
        None if error.kind() == io::ErrorKind::NotFound => Status::NOT_FOUND,
        None => Status::INTERNAL_SERVER_ERROR,
    }
}

/// How often a path is resolved again while its folders are being changed.
const MAX_OPEN_RETRIES: u32 = 10;
/// Read at once.
const PIECE_BYTES: usize = 128 << 10;
/// Files up to this size leave in one send with their heads.
const WHOLE_BYTES: u64 = 64 << 10;
