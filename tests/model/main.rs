//! Random operations on two and three caches over one simulated server, to which things happen meanwhile, judged against
//! what the library promises about values that were removed, and, in every second seed, about those past their time.
//!
//! `DEXTER_SEED=123 cargo test -p tests --test model -- --nocapture` runs one seed again and prints all that happened;
//! `DEXTER_SEEDS=1000` runs so many.

mod guards;
mod regressions;
mod report;
mod scenario;
mod sim;
mod work;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::guards::Off;
use crate::report::Totals;
use crate::scenario::Outcome;

/// Lines of a trace that a failure shows.
const LINES: usize = 60;

fn run(seed: u64, off: Option<Off>, trace: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(scenario::run(seed, off, trace))
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number")),
    )
}

/// Runs seeds on as many threads as there are processors, until one comes to something that `matters`.
fn run_all(
    seeds: std::ops::Range<u64>,
    off: Option<Off>,
    matters: fn(&str) -> bool,
) -> (Totals, Option<u64>) {
    let next = AtomicU64::new(seeds.start);
    let found = Mutex::new((Totals::default(), None::<u64>));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds.end {
                        return;
                    }
                    let outcome = run(seed, off, false);
                    let mut found = found.lock().expect("no seed panics");
                    found.0 += outcome.totals;
                    if outcome.violations.iter().any(|text| matters(text)) {
                        found.1 = Some(found.1.map_or(seed, |other| other.min(seed)));
                        next.store(seeds.end, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    found.into_inner().expect("no seed panics")
}

fn explain(seed: u64) -> String {
    let outcome = run(seed, None, true);
    let Some(first) = outcome.violations.first() else {
        return format!("seed {seed}: failed, and does not when it is run again");
    };
    let key = outcome
        .trace
        .iter()
        .find(|(_, line)| line.contains("VIOLATION"))
        .and_then(|(key, _)| *key);
    let end = outcome
        .trace
        .iter()
        .position(|(_, line)| line.contains("VIOLATION"))
        .unwrap_or(0);
    let lines: Vec<&str> = outcome.trace[..=end]
        .iter()
        .filter(|(of, _)| of.is_none() || key.is_none() || *of == key)
        .map(|(_, line)| line.as_str())
        .collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
    format!(
        "seed {seed}: {first}\n{last}\nAll of it: DEXTER_SEED={seed} cargo test -p tests --test model -- --nocapture"
    )
}

#[test]
fn nothing_that_was_removed_is_ever_given_again() {
    if let Some(seed) = number("DEXTER_SEED") {
        let outcome = run(seed, None, true);
        for (_, line) in &outcome.trace {
            println!("{line}");
        }
        assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
        return;
    }
    let seeds = number("DEXTER_SEEDS").unwrap_or(10_000);
    let (totals, failed) = run_all(0..seeds, None, |_| true);
    println!("{totals}");
    if let Some(seed) = failed {
        panic!("{}", explain(seed));
    }
}
