//! One call of a cached function, up to the point where it has to wait: which cache, which mode, and a look into
//! memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::backend::memory::{Claim, Extra, Held, MemoryStore};
use crate::cache::Cache;
use crate::clock::Nanos;
use crate::global::{self, Mode, Scope};
use crate::inner::Inner;
use crate::kept::{self, Shared};
use crate::key::{Key, KeyBuilder};
use crate::record::CallRecord;
use crate::shape::Shape;
use crate::site::Site;
use crate::stats::{Event, PrefixId};
use crate::tier::{Budget, Tier};

/// What a call is about, once it is known that memory has no answer.
pub(crate) struct Call {
    pub(crate) cache: Cache,
    pub(crate) key: Key,
    pub(crate) prefix: PrefixId,
    pub(crate) mode: Mode,
    pub(crate) record: Option<Arc<CallRecord>>,
    pub(crate) traits: Traits,
    /// Of a call that is one of a batch.
    pub(crate) part: Option<Arc<Part>>,
}

/// What a call that is one of a batch has in common with the others.
#[derive(Debug)]
pub(crate) struct Part {
    /// What they may spend on the backend.
    pub(crate) budget: Duration,
    /// Whether this one waits for somebody else's load, so that the batch need not wait for it.
    pub(crate) waits: AtomicBool,
}

/// What the annotated function says of itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traits {
    /// The value never leaves the process.
    pub(crate) local: bool,
    /// The version that the user gave the value's type.
    pub(crate) version: u32,
    /// The function answers requests.
    pub(crate) handler: bool,
    /// There is a `None` in what the function returns.
    pub(crate) nothing: bool,
}

/// What a call was answered with that found nothing fresh.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// Something that was loaded, here or by somebody else, and lives for this long.
    Loaded(Duration),
    /// A value past its time.
    Stale,
}

/// What the part of a call that does not wait came to.
#[derive(Debug)]
pub enum Entered<R, V> {
    /// The answer.
    Hit(R),
    /// The answer, and it is time to load it anew. Only from [`enter_ahead`].
    Due(R, Miss<V>),
    /// There is none in memory.
    Miss(Miss<V>),
}

/// The rest of a call: owned, so that it can be moved into a box, and small.
pub struct Miss<V> {
    /// `None` where the call goes round the cache.
    pub(crate) call: Option<Arc<Call>>,
    /// Nobody else refreshes the entry for as long as this is held.
    pub(crate) claim: Option<Claim>,
    value: std::marker::PhantomData<fn() -> V>,
}

impl<V> Miss<V> {
    fn of(call: Option<Arc<Call>>) -> Self {
        Self {
            call,
            claim: None,
            value: std::marker::PhantomData,
        }
    }
}

impl<V> std::fmt::Debug for Miss<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Miss")
            .field("key", &self.call.as_ref().map(|call| &call.key))
            .finish_non_exhaustive()
    }
}

/// Enters a call of an annotated function. It does not wait, and what it finds in memory it returns; a hit allocates
/// nothing.
#[inline]
pub fn enter<R, S: Shape<R>>(
    site: &'static Site,
    cache: Option<&Cache>,
    shape: S,
    key: impl FnOnce(&mut KeyBuilder),
) -> Entered<R, S::Value> {
    enter_site::<R, S, false>(site, cache, shape, key)
}

/// As [`enter`], for functions that are refreshed ahead.
#[inline]
pub fn enter_ahead<R, S: Shape<R>>(
    site: &'static Site,
    cache: Option<&Cache>,
    shape: S,
    key: impl FnOnce(&mut KeyBuilder),
) -> Entered<R, S::Value> {
    enter_site::<R, S, true>(site, cache, shape, key)
}

