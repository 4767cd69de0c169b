//! Rows of one group, measured in turns.

use std::time::Duration;

use criterion::{Criterion, SamplingMode};

/// How often each row has its turn, where nothing else is said. Each turn is a sample.
const TURNS: usize = 60;
/// How long a turn takes, about, where nothing else is said. Short, so that on a busy machine some turns are not
/// interrupted.
const TURN: Duration = Duration::from_millis(4);

/// Contenders that answer one question. Criterion measures a benchmark to its end before the next one, so that whatever else
/// the machine does meanwhile falls on one of them; here each has a short turn, then the next one, round and round, and
/// criterion is given the samples, for its statistics and its files.
pub struct Turns<'a> {
    samples: usize,
    turn: Duration,
    names: Vec<String>,
    rows: Vec<Run<'a>>,
}

/// How long so many calls took.
type Run<'a> = Box<dyn FnMut(u64) -> Duration + 'a>;

impl std::fmt::Debug for Turns<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turns").field("names", &self.names).finish()
    }
}

impl Default for Turns<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Turns<'a> {
    /// No rows yet. 60 turns of 4 ms for each of them.
    pub fn new() -> Self {
        Self::of(TURNS, TURN)
    }

    /// Other turns.
    pub fn of(turns: usize, turn: Duration) -> Self {
        Self {
            samples: turns,
            turn,
            names: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// One more contender: `run(n)` says how long `n` calls took.
    pub fn row(&mut self, name: &str, run: impl FnMut(u64) -> Duration + 'a) {
        self.names.push(name.to_owned());
        self.rows.push(Box::new(run));
    }

    /// Measures all rows as soon as criterion asks for one of them: a filter on the command line that leaves all rows of
    /// the group out costs nothing.
    pub fn measure(mut self, criterion: &mut Criterion, group: &str) {
        let mut group = criterion.benchmark_group(group);
        // What criterion times here is the handing over of samples.
        group
            .sampling_mode(SamplingMode::Flat)
            .sample_size(self.samples)
            .warm_up_time(Duration::from_nanos(1))
            .measurement_time(Duration::from_millis(100));
        let mut measured = None;
        for (at, name) in self.names.iter().enumerate() {
            let mut next = 0;
            group.bench_function(name, |bencher| {
                let samples: &Vec<Vec<f64>> = measured
                    .get_or_insert_with(|| in_turns(&mut self.rows, self.samples, self.turn));
                let nanos = samples[at][next % self.samples];
                next += 1;
                #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
                bencher.iter_custom(|count| Duration::from_secs_f64(nanos * count as f64 / 1e9));
            });
        }
        group.finish();
    }
}

/// Nanoseconds a call, of each row in each turn.
fn in_turns(rows: &mut [Run<'_>], turns: usize, turn: Duration) -> Vec<Vec<f64>> {
    let counts: Vec<u64> = rows
        .iter_mut()
        .map(|run| calls_in_a_turn(run, turn))
        .collect();
    let mut samples = vec![Vec::with_capacity(turns); rows.len()];
    for turn in 0..turns {
        for place in 0..rows.len() {
            // There and back again, so that no row always follows the same one.
            let at = if turn % 2 == 0 {
                place
            } else {
                rows.len() - 1 - place
            };
            let took = rows[at](counts[at]);
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            samples[at].push(took.as_secs_f64() * 1e9 / counts[at] as f64);
        }
    }
    samples
}

/// Also what warms up.
fn calls_in_a_turn(run: &mut Run<'_>, turn: Duration) -> u64 {
    let mut count = 1;
    loop {
        let took = run(count);
        if took >= turn / 2 {
            let calls = u128::from(count) * turn.as_nanos() / took.as_nanos().max(1);
            return u64::try_from(calls).map_or(count, |calls| calls.max(1));
        }
        count *= 2;
    }
}
