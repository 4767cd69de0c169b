//! Patterns over keys: Redis' dialect of globs, with the verdicts of a live server.
//!
//! `parse` reads the pattern by Redis' rules, `translate` writes it anew for the `glob` crate, which matches. What that
//! crate has no words for (a class without bytes, a key without bytes, too many stars) is decided here.

mod class;
mod matching;
mod parse;
mod translate;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use glob::MatchOptions;

pub use matching::Matching;

use matching::Parts;
use parse::Token;

/// A server gives up beyond this many stars that something follows. `glob` goes as deep: one call a star.
const MOST_STARS: usize = 1000;

const EXACTLY: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: false,
    require_literal_leading_dot: false,
};

/// A glob over keys, in the dialect of Redis.
///
/// | in a pattern | stands for |
/// |---|---|
/// | `*` | any run of bytes, also an empty one |
/// | `?` | any one byte |
/// | `[abc]`, `[a-z]` | one byte of the set |
/// | `[^abc]` | one byte that is not in the set |
/// | `\*` | the byte behind the backslash |
///
/// Every text is a pattern. [`matches`](Self::matches) gives the verdict that a Redis server on x86-64 gives, byte for
/// byte, whether the key is valid UTF-8 or not. `/` and `:` are bytes as any other, and letters are told from
/// capitals. The rules at the edges:
///
/// * `*` matches the empty key; no other pattern does, but the empty one.
/// * A class ends at its first `]`: `[]` matches nothing, and `[]a]` neither. One that nothing ends goes on to the end
///   of the pattern. `!` in it is a byte as any other.
/// * The second bound of a range is taken as it is, even `]` and `\`; bounds in the wrong order are swapped. Bytes from
///   0x80 on come *before* the others, since a server compares signed bytes.
/// * A pattern of more than a thousand `*` that something follows matches nothing.
///
/// A pattern of the keys in which some parts have given values is made by [`Matching`]: no glob alone can say that.
///
/// # Cost
///
/// Cloning copies a pointer. A match takes at most as many steps as the key has bytes times the pattern, whatever the
/// stars; a text, and a text before one `*`, are simply compared.
///
/// # Examples
///
/// ```
/// use dexter_cache::KeyPattern;
///
/// let pattern = KeyPattern::new("list_issues:*project=web*");
/// assert!(pattern.matches(b"list_issues:organization=myorg&project=web&status=open"));
/// assert!(!pattern.matches(b"get_issue:id=7"));
/// ```
#[derive(Clone)]
pub struct KeyPattern(Arc<Inner>);

struct Inner {
    source: Box<[u8]>,
    /// What every key begins with that matches.
    literal: Box<[u8]>,
    rule: Rule,
    /// What a glob cannot say, where the pattern comes from [`Matching`].
    parts: Option<Parts>,
}

/// How keys are told apart that begin as they should.
enum Rule {
    /// All keys match, also the empty one.
    Everything,
    /// No key matches.
    Nothing,
    /// Nothing may follow.
    Literal,
    /// Anything may follow, but the key is not empty.
    Prefix,
    Glob(glob::Pattern),
}

impl KeyPattern {
    /// Reads a pattern. Every sequence of bytes is one.
    pub fn new(pattern: impl AsRef<[u8]>) -> Self {
        Self::read(pattern.as_ref(), None)
    }

    /// A pattern that matches of what `glob` matches only what `parts` fit.
    fn with_parts(glob: &[u8], parts: Parts) -> Self {
        Self::read(glob, Some(parts))
    }

    fn read(source: &[u8], parts: Option<Parts>) -> Self {
        let tokens = parse::parse(source);
        let literal: Box<[u8]> = tokens
            .iter()
            .map_while(|token| match token {
                Token::Byte(byte) => Some(*byte),
                _ => None,
            })
            .collect();
        let rule = if source == b"*" {
            Rule::Everything
        } else {
            Rule::of(&tokens, literal.len())
        };
        Self(Arc::new(Inner {
            source: source.into(),
            literal,
            rule,
            parts,
        }))
    }

    /// Whether `key` matches.
    pub fn matches(&self, key: &[u8]) -> bool {
        self.matches_glob(key) && self.admits(key)
    }

    /// Whether the glob says it all.
    pub(crate) fn is_plain(&self) -> bool {
        self.0.parts.is_none()
    }

    /// Whether a key that the glob matches is meant. A server knows the glob only.
    #[inline]
    pub(crate) fn admits(&self, key: &[u8]) -> bool {
        self.0.parts.as_ref().is_none_or(|parts| parts.fit(key))
    }

