//! A standalone Redis behind the cache. The `redis` crate is used in here and nowhere else, and none of its types
//! leaves this module.

mod backend;
mod config;
mod connection;
mod error;
mod gather;
mod ops;
mod scripts;
mod stream;
mod sweep;
#[cfg(test)]
mod tests;
mod url;
mod watch;

pub use backend::RedisBackend;
pub use config::RedisConfig;
