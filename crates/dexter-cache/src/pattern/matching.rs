//! [`Matching`]: the keys of which some parts are given.

use crate::key::{CacheKey, Key, KeyBuilder, part_name, parts_text};

use super::KeyPattern;

/// Picks the keys of one prefix in which the parts that are given have exactly the values that are given, whatever the
/// other parts are.
///
/// The companion of a cached function makes one with a method for each part of the key, `list_issues::matching()`; this
/// is for keys that are built by hand, and for methods (`Sentry::analytics_matching()`).
///
/// A glob cannot say this: `list_issues:*project=web*` meets `project=web2` and `subproject=web` as well. So the pattern
/// that comes of it holds a glob, by which a server looks for keys, and the parts, by which the cache tells what of
/// them is meant.
///
/// * A value that writes nothing, such as `None`, picks the keys without that part.
/// * A struct picks the keys that have all of its fields so, and no other field of it.
/// * A key of more than 1024 bytes ends in a digest. It is picked by what is written in it: a part that is given and
///   lies behind the cut is not found. Leave such a part out of what is given, or invalidate the whole prefix.
///
/// # Cost
///
/// That of a pattern: in Redis one sweep of the *whole* database, however many parts are given.
///
/// # Examples
///
/// ```
/// use dexter_cache::{Key, Matching};
///
/// let status: Option<&str> = None;
/// let pattern = Matching::new("list_issues").part("project", "web").part("status", &status).pattern();
/// let key = Key::new("list_issues").part("organization", "myorg").part("project", "web");
/// assert!(pattern.matches(key.as_str().as_bytes()));
/// assert!(!pattern.matches(b"list_issues:organization=myorg&project=web2"));
/// assert!(!pattern.matches(b"list_issues:organization=myorg&project=web&status=open"));
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is removed by this alone: hand its `pattern()` to `Cache::invalidate`"]
pub struct Matching {
    prefix: Box<str>,
    /// The parts that the keys can have, where they are known.
    known: Option<&'static [&'static str]>,
    given: Vec<Given>,
}

/// A part that is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Given {
    name: Box<str>,
    /// What the value writes into a key: nothing, or parts of this name and of names below it.
    text: Box<str>,
}

impl Matching {
    /// All keys that [`Key::new`] begins with `prefix`.
    pub fn new(prefix: impl AsRef<str>) -> Self {
        Self::of(Key::new(prefix).as_str(), None)
    }

    /// All keys of a prefix that is encoded already.
    pub(crate) fn of(prefix: &str, known: Option<&'static [&'static str]>) -> Self {
        Self {
            prefix: prefix.into(),
            known,
            given: Vec::new(),
        }
    }

    /// Of these, the keys whose part `name` is what [`Key::part`] makes of `value`. Given twice, the last one counts.
    ///
    /// # Panics
    ///
    /// Where the keys are those of a cached function, and have no part of this name.
    pub fn part(self, name: &str, value: &(impl CacheKey + ?Sized)) -> Self {
        let encoded = part_name(name);
        self.written(name, |key| key.part(&encoded, value))
    }

    /// Of these, the keys whose part `name` is what `write` writes.
    pub(crate) fn written(mut self, name: &str, write: impl FnOnce(&mut KeyBuilder)) -> Self {
        if let Some(known) = self.known {
            assert!(
                known.contains(&name),
                "the keys `{}` have no part `{name}`, but {known:?}",
                self.prefix
            );
        }
        let name: Box<str> = part_name(name).into();
        let text = parts_text(write).into();
        self.given.retain(|given| given.name != name);
        self.given.push(Given { name, text });
        self
    }

    /// The pattern of these keys.
    #[must_use]
    pub fn pattern(&self) -> KeyPattern {
        let mut written: Vec<&str> = self.given.iter().map(|given| &*given.text).collect();
        written.retain(|text| !text.is_empty());
        // In the order that they have in a key.
        written.sort_by_key(|text| text.split('=').next());
        let mut glob = KeyPattern::escape(&self.prefix);
        if !written.is_empty() {
            glob.push(':');
        }
        for text in written {
            glob.push('*');
            glob.push_str(&KeyPattern::escape(text));
        }
        // Behind the prefix alone this also meets the key without parts, and those of longer prefixes, which `Parts`
        // tells apart.
        glob.push('*');
        let mut given = self.given.clone();
        given.sort_by(|a, b| a.name.cmp(&b.name));
        KeyPattern::with_parts(
            glob.as_bytes(),
            Parts {
                prefix: self.prefix.clone(),
                given: given.into(),
            },
        )
    }
}

impl From<Matching> for KeyPattern {
    fn from(matching: Matching) -> Self {
        matching.pattern()
    }
}

/// What a glob cannot say of the keys that are meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Parts {
    /// With the namespace, where the keys have one.
    prefix: Box<str>,
    given: Box<[Given]>,
}

impl Parts {
    pub(super) fn fit(&self, key: &[u8]) -> bool {
        let rest = match key.strip_prefix(self.prefix.as_bytes()) {
            Some([b':', rest @ ..]) => rest,
            Some([]) => &[],
            _ => return false,
        };
        self.given.iter().all(|given| {
            let of_it = |part: &&[u8]| {
                let behind = part.strip_prefix(given.name.as_bytes());
                matches!(behind, Some([b'=' | b'.', ..]))
            };
            parts(rest).filter(of_it).eq(parts(given.text.as_bytes()))
        })
    }

    pub(super) fn under_namespace(&self, namespace: &str) -> Self {
        Self {
            prefix: format!("{namespace}:{}", self.prefix).into(),
            given: self.given.clone(),
        }
    }
}

/// `name=value`, one after another. No name and no value holds an `&`.
fn parts(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'&')
        .filter(|part| !part.is_empty())
}
