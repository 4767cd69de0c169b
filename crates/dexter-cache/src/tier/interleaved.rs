//! The breaker and the journal under thousands of thread schedules: a removal is never lost between the two.
//!
//! Run as the tests of `flight/interleaved.rs` are.

use std::sync::Arc;
use std::time::Duration;

use shuttle::sync::Mutex;
use shuttle::thread;

use super::guardian::Step;
use super::journal::Entry;
use super::{Tier, TierConfig};
use crate::backend::memory::MemoryLimits;
use crate::backend::{MemoryBackend, Pong};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::flight::Flights;
use crate::guard::Guards;
use crate::key::Key;
use crate::target::Target;

const SCHEDULES: usize = 1_000;

fn tier() -> Arc<Tier> {
    let config = TierConfig {
        namespace: Some("ns".into()),
        budget: Duration::from_secs(1),
        fallback_ttl: Duration::from_secs(30),
        lease_ttl: Duration::from_secs(10),
        max_value: 1,
        trust_snapshot: false,
        slow_after: None,
        tiered: false,
        clock: Clock::default(),
        guards: Guards::default(),
    };
    let backend = Arc::new(MemoryBackend::new(10));
    let flights = Flights::new(Guards::default());
    Tier::new(backend, config, flights, &MemoryLimits::Entries(10))
}

fn key(number: u32) -> Key {
    Key::new("a").part("n", &number)
}

/// What the backend has been told to remove, in that order.
#[derive(Default)]
struct Told(Mutex<Vec<Target>>);

impl Told {
    fn removes(&self, target: &Target) {
        self.0.lock().unwrap().push(target.clone());
    }

    fn knows(&self, target: &Target) -> bool {
        self.0.lock().unwrap().contains(target)
    }
}

/// A recovery as the guardian makes it, without the waiting.
fn recover(tier: &Tier, told: &Told, replayer: u64) {
    for round in 1.. {
        match tier.next_step(&Pong::default(), replayer, round) {
            Ok(Step::Replay(batch)) => {
                replay(told, &batch);
                tier.journal().done(replayer);
            }
            Ok(Step::TrustedBut(rest)) => {
                replay(told, rest.batch());
                tier.journal().done(replayer);
                rest.done();
                return;
            }
            Ok(Step::Trusted) | Err(_) => return,
        }
    }
}

fn replay(told: &Told, batch: &[Entry]) {
    for entry in batch {
        thread::yield_now();
        if let Entry::Target(target) = entry {
            told.removes(target);
        }
    }
}

fn explore(test: fn()) {
    shuttle::check_random(test, SCHEDULES);
    shuttle::check_pct(test, SCHEDULES, 3);
}

/// A removal as [`Tier::remove`] makes it: told to the backend while that is trusted, else written down.
fn remove(tier: &Tier, told: &Told, target: &Target) {
    loop {
        if tier.is_trusted() {
            thread::yield_now();
            told.removes(target);
            return;
        }
        if tier.write_down(std::slice::from_ref(target)) {
            return;
        }
    }
}

#[test]
fn once_the_backend_is_trusted_it_has_been_told_of_each_removal_before() {
    explore(|| {
        let (tier, told) = (tier(), Arc::new(Told::default()));
        let writers: Vec<_> = (0..2)
            .map(|number| {
                let (tier, told) = (Arc::clone(&tier), Arc::clone(&told));
                thread::spawn(move || {
                    let target = Target::Key(key(number));
                    remove(&tier, &told, &target);
                    // Who trusts the backend now must not find there what was removed; where the rest of the journal is
                    // replayed behind fences, no flight over it is stored or read.
                    let fenced = tier.flights.is_covered(&key(number));
                    assert!(!tier.is_trusted() || fenced || told.knows(&target));
                })
            })
            .collect();
        let guardian = {
            let (tier, told) = (Arc::clone(&tier), Arc::clone(&told));
            thread::spawn(move || recover(&tier, &told, 1))
        };
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        guardian.join().unwrap();
        recover(&tier, &told, 2);
        assert!(tier.is_trusted());
        assert_eq!(tier.journal_len(), 0);
        (0..2).for_each(|number| assert!(told.knows(&Target::Key(key(number)))));
    });
}

#[test]
fn a_loss_in_the_middle_of_a_recovery_loses_no_removal() {
    explore(|| {
        let (tier, told) = (tier(), Arc::new(Told::default()));
        let target = Target::Key(key(1));
        tier.write_down(std::slice::from_ref(&target));
        let loser = {
            let tier = Arc::clone(&tier);
            thread::spawn(move || {
                tier.trip(&Error::new(ErrorKind::Unavailable, "test"));
                tier.postpone(&[Target::Key(key(2))]);
            })
        };
        let guardian = {
            let (tier, told) = (Arc::clone(&tier), Arc::clone(&told));
            thread::spawn(move || recover(&tier, &told, 1))
        };
        loser.join().unwrap();
        guardian.join().unwrap();
        recover(&tier, &told, 2);
        assert!(tier.is_trusted() && tier.journal_len() == 0);
        (1..=2).for_each(|number| assert!(told.knows(&Target::Key(key(number)))));
    });
}

#[test]
fn a_cache_that_is_closed_during_a_recovery_trusts_nothing_afterwards() {
    explore(|| {
        let (tier, told) = (tier(), Arc::new(Told::default()));
        let guardian = thread::spawn({
            let tier = Arc::clone(&tier);
            move || recover(&tier, &told, 1)
        });
        tier.close();
        guardian.join().unwrap();
        assert!(!tier.is_trusted());
    });
}
