//! [`KeyBuilder`]: puts the parts of a key behind its prefix.

use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

#[cfg(feature = "test-util")]
use foldhash::fast::FixedState as State;
#[cfg(not(feature = "test-util"))]
use foldhash::fast::RandomState as State;
use smallvec::SmallVec;

use super::CacheKey;
use super::escape;
use super::key::Key;
use super::writer::{KeyWriter, Path};

/// Builds a key part by part. What `#[cached]` expands to calls it; by hand, [`Key::part`] does the same.
#[derive(Debug)]
pub struct KeyBuilder {
    text: Text,
}

impl KeyBuilder {
    /// Begins a key. The prefix stands in the key as it is: it must hold no `:` and no reserved byte.
    #[inline]
    pub fn new(prefix: &str) -> Self {
        let mut builder = Self::empty();
        builder.begin(prefix);
        builder
    }

    /// A builder that is begun where it lies: it is too large to be moved about on every look-up.
    #[inline]
    pub(crate) fn empty() -> Self {
        Self {
            text: Text::empty(),
        }
    }

    /// Begins a key in an empty builder, as [`new`](Self::new) does.
    #[inline]
    pub(crate) fn begin(&mut self, prefix: &str) {
        self.text.set_prefix(prefix.as_bytes());
    }

    /// Adds `name=value`. Parts may come in any order; in the order of their names they cost least. The name stands in
    /// the key as it is: it must hold no reserved byte.
    #[inline]
    pub fn part<T: CacheKey + ?Sized>(&mut self, name: &str, value: &T) {
        value.write_key(&mut KeyWriter::part(&mut self.text, Path::root(name)));
    }

    /// Adds the fields of `value` as parts of their own names.
    #[inline]
    pub fn flatten<T: CacheKey + ?Sized>(&mut self, value: &T) {
        self.part("", value);
    }

    /// Ends the key: sorts its parts, shortens what is too long, and computes the hash.
    #[inline]
    pub fn finish(self) -> Key {
        self.text.into_key()
    }

    /// Ends the key where it is: most look-ups need no more of it than a reference.
    #[inline]
    pub(crate) fn seal(&mut self) -> &Key {
        self.text.seal();
        self.key()
    }

    /// The key that was sealed.
    #[inline]
    pub(crate) fn key(&self) -> &Key {
        &self.text.key
    }

    /// Goes on with a key that has parts already.
    pub(super) fn resume(key: &Key) -> Self {
        let mut text = Text::new(key.as_bytes());
        text.start = key.prefix().len();
        // Where the last name lies is not worth looking for: the parts are sorted once more.
        text.unsorted = text.len() > text.start;
        Self { text }
    }
}

/// The text of one value, encoded as it stands in a key behind its name: what templates of keys, patterns and tags
/// put in the place of a name. It holds no byte that a pattern gives a meaning.
///
/// `None` and what writes nothing give the mark `%-`.
pub fn value_text<T: CacheKey + ?Sized>(value: &T) -> String {
    let mut builder = KeyBuilder::new("");
    builder.flatten(value);
    let text = match builder.text.bytes() {
        [] => b"%-",
        [b':', b'=', text @ ..] | [_, text @ ..] => text,
    };
    // Only whole characters are ever written.
    String::from_utf8_lossy(text).into_owned()
}

