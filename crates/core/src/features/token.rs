//! The id of the SLM's token, whose embedding a head looks up.

use std::sync::Arc;

use super::{Feature, Seen};

/// The id as a number. Ids up to 2^24 are exact in f32.
#[derive(Debug)]
pub(super) struct Token;

impl Feature for Token {
    fn describe(&self) -> String {
        "id of the SLM's token".to_owned()
    }

    fn width(&self, _: usize) -> usize {
        1
    }

    fn values(&self, now: &Seen<'_>, _: &[Arc<[f32]>], into: &mut Vec<f32>) {
        into.push(now.token.map_or(f32::NAN, |token| token as f32));
    }
}
