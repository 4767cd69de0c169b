//! [`Key`]: the full name of an entry.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::builder::{self, KeyBuilder, Text};
use super::bytes::Bytes;
use super::{CacheKey, escape, long};

/// The full name of an entry: `prefix:name=value&name=value`.
///
/// The parts are sorted by name, and every value is percent-encoded where it holds what has a meaning in a key or in
/// a pattern. So two different lists of parts never give the same key, and no value acts as a wildcard.
///
/// A key of more than 1024 bytes is shortened: the digest of the whole text, behind a `^` that no value holds, stands
/// for its end.
///
/// # Cost
///
/// Keys of up to 112 bytes are not on the heap. The hash that look-ups in memory use is computed once.
///
/// # Examples
///
/// ```
/// use dexter_cache::Key;
///
/// let status: Option<&str> = None;
/// let key = Key::new("list_issues").part("project", "web/front end").part("organization", "myorg").part("status", &status);
/// assert_eq!(key.as_str(), "list_issues:organization=myorg&project=web/front%20end");
/// assert_eq!(key.prefix(), "list_issues");
/// ```
#[derive(Clone)]
pub struct Key {
    text: Bytes,
    hash: u64,
}

impl Key {
    /// A key without parts: the prefix alone. A `:` in it is percent-encoded, as are the bytes that values encode.
    pub fn new(prefix: impl AsRef<str>) -> Self {
        let mut text = Text::new(b"");
        for (at, piece) in prefix.as_ref().split(':').enumerate() {
            if at > 0 {
                escape::push_byte(&mut text, b':', 1);
            }
            escape::push_text(&mut text, piece, 1);
        }
        text.into_key()
    }

    /// Takes a text as it is, such as `session:1`. Only the limit on the length applies.
    ///
    /// Nothing is encoded: that two different things never get the same text is up to the caller. What begins with
    /// `dexter-cache:` is the library's own.
    pub fn raw(text: impl AsRef<str>) -> Self {
        let mut key = Self::empty();
        key.push(text.as_ref().as_bytes());
        key.seal();
        key
    }

    /// Adds a part. The order of the calls does not matter, unless the key is longer than the limit.
    ///
    /// # Cost
    ///
    /// Sorts the parts and hashes the key anew. What `#[cached]` generates does both once a key.
    #[must_use]
    pub fn part(self, name: &str, value: &(impl CacheKey + ?Sized)) -> Self {
        let mut escaped = Text::new(b"");
        escape::push_text(&mut escaped, name, 1);
        let mut builder = KeyBuilder::resume(&self);
        builder.part(text(escaped.bytes()), value);
        builder.finish()
    }

    /// The text of the key.
    pub fn as_str(&self) -> &str {
        text(&self.text)
    }

    /// What stands before the first `:`; the whole key where there is none.
    pub fn prefix(&self) -> &str {
        let text = self.as_str();
        text.split_once(':').map_or(text, |(prefix, _)| prefix)
    }

    /// The text, without the check that [`as_str`](Self::as_str) costs.
    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// The hash of the text, seeded once a process.
    #[inline]
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// The hash that a key of this text has.
    pub(crate) fn hash_of(text: &[u8]) -> u64 {
        builder::hash(text)
    }

    /// A key that is still to be written: its hash is not known.
    #[inline]
    pub(super) fn empty() -> Self {
        Self {
            text: Bytes::new(),
            hash: 0,
        }
    }

    /// Appends to a key that is still written.
    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.text.extend(bytes);
    }

    /// The same for several pieces in one step.
    #[inline]
    pub(super) fn push_all<const N: usize>(&mut self, pieces: [&[u8]; N]) {
        self.text.extend_all(pieces);
    }

    /// Shortens what is too long, and computes the hash: the key has all its parts.
    #[inline]
    pub(super) fn seal(&mut self) {
        if self.text.len() > long::LIMIT {
            long::shorten(&mut self.text);
        }
        self.hash = builder::hash(&self.text);
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("a key is put together from whole characters")
}

impl From<&str> for Key {
    /// As [`Key::raw`].
    fn from(text: &str) -> Self {
        Self::raw(text)
    }
}

impl From<String> for Key {
    /// As [`Key::raw`].
    fn from(text: String) -> Self {
        Self::raw(text)
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Key {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && *self.text == *other.text
    }
}

impl Eq for Key {}

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.as_str()).finish()
    }
}
