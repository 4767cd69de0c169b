//! What `#[invalidates]` expands to.

use std::future::Future;

use super::{Cache, cache_of};
use crate::flight::Fence;
use crate::key::Key;
use crate::pattern::KeyPattern;
use crate::share::Success;
use crate::tag::TagId;
use crate::target::Target;

/// What a writer makes stale, and when it is removed.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    list: Vec<Target>,
    before: bool,
    off: bool,
}

impl Targets {
    pub const fn new() -> Self {
        Self {
            list: Vec::new(),
            before: false,
            off: false,
        }
    }

    pub fn key(&mut self, key: Key) {
        self.list.push(Target::Key(key));
    }

    pub fn pattern(&mut self, pattern: KeyPattern) {
        self.list.push(Target::Pattern(pattern));
    }

    pub fn tag(&mut self, tag: impl AsRef<str>) {
        self.list.push(Target::Tag(TagId::of(tag.as_ref())));
    }

    /// Before the writer runs, too.
    pub const fn before(&mut self) {
        self.before = true;
    }

    /// Not at all: the condition does not hold.
    pub const fn off(&mut self) {
        self.off = true;
    }

    fn take(&mut self) -> Vec<Target> {
        let targets = std::mem::take(&mut self.list);
        if self.off { Vec::new() } else { targets }
    }
}

/// Runs a writer and invalidates what it makes stale: if it succeeds, and also if it is dropped or panics after its
/// first poll, since it may have written by then. An error invalidates nothing.
///
/// The writer's own process sees the invalidation at once. The backend is waited for as long as a call may; then the
/// removal goes on in a task.
pub async fn invalidating<R, S: Success<R>, F: Future<Output = R>>(
    cache: Option<&Cache>,
    success: S,
    targets: Targets,
    body: F,
    from_result: impl FnOnce(&S::Ok, &mut Targets),
) -> R {
    let mut armed = Armed::new(cache, targets);
    armed.fire_before().await;
    // Not awaited inside of the `match`: what is matched on lives to its end, and an error need not be `Send`.
    let ok = match success.split(body.await) {
        Ok(ok) => ok,
        Err(failed) => {
            armed.disarm();
            return failed;
        }
    };
    armed.complete(&ok, from_result);
    armed.fire().await;
    success.join(ok)
}

/// As [`invalidating`], where an error invalidates what is known without a result. It is held while the backend is
/// waited for, so the future is `Send` only if it is.
pub async fn invalidating_always<R, S: Success<R>, F: Future<Output = R>>(
    cache: Option<&Cache>,
    success: S,
    targets: Targets,
    body: F,
    from_result: impl FnOnce(&S::Ok, &mut Targets),
) -> R {
    let mut armed = Armed::new(cache, targets);
    armed.fire_before().await;
    match success.split(body.await) {
        Ok(ok) => {
            armed.complete(&ok, from_result);
            armed.fire().await;
            success.join(ok)
        }
        Err(failed) => {
            armed.fire().await;
            failed
        }
    }
}

/// Invalidates when it is dropped.
struct Armed {
    cache: Option<Cache>,
    targets: Targets,
    /// From a removal before the writer to the one after it; lowered when that one has raised its own.
    fences: Vec<Fence>,
}

impl Armed {
    fn new(cache: Option<&Cache>, targets: Targets) -> Self {
        Self {
            cache: cache_of(cache),
            targets,
            fences: Vec::new(),
        }
    }

    /// The removal before the writer. What is loaded between the two is not stored.
    async fn fire_before(&mut self) {
        if let (Some(cache), true) = (&self.cache, self.targets.before) {
            let targets = self.targets.clone().take();
            self.fences = targets.iter().map(|target| cache.fence(target)).collect();
            cache.invalidate_within_budget(targets).await;
        }
    }

    /// Adds the targets that the result tells.
    fn complete<T>(&mut self, ok: &T, from_result: impl FnOnce(&T, &mut Targets)) {
        if !self.targets.off {
            from_result(ok, &mut self.targets);
        }
    }

    async fn fire(&mut self) {
        if let Some(cache) = self.cache.take() {
            cache.invalidate_within_budget(self.targets.take()).await;
        }
    }

    fn disarm(&mut self) {
        self.cache = None;
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        if let Some(cache) = self.cache.take() {
            drop(cache.invalidate_detached(self.targets.take()));
        }
    }
}
