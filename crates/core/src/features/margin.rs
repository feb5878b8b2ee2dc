//! The margin between the two most probable tokens.

use std::sync::Arc;

use super::{Feature, Seen};

/// The greatest probability less the second.
#[derive(Debug)]
pub(super) struct Margin;

impl Feature for Margin {
    fn describe(&self) -> String {
        "margin: the greatest probability less the second".to_owned()
    }

    fn width(&self, _: usize) -> usize {
        1
    }

    fn values(&self, now: &Seen<'_>, _: &[Arc<[f32]>], into: &mut Vec<f32>) {
        into.push(now.probability(0) - now.probability(1));
    }
}
