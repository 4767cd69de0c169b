//! Connections: commands and replies under way, each direction in order.

//!
//! A connection may tell of changes: among the replies, in their order. Whoever is told is called when nothing here is
//! locked any more, and before any caller that waits for a reply goes on.

mod traffic;

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use dexter_cache::backend::Watcher;
use dexter_cache::{Error, ErrorKind};
use fastrand::Rng;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::sim::store::{Command, Condition, Reply, Store};

pub(crate) type ConnId = u64;
pub(crate) type Answer = oneshot::Receiver<Result<Reply, Error>>;

/// The server and all ways to it.
#[derive(Clone)]
pub(crate) struct SimServer(Arc<Shared>);

struct Shared {
    net: Mutex<Net>,
    changed: Notify,
    /// The same, for the one task that places faults.
    changed_for_faults: Notify,
    pump: Mutex<Option<AbortHandle>>,
}

pub(crate) struct Net {
    pub(in crate::sim) store: Store,
    pub(in crate::sim) rng: Rng,
    /// Whether anybody listens.
    pub(in crate::sim) up: bool,
    pub(in crate::sim) frozen: bool,
    /// Whether connections may ask to be told of changes.
    pub(in crate::sim) tells: bool,
    /// What is to be told.
    news: Vec<News>,
    /// Whether `CLIENT KILL` works.
    pub(in crate::sim) kills: bool,
    pub(in crate::sim) latency: Duration,
    pub(in crate::sim) conns: BTreeMap<ConnId, Conn>,
    next_conn: ConnId,
    /// How many commands of each kind have been sent.
    sent: [u64; 5],
    /// Who sent the last one.
    sender: usize,
    /// What is under way, by when it comes to its end.
    events: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    /// What a frozen server has not read yet.
    unread: VecDeque<(ConnId, u64, Command)>,
}

pub(in crate::sim) struct Conn {
    /// Whose it is.
    pub(in crate::sim) process: usize,
    /// The server reads from it.
    pub(in crate::sim) alive: bool,
    /// Nothing gets through, either way, and nobody is told.
    pub(in crate::sim) blackholed: bool,
    /// The next reply is lost with the connection.
    pub(in crate::sim) loses_reply: bool,
    pending: BTreeMap<u64, oneshot::Sender<Result<Reply, Error>>>,
    last_arrival: Instant,
    last_delivery: Instant,
    held_in: VecDeque<(u64, Command)>,
    held_out: VecDeque<Message>,
    /// What of the keys it tells the client, on the server's side.
    tracks: Option<String>,
    /// Who is told, on the client's.
    watcher: Option<Weak<dyn Watcher>>,
    phase: Phase,
}

/// What the server sends.
enum Message {
    Reply(u64, Result<Reply, Error>),
    Changed(String),
}

/// Whether somebody relies on what a connection tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    InUse,
    Over,
}

enum News {
    Changed(Weak<dyn Watcher>, String),
    Lost(Weak<dyn Watcher>),
}

/// Commands that a fault is best placed upon.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sent {
    /// A value, unconditionally.
    Set,
    Remove,
    Scan,
    /// The lease of a load where there is nothing, or something else that is made once.
    Lease,
    /// A value in the place of a lease, or a lease in that of a value.
    Fill,
}

impl Sent {
    fn kind(command: &Command) -> Option<Self> {
        match command {
            Command::Set {
                when: Condition::Always,
                ..
            } => Some(Self::Set),
            Command::Set {
                when: Condition::Absent,
                ..
            } => Some(Self::Lease),
            Command::Set {
                when: Condition::Matches(_),
                ..
            } => Some(Self::Fill),
            Command::Remove(_) => Some(Self::Remove),
            Command::Scan { .. } => Some(Self::Scan),
            _ => None,
        }
    }
}

enum Event {
    Arrive(ConnId, u64, Command),
    Deliver(ConnId, Message),
    /// A way that was blocked is open again.
    Unblock(ConnId),
}

impl SimServer {
    /// A healthy server. `seed` decides all latencies.
    pub(crate) fn new(seed: u64, scan_step: usize, latency: Duration) -> Self {
        let shared = Arc::new(Shared {
            net: Mutex::new(Net {
                store: Store::new(scan_step),
                rng: Rng::with_seed(seed),
                up: true,
                frozen: false,
                tells: true,
                news: Vec::new(),
                kills: true,
                latency,
                conns: BTreeMap::new(),
                next_conn: 1,
                sent: [0; 5],
                sender: 0,
                events: BTreeMap::new(),
                sequence: 0,
                unread: VecDeque::new(),
            }),
            changed: Notify::new(),
            changed_for_faults: Notify::new(),
            pump: Mutex::default(),
        });
        let pump = tokio::spawn(pump(Arc::downgrade(&shared))).abort_handle();
        *shared.pump.lock().unwrap_or_else(PoisonError::into_inner) = Some(pump);
        Self(shared)
    }

