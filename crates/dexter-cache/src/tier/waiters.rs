//! Callers that wait for another process's load. Where changes of keys are told, they need not wait for their timers.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::Tier;
use super::l1::Asked;
use crate::key::Key;

/// Who waits for which keys: as many places as there are flights that wait.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    places: Mutex<HashMap<u64, Place>>,
    /// How many places there are, so that a change that nobody waits for takes no lock.
    count: AtomicUsize,
}

/// One for all who wait for a key; two keys of one hash wake each other up, which costs a look.
#[derive(Debug, Default)]
struct Place {
    notify: Arc<Notify>,
    waiting: usize,
}

impl Waiters {
    pub(super) fn wake(&self, hash: u64) {
        if self.count.load(Ordering::SeqCst) > 0
            && let Some(place) = self.places().get(&hash)
        {
            place.notify.notify_waiters();
        }
    }

    pub(super) fn wake_all(&self) {
        for place in self.places().values() {
            place.notify.notify_waiters();
        }
    }

    fn enter(&self, hash: u64) -> Waiting<'_> {
        let mut places = self.places();
        let place = places.entry(hash).or_default();
        place.waiting += 1;
        let notify = Arc::clone(&place.notify);
        self.count.store(places.len(), Ordering::SeqCst);
        Waiting {
            waiters: self,
            hash,
            notify,
        }
    }

    fn places(&self) -> MutexGuard<'_, HashMap<u64, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits; dropping it ends that.
struct Waiting<'a> {
    waiters: &'a Waiters,
    hash: u64,
    notify: Arc<Notify>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut places = self.waiters.places();
        if let Some(place) = places.get_mut(&self.hash) {
            place.waiting -= 1;
            if place.waiting == 0 {
                places.remove(&self.hash);
            }
        }
        self.waiters.count.store(places.len(), Ordering::SeqCst);
    }
}

impl Tier {
    /// Waits until a change of `key` is told, of which the reader who `asked` may not know yet, and for `longest` at
    /// most.
    pub(super) async fn until_changed(&self, key: &Key, asked: &Asked, longest: Duration) {
        let Some(l1) = &self.l1 else {
            return tokio::time::sleep(longest).await;
        };
        let waiting = self.waiters.enter(key.hash());
        let mut told = pin!(waiting.notify.notified());
        told.as_mut().enable();
        // Told between the question and this: whoever tells advances the number first, and looks for waiters then.
        if l1.has_changed(key, asked) {
            return;
        }
        let _ = timeout(longest, told).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::l1::tests::tier;
    use super::*;
    use crate::backend::Watcher;
    use crate::clock::TestClock;

    #[tokio::test]
    async fn a_place_lasts_as_long_as_somebody_waits() {
        let waiters = Waiters::default();
        let (one, two) = (waiters.enter(7), waiters.enter(7));
        {
            let mut told = pin!(one.notify.notified());
            told.as_mut().enable();
            waiters.wake(8);
            waiters.wake(7);
            told.await;
        }
        drop(one);
        assert_eq!(waiters.places().len(), 1);
        drop(two);
        assert!(waiters.places().is_empty());
        assert_eq!(waiters.count.load(Ordering::SeqCst), 0);
    }

    /// Longer than any test may take: what ends it is not the timer.
    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_waiter_wakes_up_when_its_key_changes() {
        let tier = tier(&TestClock::new());
        let (key, asked) = (Key::new("a"), Asked::default());
        tier.ask(&key, &asked);
        let waiting = tokio::spawn({
            let (tier, key) = (Arc::clone(&tier), key.clone());
            async move { tier.until_changed(&key, &asked, LONG).await }
        });
        while tier.waiters.count.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        tier.changed(b"ns:a");
        waiting.await.unwrap();
        assert!(tier.waiters.places().is_empty());
    }

    #[tokio::test]
    async fn a_change_between_the_question_and_the_waiting_is_not_missed() {
        let tier = tier(&TestClock::new());
        let (key, asked) = (Key::new("a"), Asked::default());
        tier.ask(&key, &asked);
        tier.changed(b"ns:a");
        tier.until_changed(&key, &asked, LONG).await;
        tier.ask(&key, &asked);
        tier.flushed();
        tier.until_changed(&key, &asked, LONG).await;
    }
}
