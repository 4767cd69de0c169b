//! The "database" behind the cache, and what may be read of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dexter_cache::Key;
use tokio::sync::RwLock;

/// Rows that load fast, and rows whose loads span the events of a drill.
const FAST: u32 = 12;
const SLOW: u32 = 4;

/// What is cached: which row, and its version when the load began.
pub(super) type Seen = (u32, u64);

/// One row, and the version below which nothing may be read any more.
pub(super) struct Row {
    pub(super) id: u32,
    pub(super) key: Key,
    version: Mutex<u64>,
    floor: AtomicU64,
    /// A `set` of a row excludes other writers of it, as a transaction would: which of two writers comes last is
    /// theirs to say. Removals exclude nobody.
    pub(super) order: RwLock<()>,
}

/// All rows.
pub(super) struct World(pub(super) Vec<Row>);

impl World {
    pub(super) fn new() -> Self {
        let rows = (0..FAST + SLOW).map(|id| Row {
            id,
            key: Key::new("drill").part("row", &id),
            version: Mutex::new(1),
            floor: AtomicU64::new(0),
            order: RwLock::default(),
        });
        Self(rows.collect())
    }

    pub(super) fn any(&self) -> &Row {
        &self.0[usize::from(random(16))]
    }
}

impl Row {
    pub(super) fn is_slow(&self) -> bool {
        self.id >= FAST
    }

    /// Reads the version, and takes a while to come back with it.
    pub(super) async fn load(&self) -> Seen {
        let seen = (self.id, self.version());
        let time = if self.is_slow() { 300 } else { 2 };
        tokio::time::sleep(Duration::from_millis(time)).await;
        seen
    }

    pub(super) fn version(&self) -> u64 {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the row; returns its new version.
    pub(super) fn bump(&self) -> u64 {
        let mut version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        *version += 1;
        *version
    }

    pub(super) fn floor(&self) -> u64 {
        self.floor.load(Ordering::SeqCst)
    }

    /// A removing call has returned that began at `version`.
    pub(super) fn removed_at(&self, version: u64) {
        self.floor.fetch_max(version, Ordering::SeqCst);
    }
}

/// A number below `end`, without a generator to carry around.
pub(super) fn random(end: u16) -> u16 {
    static STATE: AtomicU64 = AtomicU64::new(0x9E37_79B9_7F4A_7C15);
    let mut state = STATE.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
    state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let high = u32::try_from((state ^ (state >> 31)) >> 32).unwrap_or(0);
    u16::try_from((u64::from(high) * u64::from(end)) >> 32).unwrap_or(0)
}
