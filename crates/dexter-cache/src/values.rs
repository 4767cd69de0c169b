//! Reading and writing values by hand: what a cached function does in one step, in two.

use std::sync::Arc;

use crate::backend::When;
use crate::backend::memory::Held;
use crate::cache::Cache;
use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::shape::{CacheValue, Codec, Nothing};
use crate::stats::{Event, PrefixId};
use crate::target::Target;
use crate::tier::Tier;
use crate::ttl::Ttl;
use crate::wire::{self, Found};

impl Cache {
    /// The value under `key`, if there is one of type `T`. Never loads, and never waits for a load.
    ///
    /// A backend that is away, and a value that cannot be used, are a miss.
    ///
    /// # Errors
    ///
    /// None today.
    ///
    /// # Cost
    ///
    /// In memory a look-up and a clone; in the backend one round trip.
    pub async fn get<T: CacheValue>(&self, key: &Key) -> Result<Option<T>, Error> {
        let prefix = PrefixId::of(key.prefix());
        let value = self.read(key, false, 0, Codec::<T>::JSON, prefix).await;
        // A `None` that is remembered is nothing to whoever wants a value.
        let value = value.flatten();
        self.0.counters.add(
            prefix,
            if value.is_some() {
                Event::Hit
            } else {
                Event::Miss
            },
        );
        Ok(value)
    }

    /// The values under `keys`, in their order; see [`get`](Self::get).
    ///
    /// # Errors
    ///
    /// None today.
    ///
    /// # Cost
    ///
    /// One round trip for every 500 keys.
    pub async fn get_many<T: CacheValue>(&self, keys: &[Key]) -> Result<Vec<Option<T>>, Error> {
        let inner = &self.0;
        let values = match &inner.tier {
            Some(tier) if tier.is_trusted() && !inner.is_off() => {
                tier.guard();
                match tier.get_many(keys, &mut tier.budget()).await {
                    Ok(found) => {
                        let codec = Codec::<T>::JSON;
                        let values = keys.iter().zip(found).map(|(key, bytes)| {
                            // What is there may be what is just being removed.
                            let bytes = bytes.filter(|_| !inner.flights.is_covered(key))?;
                            self.open(tier, &bytes, 0, codec, PrefixId::of(key.prefix()))?
                        });
                        values.collect()
                    }
                    Err(_) => vec![None; keys.len()],
                }
            }
            _ if inner.is_off() => vec![None; keys.len()],
            _ => keys
                .iter()
                .map(|key| inner.in_memory(key, false).map(|(value, _)| value))
                .collect(),
        };
        for (key, value) in keys.iter().zip(&values) {
            let event = if value.is_some() {
                Event::Hit
            } else {
                Event::Miss
            };
            inner.counters.add(PrefixId::of(key.prefix()), event);
        }
        Ok(values)
    }

