//! A caller's part in a flight: to wait, to load, to land it.

use std::sync::Arc;

use tokio::sync::SemaphorePermit;

use super::{Flight, Landed, MAX_TURNS, Shard, Shared, Slot, Ticket, Turn, Waited};
use crate::guard::Guard;
use crate::key::Key;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use crate::tag::{Marks, Moves, TagId};

impl Flight {
    /// A number that tells this flight from every other one that is alive.
    fn identity(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    /// Whether a caller that comes when `now` is to be seen of all tags may not share what the flight brings.
    pub(super) fn is_outdated(&self, now: Moves) -> bool {
        !self.marks.are_unchanged() || (self.labelled.load(Ordering::Acquire) && self.begun != now)
    }
}

impl Ticket {
    /// Waits until the flight has landed or this caller gets a turn.
    ///
    /// Cancel safe: a turn that was granted to a dropped wait is granted again.
    pub(crate) async fn wait(self) -> Waited {
        let granted = self
            .flight
            .turns
            .acquire()
            .await
            .map(SemaphorePermit::forget)
            .is_ok();
        if granted {
            return Waited::Turn(Turn {
                ticket: self,
                spent: false,
            });
        }
        let landed = self
            .flight
            .landed
            .get()
            .expect("turns are closed after the result is set");
        if self.flight.labelled.load(Ordering::Acquire) && self.flight.begun != self.joined {
            return Waited::Outdated;
        }
        Waited::Landed(landed.clone())
    }

    /// A number that tells the flight from every other one that is alive.
    pub(crate) fn flight_id(&self) -> usize {
        self.flight.identity()
    }

    pub(crate) fn token(&self) -> u128 {
        self.flight.token
    }

    /// Whether a lease of the flight may lie in the backend: set by whoever asks for one, taken back by whoever ends it.
    pub(crate) fn leased(&self) -> &AtomicBool {
        &self.flight.leased
    }

    /// Which of the callers of the flight asks for its lease.
    pub(crate) fn claim(&self) -> &AtomicU8 {
        &self.flight.claim
    }

    /// Whether what the flight brings may be stored no more.
    pub(crate) fn is_fenced(&self) -> bool {
        !self.is_open(&self.flights.shard(&self.flight.key))
    }

    /// Whether no fence has marked the flight, and every fence to come will.
    ///
    /// Fences find flights in the map. One that another turn has landed is not there any more: a turn that still loads for
    /// it would store what a later fence was meant to stop. Fences over tags are found in the marks.
    fn is_open(&self, shard: &Shard) -> bool {
        let in_the_map = |slot: &Slot| {
            slot.flights
                .iter()
                .any(|flight| Arc::ptr_eq(flight, &self.flight))
        };
        let open = !self.flight.fenced.load(Ordering::Relaxed)
            && self.flight.marks.are_valid()
            && shard.get(&self.flight.key).is_some_and(in_the_map);
        open || !self.flights.guards.stands(Guard::LocalFence)
    }

    /// Says that what the flight brings has tags that were not known when it began. Before it lands.
    pub(crate) fn label(&self) {
        self.flight.labelled.store(true, Ordering::Release);
    }

    /// The marks of what the flight brings, with `more` tags beside those it began under; `None` where one of these may
    /// have been invalidated since.
    pub(crate) fn marks(&self, more: &[TagId]) -> Option<Marks> {
        let mut marks = self.flight.marks.clone();
        if !more.is_empty() {
            marks.extend(self.flights.tags.marks(more));
            if !self.flights.tags.has_rested(self.flight.begun) {
                return None;
            }
        }
        Some(marks)
    }

    /// Looks on without taking part: it does not keep the flight from ending.
    pub(crate) fn observer(&self) -> Observer {
        Observer(Arc::clone(&self.flight))
    }

    /// Leaves something for those who cannot wait for the load.
    pub(crate) fn leave_spare(&self, spare: Shared) {
        let _ = self.flight.spare.set(spare);
    }

    /// Runs `insert` if the flight may be stored, in one step with that question. It must run no code of the user, which
    /// may call the cache: what it pushes out it returns, to be dropped after the step.
    pub(crate) fn store<R>(&self, insert: impl FnOnce(&Key) -> R) -> Option<R> {
        let shard = self.flights.shard(&self.flight.key);
        self.is_open(&shard).then(|| insert(&self.flight.key))
    }