#[inline]
fn enter_site<R, S: Shape<R>, const AHEAD: bool>(
    site: &'static Site,
    cache: Option<&Cache>,
    shape: S,
    key: impl FnOnce(&mut KeyBuilder),
) -> Entered<R, S::Value> {
    let named = site.named();
    let traits = Traits {
        local: site.is_local(),
        version: site.type_version(),
        handler: S::HANDLER,
        nothing: S::NOTHING,
    };
    let mut builder = KeyBuilder::empty();
    let mut key = Some(key);
    let looked = Scope::with(|scope| {
        let cache = cache
            .or_else(|| scope.and_then(|scope| scope.cache.as_ref()))
            .or_else(|| global::installed());
        let Some(cache) = cache else {
            global::warn_no_cache(site.function());
            return Looked::Round;
        };
        look::<R, S, AHEAD>(cache, scope, named.id, traits, shape, || {
            builder.begin(named.prefix());
            let key = key.take().expect("the scope is shown once");
            key(&mut builder);
            builder.seal()
        })
    });
    looked.entered(named.id, traits, builder.key())
}

/// What a look came to. A hit is all that most calls carry out of the scope, so the key is not in here.
pub(crate) enum Looked<R> {
    Hit(R),
    /// A hit that is to be loaded anew.
    Due(R, Absent, Claim),
    /// Nothing that can be used was found.
    Absent(Absent),
    /// The call goes round the cache.
    Round,
}

/// What a call that goes on takes along of its scope.
pub(crate) struct Absent {
    cache: Cache,
    mode: Mode,
    record: Option<Arc<CallRecord>>,
}

impl<R> Looked<R> {
    #[inline]
    pub(crate) fn entered<V>(self, prefix: PrefixId, traits: Traits, key: &Key) -> Entered<R, V> {
        match self {
            Self::Hit(result) => Entered::Hit(result),
            Self::Due(result, absent, claim) => {
                let mut miss = Miss::of(Some(absent.call(prefix, traits, key)));
                miss.claim = Some(claim);
                Entered::Due(result, miss)
            }
            Self::Absent(absent) => Entered::Miss(Miss::of(Some(absent.call(prefix, traits, key)))),
            Self::Round => Entered::Miss(Miss::of(None)),
        }
    }
}

impl Absent {
    fn call(self, prefix: PrefixId, traits: Traits, key: &Key) -> Arc<Call> {
        let Self {
            cache,
            mode,
            record,
        } = self;
        Arc::new(Call {
            cache,
            key: key.clone(),
            prefix,
            mode,
            record,
            traits,
            part: None,
        })
    }
}

#[inline]
pub(crate) fn look<'k, R, S: Shape<R>, const AHEAD: bool>(
    cache: &Cache,
    scope: Option<&Scope>,
    prefix: PrefixId,
    traits: Traits,
    shape: S,
    key: impl FnOnce() -> &'k Key,
) -> Looked<R> {
    let inner = &cache.0;
    if inner.is_off() {
        return Looked::Round;
    }
    let mode = scope.map_or(Mode::Normal, |scope| scope.mode);
    let record = scope.and_then(|scope| scope.record.as_ref());
    if mode == Mode::Bypass {
        inner.counters.add(prefix, Event::Bypass);
        if let Some(record) = record {
            record.bypass();
        }
        return Looked::Round;
    }
    let key = key();
    // What this task's own transaction has removed is not to be had from another one's load, nor to be stored.
    if let Some(deferral) = scope.and_then(|scope| scope.deferral.as_ref())
        && deferral.is_open_on(cache)
        && inner.flights.is_covered(key)
    {
        inner.counters.add(prefix, Event::Bypass);
        if let Some(record) = record {
            record.miss(Duration::ZERO, traits.handler);
        }
        return Looked::Round;
    }
    if mode != Mode::Refresh
        && let Some((value, fresh_until, extra)) = inner.in_memory_with(key, traits.local, S::open)
    {
        if mode != Mode::Warm {
            inner.counters.add(prefix, Event::Hit);
        }
        if let Some(record) = record {
            record.hit(inner.left(fresh_until), traits.handler);
        }
        if AHEAD
            && mode == Mode::Normal
            && let Some(claim) = extra.and_then(|extra| Claim::new(extra, inner.clock.coarse()))
        {
            let absent = Absent {
                cache: cache.clone(),
                mode,
                record: None,
            };
            return Looked::Due(shape.join(value), absent, claim);
        }
        return Looked::Hit(shape.join(value));
    }
    Looked::Absent(Absent {
        cache: cache.clone(),
        mode,
        record: record.cloned(),
    })
}

