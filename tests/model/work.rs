//! What a task of a process does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dexter_cache::{
    Cache, CacheContext, Clear, Error, Invalidated, KeyPattern, Policy, Ttl, bypass, refresh,
};
use fastrand::Rng;
use tokio::time::{Instant, sleep, timeout};

use crate::scenario::{KEYS, Plan, Running, Tagging, key};
use crate::world::{Covers, FILL, Kept, KeyNo, Kind, Look, Order, Origin, Value, World};

/// What a look at the server may cost, and what waiting for another process and for another caller may.
const BUDGET: Duration = FILL;
const WAITS: Duration = Duration::from_secs(16);
/// Sweeps wait for each other, and end with the connection.
const SWEEP: Duration = Duration::from_secs(40);
/// Timers count whole milliseconds.
const GRAIN: Duration = Duration::from_millis(5);

pub(crate) struct Worker {
    pub(crate) process: usize,
    pub(crate) cache: Cache,
    pub(crate) world: Arc<World>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) rng: Rng,
}

impl Worker {
    pub(crate) async fn work(mut self) {
        for _ in 0..self.plan.operations {
            let most = u64::try_from(self.plan.pause.as_millis()).unwrap_or(0);
            sleep(Duration::from_millis(self.rng.u64(..=most))).await;
            let mut no = self.rng.usize(..KEYS);
            if self.plan.stale.is_some() && self.rng.u8(..3) > 0 {
                no /= 2;
                if self.rng.u8(..3) == 0 {
                    self.detached(no).await;
                } else {
                    self.get_or_load(no).await;
                }
                continue;
            }
            match self.rng.u8(..100) {
                0..=44 => self.get_or_load(no).await,
                45..=54 => self.get(no).await,
                55..=58 => self.get_many().await,
                59..=72 => self.write(no).await,
                73..=74 => self.impatient_write(no).await,
                75..=80 if self.plan.tagging.is_some() && self.rng.bool() => {
                    self.invalidate_tag(no).await
                }
                75..=80 => self.invalidate().await,
                81..=82 => self.clear().await,
                83..=88 => self.set(no).await,
                89..=92 => self.refresh(no).await,
                93..=94 => self.bypass(no).await,
                _ => self.impatient(no).await,
            }
        }
    }

    fn policy(&mut self, no: KeyNo) -> (Policy, Kept) {
        let stale = self.plan.stale.filter(|_| no < KEYS / 2);
        let often = if stale.is_some() { 6 } else { 1 };
        let ttl = if self.rng.u8(..8) < often {
            let longest = if stale.is_some() { 200 } else { 400 };
            Duration::from_millis(self.rng.u64(1..longest))
        } else {
            Duration::from_secs(600)
        };
        let mut policy = Policy::new(Ttl::from_duration(ttl));
        if self.plan.tagging == Some(Tagging::Call) {
            policy = policy.tag(tag(no));
        }
        let mut kept = Kept {
            ttl,
            ..Kept::default()
        };
        if let Some(stale) = stale {
            policy = policy.stale(stale.window).throttle(stale.throttle);
            kept.stale = stale.window;
            kept.throttle = stale.throttle;
        }
        (policy, kept)
    }

    /// Draws what a load does: how long it takes before and after it reads the origin, and whether it fails.
    fn draw_load(&mut self) -> Draft {
        let long = self.plan.slow_loads && self.rng.u8(..3) == 0;
        let most = match self.plan.stale {
            _ if long => 1_200,
            Some(_) => 120,
            None => 25,
        };
        Draft {
            before: Duration::from_millis(self.rng.u64(..most)),
            after: Duration::from_millis(self.rng.u64(..most)),
            fails: self.rng.u8(..24) < if self.plan.stale.is_some() { 9 } else { 1 },
        }
    }

