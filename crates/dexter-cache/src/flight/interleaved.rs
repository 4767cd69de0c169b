//! Flights and fences under thousands of thread schedules.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p dexter-cache --no-default-features --lib interleaved`

use std::any::TypeId;
use std::sync::Arc;

use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicU32, Ordering};
use shuttle::{future, thread};

use super::*;
use crate::pattern::KeyPattern;
use crate::tag::TagId;

/// Schedules of each test: half of them random, half by priorities, which finds rare orders of few steps.
const SCHEDULES: usize = 2_000;

fn explore(test: fn()) {
    shuttle::check_random(test, SCHEDULES / 2);
    shuttle::check_pct(test, SCHEDULES / 2, 3);
}

fn key() -> Key {
    Key::raw("user:1")
}

fn targets() -> [Target; 3] {
    [
        Target::Key(key()),
        Target::Pattern(KeyPattern::new("user:*")),
        Target::Everything,
    ]
}

/// Memory and a backend for one value. The value is the moment at which its load began.
struct World {
    flights: Arc<Flights>,
    clock: AtomicU32,
    memory: Mutex<Option<u32>>,
    backend: Mutex<Option<u32>>,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            flights: Flights::new(Guards::default()),
            clock: AtomicU32::new(1),
            memory: Mutex::new(None),
            backend: Mutex::new(Some(0)),
        })
    }

    fn tick(&self) -> u32 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Asks as a caller does: memory, then the flight, then memory once more, then the backend, then the origin.
    async fn call(&self) -> u32 {
        if let Some(value) = self.look() {
            return value;
        }
        match self
            .flights
            .join(&key(), TypeId::of::<u32>(), &TagSet::EMPTY)
        {
            Joined::Lead(turn) => self.lead(turn),
            Joined::Follow(ticket) => match ticket.wait().await {
                Waited::Turn(turn) => self.lead(turn),
                Waited::Landed(Landed::Value { value, .. }) => *value.downcast_ref().unwrap(),
                Waited::Landed(Landed::Other(_)) => unreachable!("no load fails here"),
                Waited::Outdated => unreachable!("nothing bears a tag here"),
            },
        }
    }

    fn look(&self) -> Option<u32> {
        let found = *self.memory.lock().unwrap();
        found.filter(|_| !self.flights.is_swept(&key()))
    }

    fn lead(&self, turn: Turn) -> u32 {
        if let Some(value) = self.look() {
            drop(turn.land(landed(value)));
            return value;
        }
        if !turn.ticket().is_fenced()
            && let Some(value) = *self.backend.lock().unwrap()
        {
            drop(turn.land(landed(value)));
            return value;
        }
        let value = self.tick();
        turn.ticket().store(|_| {
            *self.memory.lock().unwrap() = Some(value);
            *self.backend.lock().unwrap() = Some(value);
        });
        drop(turn.land(landed(value)));
        value
    }

    /// Removes what is stored, as an invalidation does; returns the moment at which all is removed: a load that begins
    /// between that and the return has seen nothing old.
    fn invalidate(&self, target: Target) -> u32 {
        let fence = self.flights.raise(target);
        *self.memory.lock().unwrap() = None;
        *self.backend.lock().unwrap() = None;
        let done = self.tick();
        drop(fence);
        done
    }
}

fn landed(value: u32) -> Landed {
    Landed::Value {
        value: Arc::new(value),
        fresh_until: 0,
        source: Source::Loaded,
    }
}

