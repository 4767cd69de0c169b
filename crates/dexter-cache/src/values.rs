//! Reading and writing values by hand: what a cached function does in one step, in two.

use std::sync::Arc;

use crate::backend::When;
use crate::backend::memory::Held;
use crate::cache::Cache;
use crate::clock;
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::policy::Policy;
use crate::shape::{CacheValue, Codec};
use crate::stats::{Event, PrefixId};
use crate::tag::TagId;
use crate::target::Target;
use crate::tier::{Labels, Seen, Tier};
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
                self.read_many(tier, keys)
                    .await
                    .unwrap_or_else(|_| vec![None; keys.len()])
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

    /// Stores `value` under `key` as `policy` says (a [`Ttl`](crate::Ttl) is one), in place of what is there. Loads of the
    /// key that are under way are not stored.
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
    /// One round trip; one more where it is not known which tokens the tags have, or which epoch the namespace.
    pub async fn set<T: CacheValue>(
        &self,
        key: &Key,
        value: &T,
        policy: impl Into<Policy>,
    ) -> Result<(), Error> {
        let inner = &self.0;
        let Policy { ttl, tags, .. } = policy.into();
        if inner.is_off() {
            return self.remove(key).await.map(drop);
        }
        let life = ttl.drawn(inner.config.jitter);
        if life.is_zero() {
            return self.remove(key).await.map(drop);
        }
        let prefix = PrefixId::of(key.prefix());
        let fresh_until = clock::after(inner.clock.now(), life);
        let marks = inner.flights.tags().marks(tags.as_slice());
        let Some(tier) = &inner.tier else {
            let _fence = inner.flights.raise(Target::Key(key.clone()));
            let held = Held::new(Arc::new(value.clone()), fresh_until).marked(marks);
            inner.memory.insert(key, held, None);
            inner.counters.add(prefix, Event::Stored);
            return Ok(());
        };
        tier.guard();
        let budget = &mut tier.budget();
        // Where the backend is away, so are they, and what is written is nowhere to be read.
        let labels = tier
            .label(tags.as_slice(), false, &mut Seen::default(), budget)
            .await;
        let bytes = envelope(tier, value, life, labels.as_ref().ok())?;
        if bytes.len() > tier.config.max_value || tags.as_slice().len() > wire::MAX_TAGS {
            inner.counters.add(prefix, Event::TooLarge);
            inner.warn_too_large(key.prefix(), bytes.len());
            return self.remove(key).await.map(drop);
        }
        let _fence = inner.flights.raise(Target::Key(key.clone()));
        // A value of a `local` function may lie under the same key.
        inner.memory.remove(key);
        tier.fallback.remove(key);
        let stored = match labels {
            Ok(_) => tier.set(key, bytes, life, When::Always, budget).await,
            Err(error) => Err(error),
        };
        match stored {
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
                let held = Held::new(Arc::new(value.clone()), fresh_until).marked(marks);
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

    pub(crate) async fn read<V>(
        &self,
        key: &Key,
        local: bool,
        version: u32,
        codec: Codec<V>,
        prefix: PrefixId,
    ) -> Option<V>
    where
        V: Clone + Send + Sync + 'static,
    {
        let inner = &self.0;
        if inner.is_off() {
            return None;
        }
        if let Some((value, _)) = inner.in_memory::<V>(key, local) {
            return Some(value);
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
        let budget = &mut tier.budget();
        let (bytes, mut seen) = match tier.look_up(key, &[], budget).await {
            Ok((bytes, seen)) => (bytes?, seen),
            Err(error) => {
                if error.kind() == ErrorKind::WrongType {
                    inner.counters.add(prefix, Event::Unusable);
                }
                return None;
            }
        };
        let mut found = wire::read(&bytes, wire::fingerprint::<V>(version));
        if let Found::Value(entry) = &mut found
            && !matches!(
                tier.admits(&mut entry.about, &mut seen, budget).await,
                Ok(true)
            )
        {
            return None;
        }
        self.open(tier, found, codec, prefix)
    }

    async fn read_many<T: CacheValue>(
        &self,
        tier: &Tier,
        keys: &[Key],
    ) -> Result<Vec<Option<T>>, Error> {
        let budget = &mut tier.budget();
        let (found, mut seen) = tier.look_up_many(keys, budget).await?;
        let fingerprint = wire::fingerprint::<T>(0);
        let mut read: Vec<Option<Found<'_>>> = found
            .iter()
            .map(|bytes| bytes.as_ref().map(|bytes| wire::read(bytes, fingerprint)))
            .collect();
        let tags = read.iter().flatten().flat_map(|found| match found {
            Found::Value(entry) => &entry.about.tags[..],
            _ => &[],
        });
        // All that there are, so that no entry has to ask for its own.
        tier.learn(tags.map(|tag| TagId(tag.tag)), &mut seen, budget)
            .await?;
        let mut values = Vec::with_capacity(keys.len());
        for (key, found) in keys.iter().zip(&mut read) {
            // What is there may be what is just being removed.
            let mut found = found.take().filter(|_| !self.0.flights.is_covered(key));
            if let Some(Found::Value(entry)) = &mut found
                && !tier.admits(&mut entry.about, &mut seen, budget).await?
            {
                found = None;
            }
            let prefix = PrefixId::of(key.prefix());
            values.push(found.and_then(|found| self.open(tier, found, Codec::JSON, prefix)));
        }
        Ok(values)
    }

    /// The value in an envelope that counts.
    fn open<V>(
        &self,
        tier: &Tier,
        found: Found<'_>,
        codec: Codec<V>,
        prefix: PrefixId,
    ) -> Option<V> {
        let value = match found {
            Found::Lease { .. } => return None,
            // Kept beyond its time only by the lease of a refresh.
            Found::Value(entry)
                if (entry.leased_until.is_some()
                    || entry.about.times.fresh_until < entry.about.times.kept_until)
                    && entry.about.times.fresh_until <= tier.backend_ms() =>
            {
                return None;
            }
            Found::Value(entry) => codec.decode.and_then(|decode| decode(entry.payload).ok()),
            Found::Foreign => None,
        };
        if value.is_none() {
            self.0.counters.add(prefix, Event::Unusable);
        }
        value
    }
}

fn envelope<T: CacheValue>(
    tier: &Tier,
    value: &T,
    life: std::time::Duration,
    labels: Option<&Labels>,
) -> Result<Vec<u8>, Error> {
    let mut about = tier.about(wire::fingerprint::<T>(0), life);
    if let Some(labels) = labels {
        about.epoch = labels.epoch;
        about.tags.clone_from(&labels.tags);
    }
    wire::value(fastrand::u128(..), &about, |out| {
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
