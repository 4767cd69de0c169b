//! What the library sets out to reach, and whether it did.

use crate::measured::{Group, Measured};
use crate::questions::{Kind, kind};

/// One line.
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) limit: String,
    /// What was measured, and whether that is within the limit; `None` where nothing was measured.
    pub(crate) verdict: Option<(String, bool)>,
}

/// All of them.
pub(crate) fn goals(measured: &Measured) -> Vec<Goal> {
    let mut list = Goals {
        measured,
        goals: Vec::new(),
    };
    list.l1();
    list.churn();
    list.memory();
    list.redis();
    list.outages();
    list.stampedes();
    list.full();
    list.invalidation();
    list.crates();
    list.goals
}

struct Goals<'a> {
    measured: &'a Measured,
    goals: Vec<Goal>,
}

impl Goals<'_> {
    fn add(&mut self, what: &str, limit: &str, verdict: Option<(String, bool)>) {
        self.goals.push(Goal {
            what: what.to_owned(),
            limit: limit.to_owned(),
            verdict,
        });
    }

    /// A quotient that must not exceed a limit.
    fn at_most(&mut self, what: &str, of: &str, limit: f64, ratio: Option<f64>) {
        let verdict = ratio.map(|ratio| (format!("{ratio:.2} ×"), ratio <= limit));
        self.add(what, &format!("≤ {limit:.2} × {of}"), verdict);
    }

    /// A quotient that must reach a limit.
    fn at_least(&mut self, what: &str, of: &str, limit: f64, ratio: Option<f64>) {
        let verdict = ratio.map(|ratio| (format!("{ratio:.2} ×"), ratio >= limit));
        self.add(what, &format!("≥ {limit:.2} × {of}"), verdict);
    }

    /// The median of one row over that of another one.
    fn over(&self, group: &str, row: &str, base: &str) -> Option<f64> {
        Some(self.measured.median(group, row)? / self.measured.median(group, base)?)
    }

    fn l1(&mut self) {
        let forms = [
            ("borrowed", "borrowed strings", 0.70),
            ("owned", "owned strings", 0.90),
            ("copy", "`Copy` arguments", 1.0),
        ];
        for (form, name, limit) in forms {
            for threads in [1, 2] {
                let group = format!("l1_hit {form} arc {threads}");
                let what = format!("L1 hit, `Arc<T>`, {name}, {threads} thread(s)");
                let ratio = self.measured.group(&group).and_then(|group| {
                    let others = ["cached concurrent_cached", "cached cached", "hitbox"];
                    let medians = others.iter().filter_map(|&name| group.row(name));
                    let fastest = medians.map(|row| row.median).reduce(f64::min)?;
                    Some(group.ours()?.median / fastest)
                });
                self.at_most(&what, "the fastest other macro", limit, ratio);
                let floor = self.over(&group, "dexter-cache", "floor");
                self.at_most(&what, "the floor written by hand", 1.15, floor);
            }
        }
        let clone = self.measured.median("l1_hit parts", "clone of the value");
        for form in ["borrowed", "copy"] {
            let group = format!("l1_hit {form} value 1");
            let more = self.measured.median(&group, "dexter-cache").zip(clone);
            let verdict = more.map(|(hit, clone)| {
                let more = hit - clone;
                (format!("+ {more:.0} ns"), more <= 100.0)
            });
            let what = format!("L1 hit, 1 KB struct, {form} arguments");
            self.add(&what, "≤ the clone alone + 100 ns", verdict);
        }
    }

    fn churn(&mut self) {
        for (threads, limit) in [(1, 0.95), (2, 0.85)] {
            let group = format!("churn zipf 10% {threads}");
            let ratio = self.over(&group, "dexter-cache", "quick_cache");
            let what = format!("get or load, room for 10 %, {threads} thread(s)");
            self.at_most(&what, "`quick_cache` with a deadline", limit, ratio);
        }
        for (laws, limit) in [("zipf, scans, moving set", 0.99), ("loop", 0.9)] {
            let of_law = |group: &&Group| {
                group.name.starts_with("hit_ratio")
                    && group.name.contains(" loop ") == (laws == "loop")
            };
            let worst = self.measured.0.iter().filter(of_law).filter_map(|group| {
                let ratio = |row| self.measured.note(&group.name, row, "hit ratio");
                Some(ratio("dexter-cache")? / ratio("quick_cache")?)
            });
            let worst = worst.reduce(f64::min);
            let what = format!("hit ratio: {laws} (the worst of 1, 5, 10 %)");
            let verdict = worst.map(|worst| (format!("{worst:.3} ×"), worst >= limit));
            self.add(&what, &format!("≥ {limit:.2} × `quick_cache`'s"), verdict);
        }
    }

    fn memory(&mut self) {
        let bytes = |row| {
            self.measured
                .note("memory per entry", row, "bytes an entry")
        };
        let verdict = bytes("dexter-cache")
            .zip(bytes("quick_cache"))
            .map(|(ours, theirs)| (format!("{ours:.0} and {theirs:.0}"), ours <= theirs + 40.0));
        self.add(
            "bytes an entry",
            "≤ `quick_cache` without a deadline + 40",
            verdict,
        );
    }

    fn redis(&mut self) {
        for (tasks, limit) in [(1, 0.95), (16, 0.95), (128, 1.15), (512, 1.3)] {
            let group = format!("redis_hit {tasks}");
            let rate = self.over(&group, "GET and serde_json", "dexter-cache");
            let what = format!("Redis hits a second, {tasks} task(s)");
            self.at_least(&what, "a bare GET and the same codec", limit, rate);
            let p99 = |row| self.measured.note(&group, row, "p99");
            let ratio = p99("dexter-cache").zip(p99("GET and serde_json"));
            let ratio = ratio.map(|(ours, bare)| ours / bare);
            let what = format!("Redis hit, p99, {tasks} task(s)");
            self.at_most(&what, "the same", 1.1, ratio);
        }
        for tier in ["memory", "tiered", "redis"] {
            let group = format!("tags {tier}");
            let ratio = self.over(&group, "dexter-cache", "dexter-cache untagged");
            self.at_most(
                &format!("a hit with one tag, {tier}"),
                "untagged",
                1.2,
                ratio,
            );
        }
    }

    fn outages(&mut self) {
        let gone = "gone (connections refused)";
        for (what, limit) in [("p50", 1.0), ("p99", 50.0)] {
            let of = |row| self.measured.note("outages", row, what);
            let more = of(gone).zip(of("none: memory alone"));
            let verdict = more.map(|(gone, memory)| {
                let more = gone - memory;
                (format!("+ {more:.1} µs"), more <= limit)
            });
            let what = format!("Redis away, {what}");
            self.add(&what, &format!("≤ memory alone + {limit:.0} µs"), verdict);
        }
    }

    fn stampedes(&mut self) {
        let ratio = self.over("stampede 1000", "dexter-cache", "the load alone");
        self.at_most("1000 concurrent misses", "the load alone", 1.2, ratio);
        let groups = [
            ("stampede 1000", "1000 misses"),
            (
                "stampede 1000, the load fails",
                "1000 misses, the load fails",
            ),
            (
                "stampede 1000, the first caller is dropped",
                "1000 misses, the first caller is dropped",
            ),
            (
                "stampede 1000, the first load panics",
                "1000 misses, the first load panics (the answer takes another one)",
            ),
        ];
        for (group, what) in groups {
            let limit = if group.ends_with("panics") { 2.0 } else { 1.0 };
            let loads = self
                .measured
                .note(group, "dexter-cache", "loads a stampede");
            let verdict = loads.map(|loads| (format!("{loads:.1} loads"), loads <= limit));
            self.add(what, &format!("≤ {limit:.0} load(s)"), verdict);
        }
    }

    fn full(&mut self) {
        let insert = |capacity| {
            let group = format!("full insert {capacity}");
            self.measured.median(&group, "dexter-cache")
        };
        let ratio = insert(100_000).zip(insert(10_000));
        let ratio = ratio.map(|(large, small)| large / small);
        self.at_most(
            "insertion into a full cache of 100,000",
            "of 10,000",
            3.0,
            ratio,
        );
        let left = self.over("full readers", "dexter-cache", "dexter-cache beside");
        self.at_least(
            "readers beside 100 insertions a second",
            "their rate alone",
            0.95,
            left,
        );
    }

    fn invalidation(&mut self) {
        let slowest = self.measured.note(
            "invalidate memory 100000",
            "dexter-cache",
            "slowest read beside it",
        );
        let verdict = slowest.map(|slowest| (format!("{slowest:.0} µs"), slowest <= 120.0));
        self.add(
            "pattern in memory, 100,000 entries: the slowest read beside it",
            "≤ 120 µs (which bounds how long a shard is locked)",
            verdict,
        );
        let sweeps = self.measured.0.iter();
        let sweep = sweeps.filter(|group| group.name.starts_with("invalidate redis"));
        // The one with the most keys.
        let name = sweep.map(|group| group.name.clone()).next_back();
        let name = name.unwrap_or_default();
        let ratio = self.over(&name, "dexter-cache", "SCAN COUNT 1000 and UNLINK");
        let keys = name.rsplit(' ').next().unwrap_or_default();
        let what = format!("pattern on Redis, {keys} keys").replace(",  keys", "");
        self.at_most(&what, "a bare sweep", 1.2, ratio);
        let p99 = self
            .measured
            .note(&name, "dexter-cache", "p99 of a reader beside it");
        let verdict = p99.map(|p99| (format!("{p99:.0} µs"), p99 < 2500.0));
        self.add("another client's p99 beside it", "< 2.5 ms", verdict);
    }

    fn crates(&mut self) {
        let lines = [
            ("dexter-cache, memory", 45.0),
            ("dexter-cache, Redis", 90.0),
            ("dexter-cache, Redis and axum", 105.0),
        ];
        for (row, limit) in lines {
            let crates = self.measured.note("footprint", row, "crates");
            let verdict = crates.map(|crates| (format!("{crates:.0}"), crates <= limit));
            self.add(&format!("crates: {row}"), &format!("≤ {limit:.0}"), verdict);
        }
    }
}

/// How many questions were asked in which others were slower, and how many in which one was faster.
pub(crate) fn won_and_lost(measured: &Measured) -> (usize, usize) {
    let (mut won, mut lost) = (0, 0);
    for group in &measured.0 {
        let others = group
            .rows
            .iter()
            .filter(|row| kind(&row.name) == Kind::Other);
        let fastest = others.map(|row| row.median).reduce(f64::min);
        match group.ours().zip(fastest) {
            Some((ours, fastest)) if ours.median <= fastest => won += 1,
            Some(_) => lost += 1,
            None => {}
        }
    }
    (won, lost)
}
