//! What HTTP clients see of the cache: annotated functions and handlers behind an axum router, asked in process.

mod bypass;
mod cache_control;
mod client;
mod x_cache;
