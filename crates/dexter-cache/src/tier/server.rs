//! Which server the tier talks to, and what that server may have forgotten.
//!
//! A removal that Redis acknowledged can still come undone: the server restarts from a snapshot that is older than the
//! removal, or a replica is promoted that had not seen it yet. So the removals of the last minute are kept, and a server
//! with another `run_id` is not trusted until they are replayed. A server that has *restarted*, possibly from a snapshot
//! of any age, is not trusted before the namespace has been invalidated, by one process for all of them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Tier;
use super::guardian::deadline;
use super::journal::{Entry, Journal};
use super::sweep::RESERVED;
use crate::backend::{Pong, SetOutcome, When};
use crate::error::{Error, ErrorKind};
use crate::guard::Guard;
use crate::pattern::KeyPattern;
use crate::target::Target;
use crate::telemetry::TARGET;

/// For how long at least acknowledged removals are kept.
const WINDOW: Duration = Duration::from_secs(60);
/// What a round trip to the elected key may take.
const ELECTION_DEADLINE: Duration = Duration::from_secs(1);
/// How long others wait for the elected process before one of them takes its place.
const TERM: Duration = Duration::from_secs(30);
/// For how long it is remembered that a server's namespace has been invalidated.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// By how much the clocks of two machines may disagree about how long a server has been up.
const SLACK: Duration = Duration::from_secs(2);

const CLEARED: &[u8] = b"cleared";

/// What is known of the server that was trusted last.
#[derive(Debug)]
pub(super) struct Server(Mutex<Known>);

#[derive(Debug)]
struct Known {
    run_id: Option<String>,
    /// Names this process where one of many is elected.
    candidate: u64,
    /// Removals that a server has acknowledged: of this window, and of the one before.
    recent: [Journal; 2],
    window_began: Instant,
}

/// What a server that answers has to be told before it is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acquaintance {
    /// It is the one that was trusted last, or the first one, or cannot be told from others.
    Same,
    /// Another one, which may not have seen the last removals.
    Other,
    /// One that has started since, with data of any age.
    Restarted,
}

impl Server {
    pub(super) fn new(namespaced: bool) -> Self {
        Self(Mutex::new(Known {
            run_id: None,
            candidate: fastrand::u64(..),
            recent: [Journal::new(namespaced), Journal::new(namespaced)],
            window_began: Instant::now(),
        }))
    }

    /// Remembers removals that the server has acknowledged.
    pub(super) fn acknowledged(&self, targets: &[Target]) {
        let mut known = self.current();
        for target in targets {
            known.recent[0].push(target.clone());
        }
    }

    /// Remembers removals that were written down and have been replayed.
    pub(super) fn replayed(&self, batch: &[Entry]) {
        let mut known = self.current();
        for entry in batch {
            known.recent[0].push_back(entry.clone());
        }
    }

