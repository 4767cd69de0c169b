//! Connections: commands and replies under way, each direction in order.

//!
//! A connection may tell of changes: among the replies, in their order. Whoever is told is called when nothing here is
//! locked any more, and before any caller that waits for a reply goes on.

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

use super::store::{Command, Condition, Reply, Store};

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
    pub(super) store: Store,
    pub(super) rng: Rng,
    /// Whether anybody listens.
    pub(super) up: bool,
    pub(super) frozen: bool,
    /// Whether connections may ask to be told of changes.
    pub(super) tells: bool,
    /// What is to be told.
    news: Vec<News>,
    /// Whether `CLIENT KILL` works.
    pub(super) kills: bool,
    pub(super) latency: Duration,
    pub(super) conns: BTreeMap<ConnId, Conn>,
    next_conn: ConnId,
    /// How many commands of each kind have been sent.
    sent: [u64; 3],
    /// Who sent the last one.
    sender: usize,
    /// What is under way, by when it comes to its end.
    events: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    /// What a frozen server has not read yet.
    unread: VecDeque<(ConnId, u64, Command)>,
}

pub(super) struct Conn {
    /// Whose it is.
    pub(super) process: usize,
    /// The server reads from it.
    pub(super) alive: bool,
    /// Nothing gets through, either way, and nobody is told.
    pub(super) blackholed: bool,
    /// The next reply is lost with the connection.
    pub(super) loses_reply: bool,
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
}

