//! The task that watches over the backend: it notices an outage when nobody asks, and it ends one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::journal::Entry;
use super::removal::{Refused, is_refusal};
use super::{BATCH, Budget, Tier, nanos};
use crate::backend::Pong;
use crate::error::{Error, ErrorKind};
use crate::flight::Fence;
use crate::guard::Guard;
use crate::pattern::KeyPattern;
use crate::target::Target;
use crate::telemetry::TARGET;

/// How often an idle backend is asked whether it is there, and how long the answer may take where a call may not take
/// longer.
const LIVENESS: Duration = Duration::from_secs(2);
const LIVENESS_DEADLINE: Duration = Duration::from_millis(500);
/// How long connecting and the ping may take; a backend may have a limit of its own.
const PING_DEADLINE: Duration = Duration::from_secs(5);
/// How long the builder waits for the first attempt.
const START_DEADLINE: Duration = Duration::from_millis(1_500);
/// A guardian that has not moved for this long stands still with its runtime. Only a single sweep can take longer: then
/// two replay the same, which is no harm.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
/// How old the reading of the backend's clock may be.
const CLOCK_AGE: Duration = Duration::from_secs(60);
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// A backend that is lost again within this time has not really been back: the delays go on growing.
const SETTLED: Duration = Duration::from_secs(5);
/// How often the journal is replayed before the rest of it is left to fences.
const ROUNDS: u32 = 3;
/// What replaying one batch of keys may take.
const REPLAY_BUDGET: Duration = Duration::from_secs(1);

/// Who is at the post. A runtime may end, and take its guardian along, or stand still, and its guardian with it.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Whether somebody is, as far as is known.
    manned: AtomicBool,
    /// Whose turn it is: an earlier guardian that wakes up again leaves.
    number: AtomicU64,
    /// By when the guardian will have given a sign of life, in nanoseconds since the tier was built.
    due: AtomicU64,
}

impl Tier {
    /// Makes sure that a guardian runs. The one that did may have ended with its runtime, or stand still with it.
    #[inline]
    pub(crate) fn guard(self: &Arc<Self>) {
        if !self.watch.manned.load(Ordering::Relaxed) || !self.is_trusted() {
            self.man_the_post();
        }
    }

