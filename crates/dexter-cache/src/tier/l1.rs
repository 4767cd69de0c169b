//! L1: what was read from the backend, typed, in the memory of this process. Only in `tiered` mode.
//!
//! Three rules keep it coherent.
//!
//! * **A change told removes.** The backend tells every change within the namespace ([`watch`](super::watch)), before
//!   it answers what was asked later.
//! * **What was asked before a change is not kept after it.** The reply to a read and the news that it is out of date
//!   may arrive together, the reply first, and the reader keeps what it has read only when its task runs again. So a
//!   reader takes the number of its key before it asks, and keeps only if the number still holds. Whoever is told of a
//!   change advances the number and removes, in one step with that: under the lock of the key's flights.
//! * **Silence is no proof.** A connection may be frozen, and the runtime that reads it may stand still. L1 answers only
//!   for as long after the last operation that was *begun* and then answered: at most [`BOUND`]. When the backend is
//!   lost it answers for the fallback TTL instead, counted from the same moment, and is emptied before the backend is
//!   trusted again.
//!
//! Tags and the epoch are changes of other keys. An entry is kept only while its tokens and its epoch are known here, and
//! who is told that a known one has changed invalidates the tag in this process, or empties L1.
//!
//! Where nothing is told (no RESP3, no right to `CLIENT TRACKING`) a value is kept for at most [`BOUND`] from when it was
//! asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use super::Tier;
use super::watch::Sequences;
use crate::backend::memory::{Extra, Held, KeyRef, MemoryStore};
use crate::clock::{self, Clock, Nanos};
use crate::flight::{Flights, Shared, Ticket};
use crate::guard::Guard;
use crate::key::Key;
use crate::tag::{Marks, Moves, TagId};
use crate::wire::{About, Entry};

/// For how long at most L1 answers with what has changed in the backend. The guardian asks an idle backend every two
/// seconds and waits half a second for the answer.
pub(super) const BOUND: Duration = Duration::from_millis(2_500);
/// In place of a moment: no proof is needed, since every value is bounded by itself.
const ALWAYS: Nanos = Nanos::MAX;

/// See the module.
pub(crate) struct L1 {
    pub(crate) store: Arc<MemoryStore>,
    clock: Clock,
    sequences: Sequences,
    /// Whatever had changed by then has been told.
    known: AtomicU64,
    /// The same moment by the runtime's clock, in nanoseconds since the tier was built.
    known_at: AtomicU64,
}

/// When a value was asked for. Taken before the question is sent.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    sequence: AtomicU64,
    at: AtomicU64,
    /// What was to be seen of all tags.
    moves: AtomicU64,
}

impl L1 {
    pub(super) fn new(store: Arc<MemoryStore>, clock: Clock) -> Self {
        Self {
            store,
            clock,
            sequences: Sequences::default(),
            known: AtomicU64::new(0),
            known_at: AtomicU64::new(0),
        }
    }

    /// The value under `key`, if all that changed until `bound` ago has been told.
    #[inline]
    fn get(&self, key: &Key, bound: Duration) -> Option<Held> {
        self.proven(self.store.get(key)?, bound)
    }

    /// The same, without giving back what is gone.
    fn get_kept(&self, key: &Key, bound: Duration) -> Option<Held> {
        self.proven(self.store.get_kept(key)?, bound)
    }

    #[inline]
    fn proven(&self, held: Held, bound: Duration) -> Option<Held> {
        let known = self.known.load(Ordering::Relaxed);
        (self.clock.coarse() < clock::after(known, bound)).then_some(held)
    }

    /// Whether anything under `key` may have changed since it was asked for.
    pub(super) fn has_changed(&self, key: &Key, asked: &Asked) -> bool {
        self.sequences.of(key.hash()) != asked.sequence.load(Ordering::Relaxed)
    }

    /// Nothing that was asked for until now enters any more, and what is there is gone.
    fn empty(&self, flights: &Flights) {
        self.sequences.advance_all();
        flights.settle();
        self.store.clear();
    }
}

impl Tier {
    /// The value under `key` in the memory that serves now.
    #[inline]
    pub(crate) fn in_memory(&self, key: &Key) -> Option<Held> {
        if self.is_trusted() {
            return self.l1.as_ref()?.get(key, BOUND);
        }
        self.fallback
            .get(key)
            .or_else(|| self.l1.as_ref()?.get(key, self.config.fallback_ttl))
    }

