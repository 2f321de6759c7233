//! Who asks: [`BasicAuth`], [`BearerAuth`], and [`Tickets`] for those that cannot send headers.
//!
//! Secrets are compared in a time that depends on what the client sends, not on the secret.

// Bytes of peers end in a result.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::arithmetic_side_effects)
)]

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use super::{Request, Response};
use crate::{
    http::Status,
    reactor::{Clock, random},
};

/// Users and passwords (RFC 7617). Only to be used where the connection is encrypted.
///
/// ```
/// use sockeye::{App, BasicAuth, Response};
///
/// let users = BasicAuth::new("staff").user("ada", "lovelace");
/// let app = App::new().get("/", move |request| match users.check(request) {
///     Ok(name) => Response::text(format!("Hello, {name}!")),
///     Err(unauthorized) => unauthorized,
/// });
/// ```
#[derive(Clone)]
pub struct BasicAuth {
    realm: &'static str,
    users: Vec<(String, String)>,
}

impl BasicAuth {
    /// Nobody yet; browsers show the name of the realm. Quotes and backslashes in it are left out.
    #[must_use]
    pub fn new(realm: &'static str) -> Self {
        Self { realm, users: Vec::new() }
    }

    /// One more user. Names have no colon.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.users.push((name.into(), password.into()));
        self
    }

    /// The name of the user who asks.
    ///
    /// # Errors
    /// The 401 to answer with.
    #[allow(clippy::result_large_err, reason = "it is sent at once")]
    pub fn check(&self, request: &Request<'_>) -> Result<&str, Response> {
        let given = request.basic_credentials();
        let (name, password) = given.as_ref().map_or(("", ""), |(n, p)| (n, p));
        let mut found = None;
        // All are compared, so that time does not tell who exists.
        for (known, secret) in &self.users {
            if eq(name.as_bytes(), known.as_bytes()) & eq(password.as_bytes(), secret.as_bytes()) {
                found = Some(&**known);
            }
        }
        match found.filter(|_| given.is_some()) {
            Some(name) => Ok(name),
            None => Err(self.challenge()),
        }
    }

    fn challenge(&self) -> Response {
        let realm: String = self
            .realm
            .chars()
            .filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\'))
            .collect();
        let value = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
        Response::of_status(Status::UNAUTHORIZED).header("WWW-Authenticate", value)
    }
}

/// Tokens that stand for whoever has them (RFC 6750). Only to be used where the connection is
/// encrypted.
///
/// ```
/// use sockeye::{App, BearerAuth, Response};
///
/// let tokens = BearerAuth::new().token("0b5cd1c1", "backup");
/// let app = App::new().get("/", move |request| match tokens.check(request) {
///     Ok(name) => Response::text(format!("Hello, {name}!")),
///     Err(unauthorized) => unauthorized,
/// });
/// ```
#[derive(Clone, Default)]
pub struct BearerAuth {
    tokens: Vec<(String, String)>,
}

impl BearerAuth {
    /// Nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more token, and whom it stands for.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>, name: impl Into<String>) -> Self {
        self.tokens.push((token.into(), name.into()));
        self
    }

    /// Whom the token of the request stands for.
    ///
    /// # Errors
    /// The 401 to answer with.
    #[allow(clippy::result_large_err, reason = "it is sent at once")]
    pub fn check(&self, request: &Request<'_>) -> Result<&str, Response> {
        let given = request.bearer_token();
        let mut found = None;
        for (secret, name) in &self.tokens {
            if eq(given.unwrap_or_default().as_bytes(), secret.as_bytes()) {
                found = Some(&**name);
            }
        }
        found.filter(|_| given.is_some()).ok_or_else(|| {
            // RFC 6750 §3.1: the error is named only if there was a token.
            let value = given.map_or("Bearer", |_| "Bearer error=\"invalid_token\"");
            Response::of_status(Status::UNAUTHORIZED).header("WWW-Authenticate", value)
        })
    }
}

impl Request<'_> {
    /// The user and password of `Authorization: Basic` (RFC 7617).
    #[must_use]
    pub fn basic_credentials(&self) -> Option<(String, String)> {
        let bytes = STANDARD.decode(self.credentials("basic")?).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (name, password) = text.split_once(':')?;
        Some((name.to_owned(), password.to_owned()))
    }

    /// The token of `Authorization: Bearer` (RFC 6750).
    #[must_use]
    pub fn bearer_token(&self) -> Option<&str> {
        self.credentials("bearer").filter(|token| !token.is_empty())
    }

    /// What follows the scheme (RFC 9110 §11.4), if there is one Authorization field.
    fn credentials(&self, scheme: &str) -> Option<&str> {
        let value = self.head.fields().single("authorization").ok()??;
        let (given, rest) = std::str::from_utf8(value).ok()?.split_once(' ')?;
        given.eq_ignore_ascii_case(scheme).then(|| rest.trim_start_matches(' '))
    }
}