    fn matches_glob(&self, key: &[u8]) -> bool {
        let Inner { literal, rule, .. } = &*self.0;
        match rule {
            Rule::Everything => true,
            Rule::Nothing => false,
            Rule::Literal => **literal == *key,
            Rule::Prefix => !key.is_empty() && key.starts_with(literal),
            Rule::Glob(glob) => {
                !key.is_empty()
                    && key.starts_with(literal)
                    && glob.matches_with(&translate::characters(key), EXACTLY)
            }
        }
    }

    /// The pattern as it was given; of one that [`Matching`] made, the glob that a server looks for keys by, which may
    /// match more than is meant.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0.source
    }

    /// The text before the first wildcard, without its backslashes: every key that matches begins with it.
    ///
    /// ```
    /// use dexter_cache::KeyPattern;
    ///
    /// assert_eq!(KeyPattern::new("list_issues:*").literal_prefix(), b"list_issues:");
    /// assert_eq!(KeyPattern::new(r"a\*[bc]d").literal_prefix(), b"a*");
    /// assert_eq!(KeyPattern::new("*").literal_prefix(), b"");
    /// ```
    pub fn literal_prefix(&self) -> &[u8] {
        &self.0.literal
    }

    /// Whether the pattern is `*`, the one that matches every key, even the empty one.
    pub fn is_everything(&self) -> bool {
        matches!(self.0.rule, Rule::Everything) && self.is_plain()
    }

    /// A pattern that matches `text` and nothing else, to be put into a greater one.
    ///
    /// A *value* within a key is percent-encoded there, so its pattern is the encoded text.
    ///
    /// ```
    /// use dexter_cache::KeyPattern;
    ///
    /// let pattern = KeyPattern::new(KeyPattern::escape("what?") + ":*");
    /// assert_eq!(pattern.as_bytes(), br"what\?:*");
    /// assert!(pattern.matches(b"what?:x") && !pattern.matches(b"whatX:x"));
    /// ```
    pub fn escape(text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for char in text.chars() {
            // `^` and `-` have a meaning in classes only, and a class ends at an escaped text's `]` in any case.
            if matches!(char, '*' | '?' | '[' | ']' | '\\') {
                out.push('\\');
            }
            out.push(char);
        }
        out
    }

    /// The pattern for the keys of a namespace: `namespace:` as it is, then this pattern.
    ///
    /// ```
    /// use dexter_cache::KeyPattern;
    ///
    /// let pattern = KeyPattern::new("list_issues:*").under_namespace("dexter");
    /// assert_eq!(pattern.as_bytes(), b"dexter:list_issues:*");
    /// ```
    #[must_use]
    pub fn under_namespace(&self, namespace: &str) -> Self {
        let mut source = Self::escape(namespace).into_bytes();
        source.push(b':');
        source.extend_from_slice(self.as_bytes());
        let parts = self.0.parts.as_ref();
        Self::read(&source, parts.map(|parts| parts.under_namespace(namespace)))
    }
}

impl Rule {
    fn of(tokens: &[Token], literal: usize) -> Self {
        // A star at the very end is a match at once, and not counted by a server.
        let stars = tokens
            .iter()
            .rev()
            .skip(1)
            .filter(|token| **token == Token::Star)
            .count();
        let never = |token: &Token| matches!(token, Token::Class(class) if class.is_empty());
        if stars > MOST_STARS || tokens.iter().any(never) {
            return Self::Nothing;
        }
        match tokens[literal..] {
            [] => Self::Literal,
            [Token::Star] => Self::Prefix,
            // No error is known to come of what `translate` writes. If one did, removing nothing would be the lesser
            // evil beside removing too much.
            _ => {
                glob::Pattern::new(&translate::translate(tokens)).map_or(Self::Nothing, Self::Glob)
            }
        }
    }
}

impl From<&str> for KeyPattern {
    fn from(pattern: &str) -> Self {
        Self::new(pattern)
    }
}

impl From<String> for KeyPattern {
    fn from(pattern: String) -> Self {
        Self::new(pattern)
    }
}

impl PartialEq for KeyPattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes() && self.0.parts == other.0.parts
    }
}

impl Eq for KeyPattern {}

impl Hash for KeyPattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Display for KeyPattern {
    /// The pattern, with `\u{fffd}` for what is not UTF-8.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: Cow<'_, str> = String::from_utf8_lossy(self.as_bytes());
        f.pad(&text)
    }
}

impl fmt::Debug for KeyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPattern(\"{}\")", self.as_bytes().escape_ascii())
    }
}
