//! Memory of this process: the typed store behind every in-process tier, and a backend of bytes over it.
//!
//! [`MemoryStore`] holds values as they are, so a hit neither decodes nor copies; [`MemoryBackend`] puts a
//! [`CacheBackend`](super::CacheBackend) of bytes on top of it. The [`engine`] beneath holds the entries and
//! says which make room for others; deadlines, the giving back of what has expired and the removal by pattern are the
//! store's.

mod backend;
mod engine;
mod entry;
mod limits;
mod store;
mod sweep;
#[cfg(test)]
mod tests;

pub use backend::MemoryBackend;
pub use limits::EntryInfo;

pub(crate) use {
    entry::{Claim, Extra, Held, KeyRef},
    limits::MemoryLimits,
    store::MemoryStore,
};
