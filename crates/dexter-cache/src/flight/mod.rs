//! Single flight and fences: which loads are under way, who shares them, and which may no longer be stored.
//!
//! Every load registers here before it reads or runs anything. That makes two promises cheap to keep:
//!
//! * **Single flight.** Callers of one key and one type share a [`Flight`]: one of them has the turn, the others wait.
//!   A turn that ends without a result is passed on, so a cancelled leader hands over to exactly one follower. A load
//!   that fails with an error which cannot be shared, or panics, does so too; from the second of its kind on it returns
//!   its turn *and one more*. So one failure costs one more load, and after that the number that may try at once doubles
//!   with each failed round: 1000 callers of a broken loader need eleven rounds, not a thousand.
//! * **Fences.** An invalidation marks the flights it covers, before it asks the backend (`raise`) and after the
//!   backend has answered (the drop of [`Fence`]). A marked flight is not stored and takes no new followers. A flight
//!   that begins while a fence stands is born marked, since what it reads may be what is just being removed.
//!
//!   A fence over a tag looks for no flight: it changes a number that the flights under the tag have seen before
//!   ([`Marks`]), and so do the values that they store.
//!
//! A flight and a fence meet under the lock of the key's shard: either the fence sees the flight, or the flight sees
//! the fence. Values enter memory under that lock too ([`Ticket::store`]), so that no invalidation falls between the
//! check and the insertion.

#[cfg(all(test, shuttle))]
mod interleaved;
mod part;
#[cfg(all(test, not(shuttle)))]
mod tests;

use std::any::TypeId;
use std::hash::Hasher;
use std::sync::{Arc, OnceLock, PoisonError};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use smallvec::SmallVec;
use tokio::sync::Semaphore;

pub(crate) use self::part::{Arrival, Observer};

use crate::clock::Nanos;
use crate::guard::Guards;
use crate::key::Key;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, RwLock};
use crate::tag::{Marks, Moves, TagFence, TagSet, TagTable};
use crate::target::Target;

/// How many callers of one key may load at once after loads that could not be shared.
const MAX_TURNS: u32 = 32;

const SHARDS: usize = 64;

/// A value or an error that followers clone out of, typed by the flight's `TypeId` or by who put it there.
pub(crate) use crate::kept::Shared;

/// What a flight came to.
#[derive(Clone)]
pub(crate) enum Landed {
    /// A cacheable value, when it expires, and where it comes from.
    Value {
        value: Shared,
        fresh_until: Nanos,
        source: Source,
    },
    /// An outcome that is not stored: an error, or `None`.
    Other(Shared),
}

/// Where a value comes from that a flight brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Loaded,
    /// It was read, not loaded.
    Found,
    /// It was there, past its time: the load has failed.
    Stale,
}

/// All loads of one cache that are under way.
pub(crate) struct Flights {
    guards: Guards,
    shards: Box<[Mutex<Shard>]>,
    /// Fences over more than one key. Few and short-lived, so a list.
    standing: RwLock<Vec<Arc<Target>>>,
    standing_count: AtomicUsize,
    tags: Arc<TagTable>,
    /// Gives back the lease of a flight that all its callers have left.
    orphaned: OnceLock<Orphaned>,
}

/// Called with the key and the token of the lease.
type Orphaned = Box<dyn Fn(Key, u128) + Send + Sync>;

/// What is under way for the keys of one shard.
#[derive(Default)]
struct Shard(HashTable<Slot>);

/// What is under way for one key; never empty.
#[derive(Default)]
struct Slot {
    /// Nearly always one: more only for different types under one key.
    flights: SmallVec<[Arc<Flight>; 1]>,
    /// Fences that stand over this very key.
    fences: SmallVec<[Arc<Target>; 1]>,
}

