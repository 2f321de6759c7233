//! [`Agreement`]: what both sides have agreed on in the opening handshake (RFC 7692 §5, §7.1).

use std::fmt::Write;

use super::{
    WINDOW_BITS,
    extensions::{Extension, Parameters, extensions},
};
use crate::http::Fields;

/// permessage-deflate as it is used on one connection.
///
/// ```
/// use sockeye::ws::deflate::Preferences;
/// let offer = Preferences::default().offer();
/// assert!(offer.starts_with("permessage-deflate; server_no_context_takeover"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    answer: Parameters,
    outgoing: Window,
    incoming: Window,
    // How large a window the peer has for what this side sends.
    limit: u8,
}

/// What one side would like. Both sides have to agree, and may agree on less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Preferences {
    /// For what this side sends.
    pub outgoing: Context,
    /// For what this side receives.
    pub incoming: Context,
}

/// Whether a message may refer to those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Context {
    /// Each message stands for itself: nothing is kept between them.
    #[default]
    Fresh,
    /// Context takeover: up to 2 to the power of `window_bits` bytes are kept, of 9 to 15.
    TakenOver {
        /// The size of the window.
        window_bits: u8,
    },
}

/// The LZ77 window of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// How far back references may reach: 2 to the power of this.
    pub bits: u8,
    /// Whether they may reach into earlier messages.
    pub is_taken_over: bool,
}

impl Agreement {
    /// What a server answers to the offers in a request: the first that it can accept is. `None`
    /// if it can accept none (RFC 7692 §5.1: then messages are not compressed).
    #[must_use]
    pub fn accept(fields: &Fields<'_>, preferences: &Preferences) -> Option<Self> {
        extensions(fields).map_while(Result::ok).find_map(|extension| match extension {
            Extension::Deflate(offer) => Self::to_offer(&offer, preferences),
            Extension::Unsound | Extension::Other => None,
        })
    }

    fn to_offer(offer: &Parameters, preferences: &Preferences) -> Option<Self> {
        let mut answer = Parameters::default();
        // RFC 7692 §7.1.2.1: a window that is asked for is used, or the offer declined.
        let limit = offer.server_max_window_bits.unwrap_or(15);
        if !WINDOW_BITS.contains(&limit) {
            return None;
        }
        let outgoing = match preferences.outgoing {
            Context::TakenOver { window_bits } if !offer.server_no_context_takeover => {
                Window { bits: window_bits.min(limit), is_taken_over: true }
            }
            // §7.1.1.1: it may be answered without having been offered.
            _ => Window { bits: limit, is_taken_over: false },
        };
        answer.server_no_context_takeover = !outgoing.is_taken_over;
        answer.server_max_window_bits = offer.server_max_window_bits.map(|_| outgoing.bits);
        let mut incoming = Window { bits: 15, is_taken_over: false };
        if let Context::TakenOver { window_bits } = preferences.incoming
            && !offer.client_no_context_takeover
        {
            // §7.1.2.2: the client's window can be limited only if it says that it can be.
            let bits = match offer.client_max_window_bits {
                Some(limit) => window_bits.min(limit.unwrap_or(15)),
                None => 15,
            };
            // A client that wants a larger window than is granted shall do without.
            incoming = Window { bits, is_taken_over: bits <= window_bits };
            let is_limited = incoming.is_taken_over && bits < 15;
            answer.client_max_window_bits = is_limited.then_some(Some(bits));
        }
        answer.client_no_context_takeover = !incoming.is_taken_over;
        Some(Self { answer, outgoing, incoming, limit })
    }

    /// What a client makes of the answer in a response, having made the offer of `preferences`.
    /// `None` if the server does without the extension.
    ///
    /// # Errors
    /// [`NotOffered`] if the response has anything that does not answer that offer.
    pub(in crate::ws) fn verify(
        fields: &Fields<'_>,
        preferences: &Preferences,
    ) -> Result<Option<Self>, NotOffered> {
        let mut answers = extensions(fields);
        let Some(answer) = answers.next() else { return Ok(None) };
        match (answer, answers.next()) {
            (Ok(Extension::Deflate(answer)), None) => {
                Self::of_answer(answer, preferences).map(Some).ok_or(NotOffered)
            }
            _ => Err(NotOffered),
        }
    }

