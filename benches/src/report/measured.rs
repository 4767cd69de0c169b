//! What criterion and the notes say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Whose times all others are divided by.
pub(crate) const OURS: &str = "dexter-cache";

/// Rows that answer one question.
pub(crate) struct Group {
    pub(crate) name: String,
    /// The fastest first.
    pub(crate) rows: Vec<Row>,
    /// `row: what figure`.
    pub(crate) notes: Vec<String>,
}

/// One contender, in nanoseconds.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// A tenth of the samples took no longer: what other work on the machine has disturbed least.
    pub(crate) best_tenth: f64,
}

impl Group {
    /// The row of `dexter-cache`, where it takes part.
    pub(crate) fn ours(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == OURS)
    }
}

/// All groups under criterion's directory, by name.
pub(crate) fn read(criterion: &Path) -> Vec<Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for folder in measurements(criterion) {
        if let Some((group, row)) = measurement(&folder) {
            let entry = groups.entry(group.clone()).or_insert_with(|| Group {
                name: group,
                rows: Vec::new(),
                notes: Vec::new(),
            });
            entry.rows.push(row);
        }
    }
    for group in groups.values_mut() {
        group.rows.sort_by(|a, b| a.median.total_cmp(&b.median));
    }
    let mut notes: Vec<String> = below(&criterion.join("notes"))
        .into_iter()
        .filter_map(|note| fs::read_to_string(note).ok())
        .collect();
    notes.sort();
    for note in notes {
        let mut fields = note.trim_end().splitn(4, '\t');
        let mut next = || fields.next().unwrap_or_default();
        let (group, row, what, figure) = (next(), next(), next(), next());
        if let Some(group) = groups.get_mut(group) {
            group.notes.push(format!("{row}: {what} {figure}"));
        }
    }
    groups.into_values().collect()
}

/// `group/row/new` folders.
fn measurements(criterion: &Path) -> Vec<PathBuf> {
    below(criterion)
        .iter()
        .flat_map(|group| below(group))
        .map(|row| row.join("new"))
        .filter(|new| new.join("estimates.json").is_file())
        .collect()
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

fn measurement(folder: &Path) -> Option<(String, Row)> {
    let json = |name: &str| -> Option<Value> {
        serde_json::from_slice(&fs::read(folder.join(name)).ok()?).ok()
    };
    let about = json("benchmark.json")?;
    let median = json("estimates.json")?.get("median")?.clone();
    let interval = median.get("confidence_interval")?;
    let row = Row {
        name: about.get("function_id")?.as_str()?.to_owned(),
        median: median.get("point_estimate")?.as_f64()?,
        low: interval.get("lower_bound")?.as_f64()?,
        high: interval.get("upper_bound")?.as_f64()?,
        best_tenth: best_tenth(&json("sample.json")?)?,
    };
    Some((about.get("group_id")?.as_str()?.to_owned(), row))
}

fn best_tenth(samples: &Value) -> Option<f64> {
    let numbers = |name: &str| -> Option<Vec<f64>> {
        let list = samples.get(name)?.as_array()?;
        list.iter().map(Value::as_f64).collect()
    };
    let (times, calls) = (numbers("times")?, numbers("iters")?);
    let mut each: Vec<f64> = times
        .iter()
        .zip(calls)
        .map(|(time, calls)| time / calls)
        .collect();
    each.sort_unstable_by(f64::total_cmp);
    each.get(each.len() / 10).copied()
}
