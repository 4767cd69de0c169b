//! What can go wrong, with which operations, and how often.

use std::time::Duration;

use crate::error::ErrorKind;

/// The operations of a [`CacheBackend`](crate::backend::CacheBackend).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Op {
    /// `get`
    Get,
    /// `get_many`
    GetMany,
    /// `set`, conditional or not
    Set,
    /// `remove`
    Remove,
    /// `remove_matching`
    RemoveMatching,
    /// `ping`
    Ping,
    /// `reset`, which cannot fail
    Reset,
}

/// What goes wrong with an operation.
///
/// A fault alone is a [`Rule`] for all operations; [`on`](Self::on) and [`times`](Self::times) narrow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It is not done, and fails at once with an error of this kind.
    Fail(ErrorKind),
    /// It is done and answered only after this time; not at all if the caller has given up by then.
    Delay(Duration),
    /// It is neither done nor answered, until [`heal`](super::FaultyBackend::heal) lets it through or the cache gives
    /// the connection up.
    Hang,
    /// It is done, and the answer never comes: the caller is told that the connection broke off.
    LoseReply,
    /// It has been sent, and is done this much later, whether the caller is still there or not, as a command that
    /// waits in the buffers of a network. A connection made anew (a ping after the cache gave the first one up) voids it, as
    /// the contract of a backend demands. A removal by pattern is a [`Delay`](Self::Delay) instead.
    Late(Duration),
}

impl Fault {
    /// This fault for operations of one kind; call [`Rule::on`] for more kinds.
    pub fn on(self, op: Op) -> Rule {
        Rule::from(self).on(op)
    }

    /// This fault for the next `count` operations.
    pub fn times(self, count: u32) -> Rule {
        Rule::from(self).times(count)
    }
}

/// A fault, the operations that it happens to, and how many of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub(super) fault: Fault,
    /// None named: all.
    ops: Vec<Op>,
    left: Option<u32>,
}

impl From<Fault> for Rule {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            ops: Vec::new(),
            left: None,
        }
    }
}

impl Rule {
    /// Holds for operations of this kind, and of those that were named before.
    #[must_use]
    pub fn on(mut self, op: Op) -> Self {
        self.ops.push(op);
        self
    }

    /// Holds for the next `count` such operations, and is forgotten then.
    #[must_use]
    pub fn times(mut self, count: u32) -> Self {
        self.left = Some(count);
        self
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left == Some(0)
    }

    /// Whether it happens to an operation of this kind; counts it then.
    pub(super) fn strikes(&mut self, op: Op) -> bool {
        let meant = !self.is_spent() && (self.ops.is_empty() || self.ops.contains(&op));
        if meant && let Some(left) = &mut self.left {
            *left -= 1;
        }
        meant
    }
}
