//! HTTP: a scope a request, `?no_cache=true`, `X-Cache` and `Cache-Control`.
//!
//! [`CacheContextLayer`] is a [tower](https://docs.rs/tower) layer for axum, hyper, tonic and whatever else speaks
//! [`http::Request`] and [`http::Response`]. It stores nothing itself: the annotated functions under it do, and it
//! tells the client what they did.
//!
//! | request | response |
//! |---|---|
//! | every annotated call under it was answered from the cache | `X-Cache: HIT` |
//! | one of them ran its function | `X-Cache: MISS` |
//! | with `?no_cache=true`, permitted by the [`BypassPolicy`] | `X-Cache: BYPASS`, `Cache-Control: no-store` |
//! | no annotated call was made | untouched |
//!
//! `Cache-Control: max-age=<seconds>` goes on a `200` to a GET or HEAD whose **handler itself** is annotated, and says
//! for how long its entry still lives, rounded down. A handler that is not annotated, but calls functions that are,
//! gives none: what it makes of them is not known here. A route asks for it by [`CacheContextLayer::cache_control`];
//! then the entry that expires first decides.
//!
//! An annotated handler is known by the `Json` that it returns: the response is JSON, and no other annotated call comes
//! after it. One that calls an annotated *handler*, and makes JSON of its own out of that alone, is taken for it: let
//! both call an annotated function instead. One that returns text or HTML is not known; its route asks.
//!
//! | in the request or the handler's response | effect |
//! |---|---|
//! | `Authorization` or `Cookie` in the request | `private, max-age=…` |
//! | `Set-Cookie` in the response | no `max-age` |
//! | `Cache-Control` in the response | left as it is |
//! | a method other than GET and HEAD | `X-Cache` alone |
//! | a status other than `200` | no `max-age`; a bypass still says `no-store` |
//!
//! A handler whose answer depends on a request header has to say so with `Vary`, as it would without a cache.
//!
//! Where a Redis is away, or an answer is stale or could not be stored, `max-age` is as short as the entry's life is: the
//! fallback's, or 0. With `DEXTER_CACHE=off`, and where no cache is installed, responses are untouched.
//!
//! # Handlers of axum
//!
//! With the feature `axum` a handler may be annotated itself. Its `Json` is the cached value; what its extractors take
//! out of the request is in the key, except what `skip` names, such as the state. Extractors are taken apart in the
//! signature, and what comes out of one that you have written derives [`CacheKey`](trait@crate::CacheKey).
//!
//! **What decides about the answer has to be in the key.** A handler that answers each user differently, and `skip`s the
//! user, answers everybody with what the first one got.
//!
#![cfg_attr(all(feature = "macros", feature = "axum"), doc = "```")]
#![cfg_attr(not(all(feature = "macros", feature = "axum")), doc = "```ignore")]
//! use axum::extract::{Path, Query, State};
//! use axum::{Json, Router, http::StatusCode, routing::get};
//! use dexter_cache::{cached, http::CacheContextLayer};
//! use serde::Deserialize;
//!
//! # #[derive(Clone)]
//! # struct Db;
//! # impl Db {
//! #     async fn titles(&self, _: u64, _: u32) -> Result<Vec<String>, StatusCode> { Ok(vec![]) }
//! # }
//! #[derive(Deserialize)]
//! struct Page {
//!     page: u32,
//! }
//!
//! // titles:page=2&project=7
//! #[cached(ttl = "5m", prefix = "titles", skip(db))]
//! async fn titles(
//!     State(db): State<Db>,
//!     Path(project): Path<u64>,
//!     Query(Page { page }): Query<Page>,
//! ) -> Result<Json<Vec<String>>, StatusCode> {
//!     Ok(Json(db.titles(project, page).await?))
//! }
//!
//! let app: Router = Router::new()
//!     .route("/projects/{project}/titles", get(titles))
//!     .layer(CacheContextLayer::new())
//!     .with_state(Db);
//! # drop(app);
//! ```
//!
//! # What is outside
//!
//! What runs after the response has been made is outside: calls made while a body is streamed report nothing, and a
//! spawned task leaves the scope unless it is told to stay in it.

mod bypass;
mod future;
mod layer;
mod service;
mod stamp;

pub use bypass::BypassPolicy;
pub use future::CacheContextFuture;
pub use layer::CacheContextLayer;
pub use service::CacheContextService;
