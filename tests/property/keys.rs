//! Different values give different keys: tried on neighbours, where a careless encoding would let two meet.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{Debug, Write};

use dexter_cache::__private::KeyBuilder;
use dexter_cache::{CacheKey, Key, KeyPattern, KeyWriter};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Pieces of text that mean something to keys or to their readers.
const PIECES: &[&str] = &[
    "a", "%", ",", "&", "=", "%2C", "%25", "%-", "%.", "%+", "-", "None", "null", "status=",
    "tags", ".", ":", "^", "*", "[", "\\", "{", " ", "\u{a0}", "\u{3000}", "\0", "\n", "é",
    "e\u{301}", "漢", "1", "true",
];

pub(crate) fn text() -> impl Strategy<Value = String> {
    vec(select(PIECES), 0..4).prop_map(|pieces| pieces.concat())
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Filter {
    status: Option<String>,
    tags: Vec<String>,
}

impl CacheKey for Filter {
    fn write_key(&self, out: &mut KeyWriter<'_>) {
        out.field("status", &self.status);
        out.field("tags", &self.tags);
    }
}

/// A list of arguments with every shape that a value can have.
#[derive(Debug, Clone, PartialEq)]
#[allow(
    clippy::option_option,
    reason = "each of the three absences needs a key of its own"
)]
pub(crate) struct Args {
    pub(crate) filter: Option<Filter>,
    pub(crate) filters: Vec<Option<Filter>>,
    pub(crate) list: Vec<String>,
    pub(crate) lists: Vec<Vec<Option<String>>>,
    pub(crate) map: BTreeMap<String, Vec<String>>,
    pub(crate) maybe: Option<String>,
    pub(crate) nested: Option<Option<Option<String>>>,
    pub(crate) number: Option<i64>,
    pub(crate) pair: (String, Option<String>),
    pub(crate) text: String,
    pub(crate) unit: Option<()>,
}

impl Args {
    pub(crate) fn key(&self) -> Key {
        let mut key = KeyBuilder::new("p");
        key.part("filter", &self.filter);
        key.part("filters", &self.filters);
        key.part("list", &self.list);
        key.part("lists", &self.lists);
        key.part("map", &self.map);
        key.part("maybe", &self.maybe);
        key.part("nested", &self.nested);
        key.part("number", &self.number);
        key.part("pair", &self.pair);
        key.part("text", &self.text);
        key.part("unit", &self.unit);
        key.finish()
    }

    /// Every text in it.
    fn texts(&mut self) -> Vec<&mut String> {
        fn of(filter: &mut Filter) -> impl Iterator<Item = &mut String> {
            filter.status.iter_mut().chain(&mut filter.tags)
        }
        let mut texts: Vec<&mut String> = vec![&mut self.text, &mut self.pair.0];
        texts.extend(
            self.pair
                .1
                .iter_mut()
                .chain(&mut self.maybe)
                .chain(&mut self.list),
        );
        texts.extend(self.nested.iter_mut().flatten().flatten());
        texts.extend(self.lists.iter_mut().flatten().flatten());
        texts.extend(self.map.values_mut().flatten());
        texts.extend(self.filter.iter_mut().flat_map(of));
        texts.extend(self.filters.iter_mut().flatten().flat_map(of));
        texts
    }

    /// Values that differ from this one as little as can be.
    pub(crate) fn neighbours(&self, at: Index) -> Vec<Args> {
        let mut all = vec![self.clone()];
        let mut edit = |edit: &dyn Fn(&mut Args)| {
            let mut other = self.clone();
            edit(&mut other);
            all.push(other);
        };
        let texts = self.clone().texts().len();
        let chosen = at.index(texts);
        // One byte escaped, one escape undone, the same bytes split otherwise.
        edit(&|args| escape_one(args.texts().swap_remove(chosen), at));
        edit(&|args| {
            let mut texts = args.texts();
            *texts[chosen] = texts[chosen]
                .replacen("%2C", ",", 1)
                .replacen("%25", "%", 1);
        });
        edit(&|args| {
            let mut texts = args.texts();
            if let Some(last) = texts[chosen].pop() {
                let next = (chosen + 1) % texts.len();
                texts[next].insert(0, last);
            }
        });
        // Absence against the texts that stand for it elsewhere.
        for word in [
            None,
            Some(""),
            Some("None"),
            Some("null"),
            Some("%-"),
            Some("%+"),
            Some("%."),
        ] {
            let word = word.map(str::to_owned);
            edit(&|args| args.maybe.clone_from(&word));
            edit(&|args| args.pair.1.clone_from(&word));
            edit(&|args| args.nested = Some(Some(word.clone())));
            edit(&|args| args.lists.push(vec![word.clone()]));
            edit(&|args| {
                args.filters.push(Some(Filter {
                    status: word.clone(),
                    tags: vec![],
                }));
            });
        }
        edit(&|args| args.nested = None);
        edit(&|args| args.nested = Some(None));
        edit(&|args| args.unit = args.unit.is_none().then_some(()));
        edit(&|args| args.filter = None);
        edit(&|args| args.filters.push(None));
        // A list against the joined text, against one that is longer, shorter, nested otherwise.
        edit(&|args| args.list = vec![args.list.join(",")]);
        edit(&|args| {
            args.list = args
                .list
                .iter()
                .flat_map(|text| text.split(','))
                .map(str::to_owned)
                .collect();
        });
        edit(&|args| args.list.push(String::new()));
        edit(&|args| args.list.clear());
        edit(&|args| drop(args.list.pop()));
        edit(&|args| args.lists = vec![args.lists.concat()]);
        edit(&|args| {
            args.lists = args
                .lists
                .concat()
                .into_iter()
                .map(|text| vec![text])
                .collect();
        });
        edit(&|args| args.lists.push(vec![]));
        edit(&|args| args.lists.clear());
        edit(&|args| drop(args.map.pop_first()));
        edit(&|args| {
            if let Some((key, values)) = args.map.pop_first() {
                args.map
                    .insert(format!("{key}={}", values.join(",")), vec![]);
            }
        });
        // A struct against the text that it is written as.
        edit(&|args| {
            if let Some(Some(filter)) = args.filters.first_mut() {
                filter.status = Some(format!(
                    "{}&tags={}",
                    filter.status.take().unwrap_or_default(),
                    filter.tags.join(",")
                ));
                filter.tags.clear();
            }
        });
        edit(&|args| {
            let (text, maybe) = (args.text.clone(), args.maybe.take());
            args.text = maybe.unwrap_or_default();
            args.maybe = Some(text);
        });
        all
    }
}

