//! Names of what is logged, in one place.

/// The target of every event of this crate.
pub(crate) const TARGET: &str = "dexter_cache";
