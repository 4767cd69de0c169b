//! [`KeyWriter`]: writes one value into a key.

use std::fmt;

use super::builder::Text;
use super::{CacheKey, escape};

/// The absence of a value, where it has to be told from its presence.
const NONE: u8 = b'-';
/// The presence of a value that wrote nothing.
const PRESENT: u8 = b'+';
/// A sequence without elements, which differs from one with an empty element.
const EMPTY: u8 = b'.';

/// Writes one value into a key: what [`CacheKey::write_key`] is handed.
///
/// A value writes *either* one text ([`text`](Self::text), [`display`](Self::display)), *or* a sequence
/// ([`seq`](Self::seq)), *or* its fields ([`field`](Self::field), [`flatten`](Self::flatten)). Each of the three is
/// unambiguous in itself, whatever the values are made of. A type that writes now one and now another has to see to
/// it that they differ.
#[derive(Debug)]
pub struct KeyWriter<'a> {
    out: &'a mut Text,
    path: Path<'a>,
    place: Place,
    /// Where the text begins to which this value belongs: the parts of the key, or one element of a sequence.
    start: usize,
    /// How many times the separators of that text are encoded, since it lies in other values.
    level: usize,
    /// How many `Some` stand around the value.
    some: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A part with a name, of the key or of a struct in a sequence.
    Part,
    /// An element of a sequence.
    Element,
}

impl<'a> KeyWriter<'a> {
    #[inline]
    pub(super) fn part(out: &'a mut Text, path: Path<'a>) -> Self {
        let start = out.start();
        Self {
            out,
            path,
            place: Place::Part,
            start,
            level: 0,
            some: 0,
        }
    }

    /// Writes a text. What has a meaning in keys or patterns is percent-encoded.
    #[inline]
    pub fn text(&mut self, text: &str) {
        self.begin();
        escape::push_text(self.out, text, self.level + 1);
    }

    /// Writes what `value` displays, as [`text`](Self::text) would, without building a `String`.
    ///
    /// Use it for types whose `Display` tells all their values apart.
    pub fn display(&mut self, value: impl fmt::Display) {
        self.begin();
        let times = self.level + 1;
        // An error here is one that `value` made up. What it wrote so far is all there is to say about it.
        let _ = fmt::write(
            &mut Escaping {
                out: self.out,
                times,
            },
            format_args!("{value}"),
        );
    }

    /// Writes the absence of a value: the part is left out of the key.
    pub fn none(&mut self) {
        let marks = match self.place {
            Place::Part if self.some == 0 => return,
            Place::Part => self.some,
            Place::Element => self.some + 1,
        };
        self.begin();
        for _ in 0..marks {
            escape::push_mark(self.out, NONE, self.level);
        }
    }

    /// Writes one field of a struct: `outer.name=value`.
    pub fn field(&mut self, name: &str, value: &(impl CacheKey + ?Sized)) {
        let (outer, level) = match self.place {
            Place::Part => (Some(&self.path), self.level),
            // A struct as an element is a text of its own, encoded once more as one element.
            Place::Element => (None, self.level + 1),
        };
        let path = Path {
            outer,
            name,
            plain: false,
        };
        let start = self.start;
        value.write_key(&mut KeyWriter {
            out: self.out,
            path,
            place: Place::Part,
            start,
            level,
            some: 0,
        });
    }

    /// Writes the fields of `value` as if they were the fields of the type that calls this.
    ///
    /// The names must not meet: of two optional fields of one name nobody could tell which was there.
    pub fn flatten(&mut self, value: &(impl CacheKey + ?Sized)) {
        value.write_key(self);
    }

    /// Writes a sequence: `first,second,third`, each element encoded by itself.
    ///
    /// The order counts. Give a sorted sequence where it does not.
    pub fn seq<I>(&mut self, items: I)
    where
        I: IntoIterator,
        I::Item: CacheKey,
    {
        self.list(|list| {
            for item in items {
                list.item(&item);
            }
        });
    }

