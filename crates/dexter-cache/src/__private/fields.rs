//! The names that a derived key part writes, so that two of one name are found when the type is compiled.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

/// The names of fields: a type's own, and those of what it flattens.
#[derive(Debug, Clone, Copy)]
pub struct Names(pub &'static [&'static str], pub &'static [Self]);

/// What `#[derive(CacheKey)]` tells beside the key.
pub trait Fields {
    const NAMES: Names;
}

macro_rules! seen_through {
    ($($type:ty),*) => {$(
        impl<T: Fields + ?Sized> Fields for $type {
            const NAMES: Names = T::NAMES;
        }
    )*};
}

seen_through!(&T, Box<T>, Rc<T>, Arc<T>);

impl<T: Fields> Fields for Option<T> {
    const NAMES: Names = T::NAMES;
}

impl<T: Fields + ToOwned + ?Sized> Fields for Cow<'_, T> {
    const NAMES: Names = T::NAMES;
}

/// Asks a type for its names: `Of::<T>::NAMES` is what it tells, and with [`Untold`] in scope nothing where it tells
/// nothing.
#[derive(Debug)]
pub struct Of<T: ?Sized>(PhantomData<T>);

impl<T: Fields + ?Sized> Of<T> {
    pub const NAMES: Names = T::NAMES;
}

/// See [`Of`].
pub trait Untold {
    const NAMES: Names = Names(&[], &[]);
}

impl<T: ?Sized> Untold for Of<T> {}

/// Fails to compile where a field that is flattened in brings a name that is there already.
#[track_caller]
pub const fn check(own: &[&str], flattened: &[Names]) {
    let mut at = 0;
    while at < flattened.len() {
        let (before, _) = flattened.split_at(at);
        if let Some(name) = met(&flattened[at], own, before) {
            clash(name);
        }
        at += 1;
    }
}

/// A name of `names` that is in one of the others.
const fn met(names: &Names, own: &[&str], others: &[Names]) -> Option<&'static str> {
    let mut at = 0;
    while at < names.0.len() {
        if holds(own, others, names.0[at]) {
            return Some(names.0[at]);
        }
        at += 1;
    }
    at = 0;
    while at < names.1.len() {
        if let Some(name) = met(&names.1[at], own, others) {
            return Some(name);
        }
        at += 1;
    }
    None
}

const fn holds(own: &[&str], others: &[Names], name: &str) -> bool {
    let mut at = 0;
    while at < own.len() {
        if same(own[at].as_bytes(), name.as_bytes()) {
            return true;
        }
        at += 1;
    }
    at = 0;
    while at < others.len() {
        if holds(others[at].0, others[at].1, name) {
            return true;
        }
        at += 1;
    }
    false
}

const fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[track_caller]
const fn clash(name: &str) -> ! {
    const PIECES: [&str; 2] = [
        "two fields are called `",
        "` in the key: write `#[cache_key(rename = \"..\")]` with another name on one of them, or leave `flatten` out",
    ];
    let mut text = [0; 512];
    let mut length = 0;
    let pieces = [PIECES[0].as_bytes(), name.as_bytes(), PIECES[1].as_bytes()];
    let mut piece = 0;
    while piece < pieces.len() {
        let mut at = 0;
        while at < pieces[piece].len() && length < text.len() {
            text[length] = pieces[piece][at];
            length += 1;
            at += 1;
        }
        piece += 1;
    }
    match std::str::from_utf8(text.split_at(length).0) {
        Ok(text) => panic!("{}", text),
        Err(_) => panic!("two fields have one name in the key"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: Names = Names(&["number", "size"], &[]);
    const RANGE: Names = Names(&["from"], &[PAGE]);

    struct Told;
    impl Fields for Told {
        const NAMES: Names = PAGE;
    }

    #[test]
    fn a_name_is_found_however_deep_it_lies() {
        assert_eq!(met(&RANGE, &["size"], &[]), Some("size"));
        assert_eq!(met(&PAGE, &[], &[RANGE]), Some("number"));
        assert_eq!(met(&RANGE, &["fro", "from_", "sizes"], &[]), None);
    }

    #[test]
    fn a_type_that_tells_nothing_is_asked_all_the_same() {
        assert!(Of::<u64>::NAMES.0.is_empty());
        assert_eq!(Of::<Option<Box<Told>>>::NAMES.0, ["number", "size"]);
    }

    #[test]
    #[should_panic(expected = "two fields are called `size` in the key: write `#[cache_key(rename")]
    fn a_clash_is_said() {
        check(&["size"], &[RANGE]);
    }
}
