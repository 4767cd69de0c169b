//! Where it was measured.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

/// Lines that describe the machine and the tools.
pub(crate) fn lines() -> Vec<String> {
    let cores = available_parallelism().map_or(0, usize::from);
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let mut lines = vec![
        format!("processor: {processor}, {cores} cores to this process"),
        format!(
            "system: {} {}",
            std::env::consts::OS,
            std::env::consts::ARCH
        ),
    ];
    if let Some(memory) = field("/proc/meminfo", "MemTotal") {
        lines.push(format!("memory: {memory}"));
    }
    if let Ok(load) = fs::read_to_string("/proc/loadavg") {
        let busy: Option<f64> = load.split(' ').next().and_then(|load| load.parse().ok());
        let note = if busy
            .zip(u32::try_from(cores).ok())
            .is_some_and(|(busy, cores)| busy > f64::from(cores))
        {
            "; more than there are cores: other work took part of the time, trust ratios and not nanoseconds"
        } else {
            ""
        };
        let load = load.split(' ').take(3).collect::<Vec<_>>().join(" ");
        lines.push(format!(
            "load when this page was made (1, 5, 15 minutes): {load}{note}"
        ));
    }
    for program in ["rustc", "redis-server"] {
        lines.extend(version(program));
    }
    lines.extend(commit());
    lines
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn version(program: &str) -> Option<String> {
    output(program, &["--version"])
}

fn commit() -> Option<String> {
    let folder = env!("CARGO_MANIFEST_DIR");
    let hash = output("git", &["-C", folder, "rev-parse", "--short", "HEAD"])?;
    Some(format!("commit: {hash}"))
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.lines().next()?.trim().to_owned())
}