/// One load, from the look at the backend to the end of the fill.
pub(crate) struct Flight {
    key: Key,
    type_id: TypeId,
    /// Names the lease that this flight takes in a shared backend, whoever of its callers takes it.
    token: u128,
    /// Set by a fence: what this flight brings is for its callers, not for the cache.
    fenced: AtomicBool,
    /// What was seen of the tags that were known when it began. One that is invalidated is a fence, too.
    marks: Marks,
    /// What was seen of all tags, for those that become known by what it brings.
    begun: Moves,
    /// What it brings has such tags: only those may share it who came before any tag was invalidated.
    labelled: AtomicBool,
    /// Permits are turns to load. Closed when the flight has landed.
    turns: Semaphore,
    /// Loads that have failed, counted up to [`MAX_TURNS`].
    failed: AtomicU32,
    landed: OnceLock<Landed>,
    /// What whoever waits may be answered with, if the load takes too long.
    spare: OnceLock<Shared>,
    users: AtomicUsize,
    /// A refresh: callers that may be answered with what is stored do not wait for it.
    exclusive: bool,
    /// A lease that bears the token may lie in the backend, whether the answer to its taking was heard or not.
    leased: AtomicBool,
    /// Who of its callers asks for the lease; it is the tier that knows what the numbers mean.
    claim: AtomicU8,
}

/// A caller's part in a flight. Dropping it leaves the flight.
pub(crate) struct Ticket {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
    /// What was to be seen of all tags when this caller came.
    joined: Moves,
    /// The flight is off the map by this caller's doing: nobody joins it any more.
    withdrawn: bool,
}

/// The right to load. Dropping it unused passes it on.
pub(crate) struct Turn {
    ticket: Ticket,
    spent: bool,
}

/// What [`Flights::join`] found.
pub(crate) enum Joined {
    /// This caller loads.
    Lead(Turn),
    /// Another one does.
    Follow(Ticket),
}

/// What a follower's wait came to.
pub(crate) enum Waited {
    Landed(Landed),
    Turn(Turn),
    /// It has landed, with a value that may have been invalidated before this caller came.
    Outdated,
}

impl Flights {
    pub(crate) fn new(guards: Guards) -> Arc<Self> {
        Arc::new(Self {
            guards,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            standing: RwLock::default(),
            standing_count: AtomicUsize::new(0),
            tags: Arc::default(),
            orphaned: OnceLock::new(),
        })
    }

    /// The tags of what is loaded and kept.
    pub(crate) fn tags(&self) -> &Arc<TagTable> {
        &self.tags
    }

    /// Sets who gives back the leases of flights that nobody lands. Once.
    pub(crate) fn on_orphaned(&self, give_back: impl Fn(Key, u128) + Send + Sync + 'static) {
        let _ = self.orphaned.set(Box::new(give_back));
    }

    /// Joins the flight of `key` and `type_id`, or begins one under `tags`.
    pub(crate) fn join(self: &Arc<Self>, key: &Key, type_id: TypeId, tags: &TagSet) -> Joined {
        let mut shard = self.shard(key);
        let entry = shard.entry(key);
        let joined = self.tags.moves();
        let joinable = |flight: &&Arc<Flight>| {
            flight.type_id == type_id && !flight.exclusive && !flight.is_outdated(joined)
        };
        if let Entry::Occupied(slot) = &entry
            && let Some(flight) = slot.get().flights.iter().find(joinable)
        {
            flight.users.fetch_add(1, Ordering::Relaxed);
            return Joined::Follow(Ticket {
                flights: Arc::clone(self),
                flight: Arc::clone(flight),
                joined,
                withdrawn: false,
            });
        }
        Joined::Lead(self.begin(entry, key, type_id, tags, false))
    }

    /// Begins a flight that voids the earlier ones as a fence does. Nobody joins it if it is `exclusive`.
    pub(crate) fn supersede(
        self: &Arc<Self>,
        key: &Key,
        type_id: TypeId,
        tags: &TagSet,
        exclusive: bool,
    ) -> Turn {
        let mut shard = self.shard(key);
        let turn = self.begin(shard.entry(key), key, type_id, tags, exclusive);
        shard.change(key, |slot| slot.detach_all_but(&turn.ticket.flight));
        turn
    }

