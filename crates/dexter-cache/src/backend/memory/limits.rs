//! How much a store may hold.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::thread::available_parallelism;

/// Entries that a shard holds at least, so that the shards fill evenly: each is bounded for itself, and keys spread by
/// chance.
const ENTRIES_PER_SHARD: usize = 1024;

/// Weight that a shard holds at least. An entry must fit into a shard; with bytes as the weight, none below 4 MiB is
/// turned away because of sharding.
const WEIGHT_PER_SHARD: u64 = 4 << 20;

/// Tells what an entry weighs, in any unit. Called once per insertion, outside all locks.
pub(crate) type Weigher = Arc<dyn Fn(&EntryInfo<'_>) -> u32 + Send + Sync>;

/// The bound of a store.
#[derive(Clone)]
pub(crate) enum MemoryLimits {
    /// As many entries. With `0` nothing is stored.
    Entries(usize),
    /// As many entries as weigh `max` together. An entry weighs at least 1.
    Weight { max: u64, weigher: Weigher },
}

/// An entry that is about to be stored, as the function sees it that says what it weighs.
#[derive(Clone, Copy)]
pub struct EntryInfo<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a (dyn Any + Send + Sync),
    pub(crate) encoded_len: Option<usize>,
}

impl<'a> EntryInfo<'a> {
    /// The key, without namespace.
    pub fn key(&self) -> &'a str {
        std::str::from_utf8(self.key).unwrap_or_default()
    }

    /// The value, where it is a `T` or an `Arc<T>`: an `Arc` is looked through, so ask for what is within. The value of a
    /// function is what stands within `Ok`, `Some` and `Json`.
    pub fn value<T: Any + Send + Sync>(&self) -> Option<&'a T> {
        let counted = || self.value.downcast_ref::<Arc<T>>().map(|value| &**value);
        self.value.downcast_ref::<T>().or_else(counted)
    }

    /// How many bytes the encoded value has, where it was encoded on its way here.
    pub fn encoded_len(&self) -> Option<usize> {
        self.encoded_len
    }
}

impl fmt::Debug for EntryInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryInfo")
            .field("key", &self.key())
            .field("encoded_len", &self.encoded_len)
            .finish_non_exhaustive()
    }
}

/// Limits in the terms of the engine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// A power of two.
    pub(super) shards: usize,
    /// What a shard may hold, and the weight of the heaviest entry that is admitted.
    pub(super) max: u64,
}

impl MemoryLimits {
    pub(super) fn plan(&self) -> Plan {
        // Enough that two threads seldom meet.
        let most = available_parallelism().map_or(4, |cores| cores.get() * 4);
        match self {
            Self::Entries(max) => plan(*max as u64, most.min(max / ENTRIES_PER_SHARD)),
            Self::Weight { max, .. } => {
                let shards = usize::try_from(max / WEIGHT_PER_SHARD).unwrap_or(usize::MAX);
                plan(*max, most.min(shards))
            }
        }
    }

    pub(super) fn weigher(&self) -> Option<Weigher> {
        match self {
            Self::Entries(_) => None,
            Self::Weight { weigher, .. } => Some(weigher.clone()),
        }
    }
}

/// The number of shards and the share of each are rounded down, so that all of them together never exceed what was
/// asked for.
fn plan(max: u64, shards: usize) -> Plan {
    let shards = match shards {
        0 => 1,
        shards => 1 << shards.ilog2(),
    };
    Plan {
        shards,
        max: max / shards as u64,
    }
}
