//! Time as the cache counts it: nanoseconds of a monotonic clock since the process began to ask.

#[cfg(any(test, feature = "test-util"))]
mod by_hand;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[cfg(any(test, feature = "test-util"))]
pub use self::by_hand::TestClock;

/// A moment, in nanoseconds since an arbitrary origin in this process.
pub(crate) type Nanos = u64;

/// Where the time comes from. Without the feature there is one place, so that asking is no question.
#[derive(Debug, Clone, Default)]
pub(crate) enum Clock {
    #[default]
    System,
    #[cfg(any(test, feature = "test-util"))]
    ByHand(TestClock),
}

impl Clock {
    /// The exact time, for deadlines: about 20 ns.
    pub(crate) fn now(&self) -> Nanos {
        match self {
            Self::System => exact(),
            #[cfg(any(test, feature = "test-util"))]
            Self::ByHand(clock) => clock.nanos(),
        }
    }

    /// The time of the last tick of the kernel, for look-ups: about 3 ns, never ahead of [`now`](Clock::now) and at
    /// most one tick (1 to 10 ms) behind it. So an entry read by it never expires early.
    #[inline]
    pub(crate) fn coarse(&self) -> Nanos {
        match self {
            Self::System => coarse(),
            #[cfg(any(test, feature = "test-util"))]
            Self::ByHand(clock) => clock.nanos(),
        }
    }

    /// Milliseconds since the Unix epoch by this machine's own clock.
    pub(crate) fn wall_ms(&self) -> u64 {
        match self {
            Self::System => wall_ms(),
            #[cfg(any(test, feature = "test-util"))]
            Self::ByHand(clock) => clock.wall_ms(),
        }
    }
}

/// `now + span`, saturating: a TTL of centuries is for ever, not an overflow.
pub(crate) fn after(now: Nanos, span: Duration) -> Nanos {
    now.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

#[cfg(target_os = "linux")]
fn exact() -> Nanos {
    nanos(rustix::time::clock_gettime(
        rustix::time::ClockId::Monotonic,
    ))
}

#[cfg(target_os = "linux")]
#[inline]
fn coarse() -> Nanos {
    nanos(rustix::time::clock_gettime(
        rustix::time::ClockId::MonotonicCoarse,
    ))
}

#[cfg(target_os = "linux")]
#[inline]
#[expect(
    clippy::cast_sign_loss,
    reason = "a monotonic clock counts from boot and is never negative"
)]
fn nanos(time: rustix::time::Timespec) -> Nanos {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(not(target_os = "linux"))]
fn exact() -> Nanos {
    use std::sync::LazyLock;
    use std::time::Instant;

    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(ORIGIN.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(not(target_os = "linux"))]
fn coarse() -> Nanos {
    exact()
}
