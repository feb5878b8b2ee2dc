//! The entropy of the next-token distribution.

use std::sync::Arc;

use super::{Feature, Seen};

/// The entropy of the step, in nats.
#[derive(Debug)]
pub(super) struct Entropy;

impl Feature for Entropy {
    fn describe(&self) -> String {
        "entropy in nats".to_owned()
    }

    fn width(&self, _: usize) -> usize {
        1
    }

    fn values(&self, now: &Seen<'_>, _: &[Arc<[f32]>], into: &mut Vec<f32>) {
        into.push(now.entropy);
    }
}
