//! The rules one by one; random pairs go to a live server in `tests/property`.

use super::*;

/// Panics unless `pattern` matches each of `yes` and none of `no`.
fn check(pattern: impl AsRef<[u8]>, yes: &[&[u8]], no: &[&[u8]]) {
    let pattern = KeyPattern::new(pattern);
    for key in yes {
        assert!(
            pattern.matches(key),
            "{pattern:?} has to match {:?}",
            key.escape_ascii().to_string()
        );
        assert!(key.starts_with(pattern.literal_prefix()));
    }
    for key in no {
        assert!(
            !pattern.matches(key),
            "{pattern:?} must not match {:?}",
            key.escape_ascii().to_string()
        );
    }
}

#[test]
fn bytes_and_single_wildcards() {
    check(
        "a/b:c.d",
        &[b"a/b:c.d"],
        &[b"A/b:c.d", b"a/b:c.d ", b"", b"a"],
    );
    check(
        "?",
        &[b"a", b"/", b"\n", b"\0", b"\xff"],
        &["é".as_bytes(), b"", b"ab"],
    );
    check("??", &["é".as_bytes()], &[b"a"]);
    check("", &[b""], &[b"a"]);
}

#[test]
fn stars() {
    check("*", &[b"", b"a", b"\xff/\n"], &[]);
    check("**", &[b"a", b"a/b"], &[b""]);
    check("***", &[b"a"], &[b""]);
    check("a*", &[b"a", b"a/b:c"], &[b"", b"b", b"ba"]);
    check("a**", &[b"a", b"ab"], &[b""]);
    check("a**b", &[b"ab", b"a/x/b"], &[b"a", b"abc"]);
    check("*a*b*", &[b"ab", b"xaxbx"], &[b"ba", b""]);
    check("/**/b", &[b"/x/b", b"//b", b"/x/y/b"], &[b"/b"]);
    check("*.x", &[b".x", b"a/.x"], &[b"x"]);
}

#[test]
fn classes() {
    check("[abc]", &[b"a", b"c"], &[b"d", b"", b"ab"]);
    check("[^abc]", &[b"d", b"^", b"\xff"], &[b"a", b""]);
    check("[!a]", &[b"!", b"a"], &[b"b"]);
    check("[a^]", &[b"a", b"^"], &[b"b"]);
    check("[]", &[], &[b"", b"]", b"a", b"[]"]);
    check("[^]", &[b"a", b"]"], &[b"", b"ab"]);
    check("[]a]", &[], &[b"]", b"a", b"]a]", b"a]"]);
    check("*[]*", &[], &[b"", b"a", b"[]"]);
    check("[^]]", &[b"a]"], &[b"a", b"]"]);
    check("[a-z]*[0-9]", &[b"a1", b"xx/9"], &[b"A1", b"1", b"a"]);
}

#[test]
fn classes_that_nothing_closes() {
    check("[abc", &[b"a", b"c"], &[b"[abc", b"["]);
    check("[", &[], &[b"[", b"", b"a"]);
    check("[^", &[b"a", b"["], &[b""]);
    check("x[", &[], &[b"x", b"x["]);
}

#[test]
fn ranges() {
    check("[c-a]", &[b"a", b"b", b"c"], &[b"d", b"-"]);
    check("[a-]", &[b"]", b"^", b"_", b"`", b"a"], &[b"-", b"b"]);
    check("[a-]x", &[b"]", b"a", b"x"], &[b"ax", b"-"]);
    check("[a-\\c]", &[b"\\", b"^", b"a", b"c"], &[b"b", b"["]);
    check("[-a]", &[b"-", b"a"], &[b"b"]);
    check("[a\\-z]", &[b"a", b"-", b"z"], &[b"b"]);
    check("[a-", &[b"a", b"-"], &[b"b"]);
    check("[!-~]", &[b"!", b"-", b"]", b"~"], &[b" ", b"\x7f"]);
    check("[]-a]", &[], &[b"]", b"a"]);
    check("[^!-~]", &[b" ", b"\x80"], &[b"a", b"]"]);
}

