//! `KeyPattern` against a live server: the same verdict on random pairs, rule by rule.

use std::cell::RefCell;
use std::collections::BTreeSet;

use dexter_cache::KeyPattern;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{TestError, TestRng, TestRunner};
use support::{Client, RedisServer, Reply};

/// What the server's rules are about; each pattern knows which of them it puts to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    /// Bytes: `?` and negated classes on a key that is not ASCII.
    Bytes,
    /// `?`, `*` and classes on `/`, newline and NUL.
    Ordinary,
    /// Several stars in a row.
    StarsInARow,
    /// The empty key against patterns of stars alone, and the empty pattern.
    EmptyKey,
    /// `[]` and `[^]`, or a `]` that ends a class early.
    EmptyClass,
    /// `!` in a class.
    Bang,
    /// A class that nothing closes.
    Unclosed,
    /// A range with its bounds in the wrong order.
    Reversed,
    /// A range whose second bound is `]` or `\`.
    SpecialBound,
    /// A backslash outside a class.
    Backslash,
    /// A backslash as the last byte.
    TrailingBackslash,
    /// A backslash in a class.
    BackslashInClass,
    /// A range across 0x80.
    Signed,
    /// About a thousand stars.
    Thousand,
}

const RULES: [Rule; 14] = [
    Rule::Bytes,
    Rule::Ordinary,
    Rule::StarsInARow,
    Rule::EmptyKey,
    Rule::EmptyClass,
    Rule::Bang,
    Rule::Unclosed,
    Rule::Reversed,
    Rule::SpecialBound,
    Rule::Backslash,
    Rule::TrailingBackslash,
    Rule::BackslashInClass,
    Rule::Signed,
    Rule::Thousand,
];

#[derive(Debug, Clone)]
enum Piece {
    Literal(u8),
    Any,
    Stars(usize),
    Escaped(u8),
    Class(bool, Vec<Item>),
}

#[derive(Debug, Clone)]
enum Item {
    Byte(u8),
    Range(u8, u8),
    Escaped(u8),
}

/// How a pattern ends.
#[derive(Debug, Clone)]
enum End {
    Plain,
    Backslash,
    Unclosed(bool, Vec<Item>),
}

const LITERALS: &[u8] = b"aabbc-^!]/:.\n\0\x7f\x80\xc3\xa9\xff";
const ALL: &[u8] = b"abc-^!][\\*?/\n\0\x7f\x80\xc3\xa9\xff";

fn item() -> impl Strategy<Value = Item> {
    let bound = || select(&b"abcz-^!0\x01\x7f\x80\xc3\xff"[..]);
    prop_oneof![
        6 => select(&b"abc-^!*?[/\n\x80\xff"[..]).prop_map(Item::Byte),
        1 => Just(Item::Byte(b']')),
        4 => (bound(), bound()).prop_map(|(from, to)| Item::Range(from, to)),
        2 => (bound(), select(&b"]\\"[..])).prop_map(|(from, to)| Item::Range(from, to)),
        2 => select(ALL).prop_map(Item::Escaped),
    ]
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        6 => select(LITERALS).prop_map(Piece::Literal),
        2 => Just(Piece::Any),
        2 => Just(Piece::Stars(1)),
        1 => (2_usize..4).prop_map(Piece::Stars),
        2 => select(ALL).prop_map(Piece::Escaped),
        3 => (any::<bool>(), vec(item(), 0..4)).prop_map(|(negated, items)| Piece::Class(negated, items)),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        10 => Just(End::Plain),
        1 => Just(End::Backslash),
        2 => (any::<bool>(), vec(item(), 0..3)).prop_map(|(negated, items)| End::Unclosed(negated, items)),
    ]
}

/// A pattern, the keys to try it on, and the rules that it is about.
#[derive(Debug, Clone)]
struct Case {
    pattern: Vec<u8>,
    keys: BTreeSet<Vec<u8>>,
    rules: BTreeSet<Rule>,
}

fn case() -> impl Strategy<Value = Case> {
    let stars = (1_usize..4).prop_map(|stars| (vec![Piece::Stars(stars)], End::Plain));
    let nothing = Just((vec![], End::Plain));
    let mixed = (vec(piece(), 1..6), end());
    prop_oneof![20 => mixed, 1 => stars, 1 => nothing].prop_perturb(|(pieces, end), mut rng| {
        let keys = (0..60)
            .map(|_| key(&pieces, &end, &mut rng))
            .chain([vec![]])
            .collect();
        let (pattern, rules) = render(&pieces, &end);
        Case {
            pattern,
            keys,
            rules,
        }
    })
}

