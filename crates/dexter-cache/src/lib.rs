//! Caching for async Rust services: one attribute on an `async fn` gives it a cache in Redis, shared by every instance
//! of the service. When Redis is slow or gone, this process's memory takes over and no caller gets an error. When Redis
//! returns, nothing that was invalidated meanwhile comes back.
//!
#![cfg_attr(feature = "macros", doc = "```")]
#![cfg_attr(not(feature = "macros"), doc = "```ignore")]
//! use dexter_cache::{Cache, bypass, cached, invalidates};
//! # #[derive(Clone, serde::Serialize, serde::Deserialize)] struct Issue { status: String }
//! # #[derive(Clone, Debug)] struct ApiError;
//! # impl From<dexter_cache::Error> for ApiError { fn from(_: dexter_cache::Error) -> Self { Self } }
//!
//! #[cached(ttl = 300, prefix = "list_issues")]
//! async fn list_issues(organization: &str, status: Option<&str>) -> Result<Vec<Issue>, ApiError> {
//!     // … ask the database …
//! #   Ok(vec![])
//! }
//!
//! #[cached(ttl = "1m", prefix = "get_issue")]
//! async fn get_issue(id: u64) -> Result<Issue, ApiError> {
//! #   /*
//!     …
//! #   */
//! #   Ok(Issue { status: String::new() })
//! }
//!
//! #[invalidates(get_issue(id), pattern = "list_issues:*")]
//! async fn update_issue(id: u64, status: String) -> Result<Issue, ApiError> {
//! #   /*
//!     …
//! #   */
//! #   Ok(Issue { status })
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), ApiError> {
//! # let cache = Cache::memory();
//! # #[cfg(any())]
//! let cache = Cache::from_env().await?; // REDIS_URL, by default redis://localhost:6379/0
//! cache.install()?; //                     what a bare `#[cached]` uses
//!
//! list_issues("myorg", Some("unresolved")).await?; // loads: list_issues:organization=myorg&status=unresolved
//! list_issues("myorg", Some("unresolved")).await?; // a hit
//! update_issue(7, "resolved".into()).await?; //       removes the lists and issue 7
//! list_issues("myorg", Some("unresolved")).await?; // loads again
//! bypass(get_issue(7)).await?; //                     goes round the cache
//! get_issue::remove(7).await?; //                     removes one entry by its arguments
//! println!("{:?}", cache.stats().prefix("list_issues").hit_rate());
//! # Ok(())
//! # }
//! ```
//!
//! # Setting up
//!
//! ```no_run
//! # use dexter_cache::Cache;
//! # async fn set_up() -> Result<(), dexter_cache::Error> {
//! let cache = Cache::builder()
//!     .redis("redis://localhost:6379/0")
//!     .namespace("issues") //      stands in front of each key in Redis
//!     .memory_capacity(50_000) //  entries in memory, while Redis is away
//!     .build()
//!     .await?; //                  a Redis that is away is no error
//! cache.install()?;
//! // … serve …
//! cache.close().await; //          what the last calls stored and removed reaches Redis
//! # Ok(())
//! # }
//! ```
//!
//! [`Cache::from_env`] reads the address from `REDIS_URL`, and [`CacheBuilder::from_env`] takes options to it. Services that
//! share a Redis take a namespace each. [`Cache::stats`] counts hits, misses and loads per prefix; [`Cache::health`] says
//! whether Redis is in use. A function may name a cache of its own (`cache = self.cache`), and a future may run under one
//! ([`Cache::scope`]); only where neither is, the installed one is used, and without any the function simply runs.
//!
//! # What a call does
//!
//! 1. The key is built from the arguments, on the stack.
//! 2. Memory is looked up, where memory serves. A hit ends here: no lock over the whole cache, no decoding.
//! 3. The call joins the *flight* of its key. One caller goes on; the others wait for it and share what it brings. This
//!    is on for every load path, by default.
//! 4. Redis is read: one round trip for a hit. On a miss the caller takes a *lease*, which lies under the key itself, so
//!    that other processes wait for it instead of loading, too.
//! 5. The function runs. Its `Ok` is returned, and stored behind the answer. An `Err` is never stored.
//!
//! A load that began before an invalidation of its key is never stored, in this process or any other: the invalidation
//! removes the lease with the key, and the store at the end of the load finds nothing to replace.
//!
//! # Keys
//!
//! `prefix:name=value&name=value`, the names sorted, `None` left out. Values are percent-encoded where they hold a byte
//! with a meaning, so two argument lists never give one key, and a value never acts as a wildcard. See [`Key`],
//! [`CacheKey`](trait@CacheKey) and [`KeyPattern`].
//!
//! Your own structs and enums become parts of keys with `#[derive(CacheKey)]`:
//!
#![cfg_attr(feature = "macros", doc = "```")]
#![cfg_attr(not(feature = "macros"), doc = "```ignore")]
//! # use dexter_cache::{CacheKey, Key};
//! #[derive(CacheKey)]
//! struct Filter { status: Option<String>, page: u32 }
//!
//! let filter = Filter { status: None, page: 2 };
//! assert_eq!(Key::new("search").part("filter", &filter).as_str(), "search:filter.page=2");
//! ```
//!
//! # Methods
//!
//! A method gives its prefix, and says what of `self` is in the key. Its companions carry its name: `events_remove("web")`.
//!
#![cfg_attr(feature = "macros", doc = "```")]
#![cfg_attr(not(feature = "macros"), doc = "```ignore")]
//! # use dexter_cache::{Cache, cached};
//! # struct Sentry { organization: String, cache: Cache }
//! # impl Sentry {
//! #[cached(ttl = "10m", prefix = "events", cache = self.cache, key(organization = self.organization))]
//! async fn events(&self, project: &str) -> Vec<String> {
//!     // …
//! #   vec![]
//! }
//! # }
//! ```
//!
//! # What is stored
//!
//! The value within `Ok` or `Some`. An `Err` is never stored. A `None` is remembered for `none_ttl`, if that is given; left
//! out, what was not found is looked for again at every call.
//!
//! `local` keeps values in this process and lifts the bounds of serde from them. `version = 2` makes what was stored under
//! another version a miss. All options are on the page of [`#[cached]`](macro@cached).
//!
//! # When a load fails, or takes long
//!
//! `#[cached(ttl = "1m", stale = "1h")]` keeps a value for an hour after its minute, to answer where a load fails; the next
//! attempt waits then. `refresh_ahead = 0.8` loads anew before the TTL ends, with nobody waiting. `soft_timeout` answers
//! with a stale value when a load takes long, `hard_timeout` with an error; the load goes on. By hand the same is said with
//! a [`Policy`]. While a function loads, [`CacheContext`] shows it the value that is there, and lets it decide how long its
//! result lives. A stale value never answers after it was removed, nor after its window.
//!
//! # Many at once
//!
//! [`Cache::get_or_load_many`] asks for many keys at once, and has those that are missing loaded by *one* call of the loader:
//! one query instead of one for each row. Each key is an entry of its own all the same, with its own single flight and its own
//! removal. [`Cache::get_many`] reads without loading. `get_issue::warm(7)` loads what will be asked for, unless it is there.
//!
//! # Invalidation
//!
//! By key ([`Cache::remove`], `get_issue::remove(7)`), by *tag* ([`Cache::invalidate_tag`]), by pattern
//! ([`Cache::invalidate`]) and altogether ([`Cache::clear`]); declared on writers with `#[invalidates]`. Removals within a
//! database transaction wait for its end in [`Cache::deferred`]. Every removing call tells how far it has reached
//! ([`Invalidated`]).
//!
//! Where one write makes many entries untrue, give them a tag. To invalidate it is one command, whatever it labels:
//!
#![cfg_attr(feature = "macros", doc = "```")]
#![cfg_attr(not(feature = "macros"), doc = "```ignore")]
//! # use dexter_cache::{cached, invalidates};
//! #[cached(ttl = "5m", prefix = "list_issues", tags = ["project:{project}"])]
//! async fn list_issues(project: &str, page: u32) -> Vec<u64> {
//!     // …
//! #   vec![]
//! }
//!
//! #[invalidates(tag = "project:{project}")]
//! async fn create_issue(project: &str, title: &str) {
//!     // …
//! }
//! ```
//!
//! In Redis a tag is a random *token* below the reserved name `dexter-cache`, and an entry carries the tokens that its load
//! saw before it began. To invalidate a tag is to remove its token; an entry whose token is not there, or is another one,
//! is a miss. So what Redis loses makes entries void, and never valid again. A namespace as a whole has such a token, its
//! *epoch*: where there is a namespace, [`Cache::clear`] looks for nothing.
//!
//! A pattern is for what bears no tag: it walks the whole database of Redis, a thousand keys a round trip.
//! `list_issues::matching().project("web")` is the pattern for the keys in which a part has just that value
//! ([`Matching`]).
//!
//! # Three modes
//!
//! | mode | how | a hit costs | another process's removal is seen |
//! |---|---|---|---|
//! | `memory` | [`Cache::memory`], `REDIS_URL=memory` | a look-up | – |
//! | `redis` | an address of a Redis | one round trip, decoding | at once |
//! | `tiered` | [`CacheBuilder::tiered`], with a namespace | a look-up; the first one after a change as in `redis` | when Redis has told of it, or after 2.5 s |
//!
//! `tiered` keeps what it *reads* from Redis in memory as well (L1), decoded. Nothing enters there by being written, so a
//! fill here costs no other process its memory. Redis tells every process of each key that changes in the namespace, on
//! the connection that reads: what arrives together with the news that it is old is not kept. If the connection breaks,
//! L1 serves on for at most [`fallback_ttl`](CacheBuilder::fallback_ttl), counted from when Redis was last known to
//! answer, and is emptied before Redis is trusted again. If it breaks without a word, L1 answers for at most **2.5
//! seconds** without news, then only Redis does. This process's own removals act on L1 at once. Where Redis does not tell
//! (before 6.0, RESP2, a user without `CLIENT TRACKING`), a value stays in L1 for at most **2.5 seconds**
//! ([`Health::watching`] shows it). A caller that waits for another process's load wakes up when Redis tells of it.
//!
//! **When `redis` is the better choice.** Each fill is announced to *every* process, whether it uses the key or not, at most
//! twice: the lease, and the value. (A load longer than a third of [`lease_ttl`](CacheBuilder::lease_ttl): once more
//! for each further third. A `set`, a removal, an expiry: once. A read: never.) So
//!
//! ```text
//! messages a second = fills a second × processes × 2
//! ```
//!
//! 50 fills a second and 10 processes are 1,000 messages a second, 500 fills and 100 processes are 100,000, which keeps a
//! Redis busy with nothing else. What is saved is one command for every hit. Between two fills of a key `tiered` costs
//! two messages and one read for each process, `redis` one read for each hit: as a rule of thumb, `tiered` pays where a
//! value is read, by all processes together, more than three times as often as there are processes before it changes.
//! Few keys that everybody reads all the time pay; many keys that are read once or twice do not.
//!
//! # When Redis is away
//!
//! * A broken Redis never fails a call, and costs it at most one *budget* (250 ms) over all its operations. After that a
//!   circuit breaker sends calls to memory at once.
//! * Memory starts empty and fills with loads, each entry for at most 30 seconds
//!   ([`fallback_ttl`](CacheBuilder::fallback_ttl)), stale or not. Loads stay single, at most 256 run at a time
//!   ([`loads_while_away`](CacheBuilder::loads_while_away)), and memory stays bounded.
//! * Removals made meanwhile act in memory at once and are written down, in a list in this process: the *journal*. When
//!   Redis is back, the connection that broke is killed on the server, the journal is replayed, memory is emptied, and
//!   only then is Redis read again. A replay only ever removes; a `set` made meanwhile is replayed as the removal of its
//!   key.
//! * A start without Redis works, and so does a Redis that comes and goes. Every change of state is one line of log.
//!
//! What cannot be promised, in short: a process that dies with its journal loses the removals in it. Other processes may
//! answer from memory with what was removed, in `tiered` mode until Redis has told of it (2.5 seconds at most), and in an
//! outage of their own for `fallback_ttl`. A load that reads a lagging replica of a database stores what it reads. A Redis
//! that has forgotten more than the last minute may bring old values back. The TTL bounds all of that.
//!
//! [`guarantees`] has every promise with its bound, all that is not promised by name, and what a call pays in an outage.
//!
//! # Bypass and refresh
//!
//! [`bypass`] runs a call without the cache; [`refresh`] loads anew and stores. `DEXTER_CACHE=off` and
//! [`Cache::disable`] turn caching off altogether.
//!
//! # Tasks
//!
//! A bypass, a refresh and [`Cache::scope`] hold for the task that they run in. A task that is spawned from there leaves
//! them; [`in_cache_scope`](InCacheScope::in_cache_scope) takes them along:
//! `tokio::spawn(work().in_cache_scope())`.
//!
//! The load of a free function runs in a task of its own where its arguments allow it, so a caller that hangs up ends
//! nothing that others wait for. Such a *detached* load carries the cache's scope and the `tracing` span, and no other
//! task-local. If the function reads one, write `#[cached(detach = false, …)]`.
//!
//! # Logs
//!
//! Events of `tracing`, under targets that begin with `dexter_cache`. Those of the level debug show keys and patterns, and
//! so the values of arguments. No event shows a value that is cached, or a password.
//!
//! # Metrics
//!
//! With the feature `metrics` a task tells the `metrics` facade once a second what has come together, per prefix (labels
//! `cache`, which [`metrics_name`](CacheBuilder) names, and `prefix`): the counters `dexter_cache_hits_total`, `_misses_total`,
//! `_stale_total`, `_bypasses_total`, `_coalesced_total`, `_loads_total`, `_load_failures_total`, `_stored_total`,
//! `_fenced_total`, `_unusable_total`, `_too_large_total`, `_not_encoded_total` and `_follow_timeouts_total`, which count what
//! [`Counts`] counts; a recorder that is installed late misses none. The histogram `dexter_cache_load_duration_seconds` is told as each load ends. Per cache:
//! `dexter_cache_entries`, `_evictions_total`, `_expirations_total`, and where there is a backend
//! `dexter_cache_breaker_open` (0 or 1) and `dexter_cache_journal_length`.
//!
//! # HTTP
//!
//! With the feature `http`, [`CacheContextLayer`](http::CacheContextLayer) gives responses `X-Cache: HIT|MISS|BYPASS` and
//! `Cache-Control: max-age=…`, and lets `?no_cache=true` go round the cache. With `axum` a handler may be annotated itself:
//!
#![cfg_attr(all(feature = "macros", feature = "axum"), doc = "```")]
#![cfg_attr(not(all(feature = "macros", feature = "axum")), doc = "```ignore")]
//! use axum::{Json, Router, extract::{Path, State}, http::StatusCode, routing::get};
//! use dexter_cache::{cached, http::CacheContextLayer};
//!
//! # #[derive(Clone)] struct Db;
//! # impl Db { async fn title(&self, _: u64) -> Result<String, StatusCode> { Ok(String::new()) } }
//! #[cached(ttl = "1m", prefix = "title", skip(db))] // title:id=7
//! async fn title(State(db): State<Db>, Path(id): Path<u64>) -> Result<Json<String>, StatusCode> {
//!     db.title(id).await.map(Json)
//! }
//!
//! let app: Router = Router::new()
//!     .route("/issues/{id}/title", get(title))
//!     .layer(CacheContextLayer::new())
//!     .with_state(Db);
//! # drop(app);
//! ```
//!
//! # In tests
//!
//! `Cache::memory().scope(async { … }).await` gives a test a cache of its own, whatever others run beside it. The feature
//! `test-util` has a clock to set and backends that fail, hang and lose on command: what a service does while Redis is away
//! is tried in five lines.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `macros` | yes | `#[cached]`, `#[invalidates]`, `#[derive(CacheKey)]` |
//! | `redis` | yes | [`RedisBackend`](backend::RedisBackend) and `redis://` addresses |
//! | `http` | no | the layer for tower and hyper |
//! | `axum` | no | `axum::Json` as a cacheable value; implies `http` |
//! | `metrics` | no | hits, misses, loads and their duration, evictions, breaker and journal for the `metrics` facade, per prefix |
//! | `test-util` | no | [`test_util`]: a clock to set, backends that fail on command or record, the suite every backend must pass |
//!
//! A backend, and the waiting of callers for each other, need a tokio runtime with its timer enabled.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[doc(hidden)]
pub mod __private;
pub mod backend;
mod background;
mod builder;
mod cache;
mod call;
mod clock;
mod deferred;
mod error;
mod flight;
mod get_or_load;
mod get_or_load_many;
mod global;
#[cfg_attr(
    not(feature = "test-util"),
    allow(unreachable_pub, reason = "tests turn guards off, nobody else")
)]
mod guard;
#[doc = include_str!("guarantees.md")]
pub mod guarantees {}
mod health;
#[cfg(feature = "http")]
pub mod http;
mod inner;
mod invalidate;
mod kept;
mod key;
mod load;
#[cfg(feature = "metrics")]
mod meters;
mod pattern;
mod policy;
#[cfg_attr(
    not(feature = "http"),
    allow(dead_code, reason = "only the HTTP layer makes and reads records")
)]
mod record;
mod shape;
mod share;
mod site;
mod stats;
mod sync;
mod tag;
mod target;
mod telemetry;
#[cfg(any(test, feature = "test-util"))]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod test_util;
mod tier;
mod ttl;
mod values;
mod wire;

pub use builder::CacheBuilder;
pub use cache::Cache;
#[cfg(feature = "macros")]
#[doc(inline)]
#[doc = include_str!("macros/cache_key.md")]
pub use dexter_cache_derive::CacheKey;
#[cfg(feature = "macros")]
#[doc(inline)]
#[doc = include_str!("macros/cached.md")]
pub use dexter_cache_derive::cached;
#[cfg(feature = "macros")]
#[doc(inline)]
#[doc = include_str!("macros/invalidates.md")]
pub use dexter_cache_derive::invalidates;
pub use error::{Error, ErrorKind, SharedError};
pub use global::{InCacheScope, bypass, refresh};
pub use health::{Breaker, CacheMode, Health, Serving};
pub use key::{CacheKey, Key, KeyWriter};
pub use load::CacheContext;
pub use pattern::{KeyPattern, Matching};
pub use policy::Policy;
pub use stats::{Counts, Stats};
pub use target::{Clear, Invalidated, Reach};
pub use ttl::Ttl;
