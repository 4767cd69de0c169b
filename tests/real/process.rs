//! What a process does that is judged: random calls, until it is told to stop; then a last look at every key.

use std::time::{Duration, Instant};

use dexter_cache::test_util::Guard;
use dexter_cache::{Cache, Error, Invalidated, Key, KeyPattern, Policy, Reach, Ttl, refresh};
use fastrand::Rng;
use tokio::time::{sleep, timeout};

use crate::line::Line;
use crate::wire::{Covers, Event, KEYS, Kind, LOOK, Orders, Origin, Value, WORK};

fn key(no: usize) -> Key {
    Key::new(["row", "list"][no % 2]).part("id", &no)
}

/// The tag of a key, where keys have one.
fn tag(no: usize) -> &'static str {
    ["red", "green", "blue"][no % 3]
}

fn all(which: impl Fn(usize) -> bool) -> Covers {
    (0..KEYS).filter(|no| which(*no)).map(|no| 1 << no).sum()
}

async fn open(orders: &Orders) -> Cache {
    let millis = Duration::from_millis;
    let mut builder = Cache::builder()
        .redis(orders.redis.as_str())
        .namespace("real")
        .budget(millis(orders.budget))
        .fallback_ttl(millis(orders.fallback_ttl))
        .lease_ttl(millis(orders.lease_ttl))
        .follow_timeout(Duration::from_secs(2));
    if orders.tiered {
        builder = builder.tiered();
    }
    if let Some(name) = &orders.without {
        let guards = [
            Guard::CompareAndSet,
            Guard::LocalFence,
            Guard::Journal,
            Guard::ReplayFirst,
            Guard::RunId,
            Guard::Sequence,
        ];
        let guard = guards
            .into_iter()
            .find(|guard| format!("{guard:?}") == *name);
        builder = builder.without(guard.expect("the name of a guard"));
    }
    builder.build().await.expect("good options")
}

pub(crate) async fn live(orders: Orders) {
    let cache = open(&orders).await;
    let line = Line::connect(orders.judge, &cache);
    let process = orders.process;
    line.ask(Event::Hello { process }).await;
    let mut rng = Rng::with_seed(orders.seed);
    let workers: Vec<_> = (0..orders.workers)
        .map(|_| {
            let worker = Worker {
                cache: cache.clone(),
                line: line.clone(),
                orders: orders.clone(),
                rng: Rng::with_seed(rng.u64(..)),
            };
            tokio::spawn(worker.work())
        })
        .collect();
    for worker in workers {
        if let Err(panic) = worker.await {
            let text = format!("a call panics: {panic}");
            line.ask(Event::Fails { text }).await;
        }
    }
    while line.phase() != LOOK {
        line.ask(Event::Pulse { idle: true }).await;
        sleep(Duration::from_millis(10)).await;
    }
    for no in 0..KEYS {
        get(&cache, &line, "last get", no).await;
    }
    if !cache.close().await {
        let text = "is closed with work left".to_owned();
        line.ask(Event::Fails { text }).await;
    }
    line.ask(Event::Done).await;
}

async fn get(cache: &Cache, line: &Line, what: &str, no: usize) {
    let joins = false;
    let call = line.number(Event::CallBegins { key: no, joins }).await;
    let begun = Instant::now();
    let value = match cache.get(&key(no)).await {
        Ok(value) => value,
        Err(error) => {
            let text = format!("{what} fails: {error}");
            line.ask(Event::Fails { text }).await;
            None
        }
    };
    took(line, what, begun, Duration::ZERO);
    let what = what.to_owned();
    line.ask(Event::CallEnds { call, what, value }).await;
}

fn took(line: &Line, what: &str, begun: Instant, own: Duration) {
    let took = begun.elapsed().saturating_sub(own);
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let what = what.to_owned();
    // Nothing waits for the answer.
    drop(line.tell(Event::Took { what, micros }));
}

struct Worker {
    cache: Cache,
    line: Line,
    orders: Orders,
    rng: Rng,
}

impl Worker {
    async fn work(mut self) {
        while self.line.phase() == WORK {
            sleep(Duration::from_millis(self.rng.u64(..=self.orders.pause))).await;
            let no = self.rng.usize(..KEYS);
            let odd = no % 2;
            match self.rng.u8(..100) {
                0..=49 => self.get_or_load(no, None).await,
                50..=59 => get(&self.cache, &self.line, "get", no).await,
                60..=74 => {
                    let (begun, removal) = self.removal_begins(1 << no, "remove").await;
                    let removed = self.cache.remove(&key(no)).await;
                    self.removed("remove", removal, begun, removed).await;
                }
                75..=80 if self.orders.tagged && self.rng.bool() => {
                    let covers = all(|other| tag(other) == tag(no));
                    let (begun, removal) = self.removal_begins(covers, "invalidate_tag").await;
                    let removed = self.cache.invalidate_tag(tag(no)).await;
                    self.removed("invalidate_tag", removal, begun, removed)
                        .await;
                }
                75..=80 => {
                    let covers = all(|other| other % 2 == odd);
                    let (begun, removal) = self.removal_begins(covers, "invalidate").await;
                    let pattern = KeyPattern::new(["row:*", "list:*"][odd]);
                    let removed = self.cache.invalidate(&pattern).await;
                    self.removed("invalidate", removal, begun, removed).await;
                }
                81..=82 => {
                    let (begun, removal) = self.removal_begins(all(|_| true), "clear").await;
                    let removed = self.cache.clear().await;
                    self.removed("clear", removal, begun, removed).await;
                }
                83..=88 => self.set(no).await,
                89..=93 => self.refresh(no).await,
                _ => {
                    let patience = Duration::from_millis(self.rng.u64(..40));
                    self.get_or_load(no, Some(patience)).await;
                }
            }
        }
    }