fn render(pieces: &[Piece], end: &End) -> (Vec<u8>, BTreeSet<Rule>) {
    let (mut out, mut rules) = (vec![], BTreeSet::new());
    for piece in pieces {
        match piece {
            Piece::Literal(byte) => out.push(*byte),
            Piece::Any => out.push(b'?'),
            Piece::Stars(count) => {
                if out.last() == Some(&b'*') || *count > 1 {
                    rules.insert(Rule::StarsInARow);
                }
                out.extend(vec![b'*'; *count]);
            }
            Piece::Escaped(byte) => {
                rules.insert(Rule::Backslash);
                out.extend([b'\\', *byte]);
            }
            Piece::Class(negated, items) => {
                if items.is_empty() {
                    rules.insert(Rule::EmptyClass);
                }
                render_class(*negated, items, &mut out, &mut rules);
                out.push(b']');
            }
        }
    }
    match end {
        End::Plain => {}
        End::Backslash => {
            rules.insert(Rule::TrailingBackslash);
            out.push(b'\\');
        }
        End::Unclosed(negated, items) => {
            rules.insert(Rule::Unclosed);
            render_class(*negated, items, &mut out, &mut rules);
        }
    }
    if out.iter().all(|&byte| byte == b'*') {
        rules.insert(Rule::EmptyKey);
    }
    (out, rules)
}

fn render_class(negated: bool, items: &[Item], out: &mut Vec<u8>, rules: &mut BTreeSet<Rule>) {
    out.push(b'[');
    if negated {
        out.push(b'^');
    }
    for item in items {
        match *item {
            Item::Byte(byte) => {
                match byte {
                    b'!' => drop(rules.insert(Rule::Bang)),
                    b']' => drop(rules.insert(Rule::EmptyClass)),
                    _ => {}
                }
                out.push(byte);
            }
            Item::Range(from, to) => {
                if from.cast_signed() > to.cast_signed() {
                    rules.insert(Rule::Reversed);
                }
                if matches!(to, b']' | b'\\') {
                    rules.insert(Rule::SpecialBound);
                }
                if from.is_ascii() != to.is_ascii() {
                    rules.insert(Rule::Signed);
                }
                out.extend([from, b'-', to]);
            }
            Item::Escaped(byte) => {
                rules.insert(Rule::BackslashInClass);
                out.extend([b'\\', byte]);
            }
        }
    }
}

/// A number below `end`.
fn below(rng: &mut TestRng, end: usize) -> usize {
    usize::try_from(rng.next_u32()).unwrap() % end
}

fn pick(rng: &mut TestRng, bytes: &[u8]) -> u8 {
    bytes[below(rng, bytes.len())]
}

/// A key that the pattern is likely to match, or one that misses it by a byte.
fn key(pieces: &[Piece], end: &End, rng: &mut TestRng) -> Vec<u8> {
    let mut out = vec![];
    for piece in pieces {
        match piece {
            Piece::Literal(byte) | Piece::Escaped(byte) => out.push(*byte),
            Piece::Any => out.push(pick(rng, ALL)),
            Piece::Stars(_) => (0..below(rng, 3)).for_each(|_| out.push(pick(rng, ALL))),
            Piece::Class(negated, items) => out.push(member(*negated, items, rng)),
        }
    }
    match end {
        End::Plain => {}
        End::Backslash => out.push(b'\\'),
        End::Unclosed(negated, items) => out.push(member(*negated, items, rng)),
    }
    let at = below(rng, out.len() + 1);
    match below(rng, 8) {
        0 => out.insert(at, pick(rng, ALL)),
        1 if at < out.len() => drop(out.remove(at)),
        2 if at < out.len() => out[at] = pick(rng, ALL),
        3 if at < out.len() => out[at] = out[at].wrapping_add(1),
        _ => {}
    }
    out
}

fn member(negated: bool, items: &[Item], rng: &mut TestRng) -> u8 {
    if negated || items.is_empty() {
        return pick(rng, ALL);
    }
    match items[below(rng, items.len())] {
        Item::Byte(byte) | Item::Escaped(byte) => byte,
        Item::Range(from, to) => {
            let (from, to) = (from.cast_signed(), to.cast_signed());
            let (from, to) = (from.min(to), from.max(to));
            let width = usize::from(to.abs_diff(from)) + 1;
            from.cast_unsigned()
                .wrapping_add(u8::try_from(below(rng, width)).unwrap())
        }
    }
}

