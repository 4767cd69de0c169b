//! [`Policy`]: what a call wants of the cache beside its key.

use crate::ttl::Ttl;

/// How long what a call loads may be used. A plain [`Ttl`] is one.
#[derive(Debug, Clone)]
#[must_use]
pub struct Policy {
    pub(crate) ttl: Ttl,
}

impl Policy {
    /// Values that are fresh for `ttl`, and gone after it.
    pub const fn new(ttl: Ttl) -> Self {
        Self { ttl }
    }
}

impl From<Ttl> for Policy {
    fn from(ttl: Ttl) -> Self {
        Self::new(ttl)
    }
}