    /// The same, also what is past its time and can be fallen back on. Gives nothing back: to be asked under a lock.
    pub(crate) fn kept_in_memory(&self, key: &Key) -> Option<Held> {
        let l1 = |bound| self.l1.as_ref()?.get_kept(key, bound);
        if self.is_trusted() {
            return l1(BOUND);
        }
        let kept = self.fallback.get_kept(key);
        kept.or_else(|| l1(self.config.fallback_ttl))
    }

    /// What this tier keeps in memory.
    pub(crate) fn stores(&self) -> impl Iterator<Item = &Arc<MemoryStore>> {
        let l1 = self.l1.as_ref().map(|l1| &l1.store);
        [&self.fallback].into_iter().chain(l1)
    }

    /// To be called before a value is asked for that may be [kept](Self::keep).
    pub(crate) fn ask(&self, key: &Key, asked: &Asked) {
        if let Some(l1) = &self.l1 {
            asked.at.store(l1.clock.now(), Ordering::Relaxed);
            let sequence = l1.sequences.of(key.hash());
            asked.sequence.store(sequence, Ordering::Relaxed);
            let Moves(moves) = self.flights.tags().moves();
            asked.moves.store(moves, Ordering::Relaxed);
        }
    }

    /// Keeps a value that was read from the backend, unless it may have changed since it was asked for.
    ///
    /// With the ticket of the flight that reads it, a fence over the flight keeps it out as well. Without one the caller
    /// has seen that no fence stood, after [`ask`](Self::ask): one that was raised later has advanced the number.
    pub(crate) fn keep(
        &self,
        key: &Key,
        value: impl FnOnce() -> Shared,
        entry: &Entry<'_>,
        ahead: Option<f64>,
        asked: &Asked,
        ticket: Option<&Ticket>,
    ) {
        let Some(l1) = &self.l1 else { return };
        let about = &entry.about;
        let left = about.times.fresh_until.saturating_sub(self.backend_ms());
        let mut fresh_until = clock::after(l1.clock.now(), Duration::from_millis(left));
        if l1.known.load(Ordering::SeqCst) == ALWAYS {
            fresh_until = fresh_until.min(clock::after(asked.at.load(Ordering::Relaxed), BOUND));
        }
        if left == 0 {
            return;
        }
        let Some(marks) = self.marks_of(about, asked) else {
            return;
        };
        // Weighing and dropping values run code of the user, which may call the cache: not under the lock.
        let mut held = Held::new(value(), fresh_until);
        if ahead.is_some() || entry.etag.is_some() {
            let due_in =
                ahead.map(|part| Duration::from_millis(entry.attempt_in(part, self.backend_ms())));
            let due = due_in.map_or(Nanos::MAX, |due_in| clock::after(l1.clock.now(), due_in));
            // What is past its time is the backend's to answer with.
            held.extra = Some(Arc::new(Extra {
                kept_until: fresh_until,
                attempt_at: AtomicU64::new(due),
                etag: entry.etag.map(Into::into),
                ..Extra::default()
            }));
        }
        let held = held.marked(marks);
        let mut weighed = Some(l1.store.weigh(key, held, None));
        let mut put = || {
            let changed = l1.has_changed(key, asked) && self.config.guards.stands(Guard::Sequence);
            let unchanged = !changed && self.is_trusted();
            let weighed = weighed.take_if(|_| unchanged)?;
            Some(l1.store.put(weighed))
        };
        let pushed_out = match ticket {
            Some(ticket) => ticket.store(|_| put()).flatten(),
            None => self.flights.under_lock(key.hash(), put),
        };
        drop(pushed_out);
    }

    /// What keeps an entry from answering once one of its tags is invalidated; `None` if one of them, or the epoch, may
    /// have changed since the entry was asked for.
    ///
    /// In this order: an invalidation that neither of the two questions notices makes the marks invalid.
    fn marks_of(&self, about: &About, asked: &Asked) -> Option<Marks> {
        let tags: SmallVec<[TagId; 2]> = about.tags.iter().map(|tag| TagId(tag.tag)).collect();
        let marks = self.flights.tags().marks(&tags);
        let moves = Moves(asked.moves.load(Ordering::Relaxed));
        let rested = tags.is_empty() || self.flights.tags().has_rested(moves);
        (rested && self.knows(about)).then_some(marks)
    }