/// Tickets that can be used once and soon, shared by all workers.
///
/// Browsers send no headers of a page's choice with a WebSocket or an event stream. So the page
/// fetches a ticket, with whatever proves who it is, and puts it into the query of the request
/// that follows: who reads it in a log later finds it used.
///
/// ```
/// use std::time::Duration;
/// use sockeye::{Request, Status, Tickets, Upgrade};
///
/// let tickets = Tickets::new(Duration::from_secs(30));
/// let ticket = tickets.issue("ada", "ada".to_owned())?;
///
/// fn upgrade(tickets: &Tickets<String>, request: &Request<'_>) -> Upgrade<String> {
///     match request.query("ticket").and_then(|ticket| tickets.redeem(&ticket)) {
///         Some(name) => Upgrade::accept(name),
///         None => Upgrade::reject(Status::UNAUTHORIZED),
///     }
/// }
///
/// assert_eq!(tickets.redeem(&ticket).as_deref(), Some("ada"));
/// assert_eq!(tickets.redeem(&ticket), None);
/// # Ok::<(), sockeye::TicketError>(())
/// ```
pub struct Tickets<T>(Arc<Office<T>>);

struct Office<T> {
    clock: Clock,
    lifetime: Duration,
    // Off the hot path: once for each login.
    open: Mutex<Open<T>>,
}

struct Open<T> {
    values: HashMap<Number, T>,
    // In the order of their ends; some of them used.
    ends: VecDeque<(Duration, Number, Arc<str>)>,
    // How many of `ends` each name has. Invariant: never zero.
    counts: HashMap<Arc<str>, usize>,
    max_per_name: usize,
}

/// Why there is no ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketError {
    /// This name has had as many as it may have in one lifetime ([`Tickets::max_per_name`]): 429.
    TooManyOfName,
    /// All names together have ([`Tickets::MAX_OPEN`]): 503.
    TooMany,
    /// The kernel gives no random numbers: 503.
    NoRandomness,
}

type Number = [u8; 16];

impl<T: Send> Tickets<T> {
    /// None yet. Each is good for this long.
    #[must_use]
    pub fn new(lifetime: Duration) -> Self {
        let open = Open {
            values: HashMap::new(),
            ends: VecDeque::new(),
            counts: HashMap::new(),
            max_per_name: DEFAULT_MAX_PER_NAME,
        };
        Self(Arc::new(Office { clock: Clock::start(), lifetime, open: Mutex::new(open) }))
    }

    /// The most tickets that are issued to one name within one lifetime, used or not. Default 64,
    /// as many tabs as come back at once when a server has been restarted.
    #[must_use]
    pub fn max_per_name(self, count: usize) -> Self {
        self.open().max_per_name = count;
        self
    }

    /// A ticket that stands for this value, of 22 characters that need no encoding in a URL. It is
    /// counted for the name of who has asked, so that nobody can take those of others away.
    ///
    /// # Errors
    /// [`TicketError`] if this name, or all together, have too many; or without a source of
    /// randomness.
    pub fn issue(&self, name: &str, value: T) -> Result<String, TicketError> {
        let number: Number = random().map_err(|_| TicketError::NoRandomness)?;
        let now = self.0.clock.now();
        let mut open = self.open();
        open.forget(now);
        // Used ones still count, so that nobody makes room by using them.
        if open.counts.get(name).copied().unwrap_or_default() >= open.max_per_name {
            return Err(TicketError::TooManyOfName);
        }
        if open.ends.len() >= Self::MAX_OPEN {
            return Err(TicketError::TooMany);
        }
        let name = open.counts.get_key_value(name).map_or_else(|| name.into(), |(n, _)| n.clone());
        let count = open.counts.entry(Arc::clone(&name)).or_default();
        *count = count.saturating_add(1);
        open.ends.push_back((now.saturating_add(self.0.lifetime), number, name));
        open.values.insert(number, value);
        Ok(URL_SAFE_NO_PAD.encode(number))
    }

    /// What the ticket stands for, the first time it is asked.
    #[must_use]
    pub fn redeem(&self, ticket: &str) -> Option<T> {
        // Others are not even decoded.
        if ticket.len() != TICKET_BYTES {
            return None;
        }
        let number: Number = URL_SAFE_NO_PAD.decode(ticket).ok()?.try_into().ok()?;
        let now = self.0.clock.now();
        let mut open = self.open();
        open.forget(now);
        open.values.remove(&number)
    }

