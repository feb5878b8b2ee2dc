//! The greatest logits, as in R2R (arXiv 2505.21600).

use std::sync::Arc;

use super::{Feature, Seen};

/// The greatest logits. One that is not known is NaN.
#[derive(Debug)]
pub(super) struct TopLogits {
    pub count: usize,
}

impl Feature for TopLogits {
    fn describe(&self) -> String {
        "greatest logits, greatest first".to_owned()
    }

    fn width(&self, _: usize) -> usize {
        self.count
    }

    fn values(&self, now: &Seen<'_>, _: &[Arc<[f32]>], into: &mut Vec<f32>) {
        into.extend((0..self.count).map(|i| now.top_logits.get(i).copied().unwrap_or(f32::NAN)));
    }

    fn top(&self) -> usize {
        self.count
    }
}