    /// Removes a key from L1: this process changes it, or knows that it has changed.
    pub(crate) fn evict(&self, key: &Key) {
        self.evict_ref(key.into());
    }

    pub(super) fn evict_ref(&self, key: KeyRef<'_>) {
        let Some(l1) = &self.l1 else { return };
        let removed = self.flights.under_lock(key.hash, || {
            l1.sequences.advance(key.hash);
            l1.store.take(key)
        });
        drop(removed);
    }

    /// Before L1 is searched for keys to remove: nothing that was asked for until now enters any more.
    pub(crate) fn seal_l1(&self) -> Option<&Arc<MemoryStore>> {
        let l1 = self.l1.as_ref()?;
        l1.sequences.advance_all();
        self.flights.settle();
        Some(&l1.store)
    }

    pub(crate) fn empty_l1(&self) {
        if let Some(l1) = &self.l1 {
            l1.empty(&self.flights);
        }
    }

    /// A connection is about to be trusted: what L1 holds was read over another one.
    pub(super) fn begin_l1_anew(&self, telling: bool, asked: Option<Moment>) {
        let Some(l1) = &self.l1 else { return };
        l1.empty(&self.flights);
        let asked = asked.filter(|_| telling);
        l1.known
            .store(asked.map_or(ALWAYS, |asked| asked.clock), Ordering::SeqCst);
        if let Some(asked) = asked {
            l1.known_at
                .store(self.since_birth(asked.runtime), Ordering::SeqCst);
        }
    }

    /// The present, before something is asked; `None` where nobody wants to know.
    pub(super) fn moment(&self) -> Option<Moment> {
        self.l1.as_ref().map(|l1| Moment {
            clock: l1.clock.coarse(),
            runtime: Instant::now(),
        })
    }

    /// What was asked at that moment has been answered: what had changed by then has been told.
    pub(super) fn answered(&self, asked: Option<Moment>) {
        if let Some((l1, asked)) = self.l1.as_ref().zip(asked) {
            l1.known.fetch_max(asked.clock, Ordering::Relaxed);
            l1.known_at
                .fetch_max(self.since_birth(asked.runtime), Ordering::Relaxed);
        }
    }

    /// When what L1 is coherent by was asked last, in nanoseconds since the tier was built. `None` where L1 does not
    /// depend on it.
    pub(super) fn known_at(&self) -> Option<u64> {
        let l1 = self.l1.as_ref()?;
        (l1.known.load(Ordering::Relaxed) != ALWAYS).then(|| l1.known_at.load(Ordering::Relaxed))
    }
}