/// Which of `keys` the server lets pass: they are stored, and a scan with the pattern says.
fn verdicts(client: &mut Client, pattern: &[u8], keys: &BTreeSet<Vec<u8>>) -> BTreeSet<Vec<u8>> {
    let mut set: Vec<&[u8]> = vec![b"MSET"];
    set.extend(keys.iter().flat_map(|key| [&key[..], b""]));
    client.send(&[b"FLUSHALL"]).unwrap();
    client.send(&set).unwrap();
    let mut found = BTreeSet::new();
    let mut cursor = b"0".to_vec();
    let mut pending = 2;
    loop {
        client
            .send(&[b"SCAN", &cursor[..], b"MATCH", pattern, b"COUNT", b"1000"])
            .unwrap();
        while pending > 0 {
            assert_eq!(client.receive().unwrap(), Reply::Status("OK".into()));
            pending -= 1;
        }
        let Reply::Array(reply) = client.receive().unwrap() else {
            panic!("SCAN gives an array")
        };
        let [Reply::Bulk(next), Reply::Array(page)] = &reply[..] else {
            panic!("SCAN gives a cursor and keys")
        };
        for key in page {
            let Reply::Bulk(key) = key else {
                panic!("a key is a string of bytes")
            };
            found.insert(key.clone());
        }
        cursor.clone_from(next);
        if cursor == b"0" {
            return found;
        }
    }
}

/// How many pairs were tried, and how many of them match: in all, and for each rule.
#[derive(Debug, Default)]
struct Tally {
    all: [usize; 2],
    rules: [[usize; 2]; RULES.len()],
}

impl Tally {
    fn count(&mut self, case: &Case, key: &[u8], matches: bool) {
        let wild = case.pattern.iter().any(|byte| b"?*[".contains(byte));
        let verdict = usize::from(matches);
        self.all[verdict] += 1;
        for (rule, counts) in RULES.iter().zip(&mut self.rules) {
            let reached = match rule {
                Rule::Bytes => wild && !key.is_ascii(),
                Rule::Ordinary => wild && key.iter().any(|byte| b"/\n\0".contains(byte)),
                Rule::EmptyKey => case.rules.contains(rule) && key.len() < 2,
                _ => case.rules.contains(rule),
            };
            counts[verdict] += usize::from(reached);
        }
    }
}

#[test]
fn a_live_server_says_the_same() {
    let server = RedisServer::start();
    let client = RefCell::new(server.client());
    let tally = RefCell::new(Tally::default());
    let check = |case: Case| {
        let pattern = KeyPattern::new(&case.pattern);
        let found = verdicts(&mut client.borrow_mut(), &case.pattern, &case.keys);
        for key in &case.keys {
            let here = pattern.matches(key);
            prop_assert_eq!(
                here,
                found.contains(key),
                "{:?} on b\"{}\": here against there",
                pattern,
                key.escape_ascii()
            );
            prop_assert!(!here || key.starts_with(pattern.literal_prefix()));
            // What is in front is literal, and does not change what is behind it.
            let name = "n*[s]";
            let whole = [name.as_bytes(), b":", key].concat();
            prop_assert!(key.is_empty() || pattern.under_namespace(name).matches(&whole) == here);
            tally.borrow_mut().count(&case, key, here);
        }
        Ok(())
    };
    let config = ProptestConfig {
        cases: 1500,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if let Err(TestError::Fail(reason, _)) = TestRunner::new(config).run(&case(), check) {
        panic!("{reason}");
    }
    // Longer than a random pattern becomes: as many stars as a server follows, and one more.
    for stars in (900..=1100).step_by(50).chain(995..=1005) {
        for tail in ["", "*", "b", "**"] {
            let pattern = ["*a".repeat(stars), tail.to_owned()].concat().into_bytes();
            let keys = [0, 1, 990, 1000, 1001, 1010, 1200]
                .map(|length| "a".repeat(length) + if tail == "b" { "b" } else { "" });
            let keys = keys.map(String::into_bytes).into_iter().collect();
            let case = Case {
                pattern,
                keys,
                rules: BTreeSet::from([Rule::Thousand]),
            };
            if let Err(error) = check(case) {
                panic!("{error}");
            }
        }
    }
    let Tally {
        all: [no, yes],
        rules,
    } = tally.into_inner();
    let counts: Vec<_> = RULES.iter().zip(rules).collect();
    println!("{} pairs, {yes} match\n{counts:#?}", no + yes);
    assert!(no + yes >= 20_000, "{no} + {yes} pairs");
    assert!(yes * 4 >= no + yes, "{yes} of {} match", no + yes);
    for (rule, [no, yes]) in counts {
        assert!(no >= 50 && yes >= 50, "{rule:?}: {yes} match, {no} do not");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_escaped_text_matches_itself_alone(text: String, other: String) {
        let pattern = KeyPattern::new(KeyPattern::escape(&text));
        prop_assert!(pattern.matches(text.as_bytes()));
        prop_assert_eq!(pattern.matches(other.as_bytes()), text == other);
    }
}
