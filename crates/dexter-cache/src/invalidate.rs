//! Removing: fence first, then memory, then the backend or the journal.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::cache::Cache;
use crate::deferred::Deferral;
use crate::error::{Error, ErrorKind};
use crate::flight::Fence;
use crate::inner::Inner;
use crate::target::{Invalidated, Reach, Target};
use crate::telemetry::TARGET;
use crate::tier::Tier;

/// An invalidation that has begun: no load that began before is stored or shared any more, and memory no longer
/// answers for what it covers.
pub(crate) struct Removal {
    inner: Arc<Inner>,
    targets: Vec<Target>,
    removed: u64,
    done: bool,
    /// Lowered when the backend has answered.
    _fences: Vec<Fence>,
}

impl Cache {
    /// Removes `targets` everywhere, or hands them to the transaction that the task is in. Once polled, it goes on
    /// although the caller is dropped.
    pub(crate) async fn invalidate_all(&self, targets: Vec<Target>) -> Result<Invalidated, Error> {
        if let Some(tier) = &self.0.tier
            && !targets.iter().all(|target| tier.supports(target))
        {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the backend `{}` cannot remove by pattern: remove by key",
                    tier.backend_name()
                ),
            ));
        }
        let targets = match Deferral::collect(self, targets) {
            Ok(()) => return Ok(Invalidated::DEFERRED),
            Err(targets) => targets,
        };
        let at_once = self.0.tier.is_none()
            && targets
                .iter()
                .all(|target| matches!(target, Target::Key(_) | Target::Tag(_)));
        let removal = self.begin_removal(targets);
        if at_once {
            // Nothing in there waits, so no task is needed to see it to its end.
            return removal.finish().await;
        }
        match self.0.background.spawn(removal.finish()) {
            Ok(running) => match running.await {
                Ok(invalidated) => invalidated,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => Err(Error::new(
                    ErrorKind::Unavailable,
                    "the runtime ended during an invalidation",
                )),
            },
            Err(removal) => removal.await,
        }
    }

    /// As [`invalidate_all`](Self::invalidate_all), waiting for the backend no longer than a call may.
    pub(crate) async fn invalidate_within_budget(&self, targets: Vec<Target>) {
        let budget = self
            .0
            .tier
            .as_ref()
            .map_or(Duration::MAX, |tier| tier.config.budget);
        if let Some(running) = self.invalidate_detached(targets) {
            let _ = tokio::time::timeout(budget, running).await;
        }
    }

    /// Begins at once and goes on in a task, for callers that cannot wait.
    pub(crate) fn invalidate_detached(&self, targets: Vec<Target>) -> Option<JoinHandle<()>> {
        if targets.is_empty() {
            return None;
        }
        let targets = Deferral::collect(self, targets).err()?;
        let removal = self.begin_removal(targets);
        let task = async move {
            if let Err(error) = removal.finish().await {
                tracing::error!(
                    target: TARGET,
                    error = %error,
                    "the backend refuses an invalidation: the keys live until their TTL ends"
                );
            }
        };
        // Without a runtime the removal is dropped here, which is a way to end it, too.
        self.0.background.spawn(task).ok()
    }

    fn begin_removal(&self, targets: Vec<Target>) -> Removal {
        let inner = Arc::clone(&self.0);
        let mut removed = 0;
        // All fences before the first entry goes: what is loaded from here on finds every one of them.
        let fences = targets
            .iter()
            .map(|target| inner.flights.raise(target.clone()))
            .collect();
        for target in &targets {
            removed += inner.forget(target);
        }
        Removal {
            inner,
            targets,
            removed,
            done: false,
            _fences: fences,
        }
    }

    /// Raises a fence over `target`, under which memory does not answer for it. Nothing is removed that cannot be loaded
    /// again.
    pub(crate) fn fence(&self, target: &Target) -> Fence {
        let fence = self.0.flights.raise(target.clone());
        self.0.forget(target);
        fence
    }
}

impl Inner {
    /// Removes a key from memory; returns how many entries there were. What is wider is hidden by its fence.
    fn forget(&self, target: &Target) -> u64 {
        let Target::Key(key) = target else {
            return 0;
        };
        if let Some(tier) = &self.tier {
            // A copy of what the backend holds: not counted.
            tier.evict(key);
        }
        let fallback = self.tier.as_ref().map(|tier| &tier.fallback);
        fallback
            .into_iter()
            .chain([&self.memory])
            .map(|store| u64::from(store.remove(key)))
            .sum()
    }
}

impl Removal {
    async fn finish(mut self) -> Result<Invalidated, Error> {
        let mut removed = self.removed;
        let fallback = self.inner.tier.as_ref().map(|tier| &tier.fallback);
        for target in &self.targets {
            for store in fallback.into_iter().chain([&self.inner.memory]) {
                removed += match target {
                    // The fence has done it.
                    Target::Key(_) | Target::Tag(_) => 0,
                    Target::Freshness => store.expire_all().await,
                    Target::Pattern(pattern) => store.remove_matching(pattern, None).await,
                    Target::Everything => {
                        let held = store.len() as u64;
                        store.clear();
                        held
                    }
                };
            }
        }
        if let Some(tier) = &self.inner.tier {
            self.search_l1(tier).await;
        }
        let mut invalidated = Invalidated {
            removed,
            reach: Reach::Applied,
        };
        if let Some(tier) = &self.inner.tier {
            tier.guard();
            // In a box of its own: it is large, and a removal is moved into a task.
            match Box::pin(tier.remove(&self.targets)).await {
                Ok(remote) => invalidated = invalidated.and(remote),
                Err(error) => {
                    self.done = true;
                    return Err(error);
                }
            }
        }
        self.done = true;
        tracing::debug!(
            target: TARGET,
            targets = self.targets.len(),
            removed = invalidated.removed,
            reach = ?invalidated.reach,
            "invalidated"
        );
        Ok(invalidated)
    }
}

impl Removal {
    /// Removes the copies in L1 of what wide targets cover.
    async fn search_l1(&self, tier: &Tier) {
        for target in &self.targets {
            match target {
                Target::Key(_) | Target::Tag(_) => {}
                Target::Pattern(pattern) => {
                    if let Some(l1) = tier.seal_l1() {
                        l1.remove_matching(pattern, None).await;
                    }
                }
                // What can be fallen back on stays in the backend.
                Target::Everything | Target::Freshness => tier.empty_l1(),
            }
        }
    }
}

impl Drop for Removal {
    /// Cut off, because the runtime ends or there is none: nothing can be awaited here, so memory lets go of
    /// everything that might be meant, and the backend is told before it is trusted again.
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let only_keys = self
            .targets
            .iter()
            .all(|target| matches!(target, Target::Key(_) | Target::Tag(_)));
        if !only_keys {
            self.inner.memory.clear();
        }
        if let Some(tier) = &self.inner.tier {
            if !only_keys {
                tier.fallback.clear();
                tier.empty_l1();
            }
            tier.postpone(&self.targets);
        }
    }
}