    #[cold]
    fn man_the_post(self: &Arc<Self>) {
        if self.closed.load(Ordering::SeqCst) {
            return;
        }
        let now = self.since_birth(Instant::now());
        let manned = self.watch.manned.load(Ordering::SeqCst);
        let due = self.watch.due.load(Ordering::SeqCst);
        if manned && now < due {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        // One of those who see that nobody is there takes the post.
        let next = now.saturating_add(nanos(SIGN_OF_LIFE));
        if self
            .watch
            .due
            .compare_exchange(due, next, Ordering::SeqCst, Ordering::SeqCst)
            .is_err()
        {
            return;
        }
        self.watch.manned.store(true, Ordering::SeqCst);
        let number = self.watch.number.fetch_add(1, Ordering::SeqCst) + 1;
        let post = Post {
            tier: Arc::downgrade(self),
            number,
        };
        runtime.spawn(async move { post.stand().await });
    }

    /// The first attempt, made by the builder so that a backend that is there is used from the first call on.
    pub(crate) async fn start(self: &Arc<Self>) {
        if let Err(error) = deadline(START_DEADLINE, self.recover()).await {
            self.attempts.store(1, Ordering::Relaxed);
            tracing::warn!(
                target: TARGET,
                backend = self.backend.name(),
                error = %error,
                "cache backend not reachable at start: values are kept in memory until it is"
            );
        }
        self.guard();
    }

    /// Ends the guardian and lets go of the backend.
    pub(crate) fn close(&self) {
        {
            // A recovery that has just seen that this is open closes the breaker under the same lock.
            let _journal = self.journal();
            self.closed.store(true, Ordering::SeqCst);
            self.breaker.open();
        }
        self.backend.reset();
        self.wake.notify_one();
    }

    /// Pings, replays the journal, empties memory, and trusts the backend again. What of the journal has not been replayed
    /// by then, because removals keep coming, is covered by fences.
    async fn recover(&self) -> Result<(), Error> {
        let losses = self.losses();
        let asked = self.moment();
        let pong = deadline(PING_DEADLINE, self.backend.ping()).await?;
        self.set_clock(&pong);
        if let Some(limit) = self.config.slow_after {
            // Once more: the first one may have made the connection.
            let asked = Instant::now();
            deadline(PING_DEADLINE, self.backend.ping()).await?;
            if asked.elapsed() > limit {
                return Err(self.errors.slow.clone());
            }
        }
        self.begin_anew(pong.watching, asked);
        self.remind(&pong).await?;
        if !self.config.guards.stands(Guard::ReplayFirst) {
            self.server.trust(&pong);
            self.breaker.close(self.since_birth(Instant::now()));
        }
        let replayer = self.recoveries.fetch_add(1, Ordering::Relaxed) + 1;
        let mut replayed = 0;
        let mut rounds = 0;
        let rest = loop {
            rounds += 1;
            match self.next_step(&pong, replayer, rounds)? {
                Step::Trusted => break None,
                Step::TrustedBut(rest) => break Some(rest),
                Step::Replay(batch) => {
                    self.replay(&batch).await?;
                    // A replica that is promoted next may lack them like any other removal.
                    self.server.replayed(&batch);
                    replayed += batch.len();
                    self.journal().done(replayer);
                }
            }
        };
        if self.losses() != losses {
            // Told while the breaker was still open, when it changed nothing.
            let lost = Error::new(ErrorKind::Unavailable, "lost again at once");
            self.trip(&lost);
            return Err(lost);
        }
        let now = self.since_birth(Instant::now());
        self.recovered_at.store(now, Ordering::Relaxed);
        self.last_recovery.store(now.max(1), Ordering::Relaxed);
        // Nobody reads memory any more. A load that saw the outage may just be storing into it: after this, none does.
        self.flights.settle();
        self.fallback.clear();
        tracing::info!(target: TARGET, backend = self.backend.name(), replayed, "cache backend in use");
        if let Some(rest) = rest {
            self.replay(&rest.batch).await?;
            self.server.replayed(&rest.batch);
            self.journal().done(replayer);
            rest.done();
        }
        Ok(())
    }

    /// How long ago the backend came into use last.
    pub(crate) fn recovered(&self) -> Option<Duration> {
        let then = self.last_recovery.load(Ordering::Relaxed);
        let now = self.since_birth(Instant::now());
        (then > 0).then(|| Duration::from_nanos(now.saturating_sub(then)))
    }

    /// What is left to do before the backend is trusted; where that is nothing, it is trusted from here on.
    ///
    /// Nothing can be written down between the look at the journal and the closing of the breaker: both are under the lock
    /// of the journal, and so is every push.
    pub(super) fn next_step(
        &self,
        pong: &Pong,
        replayer: u64,
        rounds: u32,
    ) -> Result<Step<'_>, Error> {
        let mut journal = self.journal();
        if self.closed.load(Ordering::SeqCst) {
            return Err(self.errors.away.clone());
        }
        let trust = || {
            self.server.trust(pong);
            self.breaker.close(self.since_birth(Instant::now()));
        };
        if journal.is_empty() {
            trust();
            return Ok(Step::Trusted);
        }
        let batch = journal.take(replayer);
        if rounds <= ROUNDS {
            return Ok(Step::Replay(batch));
        }
        let rest = Rest::fenced(self, batch);
        trust();
        Ok(Step::TrustedBut(rest))
    }

    async fn replay(&self, batch: &[Entry]) -> Result<(), Error> {
        let mut refused = Refused::default();
        let replayed = self.replay_each(batch, &mut refused).await;
        refused.log(self);
        replayed
    }

