//! How the cost of a reader grows: twice the input may cost 2.5 times as much.

use std::time::Duration;

use crate::counting::{Cost, alone, cost};

/// The greatest ratio of the costs of 2n and n.
const MOST: f64 = 2.5;

/// What never matters: allocations and bytes.
const FEW_CALLS: usize = 200;
const FEW_BYTES: usize = 128 << 10;

/// How much larger inputs are when time is measured.
const LONGER: usize = 4;

/// Times that are too short to compare.
const SHORT: Duration = Duration::from_millis(4);

/// Repetitions when time is measured. The fastest counts.
const REPEATS: usize = 5;

/// Whether the counts or the times of a family are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Allocations and their bytes: nearly equal on every machine.
    Counts,
    /// Time, on a machine with nothing else to do.
    Time,
}

/// Compares what `read` costs for the inputs that `make` gives for n and 2n. Returns a line
/// for each cost that grows too fast.
pub fn growth<I>(
    measure: Measure,
    name: &str,
    n: usize,
    make: impl Fn(usize) -> I,
    read: impl Fn(&I),
) -> Vec<String> {
    let _alone = alone();
    let n = if measure == Measure::Time { n * LONGER } else { n };
    let (once, twice) = (make(n), make(2 * n));
    // What is made at the first use, in either.
    read(&once);
    match measure {
        Measure::Counts => {
            // Threads of earlier tests may add to a count, so the least of several counts. Live
            // bytes depend on the order of threads: `amplification` bounds them.
            let least = |input: &I| {
                let costs: Vec<Cost> = (0..3).map(|_| cost(|| read(input))).collect();
                let of = |count: fn(&Cost) -> usize| costs.iter().map(count).min();
                (of(|c| c.calls).unwrap_or(0), of(|c| c.bytes).unwrap_or(0))
            };
            let (once, twice) = (least(&once), least(&twice));
            let over = |what: &str, less: usize, more: usize, few: usize| {
                let most = MOST * less as f64 + few as f64;
                let line = || format!("{name}: {less} {what} for {n}, {more} for twice as much");
                (more as f64 > most).then(line)
            };
            [
                over("allocations", once.0, twice.0, FEW_CALLS),
                over("bytes", once.1, twice.1, FEW_BYTES),
            ]
            .into_iter()
            .flatten()
            .collect()
        }
        Measure::Time => {
            let fastest = |input: &I| {
                (0..REPEATS).map(|_| cost(|| read(input)).time).min().unwrap_or_default()
            };
            let (less, more) = (fastest(&once), fastest(&twice));
            println!("{name}: {less:.2?} for {n}, {more:.2?} for twice as much");
            let most = less.max(SHORT).mul_f64(MOST);
            let line = || format!("{name}: {less:.2?} for {n}, {more:.2?} for twice as much");
            (more > most).then(line).into_iter().collect()
        }
    }
}
