//! Reading many keys through the cache: one look for all of them, and one load for what is missing.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::cache::Cache;
use crate::call::{self, Entered, Miss, Part, Traits};
use crate::global::{Mode, Scope};
use crate::key::Key;
use crate::load::{Batched, Stop, load_many};
use crate::policy::Policy;
use crate::shape::{CacheValue, ResultOptionOf, Serde};
use crate::stats::PrefixId;

impl Cache {
    /// The values of `ids`, in their order: those that are there, and for the others what **one** `load` brings.
    ///
    /// `key` names the entry of an id. `load` is given the ids that are missing, and returns what it has found, in any order:
    /// a map, or a list of pairs. What it leaves out is `None`, and looked for again by the next call; a policy with
    /// [`none_ttl`](Policy::none_ttl) remembers it.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use dexter_cache::{Cache, Key, Ttl};
    ///
    /// # async fn select(ids: &[u64]) -> HashMap<u64, String> { ids.iter().map(|id| (*id, format!("issue {id}"))).collect() }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let cache = Cache::memory();
    /// let key = |id: &u64| Key::new("issue").part("id", id);
    /// let issues = cache.get_or_load_many(&[7, 8, 9], key, Ttl::secs(60), async |missing: Vec<u64>| {
    ///     select(&missing).await // … where id in (7, 8, 9) …
    /// });
    /// assert_eq!(issues.await[1].as_deref(), Some("issue 8"));
    /// # }
    /// ```
    ///
    /// Each key is what it is in [`get_or_load`](Self::get_or_load), which it may share entries and loads with: one caller
    /// loads it, another one that comes for it waits, whether it comes for one key or for many, and a removal keeps the load
    /// of *its* key from being stored. Batches that overlap do not wait for each other before they load. If the caller
    /// that another one waits for is dropped, `load` is called once more, for what that one was to bring.
    ///
    /// Of the [`Policy`] acts what acts in [`get_or_load`](Self::get_or_load). There is no
    /// [`CacheContext`](crate::CacheContext) in a load of many. The [statistics](Self::stats) count keys: a load of ten is ten
    /// loads.
    ///
    /// # Panics
    ///
    /// Only where `load` does, or `key`.
    ///
    /// # Cancel safety
    ///
    /// A caller that is dropped while it loads hands each key over to one that waits for it.
    ///
    /// # Cost
    ///
    /// What is in memory: a look-up and a clone for each key. What is in the backend: one round trip for every 500 keys. What is
    /// missing: three more, each for all of them at once, the last one behind the answer; these are commands for each key.
    pub async fn get_or_load_many<I, T, F>(
        &self,
        ids: &[I],
        key: impl Fn(&I) -> Key,
        policy: impl Into<Policy>,
        load: impl Fn(Vec<I>) -> F,
    ) -> Vec<Option<T>>
    where
        I: Clone + Eq + Hash,
        T: CacheValue,
        F: Future<Output: IntoIterator<Item = (I, T)>>,
    {
        let load = |ids| {
            let loading = load(ids);
            async { Ok::<_, Infallible>(loading.await) }
        };
        match self.try_get_or_load_many(ids, key, policy, load).await {
            Ok(values) => values,
            Err(never) => match never {},
        }
    }

    /// As [`get_or_load_many`](Self::get_or_load_many), with a load that may fail. An error is never stored.
    ///
    /// Where the policy keeps [stale](Policy::stale) values, they answer for a load that fails, if there is one for each key
    /// that it was to bring. Callers that wait for a key whose load fails load for themselves, a few at once.
    ///
    /// # Errors
    ///
    /// Those of `load`, and no others: then there are no values, also of keys that were there.
    pub async fn try_get_or_load_many<I, T, E, M, F>(
        &self,
        ids: &[I],
        key: impl Fn(&I) -> Key,
        policy: impl Into<Policy>,
        load: impl Fn(Vec<I>) -> F,
    ) -> Result<Vec<Option<T>>, E>
    where
        I: Clone + Eq + Hash,
        T: CacheValue,
        F: Future<Output = Result<M, E>>,
        M: IntoIterator<Item = (I, T)>,
    {
        let policy = policy.into();
        let mut many = Many::look(self, ids, key);
        many.read(self).await;
        let missing: Vec<(I, Miss<T>)> = many
            .missing
            .iter_mut()
            .enumerate()
            .filter_map(|(at, miss)| Some((ids[many.first[at]].clone(), miss.take()?)))
            .collect();
        if !missing.is_empty() {
            let loaded = Box::pin(load_many(self, missing, &policy, load)).await?;
            many.fill(loaded);
        }
        Ok(many.in_order())
    }
}

