//! Percentiles of single calls.

use std::time::Duration;

/// How long each of many calls took.
#[derive(Debug, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// One more call.
    pub fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// Those of another task, too.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The share `part` of calls took no longer than this.
    pub fn percentile(&mut self, part: f64) -> Duration {
        self.0.sort_unstable();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a place in a list, from a share between 0 and 1"
        )]
        let place = (self.0.len() as f64 * part) as usize;
        let last = self.0.len().saturating_sub(1);
        self.0.get(place.min(last)).copied().unwrap_or_default()
    }
}
