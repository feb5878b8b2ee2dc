//! Log-probabilities of the most probable tokens.

use std::sync::Arc;

use super::{Feature, Seen};

/// ln max(p, 1e-7) of the most probable tokens.
#[derive(Debug)]
pub(super) struct LogProbabilities {
    pub count: usize,
}

impl Feature for LogProbabilities {
    fn describe(&self) -> String {
        "ln max(p, 1e-7) of the most probable tokens, greatest first".to_owned()
    }

    fn width(&self, _: usize) -> usize {
        self.count
    }

    fn values(&self, now: &Seen<'_>, _: &[Arc<[f32]>], into: &mut Vec<f32>) {
        // The floor avoids ln 0. 1e-7 is below f32's resolution at 1.
        into.extend((0..self.count).map(|i| now.probability(i).max(1e-7).ln()));
    }

    fn top(&self) -> usize {
        self.count
    }
}