#[test]
fn nothing_older_than_an_invalidation_is_stored_or_shared_after_it() {
    for kind in 0..3 {
        static KIND: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        KIND.store(kind, Ordering::SeqCst);
        explore(|| {
            let target = || {
                let kind = KIND.load(Ordering::SeqCst);
                targets().into_iter().nth(kind).unwrap()
            };
            let world = World::new();
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    let world = Arc::clone(&world);
                    thread::spawn(move || {
                        future::block_on(world.call());
                        future::block_on(world.call());
                    })
                })
                .collect();
            let writer = {
                let world = Arc::clone(&world);
                let target = target();
                thread::spawn(move || {
                    let removed = world.invalidate(target);
                    let read = future::block_on(world.call());
                    assert!(read > removed, "a load of {read} answered after {removed}");
                    removed
                })
            };
            readers
                .into_iter()
                .for_each(|reader| reader.join().unwrap());
            let removed = writer.join().unwrap();
            let stored = *world.memory.lock().unwrap();
            assert!(stored.is_none_or(|stored| stored > removed));
            assert!(world.flights.is_idle(), "nothing is left behind");
        });
    }
}

#[test]
fn two_invalidations_at_once_leave_nothing_old() {
    explore(|| {
        let world = World::new();
        let threads: Vec<_> = [Target::Key(key()), Target::Everything]
            .into_iter()
            .map(|target| {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    let removed = world.invalidate(target);
                    assert!(future::block_on(world.call()) > removed);
                })
            })
            .collect();
        future::block_on(world.call());
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert!(world.flights.is_idle());
    });
}

