//! What makes many entries void in one step: the tokens of tags, and the epoch of the namespace.
//!
//! Beside the values lie random numbers, below the reserved prefix:
//!
//! * `tag:<hash>`, the *token* of a tag. An entry carries the tokens that its load saw before it began. A token that is
//!   not there, or is another one, makes the entry a miss, and no fallback either. To invalidate a tag is to remove its
//!   token; whoever needs one and finds none makes a new one. No clocks, nothing that grows with the entries, and what
//!   is lost (evicted, expired, gone with a server) makes entries void instead of valid.
//! * `epoch`, the same for the whole namespace, in two halves. To remove everything is to remove it. To let everything
//!   go stale is to change the second half: entries of the old one can still be fallen back on.
//! * `tags`, a number that goes with every invalidation of any tag: the *counter*.
//!
//! # Tags that a load brings
//!
//! Their tokens cannot be read before the load, since nobody knows which they are. What is read before is the counter,
//! and after the load the tokens and the counter once more, in one step. If the counter is the same, no tag was
//! invalidated between the two, so the tokens are those from before the load. For that, the counter has to change **no
//! later than** the token: with the token first, a load could read the counter, see old data, and find the new token
//! beside a counter that has not changed yet. Both are removed by one command, the counter named first, so it holds on a
//! server that does this in one step, and on one that does it one by one. A token that has to be made is made before the
//! counter is read for the last time, for the same reason.
//!
//! # What is known here
//!
//! Where the backend tells of changes, tokens and epoch are remembered, so that a hit is one plain read. What is known
//! when the reply to a read is there was so when the read was sent (see [`super::watch`]). Only what was *read* is
//! remembered: what this process has made is told to it as a change, like any other.
//!
//! What is remembered is read again from time to time, along with a value and at no further cost: a server that evicts
//! what was not used for long must not take the epoch for that.

mod ask;
mod change;
mod entry;
mod known;

pub(crate) use self::entry::Labels;
pub(crate) use self::known::Seen;
pub(super) use self::known::Tokens;