    async fn replay_each(&self, batch: &[Entry], refused: &mut Refused) -> Result<(), Error> {
        let targets = || {
            batch.iter().filter_map(|entry| match entry {
                Entry::Target(target) => Some(target),
                Entry::Under(_) => None,
            })
        };
        let all: Vec<Target> = targets().cloned().collect();
        let mut keys = self.reserved_keys(&all);
        keys.append(&mut self.full_keys(&all));
        for chunk in keys.chunks(BATCH) {
            self.give_sign();
            let chunk: Vec<&str> = chunk.iter().map(super::as_str).collect();
            match deadline(REPLAY_BUDGET, self.backend.remove(&chunk)).await {
                // One key that may not be removed must not keep the others.
                Err(error) if is_refusal(&error) => {
                    for key in chunk {
                        self.give_sign();
                        refused.note(deadline(REPLAY_BUDGET, self.backend.remove(&[key])).await)?;
                    }
                }
                result => drop(result?),
            }
        }
        for target in targets() {
            self.give_sign();
            match target {
                Target::Key(_) | Target::Tag(_) => {}
                Target::Everything | Target::Freshness if self.has_epoch() => {}
                Target::Pattern(pattern) => refused.note(self.sweep(pattern).await)?,
                Target::Everything | Target::Freshness => {
                    refused.note(self.sweep(&KeyPattern::new("*")).await)?;
                }
            }
        }
        for entry in batch {
            self.give_sign();
            if let Entry::Under(prefixes) = entry {
                refused.note(self.sweep_under(prefixes).await)?;
            }
        }
        Ok(())
    }

    /// The guardian moves. An old one that was replaced may say so, too: it is at the same work.
    fn give_sign(&self) {
        let now = self.since_birth(Instant::now());
        let due = now.saturating_add(nanos(SIGN_OF_LIFE));
        self.watch.due.fetch_max(due, Ordering::SeqCst);
    }

    /// A removal that the backend will never do is not waited for.
    pub(super) fn unless_refused(&self, result: Result<u64, Error>) -> Result<(), Error> {
        let mut refused = Refused::default();
        let result = refused.note(result);
        refused.log(self);
        result
    }

    async fn check(&self) {
        let now = self.since_birth(Instant::now());
        let quiet = self.until_quiet(now).is_zero();
        let clock_is_old =
            now.saturating_sub(self.clock_read_at.load(Ordering::Relaxed)) > nanos(CLOCK_AGE);
        if !quiet && !clock_is_old {
            return;
        }
        // Who allows a call more has a backend that needs more.
        let mut budget = Budget(LIVENESS_DEADLINE.max(self.config.budget));
        match self.run(&mut budget, || self.backend.ping()).await {
            // A name or a proxy may lead to another server now.
            Ok(pong) => {
                if self.recognize(&pong).is_ok() {
                    self.set_clock(&pong);
                }
            }
            // One unanswered ping on a quiet connection is enough: nothing else says that the backend is there.
            Err(error) if quiet => self.trip(&error),
            Err(_) => {}
        }
    }

    /// How long the guardian of a trusted backend rests.
    fn until_check(&self) -> Duration {
        let now = self.since_birth(Instant::now());
        self.known_at().map_or(LIVENESS, |_| {
            self.until_quiet(now).max(Duration::from_millis(1))
        })
    }

    /// How long until an idle backend is asked whether it is there.
    fn until_quiet(&self, now: u64) -> Duration {
        let (since, allowed) = match self.known_at() {
            // L1 answers for as long as this says, so it is counted from when something was asked, not answered.
            Some(known_at) => (known_at, nanos(LIVENESS)),
            None => (self.breaker.last_success(), nanos(LIVENESS) / 2),
        };
        Duration::from_nanos((since.saturating_add(allowed)).saturating_sub(now))
    }

