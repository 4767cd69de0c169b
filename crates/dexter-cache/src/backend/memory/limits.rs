//! How much a store may hold.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::thread::available_parallelism;

use quick_cache::{Options, OptionsBuilder};

/// The engine's own share for entries that were asked for more than once. An entry heavier than that share of a shard
/// is not admitted.
const HOT: f64 = 0.97;

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

    /// The value, of the type that the function behind the cache returns.
    pub fn value(&self) -> &'a (dyn Any + Send + Sync) {
        self.value
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
pub(super) struct Plan {
    pub(super) options: Options,
    /// The weight of the heaviest entry that is admitted.
    pub(super) heaviest: u64,
}

impl MemoryLimits {
    pub(super) fn plan(&self) -> Plan {
        // What the engine takes by default.
        let most = available_parallelism().map_or(4, |cores| cores.get() * 4);
        match self {
            Self::Entries(max) => plan(*max, *max as u64, most.min(max / ENTRIES_PER_SHARD)),
            Self::Weight { max, .. } => {
                let shards = usize::try_from(max / WEIGHT_PER_SHARD).unwrap_or(usize::MAX);
                plan(estimate(*max), *max, most.min(shards))
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

/// How many entries there may be, which settles how many ghosts the engine keeps: as if the weight were bytes and an
/// entry had a kilobyte, but enough of them for a cache that counts in larger units.
fn estimate(max: u64) -> usize {
    let entries = (max / 1024).max(max.min(4096));
    usize::try_from(entries.min(1 << 24)).unwrap_or(usize::MAX)
}

fn plan(entries: usize, weight: u64, shards: usize) -> Plan {
    // The engine rounds up: the number of shards to a power of two, the share of each to a whole number. Both are
    // rounded down before, so that all of them together never exceed what was asked for.
    let mut shards = match shards {
        0 => 1,
        shards => 1 << shards.ilog2(),
    };
    // The engine halves the number itself below 32 entries a shard.
    while shards > 1 && entries / shards < 32 {
        shards /= 2;
    }
    let share = weight / shards as u64;
    let options = OptionsBuilder::new()
        .shards(shards)
        .hot_allocation(HOT)
        .estimated_items_capacity(entries)
        .weight_capacity(share * shards as u64)
        .build()
        .expect("capacity and estimate are given");
    Plan {
        options,
        heaviest: hot_share(share),
    }
}

/// As the engine computes it.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "must round as the engine does; the share is not negative and below `share`"
)]
fn hot_share(share: u64) -> u64 {
    ((share as f64 * HOT) as u64).clamp(share.min(1), share)
}
