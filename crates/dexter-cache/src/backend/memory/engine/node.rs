//! [`Node`]: one entry, in one block of memory.

use std::fmt;

use triomphe::ThinArc;

use super::super::entry::{Held, KeyRef};
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

/// An entry that was asked for as often is not told from one that was asked for more often.
const MOST_USES: u8 = 3;

/// An entry, counted: key, value and what the engine notes of it.
#[derive(Clone)]
pub(in super::super) struct Node(ThinArc<Head, u8>);

/// What lies before the text of the key. The atomics are written under the lock of the shard, but for `uses`, which
/// look-ups count up under the lock for reading: a use that is lost matters to nobody.
struct Head {
    held: Held,
    hash: u64,
    weight: u32,
    /// Tells the entry from others with its hash, as its place in a queue names it.
    number: AtomicU32,
    uses: AtomicU8,
    in_main: AtomicBool,
}

impl Node {
    pub(in super::super) fn new(key: KeyRef<'_>, weight: u32, held: Held) -> Self {
        let head = Head {
            held,
            hash: key.hash,
            weight,
            number: AtomicU32::new(0),
            uses: AtomicU8::new(0),
            in_main: AtomicBool::new(false),
        };
        Self(ThinArc::from_header_and_slice(head, key.text))
    }

    #[inline]
    fn head(&self) -> &Head {
        &self.0.header.header
    }

    #[inline]
    pub(in super::super) fn held(&self) -> &Held {
        &self.head().held
    }

    #[inline]
    pub(in super::super) fn text(&self) -> &[u8] {
        &self.0.slice
    }

    #[inline]
    pub(in super::super) fn hash(&self) -> u64 {
        self.head().hash
    }

    pub(in super::super) fn weight(&self) -> u32 {
        self.head().weight
    }

    #[inline]
    pub(in super::super) fn key(&self) -> KeyRef<'_> {
        KeyRef {
            hash: self.hash(),
            text: self.text(),
        }
    }

    /// Counts a use.
    #[inline]
    pub(super) fn touch(&self) {
        let uses = self.head().uses.load(Ordering::Relaxed);
        if uses < MOST_USES {
            self.head().uses.store(uses + 1, Ordering::Relaxed);
        }
    }

    /// Takes one use back; `false` if there was none.
    pub(super) fn use_up(&self) -> bool {
        let uses = self.head().uses.load(Ordering::Relaxed);
        if uses > 0 {
            self.head().uses.store(uses - 1, Ordering::Relaxed);
        }
        uses > 0
    }

    pub(super) fn is_used(&self) -> bool {
        self.head().uses.load(Ordering::Relaxed) > 0
    }

    pub(super) fn forget_uses(&self) {
        self.head().uses.store(0, Ordering::Relaxed);
    }

    pub(super) fn number(&self) -> u32 {
        self.head().number.load(Ordering::Relaxed)
    }

    pub(super) fn is_in_main(&self) -> bool {
        self.head().in_main.load(Ordering::Relaxed)
    }

    pub(super) fn enter_main(&self) {
        self.head().in_main.store(true, Ordering::Relaxed);
    }

    pub(super) fn set_number(&self, number: u32) {
        self.head().number.store(number, Ordering::Relaxed);
    }

    /// Takes the place of `other`, and its uses with one more.
    pub(super) fn replace(&self, other: &Self) {
        self.set_number(other.number());
        if other.is_in_main() {
            self.enter_main();
        }
        let uses = other.head().uses.load(Ordering::Relaxed);
        self.head().uses.store(uses, Ordering::Relaxed);
        self.touch();
    }

    /// Bytes on the heap: reference count, head and length. Neither value nor text are counted.
    #[cfg(test)]
    pub(super) fn memory_used() -> usize {
        2 * size_of::<usize>() + size_of::<Head>()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.text()), f)
    }
}
