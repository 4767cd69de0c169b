//! What generated code calls. No part of the public interface: anything here may change in any release.
#![allow(missing_docs, reason = "called by generated code only")]

pub mod fields;
mod invalidating;
pub mod own;
pub mod probe;
mod template;

use std::future::Future;

pub use std::boxed::Box;

pub use self::invalidating::{Targets, invalidating, invalidating_always};
pub use self::template::Text;
pub use crate::cache::Cache;
pub use crate::call::{Entered, Miss, enter, enter_ahead};
pub use crate::global::refresh;
pub use crate::key::{KeyBuilder, value_text};
pub use crate::load::{Detach, Inline};
pub use crate::policy::Policy;
pub use crate::shape::{CacheValue, Codec, Decode, Encode, LocalValue, Plain, Shape};
pub use crate::share::{Alone, Always, Late, Share, Sharing, Success};
pub use crate::site::Site;
pub use crate::target::Invalidated;
pub use crate::ttl::{IntoTtl, Ttl, ttl};
pub use crate::{CacheKey, Error, Key, KeyPattern, KeyWriter, Matching};

use crate::global::{Mode, with_mode};
use crate::target::Target;

/// The key of a call.
pub fn key(site: &'static Site, key: impl FnOnce(&mut KeyBuilder)) -> Key {
    site.key(key)
}

/// The cache that a companion acts on.
pub(crate) fn cache_of(cache: Option<&Cache>) -> Option<Cache> {
    cache.cloned().or_else(Cache::current)
}

/// Removes the entry of a call.
pub fn remove(
    _: &'static Site,
    cache: Option<&Cache>,
    key: Key,
) -> impl Future<Output = Result<Invalidated, Error>> + use<> {
    let cache = cache_of(cache);
    async move {
        match cache {
            Some(cache) => cache.invalidate_all(vec![Target::Key(key)]).await,
            None => Ok(Invalidated::NOTHING),
        }
    }
}

/// The keys of a function's calls, of which it has `parts`.
pub fn matching(site: &'static Site, parts: &'static [&'static str]) -> Matching {
    Matching::of(site.prefix_text(), Some(parts))
}

/// Of these keys, those whose part `name` is what `write` writes.
pub fn narrow(keys: Matching, name: &str, write: impl FnOnce(&mut KeyBuilder)) -> Matching {
    keys.written(name, write)
}

/// Removes what matches.
pub fn remove_matching(
    cache: Option<&Cache>,
    pattern: KeyPattern,
) -> impl Future<Output = Result<Invalidated, Error>> + use<> {
    let cache = cache_of(cache);
    async move {
        match cache {
            Some(cache) => cache.invalidate_all(vec![Target::Pattern(pattern)]).await,
            None => Ok(Invalidated::NOTHING),
        }
    }
}

/// What a call would return from the cache.
pub fn peek<R, S: Shape<R>>(
    site: &'static Site,
    cache: Option<&Cache>,
    shape: S,
    key: Key,
) -> impl Future<Output = Result<Option<R>, Error>> + use<R, S> {
    let cache = cache_of(cache);
    async move {
        let Some(cache) = cache else { return Ok(None) };
        let value = cache
            .read(
                &key,
                site.is_local(),
                site.type_version(),
                shape.codec(),
                site.prefix_id(),
            )
            .await;
        Ok(value.and_then(|value| match value {
            Some(value) => Some(shape.join(value)),
            None => shape.nothing(),
        }))
    }
}

/// Runs a call so that its value is stored, without counting it as a look-up.
pub fn warm<F: Future>(call: F) -> impl Future<Output = F::Output> {
    with_mode(Mode::Warm, call)
}
