//! With a clock that is set by hand: nothing here waits for time to pass.

mod bounds;
mod deadlines;
mod model;
mod sweeping;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::entry::{Held, KeyRef};
use super::limits::Weigher;
use super::{MemoryLimits, MemoryStore};
use crate::clock::{Clock, Nanos, TestClock, after};
use crate::key::Key;

/// A clock that tests move.
#[derive(Clone, Default)]
struct Hand(TestClock);

impl Hand {
    fn clock(&self) -> Clock {
        Clock::from(&self.0)
    }

    fn now(&self) -> Nanos {
        self.0.nanos()
    }

    fn pass(&self, span: Duration) {
        self.0.advance(span);
    }

    fn in_secs(&self, secs: u64) -> Nanos {
        after(self.now(), Duration::from_secs(secs))
    }
}

fn entries(max: usize, hand: &Hand) -> Arc<MemoryStore> {
    MemoryStore::new(&MemoryLimits::Entries(max), hand.clock())
}

/// Weighs entries by the number that they hold.
fn weighing(max: u64, hand: &Hand) -> Arc<MemoryStore> {
    let weigher: Weigher = Arc::new(|entry| *entry.value().expect("the tests store numbers"));
    MemoryStore::new(&MemoryLimits::Weight { max, weigher }, hand.clock())
}

fn key(text: impl AsRef<str>) -> Key {
    Key::raw(text)
}

fn number(number: u32) -> Arc<dyn Any + Send + Sync> {
    Arc::new(number)
}

fn read(store: &MemoryStore, text: impl AsRef<str>) -> Option<u32> {
    let held = store.get(&key(text))?;
    held.value.downcast_ref().copied()
}