    pub(crate) fn net(&self) -> MutexGuard<'_, Net> {
        self.0.net()
    }

    /// Does something to the server at once.
    pub(crate) fn act<R>(&self, act: impl FnOnce(&mut Net) -> R) -> R {
        let done = act(&mut self.net());
        self.0.changed.notify_one();
        self.0.tell();
        done
    }

    /// A new connection of `process`; who refuses it says so at once, and one that is silent is silent.
    pub(in crate::sim) fn connect(
        &self,
        process: usize,
        watcher: Option<Weak<dyn Watcher>>,
    ) -> Result<ConnId, Error> {
        let mut net = self.net();
        if !net.up {
            return Err(refused());
        }
        let id = net.next_conn;
        net.next_conn += 1;
        let now = Instant::now();
        net.conns.insert(
            id,
            Conn {
                process,
                alive: true,
                blackholed: false,
                loses_reply: false,
                pending: BTreeMap::new(),
                last_arrival: now,
                last_delivery: now,
                held_in: VecDeque::new(),
                held_out: VecDeque::new(),
                tracks: None,
                watcher,
                phase: Phase::New,
            },
        );
        Ok(id)
    }

    pub(in crate::sim) fn send(&self, conn: ConnId, command: Command) -> Answer {
        let (sender, answer) = oneshot::channel();
        self.act(|net| {
            let request = net.sequence();
            let latency = net.draw_latency();
            let Some(link) = net.conns.get_mut(&conn) else {
                return;
            };
            link.pending.insert(request, sender);
            let at = (Instant::now() + latency).max(link.last_arrival);
            link.last_arrival = at;
            if let Some(kind) = Sent::kind(&command) {
                net.sent[kind as usize] += 1;
                net.sender = link.process;
            }
            net.schedule(at, Event::Arrive(conn, request, command));
        });
        self.0.changed_for_faults.notify_one();
        answer
    }

    /// Waits until a command of this kind is on its way; returns who sent it.
    pub(crate) async fn until_sent(&self, kind: Sent) -> usize {
        let sent = || self.net().sent[kind as usize];
        let before = sent();
        while sent() == before {
            self.0.changed_for_faults.notified().await;
        }
        self.net().sender
    }

    /// The client lets go: nobody waits for replies any more. What has been sent is under way all the same.
    pub(in crate::sim) fn hang_up(&self, conn: ConnId) {
        self.act(|net| {
            if let Some(link) = net.conns.get_mut(&conn) {
                link.pending.clear();
            }
            net.end_telling(conn);
        });
    }

    /// The connection comes into use, unless it is lost already; whether it tells.
    pub(in crate::sim) fn begin_use(&self, conn: ConnId) -> Option<bool> {
        let mut net = self.net();
        let link = net.conns.get_mut(&conn)?;
        if link.phase == Phase::Over {
            return None;
        }
        link.phase = Phase::InUse;
        Some(link.tracks.is_some())
    }

    pub(crate) fn run(&self) -> u64 {
        self.net().store.run
    }

    pub(in crate::sim) fn is_over(&self, conn: ConnId) -> bool {
        let net = self.net();
        net.conns
            .get(&conn)
            .is_none_or(|link| !link.alive && !link.blackholed)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(pump) = self
            .pump
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            pump.abort();
        }
    }
}

impl Shared {
    fn net(&self) -> MutexGuard<'_, Net> {
        self.net.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        let news = std::mem::take(&mut self.net().news);
        for news in news {
            match news {
                News::Changed(watcher, key) => {
                    if let Some(watcher) = watcher.upgrade() {
                        watcher.changed(key.as_bytes());
                    }
                }
                News::Lost(watcher) => {
                    if let Some(watcher) = watcher.upgrade() {
                        watcher.lost();
                    }
                }
            }
        }
    }
}

pub(in crate::sim) fn refused() -> Error {
    Error::new(ErrorKind::Unavailable, "connection refused")
}

/// Brings everything to its end at its time.
async fn pump(shared: Weak<Shared>) {
    loop {
        let Some(strong) = shared.upgrade() else {
            return;
        };
        let next = strong.net().advance();
        strong.tell();
        let wait = async {
            match next {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let (mut wait, mut changed) = (pin!(wait), pin!(strong.changed.notified()));
        poll_fn(|cx| {
            if changed.as_mut().poll(cx).is_ready() || wait.as_mut().poll(cx).is_ready() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}
