//! Removing from the backend, or writing down that it has to be done.

use super::join::join;
use super::{BATCH, FullKey, Tier, as_str};
use crate::error::{Error, ErrorKind};
use crate::guard::Guard;
use crate::pattern::KeyPattern;
use crate::target::{Invalidated, Reach, Target};
use crate::telemetry::TARGET;

impl Tier {
    /// Removes from the backend, or writes down that it has to be removed. The caller has raised the fence and has
    /// removed from memory.
    ///
    /// # Errors
    ///
    /// The backend's refusal: it is well, and will never do this.
    pub(crate) async fn remove(&self, targets: &[Target]) -> Result<Invalidated, Error> {
        let mut again = true;
        loop {
            if self.is_trusted() {
                let openings = self.breaker.openings();
                self.forget_tokens(targets);
                let done = self.remove_now(targets).await;
                self.forget_tokens(targets);
                match done {
                    Ok(removed) if self.acknowledge(targets, openings) => {
                        let reach = Reach::Applied;
                        return Ok(Invalidated { removed, reach });
                    }
                    Err(error) if is_refusal(&error) => return Err(error),
                    // Whether it was done is not known, and a value that should be gone must not be read from there:
                    // the backend is not trusted until the replay.
                    Err(error) if self.breaker.openings() == openings => self.trip(&error),
                    // Lost, and back already: once more. A backend that comes and goes is no reason to go on for ever.
                    Ok(_) | Err(_) if std::mem::take(&mut again) => {}
                    Ok(_) | Err(_) => self.trip(&self.errors.away),
                }
            }
            if self.write_down(targets) {
                return Ok(Invalidated {
                    removed: 0,
                    reach: Reach::Journaled,
                });
            }
        }
    }

    /// Remembers what a server has acknowledged that was asked when the breaker had opened `openings` times, in case it
    /// forgets. `false` if the breaker has opened again since: another server may be trusted by now, which was told of
    /// what was remembered until then.
    pub(crate) fn acknowledge(&self, targets: &[Target], openings: u64) -> bool {
        self.server.acknowledged(targets);
        // Remembered first and looked at afterwards: a recovery that begins after this look finds it.
        self.breaker.openings() == openings
    }

    /// Names the time since the breaker opened last; see [`acknowledge`](Self::acknowledge).
    pub(crate) fn openings(&self) -> u64 {
        self.breaker.openings()
    }

    /// Writes removals down, if the backend is away; they are replayed before it is trusted again.
    ///
    /// The guardian trusts the backend only under the lock of the journal and with the journal empty: what is written
    /// down here comes before that.
    pub(crate) fn write_down(&self, targets: &[Target]) -> bool {
        let mut journal = self.journal();
        let away = self.breaker.is_open();
        if away && self.config.guards.stands(Guard::Journal) {
            let overflowed = journal.has_overflowed();
            for target in targets {
                journal.push(target.clone());
            }
            if !overflowed && journal.has_overflowed() {
                tracing::warn!(
                    target: TARGET,
                    "more invalidations during the outage than the journal holds: all keys that may be meant will be \
                     removed when the backend is back"
                );
            }
        }
        away
    }

    /// Writes down removals that were cut off.
    pub(crate) fn postpone(&self, targets: &[Target]) {
        let cut_off = Error::new(ErrorKind::Unavailable, "an invalidation was cut off");
        while !self.write_down(targets) {
            self.trip(&cut_off);
        }
    }

    async fn remove_now(&self, targets: &[Target]) -> Result<u64, Error> {
        let reserved = self.reserved_keys(targets);
        let keys = self.full_keys(targets);
        let patterns: Vec<KeyPattern> = targets
            .iter()
            .filter_map(|target| match target {
                Target::Key(_) | Target::Tag(_) => None,
                Target::Pattern(pattern) => Some(pattern.clone()),
                // Done, by the epoch.
                Target::Everything | Target::Freshness if self.has_epoch() => None,
                Target::Everything | Target::Freshness => Some(KeyPattern::new("*")),
            })
            .collect();
        // A sweep has a deadline for each reply instead of a budget for all, and ends with the connection. Its own
        // deadlines are longer than a call may pay to find out that the backend is away: that is asked first.
        let ping = async {
            if patterns.is_empty() {
                return Ok(());
            }
            let pong = self.run(&mut self.budget(), || self.backend.ping()).await?;
            // The ping may have made a connection anew, and to another server.
            self.recognize(&pong)
        };
        // At once, so that they cost one budget together, and one round trip.
        let named = join(self.remove_keys(&reserved), self.remove_keys(&keys));
        let ((begun, removed), asked) = join(named, ping).await;
        begun?;
        let mut removed = removed?;
        asked?;
        if self.has_epoch() && targets.contains(&Target::Freshness) {
            self.expire_everything().await?;
        }
        for pattern in &patterns {
            removed += self.unless_opened(None, self.sweep(pattern)).await?;
        }
        Ok(removed)
    }

