//! Random operations of two and three processes on a real Redis, which is killed, stopped, cut off and restarted meanwhile,
//! judged against what the library promises about values that were removed. It runs for minutes, and when it is asked to:
//!
//! `DEXTER_SEEDS=300 cargo test -p tests --test real -- --ignored --nocapture`
//!
//! `DEXTER_SEED=123` draws the plan of one seed again and prints all that happens; what a machine makes of it differs from
//! run to run. `DEXTER_WORLDS` says how many run at once (8). `DEXTER_WITHOUT` turns a guard of the library off: without
//! `CompareAndSet`, `LocalFence` or `Journal` forty seeds find something. What the other guards are for is rarer than that,
//! or, as a replica that is promoted, does not happen here: `tests/model` shows that they are missed.

mod judge;
mod line;
mod process;
mod report;
mod seed;
mod verdicts;
mod wire;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::report::Totals;
use crate::seed::{ORDERS, Outcome};

/// Lines of a trace that a failure shows.
const LINES: usize = 60;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number")),
    )
}

/// The first violation of a seed, and what led to it.
fn explain(seed: u64, outcome: &Outcome) -> String {
    let end = outcome
        .trace
        .iter()
        .position(|(_, line)| line.contains("VIOLATION"))
        .unwrap_or(outcome.trace.len().saturating_sub(1));
    let lines = &outcome.trace[..(end + 1).min(outcome.trace.len())];
    let key = lines.last().and_then(|(key, _)| *key);
    let lines: Vec<&str> = lines
        .iter()
        .filter(|(of, _)| of.is_none() || key.is_none() || *of == key)
        .map(|(_, line)| line.as_str())
        .collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
    format!("seed {seed}: {:#?}\n{last}", outcome.violations)
}

#[test]
#[ignore = "takes minutes"]
fn nothing_that_was_removed_is_ever_given_again() {
    if let Some(seed) = number("DEXTER_SEED") {
        let outcome = seed::run(seed);
        for (_, line) in &outcome.trace {
            println!("{line}");
        }
        println!("{}", outcome.totals);
        assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
        return;
    }
    let seeds = number("DEXTER_SEEDS").unwrap_or(100);
    let worlds = number("DEXTER_WORLDS").unwrap_or(8);
    let (next, found) = (AtomicU64::new(0), Mutex::new((Totals::default(), 0)));
    std::thread::scope(|scope| {
        for _ in 0..worlds {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds {
                        return;
                    }
                    let outcome = seed::run(seed);
                    let mut found = found.lock().expect("no seed panics");
                    if !outcome.violations.is_empty() {
                        found.1 += 1;
                        println!("{}\n", explain(seed, &outcome));
                    }
                    found.0 += outcome.totals;
                    if found.0.seeds % 50 == 0 {
                        println!("{} seeds", found.0.seeds);
                    }
                }
            });
        }
    });
    let (totals, failed) = found.into_inner().expect("no seed panics");
    println!("{totals}");
    assert_eq!(failed, 0, "seeds with violations");
}

/// What a process does that is started for the test above. A test like any other one where none has been told to.
#[test]
fn one_of_the_processes() {
    let Ok(orders) = std::env::var(ORDERS) else {
        return;
    };
    let orders = serde_json::from_str(&orders).expect("what it was started with");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(process::live(orders));
}
