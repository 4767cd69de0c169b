//! [`TestClock`]: time that a test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::{Clock, Nanos};

/// The clock of a cache under test: it stands still until it is [advanced](Self::advance), or follows tokio's.
///
/// Handed to [`CacheBuilder::clock`](crate::CacheBuilder::clock), it decides when values in memory expire and what time
/// it is by this machine. Timers (the budget of a call, the breaker's delays, leases, waiting for another caller) are tokio's
/// in any case: `tokio::time::pause` stops them, and a clock that [follows tokio](Self::tokio) goes with them. A real
/// Redis goes by its own clock.
///
/// Clones are the same clock.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), dexter_cache::Error> {
/// use std::time::Duration;
/// use dexter_cache::test_util::TestClock;
/// use dexter_cache::{Cache, Key, Ttl};
///
/// let clock = TestClock::new();
/// let cache = Cache::builder().clock(&clock).build().await?;
/// let key = Key::new("answer");
/// cache.set(&key, &42, Ttl::secs(60)).await?;
/// clock.advance(Duration::from_secs(61));
/// assert_eq!(cache.get::<i32>(&key).await?, None);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TestClock(Arc<State>);

#[derive(Debug)]
struct State {
    /// Where the time is tokio's: the moment that counts as zero.
    origin: Option<Instant>,
    advanced: AtomicU64,
    /// Milliseconds since the Unix epoch at the zero of this clock.
    wall: AtomicI64,
}

/// Any moment will do, as long as it leaves room on both sides.
const BEGINNING: i64 = 1_700_000_000_000;

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}

impl TestClock {
    /// A clock that stands still. Its wall-clock time begins at a fixed moment in the year 2023.
    pub fn new() -> Self {
        Self::at(None)
    }

    /// A clock that goes as tokio's does: with `tokio::time::pause`, one paused clock moves timers and expiry alike.
    ///
    /// Outside a paused runtime it goes as real time does.
    pub fn tokio() -> Self {
        Self::at(Some(Instant::now()))
    }

    fn at(origin: Option<Instant>) -> Self {
        Self(Arc::new(State {
            origin,
            advanced: AtomicU64::new(0),
            wall: AtomicI64::new(BEGINNING),
        }))
    }

    /// Moves the clock forward, wall-clock time included. It never goes back.
    ///
    /// Of a clock that follows tokio this moves what is in memory, and not the timers: `tokio::time::advance` moves both.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        let advanced = &self.0.advanced;
        let _ = advanced.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| {
            Some(now.saturating_add(by))
        });
    }

    /// Sets what the clock says about the date, in milliseconds since the Unix epoch. What is in memory does not age
    /// by that: wall clocks are set, and wrong, and nothing may depend on them but the time on a server's own clock.
    pub fn set_wall_ms(&self, now: u64) {
        let elapsed = i64::try_from(self.nanos() / 1_000_000).unwrap_or(i64::MAX);
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        self.0
            .wall
            .store(now.saturating_sub(elapsed), Ordering::SeqCst);
    }

    /// The date, in milliseconds since the Unix epoch.
    pub fn wall_ms(&self) -> u64 {
        let wall = self.0.wall.load(Ordering::SeqCst);
        (self.nanos() / 1_000_000).saturating_add_signed(wall)
    }

    /// How long the clock has been going.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    pub(crate) fn nanos(&self) -> Nanos {
        let followed = self.0.origin.map_or(0, |origin| {
            u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
        });
        followed.saturating_add(self.0.advanced.load(Ordering::SeqCst))
    }
}

impl From<&TestClock> for Clock {
    fn from(clock: &TestClock) -> Self {
        Self::ByHand(clock.clone())
    }
}