    fn set_clock(&self, pong: &Pong) {
        self.clock_read_at
            .store(self.since_birth(Instant::now()), Ordering::Relaxed);
        if let Some(theirs) = pong.clock_ms {
            let offset = i128::from(theirs) - i128::from(self.config.clock.wall_ms());
            self.clock_offset
                .store(i64::try_from(offset).unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// How long to wait before the next attempt: doubling, with full jitter below half, so that a fleet does not
    /// return in step.
    fn next_delay(&self) -> Duration {
        let up = self.recovered_at.load(Ordering::Relaxed);
        let now = self.since_birth(Instant::now());
        if up > 0 && now.saturating_sub(up) > nanos(SETTLED) {
            self.recovered_at.store(0, Ordering::Relaxed);
            self.attempts.store(0, Ordering::Relaxed);
        }
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed).min(16);
        let longest = FIRST_DELAY.saturating_mul(1 << attempt).min(LONGEST_DELAY);
        longest / 2 + longest.mul_f64(fastrand::f64() / 2.0)
    }
}

/// What a recovery has to do next.
pub(super) enum Step<'a> {
    /// To replay this, and to ask again.
    Replay(Vec<Entry>),
    /// Nothing: the backend is trusted.
    Trusted,
    /// To replay this behind fences: the backend is trusted, and removals keep coming.
    TrustedBut(Rest<'a>),
}

/// What is replayed after the backend is trusted: new removals keep coming while the old ones are replayed, and each round
/// of sweeps may take longer than it takes the next one to be due. Until it has been replayed, fences keep every caller
/// here from reading or storing what is meant.
///
/// Dropped before that, because the replay failed or the runtime ended, the backend is not trusted any more.
pub(super) struct Rest<'a> {
    tier: &'a Tier,
    batch: Vec<Entry>,
    fences: Vec<Fence>,
    replayed: bool,
}

impl<'a> Rest<'a> {
    fn fenced(tier: &'a Tier, batch: Vec<Entry>) -> Self {
        let targets = batch.iter().map(|entry| match entry {
            Entry::Target(target) => target.clone(),
            Entry::Under(_) => Target::Everything,
        });
        let fences = targets.map(|target| tier.flights.raise(target)).collect();
        Self {
            tier,
            batch,
            fences,
            replayed: false,
        }
    }

    #[cfg(all(test, shuttle))]
    pub(super) fn batch(&self) -> &[Entry] {
        &self.batch
    }

    pub(super) fn done(mut self) {
        self.replayed = true;
        self.fences.clear();
    }
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        if !self.replayed {
            let cut_off = Error::new(ErrorKind::Unavailable, "a replay was cut off");
            self.tier.trip(&cut_off);
        }
    }
}

/// The guardian at its post. Dropping it (with the runtime, or when the tier is gone) leaves the post to another one.
struct Post {
    tier: Weak<Tier>,
    number: u64,
}

impl Post {
    async fn stand(&self) {
        while let Some(tier) = self.still_on_duty() {
            if tier.is_trusted() {
                // A guardian that waits must not keep the cache alive: dropping the last handle wakes it.
                let _ = timeout(tier.until_check(), tier.wake.notified()).await;
                if tier.is_trusted() && !tier.closed.load(Ordering::SeqCst) {
                    tier.check().await;
                }
            } else {
                let delay = tier.next_delay();
                drop(tier);
                sleep(delay).await;
                let Some(tier) = self.still_on_duty() else {
                    return;
                };
                if let Err(error) = tier.recover().await {
                    if tier.closed.load(Ordering::SeqCst) {
                        // It may have connected after the cache had let go.
                        tier.backend.reset();
                    }
                    tracing::debug!(target: TARGET, error = %error, "cache backend still away");
                }
            }
        }
    }

    /// The tier, unless it is gone or closed, or another guardian has taken over. A sign of life.
    fn still_on_duty(&self) -> Option<Arc<Tier>> {
        let tier = self.tier.upgrade()?;
        if tier.closed.load(Ordering::SeqCst)
            || tier.watch.number.load(Ordering::SeqCst) != self.number
        {
            return None;
        }
        tier.give_sign();
        Some(tier)
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        if let Some(tier) = self.tier.upgrade()
            && tier.watch.number.load(Ordering::SeqCst) == self.number
        {
            tier.watch.manned.store(false, Ordering::SeqCst);
        }
    }
}

pub(super) async fn deadline<T>(
    limit: Duration,
    operation: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(limit, operation).await.unwrap_or_else(|_| {
        Err(Error::new(
            ErrorKind::Timeout,
            "the cache backend did not answer in time",
        ))
    })
}
