//! For the tests of services: time that one sets, a backend that breaks on command, one that records, and the suite
//! that every backend must pass. Feature `test-util`, for `[dev-dependencies]`.
//!
//! What a service does while Redis is away, in a few lines:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), dexter_cache::Error> {
//! use dexter_cache::test_util::{Fault, FaultyBackend};
//! use dexter_cache::{Cache, Key, Reach, Serving, Ttl};
//!
//! let backend = FaultyBackend::new();
//! let cache = Cache::builder().backend(backend.clone()).build().await?;
//!
//! backend.inject(Fault::Hang); // from here on nothing is answered
//! let row = cache.get_or_load(&Key::new("row"), Ttl::secs(60), || async { 7 }).await;
//! assert_eq!(row, 7); // as if nothing had happened
//! assert_eq!(cache.health().serving, Serving::Memory);
//! assert_eq!(cache.remove(&Key::new("row")).await?.reach, Reach::Journaled);
//!
//! backend.heal(); // the cache finds out by itself
//! # Ok(())
//! # }
//! ```
//!
//! With tokio's feature `test-util` and `#[tokio::test(start_paused = true)]` none of that takes time, and a
//! [`TestClock::tokio`] lets values expire in the same paused time.
//!
//! # What a real outage does
//!
//! | outage | fault |
//! |---|---|
//! | the server is down | [`Fault::Fail`] with [`Unavailable`](crate::ErrorKind::Unavailable) |
//! | it hangs, or the network swallows everything | [`Fault::Hang`] |
//! | it is slow | [`Fault::Delay`] |
//! | a connection breaks before the answer | [`Fault::LoseReply`] |
//! | what was sent before a break arrives after it | [`Fault::Late`] |
//! | it loads its data, or has become a replica | [`Fault::Fail`] with [`NotReady`](crate::ErrorKind::NotReady) |
//! | its memory is full | [`Fault::Fail`] with [`OutOfMemory`](crate::ErrorKind::OutOfMemory) on [`Op::Set`] |
//!
//! The hash of keys, which is seeded at random in a process, is the same in every run of a build with this feature, so that a
//! test with a seed of its own can be repeated.

pub mod behavior;
mod fault;
mod faulty;
mod recording;

pub use self::fault::{Fault, Op, Rule};
pub use self::faulty::FaultyBackend;
pub use self::recording::{Operation, Outcome, RecordingBackend};
pub use crate::backend_behavior;
pub use crate::clock::TestClock;