    /// Takes the flight off the map, so that nobody joins it any more.
    fn withdraw(&self, shard: &mut Shard) {
        shard.change(&self.flight.key, |slot| slot.forget(&self.flight));
    }
}

/// What can be seen of a flight from outside.
pub(crate) struct Observer(Arc<Flight>);

impl Observer {
    /// Whether a fence has marked the flight. A removal that has returned before this is asked is seen.
    pub(crate) fn is_fenced(&self) -> bool {
        self.0.fenced.load(Ordering::Acquire) || !self.0.marks.are_valid()
    }

    /// What was [left](Ticket::leave_spare).
    pub(crate) fn spare(&self) -> Option<&Shared> {
        self.0.spare.get()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let users = &self.flight.users;
        // Acquire and release: the last one sees what the others have done with the lease.
        let last = if self.withdrawn {
            users.fetch_sub(1, Ordering::AcqRel) == 1
        } else if leave_to_others(users) {
            false
        } else {
            // In one step with those who join.
            let mut shard = self.flights.shard(&self.flight.key);
            let last = users.fetch_sub(1, Ordering::AcqRel) == 1;
            if last {
                self.withdraw(&mut shard);
            }
            last
        };
        if !last {
            return;
        }
        // What has landed has settled its lease itself.
        let orphaned =
            self.flight.landed.get().is_none() && self.flight.leased.swap(false, Ordering::Relaxed);
        if let (true, Some(give_back)) = (orphaned, self.flights.orphaned.get()) {
            give_back(self.flight.key.clone(), self.flight.token);
        }
    }
}

/// Leaves without the lock, if there are others to see to the end.
fn leave_to_others(users: &AtomicUsize) -> bool {
    let leave = |users: usize| (users > 1).then(|| users - 1);
    users
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, leave)
        .is_ok()
}

impl Turn {
    pub(crate) fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Gives the followers what the load brought. The flight can still be joined, until the returned guard is dropped:
    /// a caller that comes while the fill is on its way to the backend gets the value from here.
    pub(crate) fn land(mut self, landed: Landed) -> Arrival {
        self.spent = true;
        self.ticket.flight.land(landed);
        Arrival(self)
    }

    /// Ends a turn whose outcome cannot be shared, so that the followers load for themselves: this turn is passed on,
    /// and one more if it is not the first that failed.
    pub(crate) fn fail(mut self) {
        self.spent = true;
        self.ticket.flight.pass_on(true);
    }

    /// Ends the flight if nobody else waits for it; otherwise gives the turn back, to be landed.
    pub(crate) fn retire(mut self) -> Option<Self> {
        {
            let mut shard = self.ticket.flights.shard(&self.ticket.flight.key);
            if self.ticket.flight.users.load(Ordering::Relaxed) > 1 {
                drop(shard);
                return Some(self);
            }
            self.ticket.withdraw(&mut shard);
        }
        self.ticket.withdrawn = true;
        self.spent = true;
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.spent {
            self.ticket.flight.pass_on(std::thread::panicking());
        }
    }
}

/// A landed flight that can still be joined; dropping it takes the flight off the map.
pub(crate) struct Arrival(Turn);

impl Arrival {
    pub(crate) fn ticket(&self) -> &Ticket {
        &self.0.ticket
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let ticket = &mut self.0.ticket;
        ticket.withdraw(&mut ticket.flights.shard(&ticket.flight.key));
        ticket.withdrawn = true;
    }
}

impl Flight {
    fn land(&self, landed: Landed) {
        // A second landing can only come from another turn of the same flight; the first one stands.
        let _ = self.landed.set(landed);
        self.turns.close();
    }

    fn pass_on(&self, failed: bool) {
        let more = failed
            && self
                .failed
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |failed| {
                    (failed < MAX_TURNS).then_some(failed + 1)
                })
                .is_ok_and(|before| before > 0);
        if !self.turns.is_closed() {
            self.turns.add_permits(1 + usize::from(more));
        }
    }
}
