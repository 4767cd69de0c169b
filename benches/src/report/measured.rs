//! What criterion and the notes say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::questions::{Kind, QUESTIONS, kind, question};

/// Rows that answer one question.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// The fastest first.
    pub(crate) rows: Vec<Row>,
    /// By row, then by what was noted.
    pub(crate) notes: BTreeMap<String, BTreeMap<String, String>>,
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
    /// The row of that name.
    pub(crate) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The row that ratios are of, where it takes part.
    pub(crate) fn ours(&self) -> Option<&Row> {
        self.rows.iter().find(|row| kind(&row.name) == Kind::Ours)
    }

    /// The fastest of a kind.
    pub(crate) fn fastest(&self, wanted: Kind) -> Option<&Row> {
        self.rows.iter().find(|row| kind(&row.name) == wanted)
    }
}

/// All groups.
pub(crate) struct Measured(pub(crate) Vec<Group>);

impl Measured {
    /// The group of that name.
    pub(crate) fn group(&self, name: &str) -> Option<&Group> {
        self.0.iter().find(|group| group.name == name)
    }

    /// The median of a row.
    pub(crate) fn median(&self, group: &str, row: &str) -> Option<f64> {
        Some(self.group(group)?.row(row)?.median)
    }

    /// The number that a note begins with.
    pub(crate) fn note(&self, group: &str, row: &str, what: &str) -> Option<f64> {
        let note = self.group(group)?.notes.get(row)?.get(what)?;
        note.split(' ').next()?.parse().ok()
    }
}

/// All groups under criterion's directory, in the order of the questions.
pub(crate) fn read(criterion: &Path) -> Measured {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for folder in measurements(criterion) {
        if let Some((name, row)) = measurement(&folder) {
            of(&mut groups, &name).rows.push(row);
        }
    }
    for note in below(&criterion.join("notes")) {
        let note = fs::read_to_string(note).unwrap_or_default();
        let mut fields = note.trim_end().splitn(4, '\t');
        let mut next = || fields.next().unwrap_or_default().to_owned();
        let (name, row, what, figure) = (next(), next(), next(), next());
        if !figure.is_empty() {
            let notes = of(&mut groups, &name).notes.entry(row).or_default();
            notes.insert(what, figure);
        }
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    for group in &mut groups {
        group.rows.sort_by(|a, b| a.median.total_cmp(&b.median));
    }
    let place = |group: &Group| {
        let asked = question(&group.name);
        QUESTIONS.iter().position(|(word, _)| *word == asked)
    };
    groups.sort_by_key(|group| {
        let place = place(group).unwrap_or(usize::MAX);
        (place, natural(&group.name))
    });
    Measured(groups)
}

fn of<'a>(groups: &'a mut BTreeMap<String, Group>, name: &str) -> &'a mut Group {
    groups.entry(name.to_owned()).or_insert_with(|| Group {
        name: name.to_owned(),
        ..Group::default()
    })
}

/// Sorts `16` before `128`.
fn natural(name: &str) -> Vec<(u64, String)> {
    name.split([' ', '%'])
        .map(|word| (word.parse().unwrap_or(u64::MAX), word.to_owned()))
        .collect()
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
