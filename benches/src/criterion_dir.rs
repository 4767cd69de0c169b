//! Where criterion writes, and figures beside its own.

use std::fs;
use std::path::PathBuf;

/// The directory that criterion writes to: `CRITERION_HOME`, else `criterion` under the target directory.
pub fn criterion_dir() -> PathBuf {
    if let Some(home) = std::env::var_os("CRITERION_HOME") {
        return home.into();
    }
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(
            || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
            PathBuf::from,
        )
        .join("criterion")
}

/// Prints a figure that criterion does not measure (a number of loads, a hit ratio, a p99), and keeps it for the report.
///
/// # Panics
///
/// If the file cannot be written.
pub fn note(group: &str, row: &str, what: &str, figure: &str) {
    println!("{group} / {row}: {what} {figure}");
    keep(group, row, what, figure);
}

/// As [`note`], without printing.
///
/// # Panics
///
/// If the file cannot be written.
pub fn keep(group: &str, row: &str, what: &str, figure: &str) {
    let folder = criterion_dir().join("notes");
    let name: String = format!("{group} {row} {what}")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    fs::create_dir_all(&folder).expect("the folder for notes can be made");
    fs::write(
        folder.join(name),
        format!("{group}\t{row}\t{what}\t{figure}\n"),
    )
    .expect("a note can be written");
}