    /// Begins a flight beside the others, that nobody joins: a refresh of what others go on reading. `None` if there is
    /// such a one.
    pub(crate) fn beside(
        self: &Arc<Self>,
        key: &Key,
        type_id: TypeId,
        tags: &TagSet,
    ) -> Option<Turn> {
        let mut shard = self.shard(key);
        let refreshed = |slot: &Slot| slot.flights.iter().any(|flight| flight.exclusive);
        if shard.get(key).is_some_and(refreshed) {
            return None;
        }
        Some(self.begin(shard.entry(key), key, type_id, tags, true))
    }

    fn begin(
        self: &Arc<Self>,
        entry: Entry<'_, Slot>,
        key: &Key,
        type_id: TypeId,
        tags: &TagSet,
        exclusive: bool,
    ) -> Turn {
        let begun = self.tags.moves();
        let fenced = matches!(&entry, Entry::Occupied(slot) if !slot.get().fences.is_empty());
        let flight = Arc::new(Flight {
            key: key.clone(),
            type_id,
            token: fastrand::u128(..),
            fenced: AtomicBool::new(fenced),
            marks: self.tags.marks(tags.as_slice()),
            begun,
            labelled: AtomicBool::new(false),
            turns: Semaphore::new(0),
            failed: AtomicU32::new(0),
            landed: OnceLock::new(),
            spare: OnceLock::new(),
            users: AtomicUsize::new(1),
            exclusive,
            leased: AtomicBool::new(false),
            claim: AtomicU8::new(0),
        });
        Slot::change(entry, |slot| slot.flights.push(Arc::clone(&flight)));
        // The flight is in the shard before the list is read, and a wide fence is in the list before it reads the
        // shards: whichever comes second sees the other.
        if self.standing_count.load(Ordering::SeqCst) > 0 && self.is_under_wide_fence(key) {
            flight.fenced.store(true, Ordering::Relaxed);
        }
        Turn {
            ticket: Ticket {
                flights: Arc::clone(self),
                flight,
                joined: begun,
                withdrawn: false,
            },
            spent: false,
        }
    }

    /// Whether a fence stands over `key`: what the backend holds under it may be what is just being removed.
    pub(crate) fn is_covered(&self, key: &Key) -> bool {
        self.is_swept(key) || self.shard(key).is_fenced(key)
    }

    /// Runs `act` in one step with what is decided about the keys of this hash. It must run no code of the user: what
    /// it takes out it returns, to be dropped after the step.
    pub(crate) fn under_lock<R>(&self, hash: u64, act: impl FnOnce() -> R) -> R {
        let _shard = self.shard_of(hash);
        act()
    }

    /// Whether a fence over more than one key stands over this one.
    #[inline]
    pub(crate) fn is_swept(&self, key: &Key) -> bool {
        self.standing_count.load(Ordering::Relaxed) > 0 && self.is_under_wide_fence(key)
    }

    fn is_under_wide_fence(&self, key: &Key) -> bool {
        self.standing
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .any(|target| target.covers(key))
    }

    /// Raises a fence: no load that is under way is stored or joined any more, none that begins before the fence is
    /// dropped is ever stored, and none is joined after.
    pub(crate) fn raise(self: &Arc<Self>, target: Target) -> Fence {
        if let Target::Tag(tag) = target {
            return Fence::Tag {
                _tag: self.tags.raise(tag),
            };
        }
        let target = Arc::new(target);
        if let Target::Key(key) = &*target {
            Slot::change(self.shard(key).entry(key), |slot| {
                slot.detach_all();
                slot.fences.push(Arc::clone(&target));
            });
        } else {
            self.standing
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Arc::clone(&target));
            self.standing_count.fetch_add(1, Ordering::SeqCst);
            self.walk(&target, Slot::detach_all);
        }
        Fence::Keys {
            flights: Arc::clone(self),
            target,
        }
    }

    fn lower(&self, target: &Arc<Target>) {
        if let Target::Key(key) = &**target {
            self.shard(key).change(key, |slot| {
                slot.fences.retain(|other| !Arc::ptr_eq(other, target));
                slot.detach_fenced();
            });
        } else {
            let mut standing = self
                .standing
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = standing.iter().position(|other| Arc::ptr_eq(other, target)) {
                standing.swap_remove(at);
                self.standing_count.fetch_sub(1, Ordering::SeqCst);
            }
            drop(standing);
            // What began under the fence is marked, and could be joined until now.
            self.walk(target, Slot::detach_fenced);
        }
    }

    fn walk(&self, target: &Target, mut visit: impl FnMut(&mut Slot)) {
        for shard in &self.shards {
            lock(shard).0.retain(|slot| {
                if target.covers(slot.key()) {
                    visit(slot);
                }
                !slot.is_empty()
            });
        }
    }

    /// Waits until every fill that is being decided has been decided: what a caller changed before this call is seen
    /// by each [`Ticket::store`] that comes after it.
    pub(crate) fn settle(&self) {
        for shard in &self.shards {
            drop(lock(shard));
        }
    }

    /// Whether nothing is under way and no fence stands.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.standing_count.load(Ordering::SeqCst) == 0
            && self.shards.iter().all(|shard| lock(shard).0.is_empty())
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        self.shard_of(key.hash())
    }

    fn shard_of(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The upper bits: the map inside the shard uses the lower ones.
        lock(&self.shards[(hash >> 40) as usize % SHARDS])
    }
}

