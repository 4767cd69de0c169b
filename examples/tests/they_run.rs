//! Each example runs by itself, without a Redis, and ends.
//!
//! `cargo test -p examples` builds them first; so does `cargo test` at the top.

use std::path::PathBuf;
use std::process::{Command, Output};

/// Those that end by themselves: all but the service.
const PROGRAMS: [&str; 15] = [
    "bypass_and_refresh",
    "custom_backend",
    "derive_key",
    "get_or_load",
    "http_handler",
    "invalidation",
    "many_and_warm",
    "methods",
    "outage",
    "quickstart",
    "readme",
    "stale",
    "tags",
    "tiered",
    "transaction",
];

fn run(name: &str) -> Output {
    let program = built(name);
    let output = Command::new(&program)
        // Nobody listens there.
        .env("REDIS_URL", "redis://127.0.0.1:1/0")
        .env_remove("DEXTER_CACHE")
        .output();
    output.unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

/// Examples lie beside the folder of the tests.
fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test knows its path");
    let profile = test
        .parent()
        .and_then(|deps| deps.parent())
        .expect("it lies in a folder of a folder");
    profile.join("examples").join(name)
}

#[test]
fn each_ends_well_and_says_something() {
    for name in PROGRAMS {
        let output = run(name);
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}:\n{said}\n{complained}");
        assert!(!said.is_empty(), "{name} says nothing");
        assert_eq!(complained, "", "{name}");
    }
}

#[test]
fn none_is_left_out() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    for entry in std::fs::read_dir(folder).expect("the examples are there") {
        let name = entry.expect("a readable folder").file_name();
        let name = name.to_string_lossy();
        let name = name.trim_end_matches(".rs");
        assert!(
            name == "issues_api" || PROGRAMS.contains(&name),
            "{name} is not run"
        );
    }
}

#[test]
fn quickstart_shows_what_it_claims() {
    let said = String::from_utf8(run("quickstart").stdout).expect("it writes text");
    // The call, then `X-Cache` where there is one, then how often the function ran.
    let rows: Vec<(&str, &str, u32)> = said
        .lines()
        .filter_map(|line| {
            let (call, rest) = line.strip_prefix("  ")?.split_at_checked(34)?;
            let verdict = rest.get(..8)?.trim();
            let runs = rest.get(8..12)?.trim().parse().ok()?;
            Some((call.trim(), verdict, runs))
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("get_issue(7)", "MISS", 1),
            ("get_issue(7)", "HIT", 0),
            ("bypass(get_issue(7))", "BYPASS", 1),
            ("close_issue(7)", "", 0),
            ("get_issue(7)", "MISS", 1),
            ("1000 x get_issue(8) at once", "MISS", 1),
            ("get_issue(1)", "MISS", 1),
            ("get_issue(2)", "MISS", 1),
            ("get_issue(1)", "HIT", 0),
            ("get_issue(1)", "MISS", 1),
            ("get_issue(1)", "HIT", 0),
            ("get_issue(3)", "MISS", 1),
            ("get_issue::remove(1)", "", 0),
            ("(nobody calls)", "", 0),
            ("get_issue(1)", "MISS", 1),
            ("get_issue(2)", "HIT", 0),
        ],
        "{said}"
    );
}
