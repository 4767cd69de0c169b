//! A Redis as a [`CacheBackend`](dexter_cache::backend::CacheBackend) sees it, in this process and under tokio's paused
//! clock, shared by several caches that play processes.
//!
//! [`store`] is the server's data and what it answers; [`net`] carries commands and replies, in the order of each
//! connection and with latencies drawn from a seed; [`faults`] is what can happen to either; [`backend`] is the client,
//! written after `RedisBackend` step by step.

mod backend;
mod faults;
mod net;
mod store;

pub(crate) use backend::SimBackend;
pub(crate) use net::SimServer;
pub(crate) use store::Mood;

/// What the server's clock says when a scenario begins, in milliseconds since the Unix epoch.
pub(crate) const EPOCH_MS: u64 = 1_700_000_000_000;
