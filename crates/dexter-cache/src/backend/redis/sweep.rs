//! Removing by pattern: `SCAN` and `UNLINK` in small steps, on a connection that carries nothing else.

use std::time::Duration;

use redis::Value;
use tokio::time::Instant;

use super::backend::RedisBackend;
use super::error;
use super::ops::{removals, removed};
use crate::backend::KeyFilter;
use crate::error::Error;
use crate::pattern::KeyPattern;

/// An answer that takes longer than this beyond the round trip keeps the server from others: fewer keys next time.
const SLOW: Duration = Duration::from_millis(5);
/// Below this, round trips cost more than the scan.
const FEWEST: u32 = 16;

pub(super) async fn remove_matching(
    backend: &RedisBackend,
    pattern: &KeyPattern,
    filter: KeyFilter<'_>,
) -> Result<u64, Error> {
    let config = backend.config();
    let mut side = backend.side_connection().await?;
    let mut pace = Pace::new(config.sweep_count, side.round_trip());
    let (mut total, mut scanned, mut found) = (0, 0_u64, Vec::<Vec<u8>>::new());
    let mut cursor = Some(b"0".to_vec());
    while cursor.is_some() || !found.is_empty() {
        // What the last step found is removed in the same round trip that looks for more.
        let mut step = removals(side.connection(), &found);
        let unlinks = step.len();
        if let Some(cursor) = &cursor {
            step.cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(pattern.as_bytes())
                .arg("COUNT")
                .arg(pace.count);
        }
        let begun = Instant::now();
        let mut replies = side.send_all(&step).await?;
        pace.took(begun.elapsed());
        let scan = cursor.is_some().then(|| replies.pop()).flatten();
        debug_assert_eq!(replies.len(), unlinks, "a reply for each command");
        // The counts come from the removals: a scan may name a key twice, and a key may expire in between.
        match removed(config, side.connection(), &replies)? {
            Some(count) => total += count,
            // The server does not know UNLINK: the same step again, by other means. The scan goes on from where it was.
            None => continue,
        }
        found.clear();
        cursor = match scan {
            None => None,
            Some(Value::ServerError(refused)) => return Err(error::from_reply(config, &refused)),
            Some(reply) => {
                let (next, keys) = page(reply).ok_or_else(|| error::unexpected(config, "SCAN"))?;
                scanned += 1;
                // The server knows the glob only.
                let meant =
                    |key: &Vec<u8>| pattern.admits(key) && filter.is_none_or(|filter| filter(key));
                found.extend(keys.filter(meant));
                (next != b"0").then_some(next)
            }
        };
    }
    tracing::debug!(target: crate::telemetry::TARGET, %pattern, removed = total, round_trips = scanned, "removed by pattern");
    Ok(total)
}

/// The next cursor and the keys of one answer to `SCAN`.
fn page(reply: Value) -> Option<(Vec<u8>, impl Iterator<Item = Vec<u8>>)> {
    let Value::Array(parts) = reply else {
        return None;
    };
    let [Value::BulkString(next), Value::Array(keys)] = <[Value; 2]>::try_from(parts).ok()? else {
        return None;
    };
    let keys = keys.into_iter().filter_map(|key| match key {
        Value::BulkString(key) => Some(key),
        _ => None,
    });
    Some((next, keys))
}

/// How many keys to look at in one step.
#[derive(Debug)]
struct Pace {
    count: u32,
    most: u32,
    /// The shortest step so far: what the network takes.
    shortest: Duration,
}

impl Pace {
    fn new(most: u32, round_trip: Duration) -> Self {
        Self {
            count: most,
            most,
            shortest: round_trip,
        }
    }

    fn took(&mut self, time: Duration) {
        self.shortest = self.shortest.min(time);
        let work = time.saturating_sub(self.shortest);
        if work > SLOW {
            self.count = (self.count / 2).max(FEWEST.min(self.most));
        } else if work < SLOW / 4 {
            self.count = self.count.saturating_mul(2).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        Pace::new(1000, Duration::from_millis(1))
    }

    #[test]
    fn slow_answers_halve_the_step_and_fast_ones_bring_it_back() {
        let mut pace = pace();
        pace.took(Duration::from_millis(7));
        assert_eq!(pace.count, 500);
        pace.took(Duration::from_millis(5));
        assert_eq!(pace.count, 500);
        pace.took(Duration::from_millis(2));
        assert_eq!(pace.count, 1000);
        for _ in 0..20 {
            pace.took(Duration::from_secs(1));
        }
        assert_eq!(pace.count, FEWEST);
    }

    #[test]
    fn a_slow_network_is_not_a_slow_server() {
        let mut pace = Pace::new(1000, Duration::from_millis(40));
        pace.took(Duration::from_millis(44));
        assert_eq!(pace.count, 1000);
        pace.took(Duration::from_millis(39));
        assert_eq!(pace.count, 1000);
    }

    #[test]
    fn a_small_step_stays_as_it_was_set() {
        let mut pace = Pace::new(3, Duration::ZERO);
        pace.took(Duration::from_secs(1));
        assert_eq!(pace.count, 3);
    }
}
