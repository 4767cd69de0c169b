//! What the compiler says: one mistake a file, one error each, at the token that is wrong.

use std::fs;

/// Mistakes that a macro cannot see: the compiler reports what becomes of them, and one of its errors has to say what
/// to write. (Name, number of errors, what is said.)
const MORE_THAN_ONE: &[(&str, usize, &str)] = &[
    // An attribute is not told that it is inside of an `impl`.
    (
        "associated_without_assoc_or_self",
        4,
        "in_an_impl_write_cached_assoc",
    ),
    // Nor what else is named like its function.
    ("companion_taken_by_module", 3, "write_companion_none"),
    // Nor that the `impl` is one of a trait.
    (
        "trait_impl_with_companions",
        10,
        "in_an_impl_of_a_trait_write_companion_none",
    ),
];

#[test]
fn messages() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass/*.rs");
    cases.compile_fail("ui/fail/*.rs");
}

#[test]
fn one_error_each() {
    let mut more = MORE_THAN_ONE.to_vec();
    for entry in fs::read_dir("ui/fail").expect("the tests' own directory") {
        let path = entry.expect("an entry").path();
        if path
            .extension()
            .is_none_or(|extension| extension != "stderr")
        {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a text");
        let errors = text
            .lines()
            .filter(|line| line.starts_with("error"))
            .count();
        let name = path.file_stem().expect("a name").to_string_lossy();
        let excepted = more.iter().position(|(case, ..)| *case == name);
        match excepted.map(|index| more.swap_remove(index)) {
            Some((_, expected, said)) => {
                assert_eq!(errors, expected, "{name}");
                assert!(text.contains(said), "{name} does not say `{said}`");
            }
            None => assert_eq!(errors, 1, "{name}"),
        }
    }
    assert!(more.is_empty(), "no such cases: {more:?}");
}
