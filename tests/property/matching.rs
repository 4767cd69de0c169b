//! `Matching` picks the keys in which the given parts have the given values, and no others.

use dexter_cache::{CacheKey, Key, KeyPattern, Matching};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::keys::{Args, args, text};

/// Adds the parts of `args` that `chosen` has, and tells whether `other` has the same.
fn chosen_parts(args: &Args, other: &Args, chosen: [bool; 11]) -> (Matching, bool) {
    fn add<T: CacheKey + PartialEq>(
        so_far: &mut (Matching, bool),
        chosen: bool,
        name: &str,
        value: &T,
        other: &T,
    ) {
        if chosen {
            so_far.0 = so_far.0.clone().part(name, value);
            so_far.1 &= value == other;
        }
    }
    let mut all = (Matching::new("p"), true);
    // Not in the order of their names.
    add(&mut all, chosen[0], "unit", &args.unit, &other.unit);
    add(
        &mut all,
        chosen[1],
        "filters",
        &args.filters,
        &other.filters,
    );
    add(&mut all, chosen[2], "filter", &args.filter, &other.filter);
    add(&mut all, chosen[3], "list", &args.list, &other.list);
    add(&mut all, chosen[4], "lists", &args.lists, &other.lists);
    add(&mut all, chosen[5], "map", &args.map, &other.map);
    add(&mut all, chosen[6], "maybe", &args.maybe, &other.maybe);
    add(&mut all, chosen[7], "nested", &args.nested, &other.nested);
    add(&mut all, chosen[8], "number", &args.number, &other.number);
    add(&mut all, chosen[9], "pair", &args.pair, &other.pair);
    add(&mut all, chosen[10], "text", &args.text, &other.text);
    all
}

/// Names that are the beginning of each other, or come between each other's fields.
const NAMES: &[&str] = &[
    "a", "a0", "aB", "a_", "ab", "b", "ä", "project", "xproject", "project2",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_key_is_picked_exactly_if_the_given_parts_are_equal(
        args in args(),
        at: Index,
        chosen: [bool; 11],
    ) {
        for other in args.neighbours(at) {
            let key = other.key();
            if key.as_str().len() >= 1024 {
                continue;
            }
            let (matching, equal) = chosen_parts(&args, &other, chosen);
            let pattern = matching.pattern();
            prop_assert_eq!(pattern.matches(key.as_str().as_bytes()), equal, "{:?} and {}", matching, key);
            let full = format!("name.space:{key}");
            let pattern = pattern.under_namespace("name.space");
            prop_assert_eq!(pattern.matches(full.as_bytes()), equal);
            prop_assert!(!pattern.matches(key.as_str().as_bytes()));
        }
    }

    #[test]
    fn no_name_is_taken_for_another(
        key in vec((select(NAMES), text()), 0..6),
        given in vec((select(NAMES), text()), 0..3),
        from_key in vec((any::<Index>(), any::<bool>()), 0..3),
    ) {
        let mut parts: Vec<(&str, Option<String>)> = NAMES.iter().map(|name| (*name, None)).collect();
        for (name, value) in key {
            parts.iter_mut().find(|part| part.0 == name).unwrap().1 = Some(value);
        }
        let built = parts.iter().fold(Key::new("p"), |key, (name, value)| key.part(name, value));
        // Some values as they are, some others, some absent.
        let mut wanted: Vec<(&str, Option<String>)> = Vec::new();
        for (index, same) in from_key {
            let (name, value) = &parts[index.index(parts.len())];
            wanted.push((name, if same { value.clone() } else { None }));
        }
        wanted.extend(given.into_iter().map(|(name, value)| (name, Some(value))));
        wanted.reverse();
        wanted.sort_by_key(|part| part.0);
        wanted.dedup_by_key(|part| part.0);
        let equal = wanted.iter().all(|wanted| parts.contains(wanted));
        let pattern = wanted
            .iter()
            .fold(Matching::new("p"), |keys, (name, value)| keys.part(name, value))
            .pattern();
        if built.as_str().len() < 1024 {
            prop_assert_eq!(pattern.matches(built.as_str().as_bytes()), equal, "{} and {}", pattern, built);
        }
    }
}

#[test]
fn the_glob_finds_what_is_meant() {
    for (matching, glob) in [
        (Matching::new("p"), "p*"),
        (
            Matching::new("p").part("b", "x*y").part("a", &7),
            "p:*a=7*b=x%2Ay*",
        ),
        (Matching::new("p").part("a", &None::<u8>), "p*"),
    ] {
        assert_eq!(matching.pattern().as_bytes(), glob.as_bytes());
    }
}

#[test]
fn another_prefix_and_another_value_are_another_pattern() {
    let pattern = |status: Option<&str>| {
        Matching::new("p")
            .part("a", &1)
            .part("b", &status)
            .pattern()
    };
    assert_eq!(pattern(None), pattern(None));
    assert_eq!(
        pattern(None).as_bytes(),
        Matching::new("p").part("a", &1).pattern().as_bytes()
    );
    assert_ne!(pattern(None), Matching::new("p").part("a", &1).pattern());
    assert_ne!(pattern(None), KeyPattern::new(pattern(None).as_bytes()));
    assert!(!Matching::new("p").pattern().matches(b"pq:a=1"));
    assert!(Matching::new("p").pattern().matches(b"p"));
}

#[test]
fn a_long_key_is_picked_by_what_is_written_in_it() {
    let key = Key::new("p")
        .part("a", "1")
        .part("b", &"x".repeat(2000))
        .part("c", "3");
    let meets = |matching: Matching| matching.pattern().matches(key.as_str().as_bytes());
    assert!(meets(Matching::new("p").part("a", "1")));
    assert!(!meets(Matching::new("p").part("a", "2")));
    assert!(
        !meets(Matching::new("p").part("c", "3")),
        "it lies behind the cut"
    );
    assert!(meets(Matching::new("p")));
}