    fn loader(
        &mut self,
        no: KeyNo,
        origin: Origin,
        called: (Order, Instant),
        kept: Kept,
    ) -> Loader {
        Loader {
            world: Arc::clone(&self.world),
            process: self.process,
            no,
            origin,
            called,
            kept,
            answered: None,
            labels: self.plan.tagging == Some(Tagging::Load),
            draft: self.draw_load(),
        }
    }

    async fn get_or_load(&mut self, no: KeyNo) {
        let ((policy, kept), look) = (self.policy(no), self.world.look(self.process, no, true));
        let loader = self.loader(no, Origin::Load, look.called(), kept);
        let longest = loader.draft.longest();
        let name = key(no);
        // Of an error that callers share, the backend is asked whether a stale value may answer.
        let answer = if self.shares_errors() {
            let call = self
                .cache
                .try_get_or_load_shared(&name, policy, || loader.load());
            call.await
        } else {
            let call = self.cache.try_get_or_load(&name, policy, || loader.load());
            call.await
        };
        self.within("get_or_load", &look, BUDGET + WAITS + longest);
        // Who loads for himself after another one's failure may fail, too.
        if let Ok((value, process_load)) = answer.map(|value: Value| (value, value.load)) {
            self.judge("get_or_load", &look, value, process_load);
        }
        self.world.leave(&look);
    }

    fn shares_errors(&mut self) -> bool {
        let plan = Arc::clone(&self.plan);
        plan.stale
            .is_some_and(|stale| stale.asked || self.rng.bool())
    }

    /// A call whose load has a task of its own, is begun ahead of time, and need not be waited for.
    async fn detached(&mut self, no: KeyNo) {
        let look = self.world.look(self.process, no, true);
        let (mut policy, kept) = self.policy(no);
        if self.rng.u8(..3) > 0 {
            policy = policy.refresh_ahead(0.2);
        }
        if self.rng.u8(..3) == 0 {
            let soft = Duration::from_millis(self.rng.u64(1..50));
            policy = policy.soft_timeout(soft);
            self.world.hurries(&look, soft);
        }
        let answered = Arc::new(AtomicBool::new(false));
        let mut loader = self.loader(no, Origin::Load, look.called(), kept);
        loader.answered = Some(Arc::clone(&answered));
        let longest = loader.draft.longest();
        let name = key(no);
        let call = self
            .cache
            .try_get_or_load_detached(&name, policy, || loader.load());
        let answer: Result<Value, Failed> = call.await;
        answered.store(true, Ordering::Relaxed);
        self.within("detached", &look, BUDGET + WAITS + longest);
        if let Ok((value, load)) = answer.map(|value| (value, value.load)) {
            self.judge("detached", &look, value, load);
        }
        self.world.leave(&look);
    }

    /// A caller that does not wait for its answer.
    async fn impatient(&mut self, no: KeyNo) {
        let look = self.world.look(self.process, no, true);
        let (policy, kept) = self.policy(no);
        let loader = self.loader(no, Origin::Load, look.called(), kept);
        let patience = Duration::from_millis(self.rng.u64(..40));
        let name = key(no);
        if self.shares_errors() {
            let call = self
                .cache
                .try_get_or_load_shared(&name, policy, || loader.load());
            let _: Result<Result<Value, Failed>, _> = timeout(patience, call).await;
        } else {
            let call = self.cache.try_get_or_load(&name, policy, || loader.load());
            let _: Result<Result<Value, Failed>, _> = timeout(patience, call).await;
        }
        self.world.leave(&look);
    }

    async fn refresh(&mut self, no: KeyNo) {
        let fence = self
            .world
            .removal_begins(self.process, Covers::key(no), Kind::Refresh);
        let ((policy, kept), look) = (self.policy(no), self.world.look(self.process, no, false));
        let loader = self.loader(no, Origin::Apart, look.called(), kept);
        let longest = loader.draft.longest();
        let name = key(no);
        let call = self.cache.try_get_or_load(&name, policy, || loader.load());
        let answer: Result<Value, Failed> = refresh(call).await;
        self.world.removal_returns(fence, None);
        self.within("refresh", &look, BUDGET + WAITS + longest);
        if let Ok(value) = answer {
            self.world.refreshed(fence);
            self.judge("refresh", &look, value, value.load);
            self.world.is_of_its_own("refresh", &look, value);
        }
    }