#[test]
fn ranges_are_signed() {
    check(
        b"[\x80-\x00]",
        &[b"\x80", b"\xff", b"\0"],
        &[b"\x01", b"\x7f"],
    );
    check(b"[\x7f-\x80]", &[b"\x7f", b"\x80", b"a", b"\xc0"], &[]);
    check(
        b"[a-\xc3]",
        &[b"a", b"\0", b"\xc3", b"\xff"],
        &[b"b", b"\xc2"],
    );
}

#[test]
fn backslashes() {
    check("\\a\\n", &[b"an"], &[b"a\n", b"\\a\\n"]);
    check("\\*", &[b"*"], &[b"a", b"\\*"]);
    check("a\\", &[b"a\\"], &[b"a"]);
    check("[\\a-c]", &[b"a", b"-", b"c"], &[b"b", b"\\"]);
    check("[\\]", &[b"]"], &[b"\\"]);
    check("[\\", &[b"\\"], &[b"["]);
    check("[^\\]]", &[b"a"], &[b"]", b"a]"]);
}

#[test]
fn nothing_else_is_special() {
    check("{a,b}", &[b"{a,b}"], &[b"a"]);
    check("(?i)a", &[b"(xi)a"], &[b"a", b"A"]);
    check("+(a)", &[b"+(a)"], &[b"a"]);
    check("!a", &[b"!a"], &[b"b"]);
}

/// `stars` groups, with something behind each of them.
fn starred(stars: usize) -> String {
    "*a".repeat(stars)
}

#[test]
fn a_thousand_stars_and_no_more() {
    let key = "a".repeat(2000);
    check(starred(1000), &[key.as_bytes()], &[b"a"]);
    check(starred(1000) + "*", &[key.as_bytes()], &[b"a"]);
    check(starred(1001), &[], &[key.as_bytes()]);
    check("*".repeat(5000) + "a", &[b"a", b"xa"], &[b"x"]);
}

#[test]
fn many_stars_take_no_more_than_key_times_pattern() {
    let key = "a".repeat(20_000);
    // Anything worse than that would not end.
    check(starred(900) + "b", &[], &[key.as_bytes()]);
    check("*a?[a-c]".repeat(250) + "b", &[], &[key.as_bytes()]);
    check("*aaaaaaaab".repeat(100), &[], &[key.as_bytes()]);
}

#[test]
fn an_escaped_text_matches_itself_alone() {
    for text in ["a*b?[c]\\d^-!{}", "*", "\\", "", "[^a]", "é/x:"] {
        let pattern = KeyPattern::new(KeyPattern::escape(text));
        assert!(pattern.matches(text.as_bytes()), "{pattern:?}");
        assert_eq!(pattern.literal_prefix(), text.as_bytes());
        assert!(!pattern.matches(format!("{text}x").as_bytes()));
        let around = KeyPattern::new(format!("x{}[a]*", KeyPattern::escape(text)));
        assert!(around.matches(format!("x{text}a").as_bytes()), "{around:?}");
    }
}

#[test]
fn namespaces_are_literal() {
    let pattern = KeyPattern::new("*").under_namespace("a*");
    assert_eq!(pattern.as_bytes(), b"a\\*:*");
    assert!(pattern.matches(b"a*:") && pattern.matches(b"a*:x") && !pattern.matches(b"ab:x"));
    assert!(KeyPattern::new("*").is_everything() && !KeyPattern::new("**").is_everything());
}

#[test]
fn patterns_print_and_compare_as_they_were_given() {
    let pattern = KeyPattern::new(b"a\xff\"*");
    assert_eq!(pattern.to_string(), "a\u{fffd}\"*");
    assert_eq!(format!("{pattern:?}"), "KeyPattern(\"a\\xff\\\"*\")");
    assert_eq!(pattern, pattern.clone());
    assert_ne!(KeyPattern::new("a**"), KeyPattern::new("a*"));
}
