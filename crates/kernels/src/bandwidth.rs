//! Measures how fast memory is read, which limits decoding of one sequence.

use std::hint::black_box;
use std::time::Instant;

use crate::Pool;

/// Words that are read: 512 MB, far more than the caches hold.
const WORDS: usize = 64 << 20;
/// Words of a part: 1 MB, so that threads finish together.
const PART: usize = 1 << 17;
const ROUNDS: usize = 5;

impl Pool {
    /// Measures the bytes a second that the pool's threads read from memory far larger
    /// than the caches. Returns the best of five rounds. Takes 512 MB while it runs.
    #[must_use]
    pub fn read_bandwidth(&self) -> f64 {
        let mut data = vec![1u64; WORDS];
        let mut best = f64::MAX;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            self.chunks_mut(&mut data, PART, |_, part| {
                let mut lanes = [0u64; 32];
                for words in part.as_chunks::<32>().0 {
                    for (lane, word) in lanes.iter_mut().zip(words) {
                        *lane ^= word;
                    }
                }
                black_box(lanes);
            });
            best = best.min(start.elapsed().as_secs_f64());
        }
        (WORDS * size_of::<u64>()) as f64 / best
    }
}