fn escape_one(text: &mut String, at: Index) {
    let Some((position, char)) = (!text.is_empty())
        .then(|| at.index(text.chars().count()))
        .and_then(|index| text.char_indices().nth(index))
    else {
        return;
    };
    let mut escaped = String::new();
    for byte in char.encode_utf8(&mut [0; 4]).bytes() {
        write!(escaped, "%{byte:02X}").unwrap();
    }
    text.replace_range(position..position + char.len_utf8(), &escaped);
}

fn filter() -> impl Strategy<Value = Filter> {
    (option::of(text()), vec(text(), 0..3)).prop_map(|(status, tags)| Filter { status, tags })
}

pub(crate) fn args() -> impl Strategy<Value = Args> {
    let structs = (option::of(filter()), vec(option::of(filter()), 0..3));
    let lists = (
        vec(text(), 0..4),
        vec(vec(option::of(text()), 0..3), 0..3),
        btree_map(text(), vec(text(), 0..3), 0..3),
    );
    let options = (
        option::of(text()),
        option::of(option::of(option::of(text()))),
        option::of(any::<i64>()),
    );
    let rest = ((text(), option::of(text())), text(), option::of(Just(())));
    (structs, lists, options, rest).prop_map(
        |((filter, filters), (list, lists, map), (maybe, nested, number), (pair, text, unit))| {
            Args {
                filter,
                filters,
                list,
                lists,
                map,
                maybe,
                nested,
                number,
                pair,
                text,
                unit,
            }
        },
    )
}