    /// What is known, with a window that has not ended.
    fn current(&self) -> MutexGuard<'_, Known> {
        let mut known = self.known();
        if known.window_began.elapsed() >= WINDOW {
            known.recent.swap(0, 1);
            known.recent[0].forget();
            known.window_began = Instant::now();
        }
        known
    }

    fn recent(&self) -> Vec<Entry> {
        self.known()
            .recent
            .iter()
            .flat_map(Journal::entries)
            .collect()
    }

    /// Who answers, compared with the one that was trusted last. `away_for` is how long nothing has been heard of that
    /// one.
    pub(super) fn meet(&self, pong: &Pong, away_for: Duration) -> Acquaintance {
        let known = self.known();
        match (&known.run_id, &pong.run_id) {
            (Some(before), Some(now)) if before != now => {
                let restarted = pong.uptime.is_none_or(|uptime| uptime <= away_for + SLACK);
                if restarted {
                    Acquaintance::Restarted
                } else {
                    Acquaintance::Other
                }
            }
            _ => Acquaintance::Same,
        }
    }

    /// Whether `pong` comes from another server than the one that is trusted.
    fn is_other(&self, pong: &Pong) -> bool {
        self.meet(pong, Duration::ZERO) != Acquaintance::Same
    }

    pub(super) fn trust(&self, pong: &Pong) {
        if pong.run_id.is_some() {
            self.known().run_id.clone_from(&pong.run_id);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tier {
    /// Stops trusting a backend that is another server by now: it has to be told first what it may have forgotten.
    pub(super) fn recognize(&self, pong: &Pong) -> Result<(), Error> {
        if !self.server.is_other(pong) || !self.config.guards.stands(Guard::RunId) {
            return Ok(());
        }
        let error = Error::new(ErrorKind::NotReady, "another server answers");
        self.trip(&error);
        Err(error)
    }

    /// Writes down what the server that answers may have forgotten, and sees to it that what it may have kept by mistake
    /// is removed.
    ///
    /// # Errors
    ///
    /// Where another process is about to do so for all: then this one asks again later.
    pub(super) async fn remind(&self, pong: &Pong) -> Result<(), Error> {
        let now = self.since_birth(Instant::now());
        let away_for = Duration::from_nanos(now.saturating_sub(self.breaker.last_success()));
        let who = self.server.meet(pong, away_for);
        if who == Acquaintance::Same || !self.config.guards.stands(Guard::RunId) {
            return Ok(());
        }
        {
            let mut journal = self.journal();
            self.server
                .recent()
                .into_iter()
                .for_each(|entry| journal.push_back(entry));
        }
        if who == Acquaintance::Other || self.config.trust_snapshot {
            return Ok(());
        }
        match &pong.run_id {
            Some(run_id) if self.config.namespace.is_some() && self.compares() => {
                self.clear_for_all(run_id).await
            }
            _ if self.has_epoch() => self.void_everything().await,
            // Without a namespace no process knows what the others have stored: each sees to its own.
            _ => self.unless_refused(self.sweep(&KeyPattern::new("*")).await),
        }
    }

    /// Invalidates the namespace on a server that has restarted: one process does it, the others wait.
    async fn clear_for_all(&self, run_id: &str) -> Result<(), Error> {
        let namespace = self.config.namespace.as_deref().unwrap_or_default();
        let elected = format!("{namespace}:{RESERVED}:run:{run_id}");
        let candidate = self.server.known().candidate;
        let clearing = Bytes::from(format!("clearing {candidate:016x}"));
        let candidacy = self
            .backend
            .set(&elected, clearing.clone(), TERM, When::Absent);
        match deadline(ELECTION_DEADLINE, candidacy).await? {
            SetOutcome::Stored => {}
            SetOutcome::Refused(Some(found)) if found == CLEARED => return Ok(()),
            // Elected before, and cut off half-way: it is still this one's to do.
            SetOutcome::Refused(Some(found)) if found == clearing => {}
            SetOutcome::Refused(_) => {
                return Err(Error::new(
                    ErrorKind::NotReady,
                    "the server has restarted, and another process is invalidating the namespace",
                ));
            }
        }
        tracing::warn!(
            target: TARGET,
            backend = self.backend.name(),
            "the server has restarted: what it holds may be older than what was removed, so the namespace is invalidated"
        );
        self.void_everything().await?;
        let done = self.backend.set(
            &elected,
            Bytes::from_static(CLEARED),
            REMEMBERED,
            When::Always,
        );
        deadline(ELECTION_DEADLINE, done).await.map(drop)
    }

    /// Makes everything in the namespace void, by its epoch.
    async fn void_everything(&self) -> Result<(), Error> {
        let keys = self.reserved_keys(&[Target::Everything]);
        let keys: Vec<&str> = keys.iter().map(super::as_str).collect();
        let removed = deadline(ELECTION_DEADLINE, self.backend.remove(&keys)).await;
        self.unless_refused(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Key;

    fn pong(run_id: &str, uptime: Option<u64>) -> Pong {
        Pong {
            run_id: Some(run_id.to_owned()),
            uptime: uptime.map(Duration::from_secs),
            ..Pong::default()
        }
    }

    #[test]
    fn a_server_is_known_by_its_run() {
        let server = Server::new(true);
        let away = Duration::from_secs(10);
        assert_eq!(
            server.meet(&pong("a", None), away),
            Acquaintance::Same,
            "the first one"
        );
        server.trust(&pong("a", None));
        assert_eq!(server.meet(&pong("a", Some(1)), away), Acquaintance::Same);
        assert_eq!(
            server.meet(&pong("b", Some(3)), away),
            Acquaintance::Restarted
        );
        assert_eq!(
            server.meet(&pong("b", Some(3600)), away),
            Acquaintance::Other,
            "a replica"
        );
        assert_eq!(
            server.meet(&pong("b", None), away),
            Acquaintance::Restarted,
            "not known: the worse"
        );
        assert_eq!(
            server.meet(&Pong::default(), away),
            Acquaintance::Same,
            "cannot be told"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn removals_are_kept_for_a_window_and_not_for_ever() {
        let server = Server::new(true);
        let target = |number: u64| Target::Key(Key::raw(format!("a:{number}")));
        server.acknowledged(&[target(1)]);
        tokio::time::advance(Duration::from_secs(59)).await;
        server.acknowledged(&[target(2)]);
        assert_eq!(server.recent().len(), 2);
        tokio::time::advance(Duration::from_secs(2)).await;
        server.acknowledged(&[target(3)]);
        assert_eq!(
            server.recent().len(),
            3,
            "the second one is younger than a window"
        );
        tokio::time::advance(WINDOW).await;
        server.acknowledged(&[target(4)]);
        assert_eq!(server.recent().len(), 2);
    }
}
