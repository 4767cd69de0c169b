//! Many keys, and one load for all that are missing.
//!
//! Each missing key is a call of its own, as if it had come alone: it joins the flight of its key, takes its lease, renews
//! it, falls back on what is stale, is fenced, and stores what it gets. Only its load is none: it asks the batch for the
//! value, and waits. The batch loads when every call has been answered, asks, or waits for somebody else's load. So one
//! load is for all of them, and no two batches ever wait for each other: what a batch has to load, it loads before others
//! have to end.
//!
//! What a call waited for may come to nothing, because its leader was cancelled. Then it asks later than the others, and is
//! loaded by a batch of its own.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::Inline;
use super::context::{Chain, with_flights};
use crate::cache::Cache;
use crate::call::{Miss, Part};
use crate::policy::Policy;
use crate::shape::{CacheValue, ResultOptionOf, Serde};
use crate::share::{Alone, Nothing, Sharing};

/// The batch has failed. Its error cannot be cloned, so that it is returned by the batch, and not by one of its calls.
#[derive(Debug)]
pub(crate) struct Stop;

/// What the call of one key returns.
pub(crate) type Batched<T> = Result<Option<T>, Stop>;

/// Calls for what is missing, each with what it is asked for by. Returns what they are answered with, in their order.
pub(crate) async fn load_many<I, T, E, M, F>(
    cache: &Cache,
    missing: Vec<(I, Miss<T>)>,
    policy: &Policy,
    load: impl Fn(Vec<I>) -> F,
) -> Result<Vec<Option<T>>, E>
where
    I: Clone + Eq + Hash,
    T: CacheValue,
    F: Future<Output = Result<M, E>>,
    M: IntoIterator<Item = (I, T)>,
{
    let caller = Arc::new(Mutex::new(Waker::noop().clone()));
    let (ids, calls): (Vec<I>, Vec<_>) = missing
        .into_iter()
        .map(|(id, miss)| (id, Member::new(miss, policy.clone(), &caller)))
        .unzip();
    let mut calls = Calls(calls);
    let (mut running, mut failure) = (None, None);
    poll_fn(|cx| {
        lock(&caller).clone_from(cx.waker());
        loop {
            calls.poll();
            if failure.is_some() && calls.is_any_stopped() {
                return Poll::Ready(());
            }
            if running.is_none() {
                running = calls.take_wanted().map(|(places, flights)| {
                    let ids = places.iter().map(|at| ids[*at].clone()).collect();
                    (places, Box::pin(run(cache, flights, &load, ids)))
                });
            }
            let Some((places, batch)) = &mut running else {
                return if calls.are_done() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                };
            };
            let Poll::Ready(loaded) = batch.as_mut().poll(cx) else {
                return Poll::Pending;
            };
            match loaded {
                Ok(loaded) => {
                    let mut loaded: HashMap<I, T> = loaded.into_iter().collect();
                    for at in places {
                        calls.0[*at].seat.answer(Ok(loaded.remove(&ids[*at])));
                    }
                }
                Err(error) => {
                    failure = Some(error);
                    for at in places {
                        calls.0[*at].seat.answer(Err(Stop));
                    }
                }
            }
            running = None;
        }
    })
    .await;
    match failure {
        // What is stale has answered for all that were to be loaded.
        Some(error) if calls.is_any_stopped() => Err(error),
        _ => Ok(calls.into_values()),
    }
}

/// Runs the load of a batch, as one of the flights of all its keys.
async fn run<I, F: Future>(
    cache: &Cache,
    flights: Vec<Arc<Chain>>,
    load: &impl Fn(Vec<I>) -> F,
    ids: Vec<I>,
) -> F::Output {
    // It is one load, and one within another would wait for itself.
    let _permit = match Chain::current() {
        None => cache.0.permit_while_away().await,
        Some(_) => None,
    };
    with_flights(flights.into_iter(), load(ids)).await
}

/// The call of one key.
struct Member<T> {
    seat: Arc<Seat<T>>,
    part: Option<Arc<Part>>,
    call: Option<Pin<Box<dyn Future<Output = Batched<T>> + Send>>>,
    answer: Option<Batched<T>>,
}