    /// Each batch has a budget: a backend that answers one is not broken, and the first that it does not answer is the
    /// last.
    async fn remove_keys(&self, keys: &[FullKey]) -> Result<u64, Error> {
        let mut removed = 0;
        for batch in keys.chunks(BATCH) {
            let batch: Vec<&str> = batch.iter().map(as_str).collect();
            removed += self
                .run(&mut self.budget(), || self.backend.remove(&batch))
                .await?;
        }
        Ok(removed)
    }

    pub(super) fn full_keys(&self, targets: &[Target]) -> Vec<FullKey> {
        let keys = targets.iter().filter_map(|target| match target {
            Target::Key(key) => Some(key),
            _ => None,
        });
        keys.map(|key| self.full_key(key)).collect()
    }
}

/// Whether the backend is well and will never do what was asked.
pub(super) fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Denied | ErrorKind::Unsupported)
}

/// Removals that the backend will never do, told of in one line for as many as there are.
#[derive(Default)]
pub(super) struct Refused {
    count: usize,
    first: Option<Error>,
}

impl Refused {
    /// Counts a refusal, and hands on any other failure.
    pub(super) fn note(&mut self, result: Result<u64, Error>) -> Result<(), Error> {
        match result {
            Err(error) if is_refusal(&error) => {
                self.count += 1;
                self.first.get_or_insert(error);
                Ok(())
            }
            result => result.map(drop),
        }
    }

    pub(super) fn log(self, tier: &Tier) {
        if let Some(error) = self.first {
            tracing::error!(
                target: TARGET,
                backend = tier.backend.name(),
                error = %error,
                refused = self.count,
                "removals made during the outage are refused: their keys live until their TTL ends"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use async_trait::async_trait;
    use bytes::Bytes;
    use tokio::time::{Instant, sleep};

    use super::super::l1::tests::tier_over;
    use crate::backend::{
        CacheBackend, Capabilities, KeyFilter, MemoryBackend, Pong, SetOutcome, When,
    };
    use crate::clock::TestClock;
    use crate::error::{Error, ErrorKind};
    use crate::key::Key;
    use crate::pattern::KeyPattern;
    use crate::tag::TagId;
    use crate::target::{Reach, Target};
    use crate::tier::Tier;

    /// The budget of [`tier_over`] is a second.
    const STEP: Duration = Duration::from_millis(600);

    /// Takes its time for a removal and a ping, none for a sweep.
    #[derive(Debug)]
    struct Slow(MemoryBackend);

    #[async_trait]
    impl CacheBackend for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }

        fn capabilities(&self) -> Capabilities {
            self.0.capabilities()
        }

        async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
            self.0.get(key).await
        }

        async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, Error> {
            self.0.get_many(keys).await
        }

        async fn set(
            &self,
            key: &str,
            value: Bytes,
            ttl: Duration,
            when: When<'_>,
        ) -> Result<SetOutcome, Error> {
            self.0.set(key, value, ttl, when).await
        }

        async fn remove(&self, keys: &[&str]) -> Result<u64, Error> {
            sleep(STEP).await;
            self.0.remove(keys).await
        }

        async fn remove_matching(
            &self,
            pattern: &KeyPattern,
            filter: KeyFilter<'_>,
        ) -> Result<u64, Error> {
            self.0.remove_matching(pattern, filter).await
        }

        async fn ping(&self) -> Result<Pong, Error> {
            sleep(STEP).await;
            self.0.ping().await
        }
    }

    fn tier() -> Arc<Tier> {
        let tier = tier_over(Arc::new(Slow(MemoryBackend::new(10))), &TestClock::new());
        tier.breaker.close(1);
        tier
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_removed_by_key_by_tag_and_by_pattern_costs_one_budget_together() {
        let tier = tier();
        let targets = [
            Target::Tag(TagId(1)),
            Target::Key(Key::new("a")),
            Target::Pattern(KeyPattern::new("a:*")),
        ];
        let begun = Instant::now();
        let removed = tier.remove(&targets).await.expect("no refusal");
        assert_eq!(removed.reach, Reach::Applied);
        assert!(begun.elapsed() <= STEP + Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_that_comes_and_goes_ends_no_removal_later_than_the_second_time() {
        let tier = tier();
        let flapping = async {
            let lost = Error::new(ErrorKind::Unavailable, "test");
            loop {
                sleep(STEP / 2).await;
                tier.trip(&lost);
                tier.breaker.close(1);
            }
        };
        let targets = [Target::Key(Key::new("a"))];
        let removed = tokio::select! {
            () = flapping => unreachable!("it goes on for ever"),
            removed = tokio::time::timeout(10 * STEP, tier.remove(&targets)) => removed,
        };
        let removed = removed.expect("it ends").expect("no refusal");
        assert_eq!(removed.reach, Reach::Journaled);
        assert_eq!(tier.journal_len(), 1);
    }
}
