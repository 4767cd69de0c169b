//! Guards that can be turned off, to see that the model notices.

use dexter_cache::CacheBuilder;
use dexter_cache::test_util::Guard;

use crate::{run, run_all};

/// By then the model has to have noticed.
const SEEDS: u64 = 500;

/// What is turned off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Off {
    Guard(Guard),
    /// A new connection does not end the earlier ones.
    ConnectionKill,
}

impl Off {
    pub(crate) fn of(self, builder: CacheBuilder) -> CacheBuilder {
        match self {
            Self::Guard(guard) => builder.without(guard),
            Self::ConnectionKill => builder,
        }
    }
}

fn is_noticed(off: Off) {
    // It is the promise that is broken, and not only the peace.
    let is_promise = |text: &str| text.starts_with("clause");
    let (totals, found) = run_all(0..SEEDS, Some(off), is_promise);
    let Some(seed) = found else {
        panic!("without {off:?} nothing is found in {totals}");
    };
    let violations = run(seed, Some(off), false).violations;
    println!("without {off:?}: seed {seed}: {violations:?}\n{totals}");
}

#[test]
fn fills_that_do_not_compare_are_noticed() {
    is_noticed(Off::Guard(Guard::CompareAndSet));
}

#[test]
fn loads_without_a_local_fence_are_noticed() {
    is_noticed(Off::Guard(Guard::LocalFence));
}

#[test]
fn an_outage_without_a_journal_is_noticed() {
    is_noticed(Off::Guard(Guard::Journal));
}

#[test]
fn a_server_trusted_before_the_replay_is_noticed() {
    is_noticed(Off::Guard(Guard::ReplayFirst));
}

#[test]
fn another_server_taken_for_the_same_is_noticed() {
    is_noticed(Off::Guard(Guard::RunId));
}

#[test]
fn what_is_kept_although_a_change_was_told_is_noticed() {
    is_noticed(Off::Guard(Guard::Sequence));
}

#[test]
fn a_stale_value_that_is_not_asked_for_once_more_is_noticed() {
    is_noticed(Off::Guard(Guard::Confirmation));
}

#[test]
fn an_earlier_connection_left_alive_is_noticed() {
    is_noticed(Off::ConnectionKill);
}
