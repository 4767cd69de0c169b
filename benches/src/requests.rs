//! Sequences of requests: drawn by a law, or recorded.

use std::fs;
use std::path::Path;

/// `count` numbers below `universe`, the n-th most frequent one proportional to `1 / n^exponent`, always the same ones.
pub fn zipf(universe: u32, exponent: f64, count: usize) -> Vec<u32> {
    let mut sum = 0.0;
    let cumulated: Vec<f64> = (1..=universe)
        .map(|rank| {
            sum += f64::from(rank).powf(-exponent);
            sum
        })
        .collect();
    let mut random = fastrand::Rng::with_seed(4);
    (0..count)
        .map(|_| {
            let drawn = random.f64() * sum;
            let rank = cumulated.partition_point(|&upto| upto < drawn);
            // Spread, so that neighbours in rank are no neighbours in number.
            u32::try_from(rank as u64 * 2_654_435_761 % u64::from(universe))
                .expect("below the universe")
        })
        .collect()
}

/// Zipf 1.0 in which every 20,000 requests somebody walks through 5,000 keys that nobody asks for again.
pub fn with_scans(universe: u32, count: usize) -> Vec<u32> {
    let mut requests = Vec::with_capacity(count);
    let mut never_asked = universe;
    for hot in zipf(universe, 1.0, count).chunks(20_000) {
        requests.extend_from_slice(hot);
        requests.extend(never_asked..never_asked + 5_000);
        never_asked += 5_000;
    }
    requests.truncate(count);
    requests
}

/// Zipf 1.0 whose popular keys become other ones every 100,000 requests.
pub fn moving(universe: u32, count: usize) -> Vec<u32> {
    let mut requests = zipf(universe, 1.0, count);
    for (round, requests) in (0_u32..).zip(requests.chunks_mut(100_000)) {
        for id in requests {
            *id = (*id + round * (universe / 16)) % universe;
        }
    }
    requests
}

/// Round and round through `keys` keys.
pub fn round_and_round(keys: u32, count: usize) -> Vec<u32> {
    (0..keys).cycle().take(count).collect()
}

/// The blocks that a recorded trace asks for, one after the other. Each line of the file is `first_block
/// number_of_blocks ignored request`, and stands for one request of each block in its range.
///
/// # Panics
///
/// If the file cannot be read, or if a line has another form.
pub fn trace(path: &Path) -> Vec<u32> {
    let text = fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("DEXTER_TRACE={}: {error}", path.display()));
    let line = |line: &str| {
        let mut fields = line.split_ascii_whitespace().map(str::parse::<u32>);
        match (fields.next(), fields.next()) {
            (Some(Ok(first)), Some(Ok(blocks))) => first..first + blocks,
            _ => panic!(
                "{}: not `first_block number_of_blocks ignored request`: {line}",
                path.display()
            ),
        }
    };
    text.lines().flat_map(line).collect()
}