    /// Writes a sequence whose elements are of different types.
    pub(super) fn list(&mut self, write: impl FnOnce(&mut List<'_>)) {
        self.begin();
        let mut list = List {
            level: self.inner_level(),
            out: self.out,
            empty: true,
        };
        write(&mut list);
        if list.empty {
            escape::push_mark(list.out, EMPTY, list.level);
        }
    }

    /// Writes `key=value` as one element, both encoded by themselves.
    pub(super) fn pair(
        &mut self,
        key: &(impl CacheKey + ?Sized),
        value: &(impl CacheKey + ?Sized),
    ) {
        self.begin();
        let level = self.inner_level();
        element(self.out, level, key);
        escape::push_byte(self.out, b'=', level);
        element(self.out, level, value);
    }

    /// Writes a value that is there and might not be.
    #[inline]
    pub(super) fn some(&mut self, value: &(impl CacheKey + ?Sized)) {
        let begun = self.out.begun;
        self.some += 1;
        value.write_key(self);
        self.some -= 1;
        if self.out.begun == begun {
            self.begin();
            escape::push_mark(self.out, PRESENT, self.level);
        }
    }

    /// Writes bytes that need no encoding.
    #[inline]
    pub(super) fn plain(&mut self, bytes: &[u8]) {
        self.begin();
        self.out.push_bytes(bytes);
    }

    /// Writes what stands before a value.
    #[allow(
        clippy::inline_always,
        reason = "most of it is known, and goes, where the writer is made"
    )]
    #[inline(always)]
    fn begin(&mut self) {
        self.out.begun += 1;
        // Where the writer of a part is made, the compiler sees that it is one, and drops all the rest.
        match (self.place, self.level, &self.path) {
            (
                Place::Part,
                0,
                Path {
                    outer: None,
                    name,
                    plain: true,
                },
            ) => self.out.begin_part(name),
            _ => self.begin_inner(),
        }
    }

    /// Writes what stands before a value that lies in another one.
    #[inline(never)]
    fn begin_inner(&mut self) {
        match self.place {
            Place::Part if self.level == 0 => self.out.begin_field(&self.path),
            Place::Part => self
                .out
                .begin_inner_part(&self.path, self.start, self.level),
            // Two texts in one element, which no implementation here writes, must not run into each other.
            Place::Element if self.out.len() != self.start => {
                escape::push_byte(self.out, b'&', self.level + 1);
            }
            Place::Element => {}
        }
    }

    /// How often the separators of a sequence are encoded that stands here.
    fn inner_level(&self) -> usize {
        self.level + usize::from(self.place == Place::Element)
    }
}

/// A sequence under way.
pub(super) struct List<'a> {
    out: &'a mut Text,
    level: usize,
    empty: bool,
}

impl List<'_> {
    pub(super) fn item(&mut self, value: &(impl CacheKey + ?Sized)) {
        if !self.empty {
            escape::push_byte(self.out, b',', self.level);
        }
        self.empty = false;
        element(self.out, self.level, value);
    }
}

fn element(out: &mut Text, level: usize, value: &(impl CacheKey + ?Sized)) {
    let start = out.len();
    value.write_key(&mut KeyWriter {
        out,
        path: Path::root(""),
        place: Place::Element,
        start,
        level,
        some: 0,
    });
}

/// The name of a part: the names of the structs around it, and its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    outer: Option<&'a Path<'a>>,
    name: &'a str,
    /// Whether the name is known to hold no reserved byte.
    plain: bool,
}

impl<'a> Path<'a> {
    #[inline]
    pub(super) fn root(name: &'a str) -> Self {
        Self {
            outer: None,
            name,
            plain: true,
        }
    }

    pub(super) fn write(&self, out: &mut Text, times: usize) {
        if let Some(outer) = self.outer {
            outer.write_outer(out, times);
        }
        if self.plain {
            out.push_bytes(self.name.as_bytes());
        } else {
            escape::push_text(out, self.name, times);
        }
    }

    fn write_outer(&self, out: &mut Text, times: usize) {
        let from = out.len();
        self.write(out, times);
        // The parts of a flattened struct have no name around theirs.
        if out.len() != from {
            out.push(b'.');
        }
    }
}

struct Escaping<'a> {
    out: &'a mut Text,
    times: usize,
}

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape::push_text(self.out, text, self.times);
        Ok(())
    }
}
