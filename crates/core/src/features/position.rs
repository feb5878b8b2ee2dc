//! The place of a step in its answer.

use std::sync::Arc;

use serde::Deserialize;

use super::{Feature, Seen};

/// The number of answer tokens before the step.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Position {}

impl Feature for Position {
    fn describe(&self) -> String {
        "tokens since the answer's begin".to_owned()
    }

    fn width(&self, _: usize) -> usize {
        1
    }

    fn values(&self, now: &Seen<'_>, _: &[Arc<[f32]>], into: &mut Vec<f32>) {
        into.push(now.index as f32);
    }
}
