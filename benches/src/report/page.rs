//! The page: goals, tables of ratios, pictures.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::goals::{goals, won_and_lost};
use crate::measured::{Group, Measured, Row};
use crate::questions::{Kind, OVERVIEW, QUESTIONS, kind, question};
use crate::{machine, plot};

/// The whole page.
pub(crate) fn markdown(measured: &Measured) -> String {
    let mut page = String::from("# Measurements\n\n");
    for line in machine::lines() {
        let _ = writeln!(page, "- {line}");
    }
    page.push_str(
        "\nMedians by criterion with 95 % confidence intervals; the rows of a group are measured in turns of a few milliseconds. \
         The ratio is the row's time over that of `dexter-cache`: above 1 the row is slower, **below 1 it is faster**. *Best \
         tenth* is what a tenth of the samples undercut: on a busy machine it says more than the median. What each row does \
         stands at the top of the benchmark's source. Nothing is claimed about more cores than were there.\n",
    );
    if OVERVIEW
        .iter()
        .any(|(group, _)| measured.group(group).is_some())
    {
        page.push_str("\n![overview](overview.svg)\n");
    }
    goal_table(&mut page, measured);
    summary(&mut page, measured);
    for (word, title) in QUESTIONS {
        let groups: Vec<&Group> = measured
            .0
            .iter()
            .filter(|group| question(&group.name) == *word)
            .collect();
        if groups.is_empty() {
            continue;
        }
        let _ = writeln!(page, "\n## {title}");
        if groups.iter().any(|group| !group.rows.is_empty()) {
            let _ = writeln!(page, "\n![{title}]({})", plot::file_name(word));
        }
        if groups
            .iter()
            .all(|group| group.rows.is_empty() && group.notes.len() > 1)
            && groups.len() > 3
        {
            one_line_each(&mut page, &groups);
            continue;
        }
        for group in groups {
            table(&mut page, group);
        }
    }
    page
}

/// What is to be reached.
fn goal_table(page: &mut String, measured: &Measured) {
    page.push_str("\n## Goals\n\n| | goal | measured | |\n|---|---|--:|---|\n");
    let (mut reached, mut missed, mut open) = (0, 0, 0);
    for goal in goals(measured) {
        let (figure, verdict) = match goal.verdict {
            Some((figure, true)) => {
                reached += 1;
                (figure, "reached")
            }
            Some((figure, false)) => {
                missed += 1;
                (figure, "**not reached**")
            }
            None => {
                open += 1;
                (String::new(), "not measured")
            }
        };
        let _ = writeln!(
            page,
            "| {} | {} | {figure} | {verdict} |",
            goal.what, goal.limit
        );
    }
    let _ = writeln!(
        page,
        "\n{reached} reached, {missed} not reached, {open} not measured in this run. That a hit of an `Arc<T>` allocates \
         nothing, and that a hit in Redis is one round trip, is asserted by tests (`cargo test -p tests`), not measured."
    );
}

/// Where `dexter-cache` is the fastest, and where not.
fn summary(page: &mut String, measured: &Measured) {
    let (won, lost) = won_and_lost(measured);
    let _ = write!(
        page,
        "\n## Won and lost\n\nOf {} groups with another crate in them, `dexter-cache` is the fastest in {won}; in {lost} another \
         one is faster.\n\n| | dexter-cache | fastest other crate | its ratio | best tenth | |\n|---|--:|---|--:|--:|---|\n",
        won + lost
    );
    for group in &measured.0 {
        let Some((ours, other)) = group.ours().zip(group.fastest(Kind::Other)) else {
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
            if ratio < 1.0 { "**slower**" } else { "faster" },
        );
    }
}

fn table(page: &mut String, group: &Group) {
    let _ = writeln!(page, "\n### {}\n", group.name);
    let whats: BTreeSet<&String> = group
        .notes
        .values()
        .flat_map(|notes| notes.keys())
        .collect();
    page.push_str(if group.rows.is_empty() {
        "| |"
    } else {
        "| | median | 95 % | ratio | best tenth | ratio |"
    });
    for what in &whats {
        let _ = write!(page, " {what} |");
    }
    page.push_str("\n|---|");
    if !group.rows.is_empty() {
        page.push_str("--:|--:|--:|--:|--:|");
    }
    page.push_str(&"--:|".repeat(whats.len()));
    page.push('\n');
    let noted = |name: &str| {
        let notes = group.notes.get(name);
        whats.iter().fold(String::new(), |mut cells, what| {
            let figure = notes.and_then(|notes| notes.get(*what));
            let _ = write!(cells, " {} |", figure.map_or("", |figure| figure));
            cells
        })
    };
    for row in &group.rows {
        let ratio = |of: fn(&Row) -> f64| {
            let ratio = group.ours().map(|ours| of(row) / of(ours));
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
        };
        let bold = if kind(&row.name) == Kind::Ours {
            "**"
        } else {
            ""
        };
        let _ = writeln!(
            page,
            "| {bold}{}{bold} | {} | {} – {} | {} | {} | {} |{}",
            row.name,
            time(row.median),
            time(row.low),
            time(row.high),
            ratio(|row| row.median),
            time(row.best_tenth),
            ratio(|row| row.best_tenth),
            noted(&row.name)
        );
    }
    let empty = if group.rows.is_empty() {
        ""
    } else {
        " | | | | |"
    };
    for name in group.notes.keys().filter(|name| group.row(name).is_none()) {
        let _ = writeln!(page, "| {name} |{empty}{}", noted(name));
    }
}

/// Groups that hold one figure for each row: a line each.
fn one_line_each(page: &mut String, groups: &[&Group]) {
    let names: BTreeSet<&String> = groups.iter().flat_map(|group| group.notes.keys()).collect();
    page.push_str("\n| |");
    for name in &names {
        let _ = write!(page, " {name} |");
    }
    let _ = write!(page, "\n|---|{}\n", "--:|".repeat(names.len()));
    for group in groups {
        let _ = write!(page, "| {} |", group.name);
        for name in &names {
            let notes = group.notes.get(*name);
            let figure = notes.and_then(|notes| notes.values().next());
            let _ = write!(page, " {} |", figure.map_or("", |figure| figure));
        }
        page.push('\n');
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
