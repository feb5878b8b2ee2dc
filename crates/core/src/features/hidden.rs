//! The hidden state after the final norm, as in CITER (arXiv 2502.01976).

use std::sync::Arc;

use super::{Feature, Seen};

/// All of the hidden state.
#[derive(Debug)]
pub(super) struct Hidden;

impl Feature for Hidden {
    fn describe(&self) -> String {
        "hidden state after the final norm".to_owned()
    }

    fn width(&self, hidden: usize) -> usize {
        hidden
    }

    fn values(&self, now: &Seen<'_>, _: &[Arc<[f32]>], into: &mut Vec<f32>) {
        into.extend_from_slice(now.hidden);
    }

    fn reads_hidden(&self) -> bool {
        true
    }
}
