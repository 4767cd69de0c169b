//! [`Ghosts`]: which keys were pushed out not long ago.

/// Ghosts of a group, in which the oldest makes room.
const GROUP: usize = 8;

/// The hashes of as many keys as there were pushed out last, roughly: a hash is remembered by half of its bits, and
/// one of a group that is chosen often is forgotten early.
#[derive(Debug, Default)]
pub(super) struct Ghosts {
    groups: Box<[[Ghost; GROUP]]>,
    /// How many have been remembered so far: the time.
    now: u32,
    /// How many are to be remembered.
    span: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Ghost {
    tag: u32,
    /// When it was remembered; 0 where there is none.
    at: u32,
}

impl Ghosts {
    /// Remembers `hash`, as one of `span`.
    pub(super) fn remember(&mut self, hash: u64, span: usize) {
        self.resize(span);
        self.now = self.now.wrapping_add(1);
        if self.now == 0 {
            // The time has come round: once in four thousand million.
            self.groups.fill([Ghost::default(); GROUP]);
            self.now = 1;
        }
        let ghost = Ghost {
            tag: tag(hash),
            at: self.now,
        };
        let at = self.group(hash);
        if let Some(oldest) = self.groups[at].iter_mut().min_by_key(|ghost| ghost.at) {
            *oldest = ghost;
        }
    }

    /// Whether `hash` is remembered. It is not from then on.
    pub(super) fn recall(&mut self, hash: u64) -> bool {
        if self.groups.is_empty() {
            return false;
        }
        let (at, tag) = (self.group(hash), tag(hash));
        let (now, span) = (self.now, self.span);
        let recent =
            |ghost: &&mut Ghost| ghost.tag == tag && ghost.at != 0 && now - ghost.at < span;
        match self.groups[at].iter_mut().find(recent) {
            Some(ghost) => {
                *ghost = Ghost::default();
                true
            }
            None => false,
        }
    }

    /// Makes room for `span` of them. Those that there are are forgotten where the room has to grow, which it does when
    /// the first is pushed out, and where entries become lighter than they were.
    fn resize(&mut self, span: usize) {
        let span = span.max(1);
        self.span = u32::try_from(span).unwrap_or(u32::MAX);
        let groups = span.div_ceil(GROUP).next_power_of_two();
        if groups > self.groups.len() && span > 2 * GROUP * self.groups.len() {
            self.groups = vec![[Ghost::default(); GROUP]; groups].into();
        }
    }

    fn group(&self, hash: u64) -> usize {
        // Not the bits that choose the shard, nor those of the tag.
        usize::try_from(hash & 0xffff_ffff).unwrap_or(0) & (self.groups.len() - 1)
    }

    #[cfg(test)]
    pub(super) fn memory_used(&self) -> usize {
        size_of_val(&*self.groups)
    }
}

fn tag(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_remembered_and_each_once() {
        let mut ghosts = Ghosts::default();
        let hash = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        assert!(!ghosts.recall(hash(1)));
        (0..3000).for_each(|n| ghosts.remember(hash(n), 1000));
        let recalled = (2000..3000).filter(|n| ghosts.recall(hash(*n))).count();
        assert!(recalled > 900, "{recalled} of 1000");
        assert!((0..3000).all(|n| !ghosts.recall(hash(n))));
    }

    #[test]
    fn the_time_may_come_round() {
        let mut ghosts = Ghosts {
            now: u32::MAX - 1,
            ..Ghosts::default()
        };
        ghosts.remember(1, 10);
        ghosts.remember(2, 10);
        assert!(!ghosts.recall(1) && ghosts.recall(2));
    }
}