    /// Stores `value` under `key` for `ttl`, in place of what is there. Loads of the key that are under way are not
    /// stored.
    ///
    /// While the backend is away the value is kept in memory, for at most the fallback TTL, and what the backend holds
    /// under the key is removed when it is back. A value over the size limit is not stored; what was under the key is
    /// removed.
    ///
    /// In a backend values are JSON, which has no NaN and no infinities: they are written as `null`. A plain float does
    /// not read back from that, so the value is a miss; an `Option` of one reads back as `None`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Encode`] where `value` cannot be written as JSON, [`ErrorKind::Denied`] where the backend refuses the
    /// write: what is stored stays.
    ///
    /// # Cost
    ///
    /// One round trip.
    pub async fn set<T: CacheValue>(&self, key: &Key, value: &T, ttl: Ttl) -> Result<(), Error> {
        let inner = &self.0;
        if inner.is_off() {
            return self.remove(key).await.map(drop);
        }
        let life = ttl.drawn(inner.config.jitter);
        if life.is_zero() {
            return self.remove(key).await.map(drop);
        }
        let prefix = PrefixId::of(key.prefix());
        let fresh_until = clock::after(inner.clock.now(), life);
        let Some(tier) = &inner.tier else {
            let _fence = inner.flights.raise(Target::Key(key.clone()));
            inner
                .memory
                .insert(key, Held::new(Arc::new(value.clone()), fresh_until), None);
            inner.counters.add(prefix, Event::Stored);
            return Ok(());
        };
        tier.guard();
        let bytes = envelope(tier, value, life)?;
        if bytes.len() > tier.config.max_value {
            inner.counters.add(prefix, Event::TooLarge);
            inner.warn_too_large(key.prefix(), bytes.len());
            return self.remove(key).await.map(drop);
        }
        let _fence = inner.flights.raise(Target::Key(key.clone()));
        // A value of a `local` function may lie under the same key.
        inner.memory.remove(key);
        tier.fallback.remove(key);
        match tier
            .set(key, bytes, life, When::Always, &mut tier.budget())
            .await
        {
            Ok(_) => inner.counters.add(prefix, Event::Stored),
            // The server still removes, and what is there is older than what could not be written.
            Err(error) if error.kind() == ErrorKind::OutOfMemory => {
                tier.remove(&[Target::Key(key.clone())]).await?;
            }
            Err(error) if error.kind() == ErrorKind::Denied => return Err(error),
            Err(error) => {
                tier.trip(&error);
                tier.postpone(&[Target::Key(key.clone())]);
                let life = life.min(tier.config.fallback_ttl);
                let fresh_until = clock::after(inner.clock.now(), life);
                let held = Held::new(Arc::new(value.clone()), fresh_until);
                // In one step with the question: the guardian empties memory after all who hold the lock have let go.
                inner.flights.under_lock(key, || {
                    if !tier.is_trusted() {
                        tier.fallback.insert(key, held, None);
                    }
                });
            }
        }
        Ok(())
    }

    /// The value under `key`, or the `None` that is remembered there. Never a stale one.
    pub(crate) async fn read<V>(
        &self,
        key: &Key,
        local: bool,
        version: u32,
        codec: Codec<V>,
        prefix: PrefixId,
    ) -> Option<Option<V>>
    where
        V: Clone + Send + Sync + 'static,
    {
        let inner = &self.0;
        if inner.is_off() {
            return None;
        }
        if let Some((value, _)) = inner.in_memory::<V>(key, local) {
            return Some(Some(value));
        }
        if let Some(held) = inner.kept_in_memory(key, local)
            && held.is_fresh(inner.clock.coarse())
            && held.value.is::<Nothing>()
        {
            return Some(None);
        }
        let tier = inner
            .tier
            .as_ref()
            .filter(|tier| !local && tier.is_trusted())?;
        // What is there may be what is just being removed.
        if inner.flights.is_covered(key) {
            return None;
        }
        tier.guard();
        let bytes = match tier.get(key, &mut tier.budget()).await {
            Ok(bytes) => bytes?,
            Err(error) => {
                if error.kind() == ErrorKind::WrongType {
                    inner.counters.add(prefix, Event::Unusable);
                }
                return None;
            }
        };
        self.open(tier, &bytes, version, codec, prefix)
    }

    /// The fresh value in an envelope.
    #[expect(
        clippy::option_option,
        reason = "whether something is known, and whether that is a value"
    )]
    fn open<V>(
        &self,
        tier: &Tier,
        bytes: &[u8],
        version: u32,
        codec: Codec<V>,
        prefix: PrefixId,
    ) -> Option<Option<V>> {
        let value = match wire::read(bytes, wire::fingerprint::<V>(version)) {
            Found::Lease { .. } => return None,
            Found::Value(entry) if !entry.is_fresh(tier.backend_ms()) => return None,
            Found::Value(entry) if entry.nothing => return Some(None),
            Found::Value(entry) => codec.decode.and_then(|decode| decode(entry.payload).ok()),
            Found::Foreign => None,
        };
        if value.is_none() {
            self.0.counters.add(prefix, Event::Unusable);
        }
        value.map(Some)
    }
}

fn envelope<T: CacheValue>(
    tier: &Tier,
    value: &T,
    life: std::time::Duration,
) -> Result<Vec<u8>, Error> {
    let about = tier.about(wire::fingerprint::<T>(0), life);
    wire::value(fastrand::u128(..), &about, None, |out| {
        serde_json::to_writer(out, value)
    })
    // The text of the error is the user's own, and may hold the value.
    .map_err(|_| {
        let name = std::any::type_name::<T>();
        Error::new(
            ErrorKind::Encode,
            format!("a `{name}` cannot be written as JSON"),
        )
    })
}
