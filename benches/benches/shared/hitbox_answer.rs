//! What `hitbox` caches.

use std::future::{Ready, ready};

use chrono::Utc;
use hitbox::predicate::{Predicate, PredicateResult};
use hitbox::{CachePolicy, CacheValue, CacheableResponse, EntityPolicyConfig};

/// The trait is hitbox' and the value is not from here.
#[derive(Debug, Clone)]
pub(crate) struct Answer<T>(pub(crate) T);

impl<T: Clone + Send + Sync + 'static> CacheableResponse for Answer<T> {
    type Cached = T;
    type Subject = Self;
    type IntoCachedFuture = Ready<CachePolicy<T, Self>>;
    type FromCachedFuture = Ready<Self>;

    async fn cache_policy<P>(
        self,
        predicates: P,
        config: &EntityPolicyConfig,
    ) -> CachePolicy<CacheValue<T>, Self>
    where
        P: Predicate<Subject = Self> + Send + Sync,
    {
        match predicates.check(self).await {
            PredicateResult::Cacheable(answer) => CachePolicy::Cacheable(CacheValue::new(
                answer.0,
                config.ttl.map(|ttl| Utc::now() + ttl),
                config.stale_ttl.map(|ttl| Utc::now() + ttl),
            )),
            PredicateResult::NonCacheable(answer) => CachePolicy::NonCacheable(answer),
        }
    }

    fn into_cached(self) -> Self::IntoCachedFuture {
        ready(CachePolicy::Cacheable(self.0))
    }

    fn from_cached(cached: T) -> Self::FromCachedFuture {
        ready(Self(cached))
    }
}