    fn policy(&mut self, no: usize) -> Policy {
        let ttl = match self.rng.u8(..8) {
            0 => Ttl::millis(self.rng.u64(20..400)),
            _ => Ttl::secs(600),
        };
        if self.orders.tagged {
            Policy::new(ttl).tag(tag(no))
        } else {
            ttl.into()
        }
    }

    fn loader(&mut self, no: usize) -> Loader {
        let long = self.orders.slow_loads && self.rng.u8(..3) == 0;
        let most = if long { 300 } else { 15 };
        Loader {
            line: self.line.clone(),
            no,
            before: Duration::from_millis(self.rng.u64(..most)),
            after: Duration::from_millis(self.rng.u64(..most)),
            fails: self.rng.u8(..24) == 0,
        }
    }

    /// With `patience` a caller that does not wait longer for its answer.
    async fn get_or_load(&mut self, no: usize, patience: Option<Duration>) {
        let (policy, loader, name) = (self.policy(no), self.loader(no), key(no));
        let (joins, own) = (true, loader.before + loader.after);
        let call = self.line.number(Event::CallBegins { key: no, joins }).await;
        let begun = Instant::now();
        let asked = self.cache.try_get_or_load(&name, policy, || loader.load());
        let answer = match patience {
            Some(patience) => timeout(patience, asked).await.ok(),
            None => Some(asked.await),
        };
        if patience.is_none() {
            took(&self.line, "get_or_load", begun, own);
        }
        let value = answer.and_then(Result::ok);
        let what = "get_or_load".to_owned();
        self.line.ask(Event::CallEnds { call, what, value }).await;
    }

    async fn refresh(&mut self, no: usize) {
        let (policy, loader, name) = (self.policy(no), self.loader(no), key(no));
        let removal = self
            .line
            .number(Event::RemovalBegins {
                covers: 1 << no,
                kind: Kind::Refresh,
                what: "refresh".to_owned(),
            })
            .await;
        let (joins, own) = (false, loader.before + loader.after);
        let call = self.line.number(Event::CallBegins { key: no, joins }).await;
        let begun = Instant::now();
        let asked = self.cache.try_get_or_load(&name, policy, || loader.load());
        let value = refresh(asked).await.ok();
        took(&self.line, "refresh", begun, own);
        let applied = None;
        self.line
            .ask(Event::RemovalReturns { removal, applied })
            .await;
        let what = "refresh".to_owned();
        self.line.ask(Event::CallEnds { call, what, value }).await;
    }

    async fn set(&mut self, no: usize) {
        let covers = 1 << no;
        let version = self.line.ask(Event::Writes { covers }).await;
        let origin = Origin::Set;
        let load = self
            .line
            .number(Event::LoadBegins { key: no, origin })
            .await;
        let removal = self
            .line
            .number(Event::RemovalBegins {
                covers,
                kind: Kind::Set,
                what: "set".to_owned(),
            })
            .await;
        let value = Value {
            key: no,
            version,
            load,
        };
        let policy = self.policy(no);
        let begun = Instant::now();
        let set = self.cache.set(&key(no), &value, policy).await;
        took(&self.line, "set", begun, Duration::ZERO);
        let how = "is set".to_owned();
        self.line.ask(Event::LoadEnds { load, how }).await;
        let applied = None;
        self.line
            .ask(Event::RemovalReturns { removal, applied })
            .await;
        if let Err(error) = set {
            let text = format!("a set fails: {error}");
            self.line.ask(Event::Fails { text }).await;
        }
    }

    /// The origin first, then the cache.
    async fn removal_begins(&self, covers: Covers, what: &str) -> (Instant, usize) {
        self.line.ask(Event::Writes { covers }).await;
        let removal = self
            .line
            .number(Event::RemovalBegins {
                covers,
                kind: Kind::Removal,
                what: what.to_owned(),
            })
            .await;
        (Instant::now(), removal)
    }

    async fn removed(
        &self,
        what: &str,
        removal: usize,
        begun: Instant,
        removed: Result<Invalidated, Error>,
    ) {
        took(&self.line, what, begun, Duration::ZERO);
        match removed {
            Ok(invalidated) => {
                let applied = Some(invalidated.reach == Reach::Applied);
                self.line
                    .ask(Event::RemovalReturns { removal, applied })
                    .await;
            }
            Err(error) => {
                let text = format!("{what} fails: {error}");
                self.line.ask(Event::Fails { text }).await;
            }
        }
    }
}

/// How a load will go.
struct Loader {
    line: Line,
    no: usize,
    before: Duration,
    after: Duration,
    fails: bool,
}

#[derive(Debug)]
struct Failed;

impl Loader {
    async fn load(self) -> Result<Value, Failed> {
        let (key, origin) = (self.no, Origin::Load);
        let line = self.line.clone();
        // A caller that goes before the answer has come must not leave a load behind that never ends.
        let running = tokio::spawn(async move {
            let load = line.number(Event::LoadBegins { key, origin }).await;
            let how = "is dropped";
            Running { line, load, how }
        });
        let running = running.await.expect("nothing panics there");
        let load = running.load;
        sleep(self.before).await;
        let version = self.line.ask(Event::Reads { key }).await;
        sleep(self.after).await;
        running.end(if self.fails { "fails" } else { "ends" });
        if self.fails {
            return Err(Failed);
        }
        Ok(Value { key, version, load })
    }
}

/// A load, until it ends or its caller goes.
struct Running {
    line: Line,
    load: usize,
    how: &'static str,
}

impl Running {
    fn end(mut self, how: &'static str) {
        self.how = how;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (load, how) = (self.load, self.how.to_owned());
        drop(self.line.tell(Event::LoadEnds { load, how }));
    }
}
