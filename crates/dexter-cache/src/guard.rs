//! The guards that keep removed values from coming back, by name, so that tests can turn one off and see what happens.

/// What keeps a removed value from coming back. Each one alone is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guard {
    /// A fill replaces the lease of its own load and nothing else.
    CompareAndSet,
    /// A load that a removal in this process overtook is not stored.
    LocalFence,
    /// Removals that the backend did not confirm are written down.
    Journal,
    /// What was written down is replayed before the backend is read again.
    ReplayFirst,
    /// A server with another run id is told of the last removals before it is trusted.
    RunId,
    /// What was asked before a change was told is not kept after it.
    Sequence,
    /// A stale value that was read before a load is asked for once more before it answers.
    Confirmation,
}

/// Those that stand: all of them, but in tests.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Guards {
    #[cfg(feature = "test-util")]
    off: u32,
}

impl Guards {
    #[cfg(feature = "test-util")]
    pub(crate) fn without(self, guard: Guard) -> Self {
        Self {
            off: self.off | 1 << guard as u32,
        }
    }

    #[cfg(feature = "test-util")]
    #[inline]
    pub(crate) fn stands(self, guard: Guard) -> bool {
        self.off & 1 << guard as u32 == 0
    }

    #[cfg(not(feature = "test-util"))]
    #[inline]
    #[expect(
        clippy::unused_self,
        reason = "the same face with and without the feature"
    )]
    pub(crate) fn stands(self, _: Guard) -> bool {
        true
    }
}