/// Each key once, however often it is asked for.
struct Many<T> {
    /// For each id, which of the keys is its own.
    places: Vec<usize>,
    /// For each key, the first id that it is the key of.
    first: Vec<usize>,
    values: Vec<Option<T>>,
    missing: Vec<Option<Miss<T>>>,
    /// Those of the keys that are still to be loaded.
    wanted: Vec<usize>,
}

impl<T: CacheValue> Many<T> {
    /// What memory holds.
    fn look<I>(cache: &Cache, ids: &[I], key: impl Fn(&I) -> Key) -> Self {
        let mut many = Self {
            places: Vec::with_capacity(ids.len()),
            first: Vec::with_capacity(ids.len()),
            values: Vec::with_capacity(ids.len()),
            missing: Vec::with_capacity(ids.len()),
            wanted: Vec::new(),
        };
        let mut known = HashMap::with_capacity(ids.len());
        for (id, of) in ids.iter().enumerate() {
            let unseen = many.first.len();
            match known.entry(key(of)) {
                Entry::Occupied(seen) => many.places.push(*seen.get()),
                Entry::Vacant(place) => {
                    many.places.push(unseen);
                    many.first.push(id);
                    many.look_up(cache, place.key());
                    place.insert(unseen);
                }
            }
        }
        many
    }

    fn look_up(&mut self, cache: &Cache, key: &Key) {
        let shape = ResultOptionOf::<T, Stop, Serde>::new();
        let prefix = PrefixId::of(key.prefix());
        let traits = Traits {
            nothing: true,
            ..Traits::default()
        };
        let entered = Scope::with(|scope| {
            call::look::<Batched<T>, _, false>(cache, scope, prefix, traits, shape, || key)
        })
        .entered(prefix, traits, key);
        let (value, miss) = match entered {
            Entered::Hit(value) | Entered::Due(value, _) => (value.ok().flatten(), None),
            Entered::Miss(miss) => (None, Some(miss)),
        };
        if miss.is_some() {
            self.wanted.push(self.values.len());
        }
        self.values.push(value);
        self.missing.push(miss);
    }

    /// What the backend holds, by one command.
    async fn read(&mut self, cache: &Cache) {
        let Some(tier) = &cache.0.tier else {
            return self.share(None);
        };
        tier.guard();
        let mut budget = tier.budget();
        let calls = self.wanted.iter().filter_map(|at| {
            let call = self.missing[*at].as_ref()?.call.as_ref()?;
            (call.mode != Mode::Refresh).then_some((*at, call))
        });
        let (places, keys): (Vec<usize>, Vec<Key>) =
            calls.map(|(at, call)| (at, call.key.clone())).unzip();
        // One key alone is read by its own call.
        if keys.len() > 1 && tier.is_trusted() {
            let keys: Vec<&Key> = keys.iter().collect();
            let found = cache.read_many::<T>(tier, &keys, &mut budget).await;
            for (at, found) in places.into_iter().zip(found) {
                if let Some((value, left)) = found
                    && let Some(call) = self.missing[at].take().and_then(|miss| miss.call)
                {
                    call.hit(left);
                    self.values[at] = Some(value);
                }
            }
            self.wanted.retain(|at| self.missing[*at].is_some());
        }
        self.share(Some(budget.left()));
    }

    /// Makes the calls that are left parts of a batch.
    fn share(&mut self, budget: Option<std::time::Duration>) {
        for call in self
            .missing
            .iter_mut()
            .flatten()
            .filter_map(|miss| miss.call.as_mut())
        {
            let call = Arc::get_mut(call).expect("nobody else has it yet");
            call.part = Some(Arc::new(Part {
                budget: budget.unwrap_or_default(),
                waits: AtomicBool::new(false),
            }));
        }
    }

    fn fill(&mut self, loaded: Vec<Option<T>>) {
        for (at, value) in std::mem::take(&mut self.wanted).into_iter().zip(loaded) {
            self.values[at] = value;
        }
    }

    fn in_order(self) -> Vec<Option<T>> {
        if self.places.len() == self.values.len() {
            return self.values;
        }
        let values = self.places.iter().map(|place| self.values[*place].clone());
        values.collect()
    }
}
