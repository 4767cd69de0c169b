//! Makes a page of what criterion has measured: `cargo run -p benches --bin report [folder]`.
//!
//! Reads `target/criterion` (or `CRITERION_HOME`), writes `report.md` and one SVG for each group into the folder, by
//! default `target/report`. Every row that was measured is shown, also where another crate is faster.

mod machine;
mod measured;
mod page;
mod plot;

use std::path::PathBuf;
use std::process::ExitCode;
use std::{fs, io};

fn main() -> ExitCode {
    let criterion = benches::criterion_dir();
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(|| criterion.with_file_name("report"), PathBuf::from);
    let groups = measured::read(&criterion);
    if groups.is_empty() {
        eprintln!(
            "nothing was measured yet: there are no estimates under {}; run `cargo bench -p benches --bench l1_hit` \
             first",
            criterion.display()
        );
        return ExitCode::FAILURE;
    }
    match write(&folder, &groups) {
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

fn write(folder: &PathBuf, groups: &[measured::Group]) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    for group in groups {
        fs::write(folder.join(plot::file_name(group)), plot::svg(group))?;
    }
    let path = folder.join("report.md");
    fs::write(&path, page::markdown(groups))?;
    Ok(path)
}