impl Sent {
    fn kind(command: &Command) -> Option<Self> {
        match command {
            Command::Set {
                when: Condition::Always,
                ..
            } => Some(Self::Set),
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
                sent: [0; 3],
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
    pub(super) fn connect(
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

    pub(super) fn send(&self, conn: ConnId, command: Command) -> Answer {
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
    pub(super) fn hang_up(&self, conn: ConnId) {
        self.act(|net| {
            if let Some(link) = net.conns.get_mut(&conn) {
                link.pending.clear();
            }
            net.end_telling(conn);
        });
    }

    /// The connection comes into use, unless it is lost already; whether it tells.
    pub(super) fn begin_use(&self, conn: ConnId) -> Option<bool> {
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

    pub(super) fn is_over(&self, conn: ConnId) -> bool {
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

pub(super) fn refused() -> Error {
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

impl Net {
    fn sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn draw_latency(&mut self) -> Duration {
        let most = u64::try_from(self.latency.as_micros()).unwrap_or(0);
        Duration::from_micros(self.rng.u64(0..=most))
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        let number = self.sequence();
        self.events.insert((at, number), event);
    }

    /// Does what is due; returns when the next thing is.
    fn advance(&mut self) -> Option<Instant> {
        let now = Instant::now();
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > now {
                return Some(entry.key().0);
            }
            match entry.remove() {
                Event::Arrive(conn, request, command) => self.arrive(conn, request, command),
                Event::Deliver(conn, message) => self.deliver(conn, message),
                Event::Unblock(conn) => self.unblock(conn),
            }
        }
        None
    }

    fn arrive(&mut self, conn: ConnId, request: u64, command: Command) {
        let Some(link) = self.conns.get_mut(&conn) else {
            return;
        };
        if link.blackholed {
            link.held_in.push_back((request, command));
        } else if !link.alive {
            self.break_off(conn);
        } else if self.frozen {
            self.unread.push_back((conn, request, command));
        } else {
            self.execute(conn, request, command);
        }
    }

    fn execute(&mut self, conn: ConnId, request: u64, command: Command) {
        if let Command::Kill(doomed) = &command
            && self.kills
        {
            for doomed in doomed.clone() {
                self.sever(doomed);
            }
        }
        let track = match &command {
            Command::Greet { track } if self.tells => track.clone(),
            _ => None,
        };
        let result = self.store.execute(command);
        let Some(link) = self.conns.get_mut(&conn) else {
            return;
        };
        if track.is_some() && result.is_ok() {
            link.tracks = track;
        }
        if link.loses_reply {
            self.break_off(conn);
        } else {
            self.emit(conn, Message::Reply(request, result));
        }
        for key in self.store.take_changed() {
            let told = self.conns.iter().filter(|(_, link)| {
                let tracks = link.tracks.as_ref();
                link.alive && tracks.is_some_and(|prefix| key.starts_with(&**prefix))
            });
            let told: Vec<ConnId> = told.map(|(id, _)| *id).collect();
            for conn in told {
                self.emit(conn, Message::Changed(key.clone()));
            }
        }
    }

    /// Sends a message on its way, behind those that were sent before.
    fn emit(&mut self, conn: ConnId, message: Message) {
        let latency = self.draw_latency();
        if let Some(link) = self.conns.get_mut(&conn) {
            let at = (Instant::now() + latency).max(link.last_delivery);
            link.last_delivery = at;
            self.schedule(at, Event::Deliver(conn, message));
        }
    }

    fn deliver(&mut self, conn: ConnId, message: Message) {
        let Some(link) = self.conns.get_mut(&conn) else {
            return;
        };
        if link.blackholed {
            link.held_out.push_back(message);
            return;
        }
        match message {
            Message::Reply(request, result) => {
                if let Some(waiting) = link.pending.remove(&request) {
                    let _ = waiting.send(result);
                }
            }
            Message::Changed(key) if link.phase != Phase::Over => {
                if let Some(watcher) = &link.watcher {
                    self.news.push(News::Changed(Weak::clone(watcher), key));
                }
            }
            Message::Changed(_) => {}
        }
    }

    /// Who relied on what a connection told learns that it is lost, once.
    fn end_telling(&mut self, conn: ConnId) {
        let Some(link) = self.conns.get_mut(&conn) else {
            return;
        };
        let before = std::mem::replace(&mut link.phase, Phase::Over);
        if before == Phase::InUse
            && link.tracks.is_some()
            && let Some(watcher) = &link.watcher
        {
            self.news.push(News::Lost(Weak::clone(watcher)));
        }
    }

    /// The server closes a connection, whatever it still had to say. Who is cut off from it is not told.
    pub(super) fn sever(&mut self, conn: ConnId) {
        self.unread.retain(|(other, ..)| *other != conn);
        if let Some(link) = self.conns.get_mut(&conn) {
            link.alive = false;
            link.held_in.clear();
            if !link.blackholed {
                link.pending.clear();
            }
        }
    }

    /// A connection ends, and its client knows.
    pub(super) fn break_off(&mut self, conn: ConnId) {
        self.sever(conn);
        if let Some(link) = self.conns.get_mut(&conn) {
            link.blackholed = false;
            link.held_out.clear();
            link.pending.clear();
        }
        self.end_telling(conn);
    }

    /// What was held arrives, where the connection still is.
    fn unblock(&mut self, conn: ConnId) {
        let Some(link) = self.conns.get_mut(&conn) else {
            return;
        };
        if !std::mem::take(&mut link.blackholed) {
            return;
        }
        let (held_in, held_out) = (
            std::mem::take(&mut link.held_in),
            std::mem::take(&mut link.held_out),
        );
        for message in held_out {
            self.deliver(conn, message);
        }
        for (request, command) in held_in {
            self.arrive(conn, request, command);
        }
        // The end of a connection that the server has closed arrives as well.
        if self.conns.get(&conn).is_some_and(|link| !link.alive) {
            self.break_off(conn);
        }
    }

    pub(super) fn unblock_at(&mut self, at: Instant, conn: ConnId) {
        self.schedule(at, Event::Unblock(conn));
    }

    pub(super) fn read_on(&mut self) {
        for (conn, request, command) in std::mem::take(&mut self.unread) {
            self.arrive(conn, request, command);
        }
    }

    pub(super) fn forget_unread(&mut self) {
        self.unread.clear();
    }
}
