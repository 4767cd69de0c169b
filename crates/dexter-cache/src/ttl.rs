//! How long a value lives.

use std::time::Duration;

/// How long a value is fresh after it was stored.
///
/// Up to a tenth is taken off at random when the value is stored, so that entries which were filled together do not
/// expire together ([`CacheBuilder::jitter`](crate::CacheBuilder::jitter)).
///
/// ```
/// use std::time::Duration;
/// use dexter_cache::Ttl;
///
/// assert_eq!(Ttl::secs(300), Ttl::from(Duration::from_secs(300)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(Duration);

impl Ttl {
    /// A TTL of whole seconds. Zero means that nothing is stored.
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// A TTL of milliseconds. Zero means that nothing is stored.
    pub const fn millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// A TTL of any length. Zero means that nothing is stored; more than a backend can count means as long as it can.
    pub const fn from_duration(duration: Duration) -> Self {
        Self(duration)
    }

    /// The length without jitter.
    pub const fn as_duration(self) -> Duration {
        self.0
    }

    /// One draw of the jitter: between `1 - fraction` and 1 times the length.
    pub(crate) fn drawn(self, fraction: f64) -> Duration {
        if fraction <= 0.0 || self.0.is_zero() {
            return self.0;
        }
        let factor = 1.0 - fraction * fastrand::f64();
        // `mul_f64` panics when the product does not fit; a factor of at most 1 always does.
        self.0
            .mul_f64(factor.clamp(0.0, 1.0))
            .max(Duration::from_millis(1))
            .min(self.0)
    }
}

impl From<Duration> for Ttl {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

/// What can be written behind `ttl =`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a time to live: a `ttl` is seconds (`ttl = 300`), a text (`ttl = \"5m\"`), or an expression that gives a `Duration`",
    label = "write `Duration::from_secs(..)`"
)]
pub trait IntoTtl {
    /// The length.
    fn into_ttl(self) -> Ttl;
}

impl IntoTtl for Duration {
    fn into_ttl(self) -> Ttl {
        Ttl(self)
    }
}

impl IntoTtl for Ttl {
    fn into_ttl(self) -> Ttl {
        self
    }
}

/// What stands behind `ttl =`, as a TTL.
pub fn ttl(from: impl IntoTtl) -> Ttl {
    from.into_ttl()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_only_shortens_and_stays_within_its_fraction() {
        for _ in 0..1_000 {
            let drawn = Ttl::secs(100).drawn(0.1);
            assert!(drawn <= Duration::from_secs(100) && drawn >= Duration::from_secs(90));
        }
    }

    #[test]
    fn scar_22_the_ends_of_the_range_do_not_overflow() {
        assert_eq!(Ttl::secs(0).drawn(0.1), Duration::ZERO);
        assert!(Ttl::from_duration(Duration::MAX).drawn(0.1) <= Duration::MAX);
        assert_eq!(
            Ttl::from_duration(Duration::from_nanos(1)).drawn(0.9),
            Duration::from_nanos(1)
        );
        assert_eq!(Ttl::from_duration(Duration::MAX).drawn(0.0), Duration::MAX);
    }
}