#[test]
fn a_leader_that_goes_hands_over_and_nobody_waits_for_ever() {
    explore(|| {
        let flights = Flights::new(Guards::default());
        let loads = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..3)
            .map(|caller| {
                let (flights, loads) = (Arc::clone(&flights), Arc::clone(&loads));
                thread::spawn(move || {
                    let turn = match flights.join(&key(), TypeId::of::<u32>(), &TagSet::EMPTY) {
                        Joined::Lead(turn) => turn,
                        Joined::Follow(ticket) => match future::block_on(ticket.wait()) {
                            Waited::Turn(turn) => turn,
                            Waited::Landed(_) | Waited::Outdated => return,
                        },
                    };
                    thread::yield_now();
                    if caller == 0 {
                        // Cancelled while it loads.
                        drop(turn);
                    } else {
                        loads.fetch_add(1, Ordering::SeqCst);
                        drop(turn.land(landed(7)));
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert!(flights.is_idle());
    });
}

#[test]
fn of_those_who_load_at_once_there_is_one_until_a_round_fails() {
    explore(|| {
        let flights = Flights::new(Guards::default());
        let loading = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (flights, loading) = (Arc::clone(&flights), Arc::clone(&loading));
                thread::spawn(move || {
                    let turn = match flights.join(&key(), TypeId::of::<u32>(), &TagSet::EMPTY) {
                        Joined::Lead(turn) => turn,
                        Joined::Follow(ticket) => match future::block_on(ticket.wait()) {
                            Waited::Turn(turn) => turn,
                            Waited::Landed(_) | Waited::Outdated => return,
                        },
                    };
                    assert_eq!(loading.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                    thread::yield_now();
                    loading.fetch_sub(1, Ordering::SeqCst);
                    drop(turn.land(landed(7)));
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert!(flights.is_idle());
    });
}

#[test]
fn after_failures_everybody_gets_a_turn() {
    explore(|| {
        let flights = Flights::new(Guards::default());
        let failed = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (flights, failed) = (Arc::clone(&flights), Arc::clone(&failed));
                thread::spawn(move || {
                    let turn = match flights.join(&key(), TypeId::of::<u32>(), &TagSet::EMPTY) {
                        Joined::Lead(turn) => turn,
                        Joined::Follow(ticket) => match future::block_on(ticket.wait()) {
                            Waited::Turn(turn) => turn,
                            Waited::Landed(_) | Waited::Outdated => unreachable!("none lands"),
                        },
                    };
                    failed.fetch_add(1, Ordering::SeqCst);
                    turn.fail();
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(failed.load(Ordering::SeqCst), 4);
        assert!(flights.is_idle());
    });
}

#[test]
fn a_value_is_never_inserted_once_its_fence_is_up() {
    explore(|| {
        let flights = Flights::new(Guards::default());
        let stored = Arc::new(Mutex::new(false));
        let raised = Arc::new(AtomicU32::new(0));
        let Joined::Lead(turn) = flights.join(&key(), TypeId::of::<u32>(), &TagSet::EMPTY) else {
            unreachable!("nobody else is there")
        };
        let filler = {
            let (stored, raised) = (Arc::clone(&stored), Arc::clone(&raised));
            thread::spawn(move || {
                turn.ticket().store(|_| {
                    assert_eq!(
                        raised.load(Ordering::SeqCst),
                        0,
                        "stored over a raised fence"
                    );
                    *stored.lock().unwrap() = true;
                });
            })
        };
        let fence = flights.raise(Target::Key(key()));
        raised.store(1, Ordering::SeqCst);
        drop(fence);
        filler.join().unwrap();
        assert!(flights.is_idle());
    });
}

/// Memory for one value under a tag. An invalidation looks for nothing: what the value was marked with tells.
struct Tagged {
    flights: Arc<Flights>,
    tag: TagId,
    tags: TagSet,
    clock: AtomicU32,
    memory: Mutex<Option<(u32, Marks)>>,
}

impl Tagged {
    fn new() -> Arc<Self> {
        let tag = TagId::of("user:1");
        let mut tags = TagSet::default();
        tags.add(tag);
        Arc::new(Self {
            flights: Flights::new(Guards::default()),
            tag,
            tags,
            clock: AtomicU32::new(1),
            memory: Mutex::new(None),
        })
    }

    fn look(&self) -> Option<u32> {
        let memory = self.memory.lock().unwrap();
        let (value, marks) = memory.as_ref()?;
        marks.are_valid().then_some(*value)
    }

    /// With a tag that only the load tells, where `labels`.
    async fn call(&self, labels: bool) -> u32 {
        let (known, more) = if labels {
            (&TagSet::EMPTY, &[self.tag][..])
        } else {
            (&self.tags, &[][..])
        };
        loop {
            if let Some(value) = self.look() {
                return value;
            }
            let turn = match self.flights.join(&key(), TypeId::of::<u32>(), known) {
                Joined::Lead(turn) => turn,
                Joined::Follow(ticket) => match ticket.wait().await {
                    Waited::Turn(turn) => turn,
                    Waited::Landed(Landed::Value { value, .. }) => {
                        return *value.downcast_ref().unwrap();
                    }
                    Waited::Landed(Landed::Other(_)) => unreachable!("no load fails here"),
                    Waited::Outdated => continue,
                },
            };
            if let Some(value) = self.look() {
                drop(turn.land(landed(value)));
                return value;
            }
            let value = self.clock.fetch_add(1, Ordering::SeqCst);
            if labels {
                turn.ticket().label();
            }
            if let Some(marks) = turn.ticket().marks(more) {
                turn.ticket().store(|_| {
                    *self.memory.lock().unwrap() = Some((value, marks));
                });
            }
            drop(turn.land(landed(value)));
            return value;
        }
    }

    fn invalidate(&self) -> u32 {
        let fence = self.flights.raise(Target::Tag(self.tag));
        let done = self.clock.fetch_add(1, Ordering::SeqCst);
        drop(fence);
        done
    }
}

#[test]
fn nothing_older_than_an_invalidation_of_its_tag_is_given_after_it() {
    fn test(labels: bool) {
        let world = Tagged::new();
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    future::block_on(world.call(labels));
                    future::block_on(world.call(labels));
                })
            })
            .collect();
        let writer = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let done = world.invalidate();
                let read = future::block_on(world.call(labels));
                assert!(read > done, "a load of {read} answered after {done}");
                done
            })
        };
        readers
            .into_iter()
            .for_each(|reader| reader.join().unwrap());
        let done = writer.join().unwrap();
        assert!(world.look().is_none_or(|kept| kept > done));
        assert!(world.flights.is_idle(), "nothing is left behind");
    }
    explore(|| test(false));
    explore(|| test(true));
}
