//! Templates of patterns, keys and tags: literal text with values between, escaped as they are in keys.

use crate::key::value_text;
use crate::{CacheKey, Key, KeyPattern};

/// The text of a template while it is put together.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    pub const fn new() -> Self {
        Self(String::new())
    }

    /// Text that the template itself holds; in a pattern its wildcards act.
    #[must_use]
    pub fn literal(mut self, text: &str) -> Self {
        self.0.push_str(text);
        self
    }

    /// A value, as it stands in a key: no byte of it acts as a wildcard.
    #[must_use]
    pub fn value<T: CacheKey + ?Sized>(mut self, value: &T) -> Self {
        self.0.push_str(&value_text(value));
        self
    }

    pub fn pattern(self) -> KeyPattern {
        KeyPattern::new(self.0)
    }

    pub fn key(self) -> Key {
        Key::raw(self.0)
    }
}

/// As a tag.
impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}
