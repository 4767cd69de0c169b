//! How many crates does a cache bring along, and how long does a cold build of them take?
//!
//! `cargo run -p benches --bin footprint` counts: for each line a scratch project with these dependencies is made in a
//! temporary directory, and `cargo tree` says what it pulls in (build scripts and procedural macros too, the crate itself
//! too, each version once). With `-- --build` each is also built from nothing, once, which takes some minutes. Crates that
//! are not on this machine yet are fetched from the registry.

mod subjects;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use std::{env, fs, io};

use benches::keep;
use subjects::{SUBJECTS, Subject};

fn main() -> ExitCode {
    let build = env::args().any(|arg| arg == "--build");
    let folder = env::temp_dir().join(format!("dexter-footprint-{}", std::process::id()));
    println!("| | crates |{}", if build { " cold build |" } else { "" });
    println!("|---|--:|{}", if build { "--:|" } else { "" });
    let mut all = true;
    for subject in SUBJECTS {
        match measured(subject, &folder, build) {
            Ok((crates, took)) => {
                let took = took.map(|took| format!("{:.0} s", took.as_secs_f64()));
                keep("footprint", subject.name, "crates", &crates.to_string());
                if let Some(took) = &took {
                    keep("footprint", subject.name, "cold build", took);
                }
                let took = took.map_or_else(String::new, |took| format!(" {took} |"));
                println!("| {} | {crates} |{took}", subject.name);
            }
            Err(error) => {
                all = false;
                eprintln!("{}: {error}", subject.name);
            }
        }
    }
    // Best effort: it lies in the directory for temporary files.
    let _ = fs::remove_dir_all(&folder);
    if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn measured(
    subject: &Subject,
    folder: &Path,
    build: bool,
) -> io::Result<(usize, Option<Duration>)> {
    let project = scratch(subject, folder)?;
    let crates = crates(&project)?;
    if !build {
        return Ok((crates, None));
    }
    // Compiling is to be timed, not the network.
    run(&project, &["fetch", "--quiet"])?;
    let begun = Instant::now();
    run(&project, &["build", "--quiet", "--offline"])?;
    let took = begun.elapsed();
    fs::remove_dir_all(project.join("target"))?;
    Ok((crates, Some(took)))
}

fn scratch(subject: &Subject, folder: &Path) -> io::Result<PathBuf> {
    let clean = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let project = folder.join(subject.name.chars().map(clean).collect::<String>());
    fs::create_dir_all(project.join("src"))?;
    fs::write(project.join("src/lib.rs"), "")?;
    let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates");
    let dependencies = subject.dependencies.replace("CRATES", crates);
    fs::write(
        project.join("Cargo.toml"),
        format!(
            "[package]\nname = \"scratch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n{dependencies}\n"
        ),
    )?;
    Ok(project)
}

fn crates(project: &Path) -> io::Result<usize> {
    let tree = run(
        project,
        &[
            "tree",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ],
    )?;
    let crates: BTreeSet<&str> = tree
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .filter(|line| !line.is_empty() && !line.starts_with("scratch "))
        .collect();
    Ok(crates.len())
}

/// Runs cargo in a target directory of the project's own, and returns what it prints.
fn run(project: &Path, args: &[&str]) -> io::Result<String> {
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(args)
        .current_dir(project)
        .env("CARGO_TARGET_DIR", project.join("target"))
        .output()?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    }
}
