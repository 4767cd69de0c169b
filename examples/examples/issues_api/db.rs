//! The slow origin: a `SQLite` file with a few thousand issues and their events.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Result, TransactionBehavior, params};

use crate::model::Status;

const ISSUES: u64 = 3_000;
const EVENTS_PER_ISSUE: u64 = 10;

/// A handle to the database, cheap to clone. `SQLite` blocks, so every query runs on a thread of the blocking pool, on a
/// connection that no other query uses meanwhile.
#[derive(Debug, Clone)]
pub struct Db {
    path: Arc<Path>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Db {
    /// Opens the file, and makes and fills it where it is not there.
    pub async fn open(path: PathBuf) -> Result<Self> {
        let db = Self {
            path: path.into(),
            idle: Arc::default(),
        };
        db.run(fill).await?;
        tracing::info!(path = %db.path.display(), "database ready");
        Ok(db)
    }

    /// Runs `query` where it may block.
    pub async fn run<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let db = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let mut connection = db.take()?;
            let result = query(&mut connection);
            db.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
            result
        });
        match task.await {
            Ok(result) => result,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going down: whoever asks is about to be dropped.
                Err(_) => std::future::pending().await,
            },
        }
    }

    fn take(&self) -> Result<Connection> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        if let Some(connection) = idle {
            return Ok(connection);
        }
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        Ok(connection)
    }
}

/// Makes the tables, unless they are there: the same issues on every machine. There is deliberately no index on `event`: counting the events of an issue list
/// reads the table, as reports over somebody else's schema do, and that takes tens of milliseconds.
fn fill(connection: &mut Connection) -> Result<()> {
    const TITLES: [&str; 8] = [
        "TypeError: cannot read property 'id' of undefined",
        "TimeoutError: request took longer than 30s",
        "ConnectionRefused: billing did not answer",
        "KeyError: 'organization'",
        "OutOfMemory: worker was killed",
        "ValidationError: amount must be positive",
        "Deadlock detected in checkout",
        "DivisionByZero in weekly report",
    ];
    const CULPRITS: [&str; 5] = [
        "app.checkout",
        "app.billing",
        "app.search",
        "web.session",
        "jobs.report",
    ];
    const LEVELS: [&str; 4] = ["error", "error", "warning", "fatal"];
    const PLACES: [(&str, &str); 6] = [
        ("myorg", "myproject"),
        ("myorg", "frontend"),
        ("myorg", "billing"),
        ("acme", "web"),
        ("acme", "api"),
        ("initech", "printers"),
    ];

    // Immediate: of two services that start on one new file, one fills it and the other waits.
    let all = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let filled = all.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'event')",
        [],
        |row| row.get(0),
    )?;
    if filled {
        return Ok(());
    }
    all.execute_batch(
        "CREATE TABLE issue (
             id INTEGER PRIMARY KEY, organization TEXT NOT NULL, project TEXT NOT NULL, title TEXT NOT NULL,
             culprit TEXT NOT NULL, level TEXT NOT NULL, status TEXT NOT NULL
         );
         CREATE TABLE event (issue INTEGER NOT NULL, user TEXT NOT NULL, day TEXT NOT NULL, message TEXT NOT NULL);",
    )?;
    {
        let mut issue = all.prepare("INSERT INTO issue VALUES (?, ?, ?, ?, ?, ?, ?)")?;
        let mut event = all.prepare("INSERT INTO event VALUES (?, ?, ?, ?)")?;
        let mut dice = Dice(0x5eed);
        for id in 1..=ISSUES {
            let (organization, project) = dice.pick(&PLACES);
            let title = dice.pick(&TITLES);
            let culprit = dice.pick(&CULPRITS);
            let status = dice.pick(&Status::ALL).as_str();
            let level = dice.pick(&LEVELS);
            issue.execute(params![
                id,
                organization,
                project,
                title,
                culprit,
                level,
                status
            ])?;
            for _ in 0..dice.below(2 * EVENTS_PER_ISSUE) {
                let user = format!("user-{}", dice.below(5_000));
                let day = format!("2025-06-{:02}", 1 + dice.below(30));
                let message = format!("{title} (request {:016x})", dice.next());
                event.execute(params![id, user, day, message])?;
            }
        }
    }
    all.commit()
}

/// Numbers that look random and are the same each time (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let index = usize::try_from(self.next() % from.len() as u64).unwrap_or_default();
        from[index]
    }
}
