//! [`Backend`]: how the workers speak to the kernel.

use std::{fmt, str::FromStr};

use crate::reactor::{self, UringReactor};

/// How the workers speak to the kernel.
///
/// ```
/// use sockeye::Backend;
/// assert_eq!("uring".parse(), Ok(Backend::Uring));
/// assert!("kqueue".parse::<Backend>().is_err());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Backend {
    /// io_uring if everything needed of it is there (Linux 6.1, and allowed), else epoll. One
    /// line in the log says which, and why.
    #[default]
    Auto,
    /// io_uring, or none.
    Uring,
    /// epoll.
    Epoll,
}

impl Backend {
    /// Decides between the two kernel backends.
    pub(super) fn choose(self, config: &reactor::Config) -> super::Result<Self> {
        if self == Self::Epoll {
            return Ok(self);
        }
        match UringReactor::new(config) {
            Ok(_) => Ok(Self::Uring),
            Err(error) if self == Self::Uring => Err(super::Error::Backend(error)),
            Err(error) => {
                log::warn!("io_uring is not to be had, epoll is used: {error}");
                Ok(Self::Epoll)
            }
        }
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "uring" | "io_uring" => Ok(Self::Uring),
            "epoll" => Ok(Self::Epoll),
            _ => Err(format!("'{text}' is no backend: choose auto, uring or epoll")),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Uring => "io_uring",
            Self::Epoll => "epoll",
        })
    }
}