/// Splits a key into its parts, checking that it only holds what a key may hold.
fn check_legal(key: &str) -> Result<(), TestCaseError> {
    let Some((_, parts)) = key.split_once(':') else {
        return Ok(());
    };
    let mut last = "";
    for part in parts.split('&') {
        let (name, value) = part
            .split_once('=')
            .ok_or_else(|| TestCaseError::fail(format!("no value in {part}")))?;
        prop_assert!(last <= name, "{} behind {}", name, last);
        last = name;
        prop_assert!(
            !value.contains(|char: char| "&=*?[]\\^{}".contains(char)
                || char.is_whitespace()
                || char.is_control()),
            "{}",
            key
        );
        for escape in value.split('%').skip(1) {
            let hex = |byte: &u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(byte);
            let escape = escape.as_bytes();
            let encoded = escape.get(..2).is_some_and(|digits| digits.iter().all(hex));
            prop_assert!(
                encoded || matches!(escape, [b'-' | b'.' | b'+', ..]),
                "{}",
                key
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn neighbours_have_keys_of_their_own(args in args(), at: Index) {
        let neighbours = args.neighbours(at);
        let mut seen: HashMap<String, &Args> = HashMap::new();
        for args in &neighbours {
            let key = args.key().to_string();
            let before = seen.entry(key.clone()).or_insert(args);
            prop_assert_eq!(*before, args, "both have the key {}", key);
        }
        // And one value has one key.
        prop_assert_eq!(args.key(), args.clone().key());
    }

    #[test]
    fn keys_hold_legal_bytes_and_act_as_no_pattern(args in args()) {
        let key = args.key();
        prop_assert!(key.as_str().len() <= 1024);
        if key.as_str().len() < 1024 {
            check_legal(key.as_str())?;
            let pattern = KeyPattern::new(key.as_str());
            prop_assert_eq!(pattern.literal_prefix(), key.as_str().as_bytes());
            prop_assert!(pattern.matches(key.as_str().as_bytes()));
        }
    }

    #[test]
    fn any_text_makes_a_legal_key(text: String, name: String, prefix: String) {
        let key = Key::new(&prefix).part(&name, &text);
        if key.as_str().len() < 1024 {
            check_legal(key.as_str())?;
        }
        prop_assert_eq!(Key::new(&prefix).part(&name, &text), key);
    }

    #[test]
    fn the_order_of_parts_does_not_matter(
        parts in btree_map("[a-z_.]{1,3}", text(), 0..8),
        odd in btree_map(text(), text(), 0..4),
        seed: Index,
    ) {
        let sorted: Vec<_> = parts.iter().collect();
        let mut turned = sorted.clone();
        turned.rotate_left(seed.index(parts.len().max(1)));
        turned.reverse();
        let build = |parts: &[(&String, &String)]| {
            let mut key = KeyBuilder::new("p");
            for (name, value) in parts {
                key.part(name, *value);
            }
            key.finish()
        };
        prop_assert_eq!(build(&sorted), build(&turned));
        let by_hand = turned.iter().fold(Key::new("p"), |key, (name, value)| key.part(name, *value));
        prop_assert_eq!(build(&sorted), by_hand);
        // Written by hand a name may hold anything.
        let add = |key: Key, (name, value): (&String, &String)| key.part(name, value);
        prop_assert_eq!(odd.iter().fold(Key::new("p"), add), odd.iter().rev().fold(Key::new("p"), add));
    }

    #[test]
    fn long_keys_are_told_apart_too(piece in select(PIECES), count in 200_usize..1500, other in 200_usize..1500) {
        let key = |count: usize| Key::new("p").part("v", &piece.repeat(count));
        prop_assert!(key(count).as_str().len() <= 1024);
        prop_assert_eq!(key(count) == key(other), count == other);
        prop_assert!(key(count).as_str().starts_with("p:v="));
    }
}

/// Panics where two of `values` have one key.
fn distinct<T: CacheKey + Debug>(values: impl IntoIterator<Item = T>) -> usize {
    let mut seen: HashMap<String, T> = HashMap::new();
    let mut count = 0;
    for value in values {
        let key = Key::new("p").part("v", &value).to_string();
        count += 1;
        if let Some(other) = seen.insert(key.clone(), value) {
            panic!("{other:?} and {:?} have the key {key}", seen[&key]);
        }
    }
    count
}

/// All texts of up to two of the pieces that are hard on each other.
fn small_texts() -> Vec<String> {
    let pieces = ["a", "%", ",", "=", "&", "2C", "-", ".", "+", "5"];
    let mut texts = vec![String::new()];
    for first in pieces {
        texts.push(first.to_owned());
        texts.extend(pieces.iter().map(|second| format!("{first}{second}")));
    }
    texts.sort();
    texts.dedup();
    texts
}

/// Lists of up to two of `items`.
fn small_lists<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let mut lists = vec![vec![]];
    for first in items {
        lists.push(vec![first.clone()]);
        lists.extend(
            items
                .iter()
                .map(|second| vec![first.clone(), second.clone()]),
        );
    }
    lists
}

fn options<T: Clone>(items: &[T]) -> Vec<Option<T>> {
    std::iter::once(None)
        .chain(items.iter().cloned().map(Some))
        .collect()
}

#[test]
fn all_small_values_have_keys_of_their_own() {
    let texts = small_texts();
    let few: Vec<String> = ["", "a", ",", "%", "%-", "%.", "a=", "&"]
        .map(str::to_owned)
        .into();
    assert!(distinct(&texts) > 90);
    distinct(options(&options(&options(&texts))));
    distinct(small_lists(&texts));
    distinct(options(&small_lists(&options(&options(&few)))));
    distinct(small_lists(&small_lists(&few)));
    distinct(small_lists(&small_lists(&options(&few[..3]))));
    let filters: Vec<Filter> = options(&few)
        .into_iter()
        .flat_map(|status| {
            small_lists(&few[..4]).into_iter().map(move |tags| Filter {
                status: status.clone(),
                tags,
            })
        })
        .collect();
    distinct(options(&filters));
    assert!(distinct(small_lists(&options(&filters))) > 30_000);
    distinct(
        few.iter()
            .flat_map(|one| small_lists(&few).into_iter().map(move |two| (one, two))),
    );
    let entries: Vec<(String, String)> = few
        .iter()
        .flat_map(|key| few.iter().map(move |value| (key.clone(), value.clone())))
        .collect();
    let mut maps: Vec<BTreeMap<String, String>> = small_lists(&entries)
        .into_iter()
        .map(|list| list.into_iter().collect())
        .collect();
    maps.sort();
    maps.dedup();
    distinct(maps);
    distinct(options(&options(&[(), ()][..1])));
    distinct(options(&small_lists(&options(&[()]))));
}

#[test]
fn every_character_has_a_text_of_its_own() {
    assert!(distinct('\0'..=char::MAX) > 1_000_000);
}
