//! Connections: commands and replies under way, each direction in order.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use dexter_cache::{Error, ErrorKind};
use fastrand::Rng;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::store::{Command, Reply, Store};

pub(crate) type ConnId = u64;
pub(crate) type Answer = oneshot::Receiver<Result<Reply, Error>>;

/// The server and all ways to it.
#[derive(Clone)]
pub(crate) struct SimServer(Arc<Shared>);

struct Shared {
    net: Mutex<Net>,
    changed: Notify,
    pump: Mutex<Option<AbortHandle>>,
}

pub(crate) struct Net {
    pub(super) store: Store,
    pub(super) rng: Rng,
    /// Whether anybody listens.
    pub(super) up: bool,
    pub(super) frozen: bool,
    /// Whether `CLIENT KILL` works.
    pub(super) kills: bool,
    pub(super) latency: Duration,
    pub(super) conns: BTreeMap<ConnId, Conn>,
    next_conn: ConnId,
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
    held_out: VecDeque<(u64, Result<Reply, Error>)>,
}

enum Event {
    Arrive(ConnId, u64, Command),
    /// A message to the client. Changes that the server announces will travel among the replies, in their order.
    Deliver(ConnId, u64, Result<Reply, Error>),
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
                kills: true,
                latency,
                conns: BTreeMap::new(),
                next_conn: 1,
                events: BTreeMap::new(),
                sequence: 0,
                unread: VecDeque::new(),
            }),
            changed: Notify::new(),
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
        done
    }

    /// A new connection of `process`; who refuses it says so at once, and one that is silent is silent.
    pub(super) fn connect(&self, process: usize) -> Result<ConnId, Error> {
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
            net.schedule(at, Event::Arrive(conn, request, command));
        });
        answer
    }

    /// The client lets go: nobody waits for replies any more. What has been sent is under way all the same.
    pub(super) fn hang_up(&self, conn: ConnId) {
        if let Some(link) = self.net().conns.get_mut(&conn) {
            link.pending.clear();
        }
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
}

pub(super) fn refused() -> Error {
    Error::new(ErrorKind::Unavailable, "connection refused")
}

/// Brings everything to its end at its time.
async fn pump(shared: std::sync::Weak<Shared>) {
    loop {
        let Some(strong) = shared.upgrade() else {
            return;
        };
        let next = strong.net().advance();
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
                Event::Deliver(conn, request, result) => self.deliver(conn, request, result),
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
            // Nobody is told more than once that it broke off.
            link.pending.clear();
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
        let result = self.store.execute(command);
        let latency = self.draw_latency();
        let Some(link) = self.conns.get_mut(&conn) else {
            return;
        };
        if link.loses_reply {
            self.break_off(conn);
            return;
        }
        let at = (Instant::now() + latency).max(link.last_delivery);
        link.last_delivery = at;
        self.schedule(at, Event::Deliver(conn, request, result));
    }

    fn deliver(&mut self, conn: ConnId, request: u64, result: Result<Reply, Error>) {
        let Some(link) = self.conns.get_mut(&conn) else {
            return;
        };
        if link.blackholed {
            link.held_out.push_back((request, result));
        } else if let Some(waiting) = link.pending.remove(&request) {
            let _ = waiting.send(result);
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
        for (request, result) in held_out {
            self.deliver(conn, request, result);
        }
        for (request, command) in held_in {
            self.arrive(conn, request, command);
        }
        if let Some(link) = self.conns.get_mut(&conn)
            && !link.alive
        {
            link.pending.clear();
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
