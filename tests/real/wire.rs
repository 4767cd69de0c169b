//! What a process and the one that judges it say to each other: one line of JSON there, two numbers back.
//!
//! The judge answers each line with the next number of one order, and a process waits for that number before it goes on.
//! So what it says begins has not begun before its number, and what it says has ended has ended before it: no clocks
//! have to agree.

use serde::{Deserialize, Serialize};

/// Keys, of two prefixes in turn.
pub(crate) const KEYS: usize = 6;

/// What a process is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) process: usize,
    /// Where the judge listens.
    pub(crate) judge: u16,
    pub(crate) redis: String,
    pub(crate) seed: u64,
    pub(crate) tiered: bool,
    pub(crate) tagged: bool,
    pub(crate) workers: usize,
    /// The longest pause between two calls of a worker, in milliseconds.
    pub(crate) pause: u64,
    pub(crate) slow_loads: bool,
    pub(crate) budget: u64,
    pub(crate) fallback_ttl: u64,
    pub(crate) lease_ttl: u64,
    pub(crate) without: Option<String>,
}

/// What is cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Value {
    pub(crate) key: usize,
    pub(crate) version: u64,
    /// Of the load that brought it.
    pub(crate) load: usize,
}

/// What a removal is about: a bit a key.
pub(crate) type Covers = u32;

/// Why a value came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Origin {
    Load,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Removal,
    /// A `set` voids loads as a removal does, in its own process.
    Set,
    /// It voids loads, and promises nothing about what is read.
    Refresh,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Event {
    Hello {
        process: usize,
    },
    /// The origin is written. Answered with the version.
    Writes {
        covers: Covers,
    },
    /// A load reads the origin. Answered with the version.
    Reads {
        key: usize,
    },
    /// Answered with the number of the load.
    LoadBegins {
        key: usize,
        origin: Origin,
    },
    LoadEnds {
        load: usize,
        how: String,
    },
    /// Answered with the number of the removal.
    RemovalBegins {
        covers: Covers,
        kind: Kind,
        what: String,
    },
    RemovalReturns {
        removal: usize,
        /// Whether it was applied; nothing where that is not known.
        applied: Option<bool>,
    },
    /// A call for a key begins, which may `join` another one. Answered with its number.
    CallBegins {
        key: usize,
        joins: bool,
    },
    /// A call is over, with or without a value.
    CallEnds {
        call: usize,
        what: String,
        value: Option<Value>,
    },
    /// How long a call took, beyond what its own load did.
    Took {
        what: String,
        micros: u64,
    },
    Fails {
        text: String,
    },
    /// Nothing has happened. `idle`: no calls are under way any more.
    Pulse {
        idle: bool,
    },
    Done,
}

/// An event, and how its process stood when it told of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) event: Event,
    /// `Health::serving` is the backend.
    pub(crate) trusts: bool,
    pub(crate) recoveries: u64,
    pub(crate) journaled: usize,
}

impl Said {
    /// What was written down before has been replayed, and the server is in use.
    pub(crate) fn has_replayed(&self) -> bool {
        self.trusts && self.journaled == 0
    }
}

/// What a process is to do.
pub(crate) const WORK: u8 = 0;
/// Begin no more calls.
pub(crate) const STOP: u8 = 1;
/// Look at every key, and end.
pub(crate) const LOOK: u8 = 2;