#[inline]
pub(super) fn hash(bytes: &[u8]) -> u64 {
    // Seeded once a process, so that nobody outside can choose values that collide; for tests, which have to be
    // repeatable, always alike.
    static SEED: LazyLock<State> = LazyLock::new(State::default);
    let mut hasher = SEED.build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// The text of a key while it is written.
#[derive(Debug)]
pub(super) struct Text {
    key: Key,
    /// Where the prefix ends.
    start: usize,
    /// Where the name of the part that was written last lies.
    last: (usize, usize),
    /// Its first byte, which nearly always tells whether the next one comes behind it.
    initial: u8,
    /// Whether a name came behind one that it belongs before.
    unsorted: bool,
    /// How many values have been begun, to tell "wrote nothing" from "wrote an empty text".
    pub(super) begun: usize,
}

impl Text {
    #[inline]
    fn empty() -> Self {
        Self {
            key: Key::empty(),
            start: 0,
            last: (0, 0),
            initial: 0,
            unsorted: false,
            begun: 0,
        }
    }

    pub(super) fn new(prefix: &[u8]) -> Self {
        let mut text = Self::empty();
        text.set_prefix(prefix);
        text
    }

    #[inline]
    fn set_prefix(&mut self, prefix: &[u8]) {
        self.push_bytes(prefix);
        self.start = prefix.len();
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.bytes().len()
    }

    #[inline]
    pub(super) fn start(&self) -> usize {
        self.start
    }

    #[inline]
    pub(super) fn push(&mut self, byte: u8) {
        self.key.push(&[byte]);
    }

    #[inline]
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        self.key.push(bytes);
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.key.as_bytes()
    }

    #[inline]
    pub(super) fn into_key(mut self) -> Key {
        self.seal();
        self.key
    }

    /// Makes the text a key where it is.
    #[inline]
    fn seal(&mut self) {
        if self.unsorted {
            self.sort();
        }
        self.key.seal();
    }

    /// Writes what stands before the value of a part of the key itself: separator, name, `=`.
    #[allow(
        clippy::inline_always,
        reason = "generated code knows the name, which makes this a few moves"
    )]
    #[inline(always)]
    pub(super) fn begin_part(&mut self, name: &str) {
        let (from, name) = (self.len() + 1, name.as_bytes());
        self.key.push_all([&[self.separator()], name, b"="]);
        self.note_name((from, from + name.len()), name.first().copied());
    }

    /// The same for a part whose name is made up of several.
    pub(super) fn begin_field(&mut self, path: &Path<'_>) {
        self.push(self.separator());
        let from = self.len();
        path.write(self, 1);
        let (end, initial) = (self.len(), self.bytes().get(from).copied());
        self.push(b'=');
        self.note_name((from, end), initial);
    }

    #[inline]
    fn separator(&self) -> u8 {
        if self.len() == self.start { b':' } else { b'&' }
    }

    /// Notes where the name of a part lies that has been begun, and what it begins with.
    #[inline]
    fn note_name(&mut self, name: (usize, usize), initial: Option<u8>) {
        let before = (self.last, self.initial);
        self.last = name;
        self.initial = initial.unwrap_or(0);
        if self.initial <= before.1 {
            self.compare(before.0);
        }
    }

    /// Notes whether the name that was written last belongs before the one that lies at `before`.
    #[inline(never)]
    fn compare(&mut self, before: (usize, usize)) {
        let bytes = self.bytes();
        self.unsorted |= bytes[before.0..before.1] > bytes[self.last.0..self.last.1];
    }

    /// Writes the same for a part of a struct that is an element of a sequence, `level` sequences deep.
    pub(super) fn begin_inner_part(&mut self, path: &Path<'_>, start: usize, level: usize) {
        if self.len() != start {
            escape::push_byte(self, b'&', level);
        }
        path.write(self, level + 1);
        escape::push_byte(self, b'=', level);
    }

    /// Puts the parts in the order of their names.
    #[cold]
    fn sort(&mut self) {
        let (prefix, parts) = self.bytes().split_at(self.start);
        // No value and no name holds `&` or `=`, so the parts can be read back from the text.
        let mut parts: SmallVec<[&[u8]; 16]> = parts[1..].split(|&byte| byte == b'&').collect();
        parts.sort_by_key(|part| part.split(|&byte| byte == b'=').next());
        let mut sorted = Self::new(prefix);
        for (at, part) in parts.iter().enumerate() {
            sorted.push(if at == 0 { b':' } else { b'&' });
            sorted.push_bytes(part);
        }
        drop(parts);
        *self = sorted;
    }
}