    fn open(&self) -> MutexGuard<'_, Open<T>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most tickets of one lifetime, used or not.
    pub const MAX_OPEN: usize = 1 << 16;
}

impl<T> Open<T> {
    fn forget(&mut self, now: Duration) {
        while self.ends.front().is_some_and(|(end, ..)| *end <= now)
            && let Some((_, number, name)) = self.ends.pop_front()
        {
            self.values.remove(&number);
            if let Some(count) = self.counts.get_mut(&name) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.counts.remove(&name);
                }
            }
        }
    }
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyOfName => "too many tickets for this name",
            Self::TooMany => "too many tickets",
            Self::NoRandomness => "no randomness for a ticket",
        })
    }
}

impl std::error::Error for TicketError {}

impl<T> Clone for Tickets<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Tickets<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BasicAuth({:?}, {} users)", self.realm, self.users.len())
    }
}

impl fmt::Debug for BearerAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BearerAuth({} tokens)", self.tokens.len())
    }
}

/// Compares in a time that depends on `given` only.
fn eq(given: &[u8], secret: &[u8]) -> bool {
    let mut difference = given.len() ^ secret.len();
    for (index, byte) in given.iter().enumerate() {
        let other = index.checked_rem(secret.len()).and_then(|place| secret.get(place));
        difference |= usize::from(byte ^ other.copied().unwrap_or_default());
    }
    std::hint::black_box(difference) == 0
}

/// 128 bits, six in a character.
const TICKET_BYTES: usize = 22;
/// Unless [`Tickets::max_per_name`] says otherwise.
const DEFAULT_MAX_PER_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_equal_or_not() {
        assert!(eq(b"", b"") && eq(b"abc", b"abc"));
        let cases: [(&[u8], &[u8]); 6] =
            [(b"", b"a"), (b"a", b""), (b"ab", b"a"), (b"a", b"aa"), (b"aa", b"a"), (b"x", b"y")];
        for (given, secret) in cases {
            assert!(!eq(given, secret), "{given:?} {secret:?}");
        }
    }

    #[test]
    fn tickets_are_good_once_and_soon() {
        let tickets = Tickets::new(Duration::from_secs(60));
        let (one, two) = (tickets.issue("a", 1).unwrap(), tickets.issue("a", 2).unwrap());
        assert_eq!((one.len(), one == two), (TICKET_BYTES, false));
        assert_eq!((tickets.redeem(&two), tickets.redeem(&two)), (Some(2), None));
        assert_eq!(tickets.redeem(""), None);
        assert_eq!(tickets.redeem(&"A".repeat(22)), None);
        assert_eq!(tickets.redeem(&"é".repeat(11)), None);
        assert_eq!(tickets.clone().redeem(&one), Some(1));
        let late = Tickets::new(Duration::ZERO);
        let ticket = late.issue("a", 3).unwrap();
        assert_eq!(late.redeem(&ticket), None);
        let lasting = Tickets::new(Duration::MAX);
        let ticket = lasting.issue("a", 4).unwrap();
        assert_eq!(lasting.redeem(&ticket), Some(4));
    }

    #[test]
    fn open_tickets_are_bounded() {
        let tickets = Tickets::new(Duration::from_secs(60)).max_per_name(usize::MAX);
        for _ in 0..Tickets::<()>::MAX_OPEN {
            tickets.issue("a", ()).unwrap();
        }
        assert_eq!(tickets.issue("b", ()), Err(TicketError::TooMany));
    }

    #[test]
    fn one_name_cannot_take_the_tickets_of_others() {
        let tickets = Tickets::new(Duration::from_secs(60));
        for _ in 0..DEFAULT_MAX_PER_NAME {
            let ticket = tickets.issue("greedy", ()).unwrap();
            // Using them makes no room.
            assert_eq!(tickets.redeem(&ticket), Some(()));
        }
        for _ in 0..10 {
            assert_eq!(tickets.issue("greedy", ()), Err(TicketError::TooManyOfName));
        }
        assert!(tickets.issue("modest", ()).is_ok());
        let few = Tickets::new(Duration::from_millis(50)).max_per_name(1);
        assert!(few.issue("a", ()).is_ok() && few.issue("b", ()).is_ok());
        assert_eq!(few.clone().issue("a", ()), Err(TicketError::TooManyOfName));
        let (clock, names) = (Clock::start(), few.open().counts.len());
        assert_eq!(names, 2);
        // With the tickets of the past goes what is known of their names.
        while clock.now() < Duration::from_millis(60) {
            std::thread::yield_now();
        }
        assert!(few.issue("a", ()).is_ok());
        assert_eq!(few.open().counts.len(), 1);
    }
}