/// A moment by both clocks: that of entries, and that of the runtime.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    clock: Nanos,
    runtime: Instant,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::backend::memory::MemoryLimits;
    use crate::backend::{CacheBackend, MemoryBackend, Watcher};
    use crate::clock::TestClock;
    use crate::error::{Error, ErrorKind};
    use crate::guard::Guards;
    use crate::tier::TierConfig;

    const FALLBACK: Duration = Duration::from_secs(30);

    /// A tier with L1, told of what changes under `ns:` by whoever calls it.
    pub(in crate::tier) fn tier(clock: &TestClock) -> Arc<Tier> {
        tier_over(Arc::new(MemoryBackend::new(10)), clock)
    }

    pub(in crate::tier) fn tier_over(
        backend: Arc<dyn CacheBackend>,
        clock: &TestClock,
    ) -> Arc<Tier> {
        let config = TierConfig {
            namespace: Some("ns".into()),
            budget: Duration::from_secs(1),
            fallback_ttl: FALLBACK,
            lease_ttl: Duration::from_secs(1),
            max_value: 1,
            trust_snapshot: false,
            slow_after: None,
            tiered: true,
            clock: Clock::ByHand(clock.clone()),
            guards: Guards::default(),
        };
        let flights = Flights::new(Guards::default());
        Tier::new(backend, config, flights, &MemoryLimits::Entries(10))
    }

    struct World {
        clock: TestClock,
        tier: Arc<Tier>,
        key: Key,
    }

    impl World {
        /// Trusted, and told of changes or not.
        fn new(telling: bool) -> Self {
            let clock = TestClock::new();
            clock.advance(Duration::from_secs(1));
            let tier = tier(&clock);
            let world = Self {
                clock,
                tier,
                key: Key::new("a"),
            };
            world.trust(telling);
            world
        }

        fn trust(&self, telling: bool) {
            self.tier.begin_l1_anew(telling, self.tier.moment());
            self.tier.breaker.close(1);
        }

        fn lose(&self) {
            let lost = Error::new(ErrorKind::Unavailable, "test");
            self.tier.trip(&lost);
        }

        fn ask(&self) -> Asked {
            let asked = Asked::default();
            self.tier.ask(&self.key, &asked);
            asked
        }

        fn keep(&self, asked: &Asked) {
            self.keep_for(Duration::from_secs(3600), asked);
        }

        fn keep_for(&self, life: Duration, asked: &Asked) {
            let entry = Entry {
                about: self.tier.about(0, life),
                token: 1,
                mark: None,
                etag: None,
                nothing: false,
                payload: b"",
            };
            let value = || -> Shared { Arc::new(1_u32) };
            self.tier.keep(&self.key, value, &entry, None, asked, None);
        }

        fn answers(&self) -> bool {
            self.tier.in_memory(&self.key).is_some()
        }
    }

    #[test]
    fn what_was_read_answers_until_its_change_is_told() {
        let world = World::new(true);
        world.keep(&world.ask());
        assert!(world.answers());
        world.tier.changed(b"ns2:a");
        world.tier.changed(b"a");
        assert!(world.answers(), "not within the namespace");
        world.tier.changed(b"ns:a");
        assert!(!world.answers());
    }

    #[test]
    fn scar_a_copy_keeps_the_ttl_that_is_left_of_what_it_was_copied_from() {
        let world = World::new(true);
        world.keep_for(Duration::from_secs(1), &world.ask());
        world.clock.advance(Duration::from_millis(999));
        assert!(world.answers());
        world.clock.advance(Duration::from_millis(1));
        assert!(!world.answers(), "long before the bound of L1");
    }

    #[test]
    fn what_was_asked_before_a_change_was_told_is_not_kept_after_it() {
        let world = World::new(true);
        for change in 0..4 {
            world.tier.evict(&world.key);
            let asked = world.ask();
            match change {
                0 => world.tier.changed(b"ns:a"),
                1 => world.tier.flushed(),
                2 => world.tier.evict(&world.key),
                _ => drop(world.tier.seal_l1()),
            }
            world.keep(&asked);
            assert!(!world.answers(), "change {change}");
            world.keep(&world.ask());
            assert!(world.answers(), "change {change}");
        }
    }

    #[test]
    fn without_news_it_answers_for_two_and_a_half_seconds() {
        let world = World::new(true);
        world.keep(&world.ask());
        let asked = world.tier.moment();
        world.clock.advance(Duration::from_millis(2_499));
        assert!(world.answers());
        world.clock.advance(Duration::from_millis(1));
        assert!(!world.answers());
        // An answer proves what was so when its question was sent, and no more.
        world.tier.answered(asked);
        assert!(!world.answers());
        world.tier.answered(world.tier.moment());
        assert!(world.answers());
    }

    #[test]
    fn after_a_loss_it_answers_for_the_fallback_ttl_since_the_last_news() {
        let world = World::new(true);
        world.keep(&world.ask());
        world.clock.advance(Duration::from_secs(2));
        world.lose();
        assert!(world.answers());
        world.clock.advance(Duration::from_millis(27_999));
        assert!(world.answers());
        world.clock.advance(Duration::from_millis(1));
        assert!(!world.answers());
    }

    #[test]
    fn nothing_of_an_old_connection_is_there_once_a_new_one_is_trusted() {
        let world = World::new(true);
        world.keep(&world.ask());
        let late = world.ask();
        world.lose();
        world.keep(&late);
        world.trust(true);
        assert!(!world.answers());
        world.keep(&late);
        assert!(!world.answers(), "read on the old connection");
        world.keep(&world.ask());
        assert!(world.answers());
    }

    #[test]
    fn where_nothing_is_told_a_value_lives_for_two_and_a_half_seconds_from_the_question() {
        let world = World::new(false);
        let asked = world.ask();
        world.clock.advance(Duration::from_secs(1));
        world.keep(&asked);
        world.clock.advance(Duration::from_millis(1_499));
        assert!(world.answers());
        world.clock.advance(Duration::from_millis(1));
        assert!(!world.answers());
        world.clock.advance(Duration::from_secs(3600));
        world.keep(&world.ask());
        assert!(world.answers(), "no proof is needed");
        world.tier.evict(&world.key);
        assert!(!world.answers(), "an own removal");
    }
}
