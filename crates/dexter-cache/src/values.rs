//! Reading and writing values by hand: what a cached function does in one step, in two.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::When;
use crate::backend::memory::Held;
use crate::cache::Cache;
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::policy::{Life, Policy};
use crate::shape::{CacheValue, Codec, Nothing};
use crate::stats::{Event, PrefixId};
use crate::tag::TagId;
use crate::target::Target;
use crate::tier::{Asked, Budget, Labels, Seen, Tier};
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
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
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
    /// # Cancel safety
    ///
    /// It changes nothing, so it can be dropped at any time.
    ///
    /// # Cost
    ///
    /// One round trip for every 500 keys.
    pub async fn get_many<T: CacheValue>(&self, keys: &[Key]) -> Result<Vec<Option<T>>, Error> {
        let inner = &self.0;
        if let Some(tier) = &inner.tier {
            tier.guard();
        }
        let values = match &inner.tier {
            Some(tier) if tier.is_trusted() && !inner.is_off() => {
                let keys: Vec<&Key> = keys.iter().collect();
                let read = self.read_many(tier, &keys, &mut tier.budget()).await;
                let values = read.into_iter();
                values.map(|read| read.map(|(value, _)| value)).collect()
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

    /// The fresh values under `keys`, and for how long each is: all that memory does not have by one command.
    pub(crate) async fn read_many<T: CacheValue>(
        &self,
        tier: &Arc<Tier>,
        keys: &[&Key],
        budget: &mut Budget,
    ) -> Vec<Option<(T, Duration)>> {
        let inner = &self.0;
        let in_memory = |key: &&Key| {
            let (value, fresh_until) = inner.in_memory(key, false)?;
            Some((value, inner.left(fresh_until)))
        };
        let mut values: Vec<Option<(T, Duration)>> = keys.iter().map(in_memory).collect();
        let missing: Vec<usize> = (0..keys.len()).filter(|at| values[*at].is_none()).collect();
        if missing.is_empty() {
            return values;
        }
        let wanted: Vec<&Key> = missing.iter().map(|at| keys[*at]).collect();
        // `None` for what a fence covers: what is there may be what is just being removed.
        let ask = |key: &&Key| {
            let asked = Asked::default();
            tier.ask(key, &asked);
            (!inner.flights.is_covered(key)).then_some(asked)
        };
        let asked: Vec<Option<Asked>> = wanted.iter().map(ask).collect();
        let Ok((found, mut seen)) = tier.look_up_many(&wanted, budget).await else {
            return values;
        };
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
        let tags = tags.map(|tag| TagId(tag.tag));
        if tier.learn(tags, &mut seen, budget).await.is_err() {
            return values;
        }
        for ((at, found), asked) in missing.into_iter().zip(&mut read).zip(asked) {
            let key = keys[at];
            let asked = asked.filter(|_| !inner.flights.is_covered(key));
            let Some((found, asked)) = found.take().zip(asked) else {
                continue;
            };
            let admitted = self.admitted(tier, found, &mut seen, budget).await;
            values[at] = admitted.and_then(|found| {
                let until = match &found {
                    Found::Value(entry) => entry.about.times.fresh_until,
                    _ => 0,
                };
                let left = Duration::from_millis(until.saturating_sub(tier.backend_ms()));
                let value = self.open(tier, key, &asked, found, Codec::JSON)??;
                Some((value, left))
            });
        }
        values
    }

    /// Stores `value` under `key` as `policy` says (a [`Ttl`](crate::Ttl) is one), in place of what is there. Loads of the
    /// key that are under way are not stored.
    ///
    /// While the backend is away the value is kept in memory, for at most the fallback TTL, and what the backend holds
    /// under the key is removed when it is back. A value over the size limit is not stored; what was under the key is
    /// removed.
    ///
    /// Within [`deferred`](Self::deferred) nothing is stored: the key is removed when the transaction ends.
    ///
    /// In a backend values are JSON, which has no NaN and no infinities: they are written as `null`. A plain float does
    /// not read back from that, so the value is a miss; an `Option` of one reads back as `None`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Encode`] where `value` cannot be written as JSON, [`ErrorKind::Denied`] where the backend refuses the
    /// write: what is stored stays.
    ///
    /// # Cancel safety
    ///
    /// Of a `set` that is dropped while it waits for the backend nobody knows whether the value is stored. What memory held
    /// under the key is gone.
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
        let policy = policy.into();
        let tags = &policy.tags;
        // What a transaction writes may be undone yet.
        if inner.is_off() || self.is_deferring() {
            return self.remove(key).await.map(drop);
        }
        let life = policy.life(policy.ttl, inner.config.jitter);
        if life.fresh.is_zero() {
            return self.remove(key).await.map(drop);
        }
        let prefix = PrefixId::of(key.prefix());
        let marks = inner.flights.tags().marks(tags.as_slice());
        let Some(tier) = &inner.tier else {
            let _fence = inner.flights.raise(Target::Key(key.clone()));
            let now = inner.clock.now();
            let held = Held::living(Arc::new(value.clone()), now, life, None).marked(marks);
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
        tier.evict(key);
        let openings = tier.openings();
        let stored = match labels {
            Ok(_) => {
                let kept = life.kept();
                tier.set(key, bytes, kept, When::Always, budget).await
            }
            Err(error) => Err(error),
        };
        match stored {
            // A server that forgets the write has what was there before it: that is removed like what was to be removed.
            Ok(_) if tier.acknowledge(&[Target::Key(key.clone())], openings) => {
                inner.counters.add(prefix, Event::Stored);
            }
            // Lost meanwhile, and back already.
            Ok(_) => drop(tier.remove(&[Target::Key(key.clone())]).await?),
            // The server still removes, and what is there is older than what could not be written.
            Err(error) if error.kind() == ErrorKind::OutOfMemory => {
                tier.remove(&[Target::Key(key.clone())]).await?;
            }
            Err(error) if error.kind() == ErrorKind::Denied => return Err(error),
            Err(error) => {
                tier.trip(&error);
                tier.postpone(&[Target::Key(key.clone())]);
                let (now, life) = (inner.clock.now(), life.within(tier.config.fallback_ttl));
                let held = Held::living(Arc::new(value.clone()), now, life, None).marked(marks);
                let mut weighed = Some(tier.fallback.weigh(key, held, None));
                // In one step with the question: the guardian empties memory after all who hold the lock have let go.
                // Dropping values runs code of the user, so what is pushed out leaves the lock.
                let put = inner.flights.under_lock(key.hash(), || {
                    let weighed = weighed.take_if(|_| !tier.is_trusted());
                    weighed.map(|weighed| tier.fallback.put(weighed))
                });
                drop(put);
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
        let tier = inner.tier.as_ref().filter(|_| !local)?;
        // Also where nothing can be read: a process that does nothing but read finds the backend again.
        tier.guard();
        let asked = Asked::default();
        tier.ask(key, &asked);
        // What is there may be what is just being removed.
        if !tier.is_trusted() || inner.flights.is_covered(key) {
            return None;
        }
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
        let found = wire::read(&bytes, wire::fingerprint::<V>(version));
        let found = self.admitted(tier, found, &mut seen, budget).await?;
        self.open(tier, key, &asked, found, codec)
    }

    /// What was found, unless it was invalidated.
    async fn admitted<'a>(
        &self,
        tier: &Tier,
        mut found: Found<'a>,
        seen: &mut Seen,
        budget: &mut Budget,
    ) -> Option<Found<'a>> {
        if let Found::Value(entry) = &mut found {
            let admits = tier.admits(&mut entry.about, seen, budget).await;
            admits.ok().filter(|admits| *admits)?;
        }
        Some(found)
    }

    /// The value in an envelope that counts, which L1 keeps where there is one.
    #[expect(
        clippy::option_option,
        reason = "whether something is known, and whether that is a value"
    )]
    fn open<V>(
        &self,
        tier: &Tier,
        key: &Key,
        asked: &Asked,
        found: Found<'_>,
        codec: Codec<V>,
    ) -> Option<Option<V>>
    where
        V: Clone + Send + Sync + 'static,
    {
        let value = match found {
            Found::Lease { .. } => return None,
            Found::Value(entry) if !entry.is_fresh(tier.backend_ms()) => return None,
            Found::Value(entry) if entry.nothing => return Some(None),
            Found::Value(entry) => {
                let value = codec.decode.and_then(|decode| decode(entry.payload).ok());
                if let Some(value) = &value {
                    let shared = || (codec.keep)(value);
                    tier.keep(key, shared, &entry, None, asked, None);
                }
                value
            }
            Found::Foreign => None,
        };
        if value.is_none() {
            let prefix = PrefixId::of(key.prefix());
            self.0.counters.add(prefix, Event::Unusable);
        }
        value.map(Some)
    }
}

fn envelope<T: CacheValue>(
    tier: &Tier,
    value: &T,
    life: Life,
    labels: Option<&Labels>,
) -> Result<Vec<u8>, Error> {
    let mut about = tier.about(wire::fingerprint::<T>(0), life.fresh);
    let stale = u64::try_from(life.stale.as_millis()).unwrap_or(u64::MAX);
    about.times.kept_until = about.times.fresh_until.saturating_add(stale);
    if let Some(labels) = labels {
        about.epoch = labels.epoch;
        about.tags.clone_from(&labels.tags);
    }
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
