//! Makes a page of what criterion has measured: `cargo run -p benches --bin report [folder]`.
//!
//! Reads `target/criterion` (or `CRITERION_HOME`), writes `report.md` and SVGs into the folder, by default `target/report`: one
//! for each question, and `overview.svg`. Every row that was measured is shown, also where another crate is faster, and
//! every goal, also where it is not reached.

mod goals;
mod machine;
mod measured;
mod page;
mod plot;
mod questions;

use std::path::PathBuf;
use std::process::ExitCode;
use std::{fs, io};

use measured::{Group, Measured};
use questions::{OVERVIEW, QUESTIONS, question};

fn main() -> ExitCode {
    let criterion = benches::criterion_dir();
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(|| criterion.with_file_name("report"), PathBuf::from);
    let measured = measured::read(&criterion);
    if measured.0.is_empty() {
        eprintln!(
            "nothing was measured yet: there are no estimates under {}; run `cargo bench -p benches --bench l1_hit` \
             first",
            criterion.display()
        );
        return ExitCode::FAILURE;
    }
    match write(&folder, &measured) {
        Ok(page) => {
            println!("{}", page.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!(
                "the report cannot be written to {}: {error}",
                folder.display()
            );
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &PathBuf, measured: &Measured) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    for (word, title) in QUESTIONS {
        let groups = measured.0.iter();
        let panels: Vec<(&str, &Group)> = groups
            .filter(|group| question(&group.name) == *word && !group.rows.is_empty())
            .map(|group| (group.name.as_str(), group))
            .collect();
        if !panels.is_empty() {
            fs::write(
                folder.join(plot::file_name(word)),
                plot::svg(title, &panels),
            )?;
        }
    }
    let panels: Vec<(&str, &Group)> = OVERVIEW
        .iter()
        .filter_map(|(group, title)| Some((*title, measured.group(group)?)))
        .collect();
    if !panels.is_empty() {
        let title = "dexter-cache beside other crates: time a call, shorter is better";
        fs::write(folder.join("overview.svg"), plot::svg(title, &panels))?;
    }
    let path = folder.join("report.md");
    fs::write(&path, page::markdown(measured))?;
    Ok(path)
}
