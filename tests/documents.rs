//! What the documents show is what compiles.

const README: &str = include_str!("../README.md");
const EXAMPLE: &str = include_str!("../examples/examples/readme.rs");

fn squeezed(code: &str) -> Vec<&str> {
    code.split_whitespace().collect()
}

#[test]
fn the_readme_shows_the_example_that_compiles() {
    let shown = README
        .split("```rust\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let compiled = EXAMPLE
        .split("// [README]\n")
        .nth(1)
        .and_then(|rest| rest.split("// [/README]").next());
    assert_eq!(
        squeezed(shown.expect("the README opens with code")),
        squeezed(compiled.expect("the example marks what the README shows"))
    );
}

#[test]
fn each_example_is_listed() {
    let list = include_str!("../examples/README.md");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/examples");
    for entry in std::fs::read_dir(folder).expect("the examples are there") {
        let name = entry.expect("a readable folder").file_name();
        let name = name.to_string_lossy();
        let name = name.trim_end_matches(".rs");
        assert!(
            list.contains(&format!("`{name}`")),
            "examples/README.md does not list {name}"
        );
    }
}