    async fn bypass(&mut self, no: KeyNo) {
        let ((policy, kept), look) = (self.policy(no), self.world.look(self.process, no, false));
        let loader = self.loader(no, Origin::Apart, look.called(), kept);
        let longest = loader.draft.longest();
        let name = key(no);
        let call = self.cache.try_get_or_load(&name, policy, || loader.load());
        let answer: Result<Value, Failed> = bypass(call).await;
        self.within("bypass", &look, longest);
        if let Ok(value) = answer {
            self.judge("bypass", &look, value, value.load);
            self.world.is_of_its_own("bypass", &look, value);
        }
    }

    async fn get(&mut self, no: KeyNo) {
        let look = self.world.look(self.process, no, false);
        let found = self.cache.get(&key(no)).await;
        self.within("get", &look, BUDGET);
        self.found("get", &look, found);
    }

    async fn get_many(&mut self) {
        let looks: Vec<Look> = (0..KEYS)
            .map(|no| self.world.look(self.process, no, false))
            .collect();
        let keys: Vec<_> = (0..KEYS).map(key).collect();
        match self.cache.get_many(&keys).await {
            Ok(found) => {
                for (look, found) in looks.iter().zip(found) {
                    self.within("get_many", look, BUDGET);
                    self.found("get_many", look, Ok(found));
                }
            }
            Err(error) => self.world.complain(format!("get_many fails: {error}")),
        }
    }

    /// The origin first, then the cache.
    async fn write(&mut self, no: KeyNo) {
        self.world.bump(no);
        let fence = self
            .world
            .removal_begins(self.process, Covers::key(no), Kind::Removal);
        let begun = Instant::now();
        let removed = self.cache.remove(&key(no)).await;
        self.removed("remove", fence, removed, begun, BUDGET * 2);
    }

    /// A writer that does not wait for its removal, which goes on all the same.
    async fn impatient_write(&mut self, no: KeyNo) {
        self.world.bump(no);
        self.world
            .removal_begins(self.process, Covers::key(no), Kind::Removal);
        let patience = Duration::from_millis(self.rng.u64(1..20));
        let _ = timeout(patience, self.cache.remove(&key(no))).await;
    }

    async fn invalidate(&mut self) {
        let parity = self.rng.usize(..2);
        let pattern = KeyPattern::new(["row:*", "list:*"][parity]);
        let covered = (0..KEYS).filter(|no| no % 2 == parity);
        let covers = Covers(covered.clone().map(|no| 1 << no).sum());
        for no in covered {
            self.world.bump(no);
        }
        let fence = self
            .world
            .removal_begins(self.process, covers, Kind::Removal);
        let begun = Instant::now();
        let removed = self.cache.invalidate(&pattern).await;
        self.removed("invalidate", fence, removed, begun, SWEEP);
    }

    async fn invalidate_tag(&mut self, no: KeyNo) {
        let alike = (0..KEYS).filter(|other| tag(*other) == tag(no));
        let covers = Covers(alike.clone().map(|no| 1 << no).sum());
        for no in alike {
            self.world.bump(no);
        }
        let fence = self.world.removal_begins(self.process, covers, Kind::Token);
        let begun = Instant::now();
        let removed = self.cache.invalidate_tag(tag(no)).await;
        self.removed("invalidate_tag", fence, removed, begun, BUDGET * 2);
    }

    async fn clear(&mut self) {
        for no in 0..KEYS {
            self.world.bump(no);
        }
        let (how, kind) = if self.plan.stale.is_some() && self.rng.u8(..3) > 0 {
            (Clear::Expire, Kind::Expire)
        } else {
            (Clear::Remove, Kind::Token)
        };
        let fence = self.world.removal_begins(self.process, Covers::ALL, kind);
        let begun = Instant::now();
        let removed = self.cache.clear_with(how).await;
        self.removed("clear", fence, removed, begun, SWEEP);
    }

