//! What is under way, event by event.

use super::*;

impl Net {
    pub(super) fn sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(super) fn draw_latency(&mut self) -> Duration {
        let most = u64::try_from(self.latency.as_micros()).unwrap_or(0);
        Duration::from_micros(self.rng.u64(0..=most))
    }

    pub(super) fn schedule(&mut self, at: Instant, event: Event) {
        let number = self.sequence();
        self.events.insert((at, number), event);
    }

    /// Does what is due; returns when the next thing is.
    pub(super) fn advance(&mut self) -> Option<Instant> {
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
    pub(super) fn end_telling(&mut self, conn: ConnId) {
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
    pub(in crate::sim) fn sever(&mut self, conn: ConnId) {
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
    pub(in crate::sim) fn break_off(&mut self, conn: ConnId) {
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

    pub(in crate::sim) fn unblock_at(&mut self, at: Instant, conn: ConnId) {
        self.schedule(at, Event::Unblock(conn));
    }

    pub(in crate::sim) fn read_on(&mut self) {
        for (conn, request, command) in std::mem::take(&mut self.unread) {
            self.arrive(conn, request, command);
        }
    }

    pub(in crate::sim) fn forget_unread(&mut self) {
        self.unread.clear();
    }
}
