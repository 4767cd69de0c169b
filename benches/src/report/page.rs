//! The page: tables of ratios.

use std::fmt::Write as _;

use crate::measured::{Group, OURS, Row};
use crate::{machine, plot};

/// The whole page.
pub(crate) fn markdown(groups: &[Group]) -> String {
    let mut page = String::from("# Measurements\n\n");
    for line in machine::lines() {
        let _ = writeln!(page, "- {line}");
    }
    page.push_str(
        "\nMedians by criterion with 95 % confidence intervals. The ratio is the row's time over that of `dexter-cache`: \
         above 1 the row is slower, **below 1 it is faster**. *Best tenth* is what a tenth of the samples undercut: on a busy \
         machine it says more than the median. What each row does stands at the top of the benchmark's \
         source.\n\n",
    );
    summary(&mut page, groups);
    for group in groups {
        table(&mut page, group);
    }
    page
}

/// Where `dexter-cache` is the fastest, and where not.
fn summary(page: &mut String, groups: &[Group]) {
    page.push_str("| question | dexter-cache | fastest other | ratio | best tenth | by the median |\n|---|--:|---|--:|--:|---|\n");
    for group in groups {
        let Some(ours) = group.ours() else { continue };
        let Some(other) = group.rows.iter().find(|row| row.name != OURS) else {
            continue;
        };
        let ratio = other.median / ours.median;
        let _ = writeln!(
            page,
            "| {} | {} | {} | {ratio:.2} | {:.2} | {} |",
            group.name,
            time(ours.median),
            other.name,
            other.best_tenth / ours.best_tenth,
            if ratio < 1.0 { "slower" } else { "faster" },
        );
    }
    page.push_str("\nAmong the others are floors and bare clients, which do less.\n");
}

fn table(page: &mut String, group: &Group) {
    let _ = write!(
        page,
        "\n## {}\n\n![{0}]({})\n\n| | median | 95 % | ratio | best tenth | ratio |\n|---|--:|---|--:|--:|--:|\n",
        group.name,
        plot::file_name(group)
    );
    for row in &group.rows {
        let ratio = |of: fn(&Row) -> f64| {
            let ratio = group.ours().map(|ours| of(row) / of(ours));
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
        };
        let bold = if row.name == OURS { "**" } else { "" };
        let _ = writeln!(
            page,
            "| {bold}{}{bold} | {} | {} – {} | {} | {} | {} |",
            row.name,
            time(row.median),
            time(row.low),
            time(row.high),
            ratio(|row| row.median),
            time(row.best_tenth),
            ratio(|row| row.best_tenth),
        );
    }
    if !group.notes.is_empty() {
        page.push('\n');
    }
    for note in &group.notes {
        let _ = writeln!(page, "- {note}");
    }
}

/// Nanoseconds, to be read.
pub(crate) fn time(nanos: f64) -> String {
    match nanos {
        n if n < 1e3 => format!("{n:.1} ns"),
        n if n < 1e6 => format!("{:.2} µs", n / 1e3),
        n if n < 1e9 => format!("{:.2} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}
