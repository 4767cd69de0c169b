//! What every backend must do, run against each of them.
//!
//! A behaviour is an async function that is handed a backend, which may hold entries of others: it touches only keys
//! under a beginning of its own ([`fixture::Names`]). To mount all of them on a backend, write a module with a function
//! that makes one, and what must live as long as it is used:
//!
//! ```ignore
//! mod mine {
//!     async fn fresh() -> (Arc<dyn CacheBackend>, MyServer) { … }
//!     mount!(fresh);
//! }
//! ```

#[macro_use]
mod mount;

mod conditions;
mod expiry;
mod fixture;
mod patterns;
mod reads;
mod removals;
mod sequences;
mod values;

mod memory;
mod redis;
