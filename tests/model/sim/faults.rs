//! What can happen to the server and to the ways to it.

use std::time::Duration;

use tokio::time::Instant;

use super::net::{ConnId, Net, SimServer};
use super::store::Mood;

impl SimServer {
    /// The server dies: all connections break, nobody listens.
    pub(crate) fn kill(&self) {
        self.act(|net| {
            net.up = false;
            net.break_all();
        });
    }

    /// Nothing is answered; what is sent waits.
    pub(crate) fn freeze(&self) {
        self.act(|net| net.frozen = true);
    }

    /// The server reads on where it stopped.
    pub(crate) fn thaw(&self) {
        self.act(|net| {
            net.frozen = false;
            net.read_on();
        });
    }

    /// The connections that `process` has now carry nothing any more, in either direction; new ones do. After a
    /// while, what was sent on them arrives.
    pub(crate) fn blackhole(&self, process: usize, late: Duration) -> usize {
        self.act(|net| {
            let doomed = net.connections_of(Some(process));
            for conn in &doomed {
                if let Some(link) = net.conns.get_mut(conn) {
                    link.blackholed = true;
                }
                net.unblock_at(Instant::now() + late, *conn);
            }
            doomed.len()
        })
    }

    /// What `process` sends next is done, and its connection breaks before the reply.
    pub(crate) fn lose_reply(&self, process: usize) {
        self.act(|net| {
            for conn in net.connections_of(Some(process)) {
                if let Some(link) = net.conns.get_mut(&conn) {
                    link.loses_reply = true;
                }
            }
        });
    }

    /// Back with everything that it has ever acknowledged.
    pub(crate) fn restart_whole(&self) {
        self.restart(|net| net.store.restart_whole());
    }

    pub(crate) fn restart_empty(&self) {
        self.restart(|net| net.store.restart_empty());
    }

    /// Back with the data of the last [`save`](Self::save).
    pub(crate) fn restart_from_snapshot(&self) {
        self.restart(|net| net.store.restart_from_snapshot());
    }

    pub(crate) fn save(&self) {
        self.act(|net| net.store.save());
    }

    /// A replica that lacks the last `writes` takes the place of the server.
    pub(crate) fn promote(&self, writes: usize) {
        self.restart(|net| net.store.promote_lacking(writes));
    }

    pub(crate) fn mood(&self, mood: Mood) {
        self.act(|net| net.store.mood = mood);
    }

    /// Changes its mood as soon as so many values have been stored.
    pub(crate) fn mood_after_sets(&self, sets: usize, mood: Mood) {
        self.act(|net| net.store.change = Some((sets, mood)));
    }

    /// Whether such a change is still to come.
    pub(crate) fn awaits_sets(&self) -> bool {
        self.net().store.change.is_some()
    }

    pub(crate) fn skew_clock(&self, ms: i64) {
        self.act(|net| net.store.clock_skew_ms = ms);
    }

    /// `CLIENT KILL` does nothing from now on.
    pub(crate) fn forget_to_kill(&self) {
        self.act(|net| net.kills = false);
    }

    /// Everything that is broken works again, and stays as it is.
    pub(crate) fn heal(&self) {
        self.act(|net| {
            net.up = true;
            net.frozen = false;
            net.store.mood = Mood::Well;
            net.read_on();
        });
    }

    fn restart(&self, with: impl FnOnce(&mut Net)) {
        self.act(|net| {
            net.break_all();
            with(net);
            net.up = true;
            net.frozen = false;
        });
    }
}

impl Net {
    fn break_all(&mut self) {
        self.forget_unread();
        for conn in self.connections_of(None) {
            // Who is cut off is not told.
            if self.conns.get(&conn).is_some_and(|link| link.blackholed) {
                self.sever(conn);
            } else {
                self.break_off(conn);
            }
        }
    }

    fn connections_of(&self, process: Option<usize>) -> Vec<ConnId> {
        let theirs = self.conns.iter().filter(|(_, link)| {
            link.alive && process.is_none_or(|process| link.process == process)
        });
        theirs.map(|(id, _)| *id).collect()
    }
}