    fn of_answer(answer: Parameters, preferences: &Preferences) -> Option<Self> {
        let incoming_bits = answer.server_max_window_bits.unwrap_or(15);
        let incoming = match preferences.incoming {
            // §7.1.1.1, §7.1.2.1: a server that accepts what is asked for says so.
            Context::Fresh if !answer.server_no_context_takeover => return None,
            Context::TakenOver { window_bits } if incoming_bits > window_bits => return None,
            _ => Window { bits: incoming_bits, is_taken_over: !answer.server_no_context_takeover },
        };
        // §7.1.2.2: in a response it has a value.
        let limit = match answer.client_max_window_bits {
            Some(limit) => limit?,
            None => 15,
        };
        let outgoing = match preferences.outgoing {
            Context::TakenOver { window_bits } if !answer.client_no_context_takeover => {
                Window { bits: window_bits.min(limit), is_taken_over: true }
            }
            _ => Window { bits: limit, is_taken_over: false },
        };
        Some(Self { answer, outgoing, incoming, limit })
    }

    /// The window of what this side sends. Below 9 bits: nothing can be deflated for it, and
    /// messages have to go as they are.
    #[must_use]
    pub fn outgoing(&self) -> Window {
        self.outgoing
    }

    /// Whether the peer reads whatever was deflated by itself, with a window of any size: so that
    /// one payload does for many receivers.
    #[must_use]
    pub fn takes_any_window(&self) -> bool {
        self.limit == 15
    }

    /// The window of what this side receives.
    #[must_use]
    pub fn incoming(&self) -> Window {
        self.incoming
    }

    /// The value of Sec-WebSocket-Extensions in a server's response.
    #[must_use]
    pub fn to_field_value(&self) -> String {
        let mut value = String::from("permessage-deflate");
        let Parameters {
            server_no_context_takeover,
            client_no_context_takeover,
            server_max_window_bits,
            client_max_window_bits,
        } = self.answer;
        if server_no_context_takeover {
            value += "; server_no_context_takeover";
        }
        if client_no_context_takeover {
            value += "; client_no_context_takeover";
        }
        if let Some(bits) = server_max_window_bits {
            let _ = write!(value, "; server_max_window_bits={bits}");
        }
        if let Some(Some(bits)) = client_max_window_bits {
            let _ = write!(value, "; client_max_window_bits={bits}");
        }
        value
    }
}

impl Preferences {
    /// The value of Sec-WebSocket-Extensions in a client's request.
    #[must_use]
    pub fn offer(&self) -> String {
        let mut value = String::from("permessage-deflate");
        match self.incoming {
            Context::Fresh => value += "; server_no_context_takeover",
            Context::TakenOver { window_bits: 15 } => {}
            Context::TakenOver { window_bits } => {
                let _ = write!(value, "; server_max_window_bits={window_bits}");
            }
        }
        if self.outgoing == Context::Fresh {
            value += "; client_no_context_takeover";
        }
        value + "; client_max_window_bits"
    }

    /// Whether the windows have sizes that exist.
    #[must_use]
    pub fn are_sound(&self) -> bool {
        [self.outgoing, self.incoming].into_iter().all(|context| match context {
            Context::Fresh => true,
            Context::TakenOver { window_bits } => WINDOW_BITS.contains(&window_bits),
        })
    }
}

/// The response has an extension, or parameters of it, that were not offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ws) struct NotOffered;

/// Whether this User-Agent is a Safari 15.0 to 15.3: it offers permessage-deflate, and then fails
/// to read what is deflated.
///
/// ```
/// use sockeye::ws::deflate::is_broken_safari;
/// let safari = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 \
///     (KHTML, like Gecko) Version/15.2 Safari/605.1.15";
/// assert!(is_broken_safari(safari.as_bytes()));
/// assert!(!is_broken_safari(safari.replace("15.2", "15.4").as_bytes()));
/// ```
#[must_use]
pub fn is_broken_safari(user_agent: &[u8]) -> bool {
    let mut words = user_agent.split(|byte| *byte == b' ');
    let is_safari = words.clone().any(|word| word.starts_with(b"Safari/"));
    is_safari
        && words.any(|word| {
            let minor = word.strip_prefix(b"Version/15.");
            matches!(minor, Some([b'0'..=b'3'] | [b'0'..=b'3', b'.', ..]))
        })
}

#[cfg(test)]
mod tests;