impl Inner {
    /// The value under `key` in the memory that serves now, and until when it is fresh.
    #[inline]
    pub(crate) fn in_memory<V: Clone + Send + Sync + 'static>(
        &self,
        key: &Key,
        local: bool,
    ) -> Option<(V, Nanos)> {
        self.in_memory_with(key, local, |shared| kept::open(&shared))
            .map(|(value, fresh_until, _)| (value, fresh_until))
    }

    /// The same, with what few entries have.
    #[inline]
    fn in_memory_with<V>(
        &self,
        key: &Key,
        local: bool,
        open: impl FnOnce(Shared) -> Option<V>,
    ) -> Option<(V, Nanos, Option<Arc<Extra>>)> {
        let Held {
            value,
            fresh_until,
            extra,
        } = self.held(key, local)?;
        // A sweep that is under way may not have come to this entry yet.
        if self.flights.is_swept(key) {
            return None;
        }
        // Another type under the same key is a miss, and is overwritten.
        Some((open(value)?, fresh_until, extra))
    }

    /// Whatever is kept under `key` in the memory that serves now, fresh or not.
    pub(crate) fn kept_in_memory(&self, key: &Key, local: bool) -> Option<Held> {
        let held = match &self.tier {
            Some(tier) if !local => tier.kept_in_memory(key)?,
            _ => self.memory.get_kept(key)?,
        };
        (!self.flights.is_swept(key)).then_some(held)
    }

    /// The memory that holds what is loaded now, if it is memory that does.
    pub(crate) fn memory_behind(&self, local: bool) -> Option<&MemoryStore> {
        match &self.tier {
            Some(tier) if !local => (!tier.is_trusted()).then_some(&*tier.fallback),
            _ => Some(&*self.memory),
        }
    }

    pub(crate) fn left(&self, fresh_until: Nanos) -> Duration {
        Duration::from_nanos(fresh_until.saturating_sub(self.clock.coarse()))
    }
}

impl Call {
    pub(crate) fn count(&self, event: Event) {
        self.cache.0.counters.add(self.prefix, event);
    }

    /// A lookup answered without loading.
    pub(crate) fn hit(&self, left: Duration) {
        if self.mode != Mode::Warm {
            self.count(Event::Hit);
        }
        if let Some(record) = &self.record {
            record.hit(left, self.traits.handler);
        }
    }

    /// A lookup that found nothing usable.
    pub(crate) fn missed(&self) {
        if self.mode == Mode::Normal {
            self.count(Event::Miss);
        }
    }

    /// The answer to a look-up that found nothing fresh.
    pub(crate) fn answered(&self, answer: Answer) {
        if let Answer::Stale = answer {
            self.count(Event::Stale);
        }
        if let Some(record) = &self.record {
            match answer {
                Answer::Loaded(left) => record.miss(left, self.traits.handler),
                Answer::Stale => record.hit(Duration::ZERO, self.traits.handler),
            }
        }
    }

    /// What it may spend on the backend to find its value.
    pub(crate) fn budget(&self, tier: &Tier) -> Budget {
        match &self.part {
            Some(part) => Budget::of(part.budget),
            None => tier.budget(),
        }
    }

    /// Says whether it waits for somebody else's load.
    pub(crate) fn waits(&self, waits: bool) {
        if let Some(part) = &self.part {
            part.waits.store(waits, Ordering::Relaxed);
        }
    }

    /// The same call once more, on nobody's behalf.
    pub(crate) fn on_its_own(&self) -> Arc<Self> {
        Arc::new(Self {
            cache: self.cache.clone(),
            key: self.key.clone(),
            prefix: self.prefix,
            mode: Mode::Normal,
            record: None,
            traits: self.traits,
            part: None,
        })
    }
}