impl<T: CacheValue> Member<T> {
    fn new(miss: Miss<T>, policy: Policy, caller: &Arc<Mutex<Waker>>) -> Self {
        let seat = Arc::new(Seat {
            order: Mutex::new(Order::None),
            woken: AtomicBool::new(true),
            caller: Arc::clone(caller),
        });
        let part = miss.call.as_ref().and_then(|call| call.part.clone());
        let asking = Arc::clone(&seat);
        let load = move || poll_fn(move |_| asking.ask());
        let shape = ResultOptionOf::<T, Stop, Serde>::new();
        let share = Sharing(Alone, Nothing, Alone);
        let call = Inline.run(miss, shape, share, policy, load);
        Self {
            seat,
            part,
            call: Some(Box::pin(call)),
            answer: None,
        }
    }

    /// Whether it asks for a value, or cannot ask before somebody else's load has ended.
    fn is_ready(&self) -> bool {
        let waits = |part: &Arc<Part>| part.waits.load(Ordering::Relaxed);
        self.answer.is_some() || self.seat.is_asking() || self.part.as_ref().is_some_and(waits)
    }
}

struct Calls<T>(Vec<Member<T>>);

impl<T: CacheValue> Calls<T> {
    /// Polls those that were woken, each once: one that wakes itself, to let other tasks run, is left for the next time.
    fn poll(&mut self) {
        for member in &mut self.0 {
            let Some(call) = &mut member.call else {
                continue;
            };
            if !member.seat.woken.swap(false, Ordering::AcqRel) {
                continue;
            }
            let waker = Waker::from(Arc::clone(&member.seat));
            if let Poll::Ready(answer) = call.as_mut().poll(&mut Context::from_waker(&waker)) {
                member.answer = Some(answer);
                member.call = None;
            }
        }
    }

    /// Those that ask for values, with the flights that these are for; `None` if there are none, or more to come.
    fn take_wanted(&self) -> Option<(Vec<usize>, Vec<Arc<Chain>>)> {
        if !self.0.iter().all(Member::is_ready) {
            return None;
        }
        let (mut places, mut flights) = (Vec::new(), Vec::new());
        for (at, member) in self.0.iter().enumerate() {
            if member.seat.take_order(&mut flights) {
                places.push(at);
            }
        }
        (!places.is_empty()).then_some((places, flights))
    }

    fn is_any_stopped(&self) -> bool {
        self.0
            .iter()
            .any(|member| matches!(member.answer, Some(Err(Stop))))
    }

    fn are_done(&self) -> bool {
        self.0.iter().all(|member| member.answer.is_some())
    }

    fn into_values(self) -> Vec<Option<T>> {
        let answers = self.0.into_iter().map(|member| member.answer);
        answers
            .map(|answer| answer.and_then(Result::ok).flatten())
            .collect()
    }
}

/// Where a call and its batch meet, and what wakes the call.
struct Seat<T> {
    order: Mutex<Order<T>>,
    woken: AtomicBool,
    /// The task that all calls of the batch run in.
    caller: Arc<Mutex<Waker>>,
}

enum Order<T> {
    None,
    /// A value is asked for, by this load.
    Placed(Option<Arc<Chain>>),
    /// It is being loaded.
    Taken,
    Filled(Batched<T>),
}

impl<T> Seat<T> {
    fn ask(&self) -> Poll<Batched<T>> {
        let mut order = lock(&self.order);
        match std::mem::replace(&mut *order, Order::Taken) {
            Order::Filled(answer) => return Poll::Ready(answer),
            Order::None => *order = Order::Placed(Chain::current()),
            other => *order = other,
        }
        Poll::Pending
    }

    fn is_asking(&self) -> bool {
        !matches!(*lock(&self.order), Order::None)
    }

    /// Whether a value is asked for; if so it is the caller's to bring, and what asks is added to `flights`.
    fn take_order(&self, flights: &mut Vec<Arc<Chain>>) -> bool {
        let mut order = lock(&self.order);
        let Order::Placed(flight) = &mut *order else {
            return false;
        };
        flights.extend(flight.take());
        *order = Order::Taken;
        true
    }

    fn answer(&self, answer: Batched<T>) {
        *lock(&self.order) = Order::Filled(answer);
        self.woken.store(true, Ordering::Release);
    }
}

impl<T: Send> Wake for Seat<T> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        let caller = lock(&self.caller).clone();
        caller.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
