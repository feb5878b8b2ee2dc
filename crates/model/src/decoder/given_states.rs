//! Steps from hidden states that were computed elsewhere: the final norm and the LM head alone.

use tokenroute_core::{Detail, ModelError, Step};
use tokenroute_kernels::Activations;

use super::KernelDecoder;
use super::forward::backend;
use super::row_ops::rms_norm;
use super::steps::step;
use super::transformer::Transformer;

/// Rows whose logits are in memory at the same time.
const ROWS: usize = 64;

impl KernelDecoder {
    /// The states `[n, hidden]` after the final norm, from those after the last layer.
    pub(crate) fn final_norm(&self, states: &[f32]) -> Vec<f32> {
        let Transformer { info, config, norm, .. } = &*self.transformer;
        let mut normed = vec![0.0; states.len()];
        let rows = states.chunks_exact(info.hidden).zip(normed.chunks_exact_mut(info.hidden));
        for (row, normed) in rows {
            rms_norm(row, norm, config.rms_norm_eps as f32, normed);
        }
        normed
    }

    /// The steps of states `[n, hidden]` after the final norm, as [`Detail::Full`] has them. A row
    /// of a pass gives the bits of that pass.
    pub(crate) fn steps_of(&self, states: &[f32]) -> Result<Vec<Step>, ModelError> {
        let transformer = &*self.transformer;
        let Transformer { info, head, pool, .. } = transformer;
        let (hidden, vocabulary) = (info.hidden, info.vocabulary);
        let mut activations = Activations::default();
        let mut logits = vec![0.0; ROWS.min(states.len() / hidden) * vocabulary];
        let mut steps = Vec::with_capacity(states.len() / hidden);
        for rows in states.chunks(ROWS * hidden) {
            let logits = &mut logits[..rows.len() / hidden * vocabulary];
            let done = head.apply(pool, &mut activations, rows, logits);
            done.map_err(|error| backend(transformer, &error))?;
            for (row, logits) in rows.chunks_exact(hidden).zip(logits.chunks_exact(vocabulary)) {
                let position = steps.len();
                let made = step(pool, logits, row, Detail::Full, info.top_k);
                let not_finite = || ModelError::NotFinite { model: info.name.clone(), position };
                steps.push(made.ok_or_else(not_finite)?);
            }
        }
        Ok(steps)
    }
}
