//! Nothing but a benchmark: see `benches/oxcache.rs`.