impl Shard {
    fn get(&self, key: &Key) -> Option<&Slot> {
        self.0.find(key.hash(), |slot| slot.key() == key)
    }

    fn is_fenced(&self, key: &Key) -> bool {
        self.get(key).is_some_and(|slot| !slot.fences.is_empty())
    }

    /// Where what is under way for `key` is, or goes.
    fn entry(&mut self, key: &Key) -> Entry<'_, Slot> {
        let is_it = |slot: &Slot| slot.key() == key;
        self.0.entry(key.hash(), is_it, |slot| slot.key().hash())
    }

    /// Changes what is under way for `key`, if anything is. What has become empty goes.
    fn change(&mut self, key: &Key, change: impl FnOnce(&mut Slot)) {
        if let Ok(mut entry) = self.0.find_entry(key.hash(), |slot| slot.key() == key) {
            change(entry.get_mut());
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }
}

/// A panic inside the lock leaves the map whole: each step under it is one insertion or removal.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slot {
    /// Changes what is there, or puts in what `change` makes of nothing. It must not leave it empty.
    fn change(entry: Entry<'_, Self>, change: impl FnOnce(&mut Self)) {
        match entry {
            Entry::Occupied(mut slot) => change(slot.get_mut()),
            Entry::Vacant(place) => {
                let mut slot = Self::default();
                change(&mut slot);
                place.insert(slot);
            }
        }
    }

    fn key(&self) -> &Key {
        if let Some(flight) = self.flights.first() {
            return &flight.key;
        }
        match self.fences.first().map(|target| &**target) {
            Some(Target::Key(key)) => key,
            _ => unreachable!("a slot is never empty, and only fences over keys are in it"),
        }
    }

    fn detach_all(&mut self) {
        for flight in self.flights.drain(..) {
            flight.fenced.store(true, Ordering::Relaxed);
        }
    }

    fn detach_all_but(&mut self, stays: &Arc<Flight>) {
        self.flights.retain(|flight| {
            let stays = Arc::ptr_eq(flight, stays);
            if !stays {
                flight.fenced.store(true, Ordering::Relaxed);
            }
            stays
        });
    }

    fn detach_fenced(&mut self) {
        self.flights
            .retain(|flight| !flight.fenced.load(Ordering::Relaxed));
    }

    fn forget(&mut self, flight: &Arc<Flight>) {
        self.flights.retain(|other| !Arc::ptr_eq(other, flight));
    }

    fn is_empty(&self) -> bool {
        self.flights.is_empty() && self.fences.is_empty()
    }
}

/// A fence that stands; dropping it lowers it.
pub(crate) enum Fence {
    Keys {
        flights: Arc<Flights>,
        target: Arc<Target>,
    },
    Tag {
        _tag: TagFence,
    },
}

impl Drop for Fence {
    fn drop(&mut self) {
        if let Self::Keys { flights, target } = self {
            flights.lower(target);
        }
    }
}

/// Hands the key's own hash through: it is computed once, when the key is built.
#[derive(Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a key writes its hash as one u64");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
