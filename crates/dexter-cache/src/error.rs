//! The one error of the crate, and the error that followers of a failed load receive.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// What went wrong, in classes that a program can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An option, an address or a combination of both is not usable; the message says what to write instead.
    Config,
    /// A cache is already installed in this process.
    AlreadyInstalled,
    /// The value could not be turned into bytes.
    Encode,
    /// The backend cannot do what was asked of it, such as removing by pattern.
    Unsupported,
    /// The backend could not be reached, or broke off.
    Unavailable,
    /// The backend did not answer in time: whether it did what was asked is not known.
    Timeout,
    /// The backend answered that it is not able to serve now (loading, read-only, busy).
    NotReady,
    /// The backend refused a write because its memory is full; it still reads and removes.
    OutOfMemory,
    /// The backend refused the credentials, or the right to run a command.
    Denied,
    /// Under the key lies something that is no value of this library.
    WrongType,
    /// Anything else that the backend answered.
    Backend,
    /// A load took longer than the call's hard timeout; it goes on.
    LoadTimeout,
}

/// The error of every fallible call of this crate: opaque, cheap to clone, never holding a password or a value.
///
/// Look at [`kind`](Error::kind) to decide, print it to tell a person, and follow
/// [`source`](std::error::Error::source) for the cause.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: Box<str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`. Backends outside this crate use it to say how an operation failed.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into().into_boxed_str(),
            source: None,
        }))
    }

    /// As [`new`](Error::new), keeping the error that caused it.
    pub fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into().into_boxed_str(),
            source: Some(source.into()),
        }))
    }

    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether something did not end in time: the backend, so that the outcome is not known, or a load.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Timeout | ErrorKind::LoadTimeout)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.0.kind)
            .field("message", &self.0.message);
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

/// The error of another caller's load, as its followers see it: the text of the error and of its causes.
///
/// Callers of one key share one load. If that load fails with an error that cannot be cloned, a follower can still
/// be told why, provided that its own error type is `From<SharedError>` (as `anyhow::Error` and
/// `Box<dyn Error + Send + Sync>` are). Otherwise the follower loads for itself.
#[derive(Debug, Clone)]
pub struct SharedError(Arc<str>);

impl SharedError {
    pub(crate) fn of(error: &dyn fmt::Display) -> Self {
        Self(format!("{error:#}").into())
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for SharedError {}
