//! The rooms of the core: data flows down, so a file imports from rooms below its own, never above.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// From the top down. Rooms of one line know each other.
const ROOMS: &[&[&str]] = &[
    &["lib"],
    &["test_util"],
    &["__private", "http"],
    &[
        "builder",
        "values",
        "invalidate",
        "meters",
        "cache",
        "get_or_load",
        "get_or_load_many",
        "inner",
        "deferred",
        "load",
        "call",
        "global",
    ],
    &["tier"],
    &["flight"],
    &["site", "record", "stats", "background"],
    &["backend"],
    &[
        "shape", "share", "wire", "target", "health", "ttl", "policy", "tag",
    ],
    &["pattern"],
    &["key"],
    &["clock", "error", "guard", "kept", "sync", "telemetry"],
];

#[test]
fn no_file_imports_from_a_room_above_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/dexter-cache/src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(
        files.len() > 30,
        "the sources are where they are looked for"
    );
    let floor: BTreeMap<&str, usize> = ROOMS
        .iter()
        .enumerate()
        .flat_map(|(floor, rooms)| rooms.iter().map(move |room| (*room, floor)))
        .collect();
    let mut upward = Vec::new();
    for file in files {
        let within = file.strip_prefix(&root).expect("collected below the root");
        let room = within
            .iter()
            .next()
            .and_then(|first| Path::new(first).file_stem());
        let room = room.and_then(|room| room.to_str()).expect("a name");
        let own = *floor
            .get(room)
            .unwrap_or_else(|| panic!("{room} has no place in ROOMS"));
        let text = fs::read_to_string(&file).expect("a source file");
        let code = text.split("#[cfg(test)]").next().unwrap_or(&text);
        for line in code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            for import in line.split("crate::").skip(1) {
                let import: String = import
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                if floor.get(import.as_str()).is_some_and(|other| *other < own) {
                    upward.push(format!("{}: {}", within.display(), line.trim()));
                }
            }
        }
    }
    assert!(upward.is_empty(), "upward imports:\n{}", upward.join("\n"));
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "tests") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs")
            && path.file_stem().is_some_and(|stem| stem != "tests")
        {
            files.push(path);
        }
    }
}