    async fn set(&mut self, no: KeyNo) {
        let version = self.world.bump(no);
        let begun = Instant::now();
        let (mut policy, kept) = self.policy(no);
        if self.plan.tagging == Some(Tagging::Load) {
            policy = policy.tag(tag(no));
        }
        let load = self
            .world
            .load_begins(self.process, no, Origin::Set, (0, begun), kept);
        let fence = self
            .world
            .removal_begins(self.process, Covers::key(no), Kind::Set);
        let value = Value {
            key: no,
            version,
            load,
        };
        let set = self.cache.set(&key(no), &value, policy).await;
        self.world.set_ends(load);
        self.world.removal_returns(fence, None);
        if let Err(error) = set {
            self.world.complain(format!("a set fails: {error}"));
        }
        self.in_time("set", begun, BUDGET * 3);
    }

    fn removed(
        &self,
        what: &str,
        fence: usize,
        removed: Result<Invalidated, Error>,
        begun: Instant,
        bound: Duration,
    ) {
        match removed {
            Ok(invalidated) => self.world.removal_returns(fence, Some(invalidated.reach)),
            Err(error) => self.world.complain(format!("{what} fails: {error}")),
        }
        self.in_time(what, begun, bound);
    }

    fn found(&self, what: &str, look: &Look, found: Result<Option<Value>, Error>) {
        match found {
            Ok(Some(value)) => self.judge(what, look, value, usize::MAX),
            Ok(None) => self.world.missed(what, look),
            Err(error) => self.world.complain(format!("{what} fails: {error}")),
        }
    }

    fn judge(&self, what: &str, look: &Look, value: Value, load: usize) {
        self.world.judge(what, look, value, load == value.load);
    }

    fn within(&self, what: &str, look: &Look, bound: Duration) {
        self.in_time(what, look.began_at, bound);
    }

    fn in_time(&self, what: &str, begun: Instant, bound: Duration) {
        let took = begun.elapsed();
        if took > bound + GRAIN {
            self.world
                .complain(format!("p{} {what} takes {took:?}", self.process));
        }
    }
}

/// The tag of a key, where keys have one.
fn tag(no: KeyNo) -> &'static str {
    ["red", "green", "blue"][no % 3]
}

/// How a load will go.
struct Draft {
    before: Duration,
    after: Duration,
    fails: bool,
}

impl Draft {
    fn longest(&self) -> Duration {
        self.before + self.after
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Failed;

impl From<Error> for Failed {
    fn from(_: Error) -> Self {
        Self
    }
}

struct Loader {
    world: Arc<World>,
    process: usize,
    no: KeyNo,
    origin: Origin,
    called: (Order, Instant),
    kept: Kept,
    /// Whether its caller has been answered before it began.
    answered: Option<Arc<AtomicBool>>,
    /// It says itself which tag its value has.
    labels: bool,
    draft: Draft,
}

impl Loader {
    async fn load(self) -> Result<Value, Failed> {
        let answered = self.answered.as_ref();
        let ahead = answered.is_some_and(|answered| answered.load(Ordering::Relaxed));
        let origin = if ahead { Origin::Ahead } else { self.origin };
        let running = Running::begin(
            &self.world,
            self.process,
            self.no,
            origin,
            self.called,
            self.kept,
        );
        if self.labels
            && let Some(context) = CacheContext::current()
        {
            context.tag(tag(self.no));
        }
        sleep(self.draft.before).await;
        let value = Value {
            key: self.no,
            version: self.world.version(self.no),
            load: running.number(),
        };
        sleep(self.draft.after).await;
        running.end(self.draft.fails);
        if self.draft.fails {
            Err(Failed)
        } else {
            Ok(value)
        }
    }
}
