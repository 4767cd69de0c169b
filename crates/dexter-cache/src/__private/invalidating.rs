//! What `#[invalidates]` expands to.

use std::future::Future;

use super::{Cache, cache_of};
use crate::key::Key;
use crate::pattern::KeyPattern;
use crate::share::Success;
use crate::tag::TagId;
use crate::target::Target;

/// What a writer makes stale.
#[derive(Debug, Default)]
pub struct Targets(Vec<Target>);

impl Targets {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub fn key(&mut self, key: Key) {
        self.0.push(Target::Key(key));
    }

    pub fn pattern(&mut self, pattern: KeyPattern) {
        self.0.push(Target::Pattern(pattern));
    }

    pub fn tag(&mut self, tag: impl AsRef<str>) {
        self.0.push(Target::Tag(TagId::of(tag.as_ref())));
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
    let mut armed = Armed {
        cache: cache_of(cache),
        targets,
    };
    // Not awaited inside of the `match`: what is matched on lives to its end, and an error need not be `Send`.
    let ok = match success.split(body.await) {
        Ok(ok) => ok,
        Err(failed) => {
            armed.disarm();
            return failed;
        }
    };
    from_result(&ok, &mut armed.targets);
    let (cache, targets) = armed.disarm();
    if let Some(cache) = cache
        && !targets.is_empty()
    {
        cache.invalidate_within_budget(targets).await;
    }
    success.join(ok)
}

/// Invalidates when it is dropped.
struct Armed {
    cache: Option<Cache>,
    targets: Targets,
}

impl Armed {
    fn disarm(&mut self) -> (Option<Cache>, Vec<Target>) {
        (self.cache.take(), std::mem::take(&mut self.targets.0))
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        if let Some(cache) = self.cache.take() {
            drop(cache.invalidate_detached(std::mem::take(&mut self.targets.0)));
        }
    }
}
