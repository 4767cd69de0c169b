//! The conditional writes that no single command does.

use std::sync::LazyLock;

use redis::Script;

/// Stores `ARGV[1]` for `ARGV[2]` ms where the key holds nothing or no string; otherwise returns what it holds.
pub(super) static SET_UNLESS_READABLE: LazyLock<Stored> = LazyLock::new(|| {
    Stored::new(
        "if redis.call('TYPE', KEYS[1]).ok == 'string' then
           return redis.call('GET', KEYS[1])
         end
         redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
         return false",
    )
});

/// Stores `ARGV[1]` for `ARGV[2]` ms where the key holds a string that begins with `ARGV[3]`, and returns 1;
/// otherwise 0. Only the beginning is read: `GETRANGE` gives an empty string for a missing key, and the error that
/// `pcall` gives for another type is no string.
pub(super) static SET_IF_PREFIX: LazyLock<Stored> = LazyLock::new(|| {
    Stored::new(
        "local wanted = ARGV[3]
         local head = redis.pcall('GETRANGE', KEYS[1], 0, math.max(#wanted, 1) - 1)
         if type(head) ~= 'string' or string.sub(head, 1, #wanted) ~= wanted then
           return 0
         end
         if head == '' and redis.call('EXISTS', KEYS[1]) == 0 then
           return 0
         end
         redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
         return 1",
    )
});

/// A script and the name under which a server that has run it knows it.
pub(super) struct Stored {
    pub(super) text: &'static str,
    pub(super) hash: Box<str>,
}

impl Stored {
    fn new(text: &'static str) -> Self {
        Self {
            text,
            hash: Script::new(text).get_hash().into(),
        }
    }
}
