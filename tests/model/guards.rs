//! Guards that can be turned off, to see that the model notices.

use dexter_cache::CacheBuilder;

/// What is turned off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Off {
    /// Of the server: a new connection does not end the earlier ones.
    ConnectionKill,
}

impl Off {
    pub(crate) fn of(self, builder: CacheBuilder) -> CacheBuilder {
        match self {
            Self::ConnectionKill => builder,
        }
    }
}
