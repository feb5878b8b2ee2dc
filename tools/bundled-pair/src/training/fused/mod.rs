//! Computes gradients by a hand-written forward and backward pass on the CPU. There is no
//! padding. A few sequences are processed at a time, so that activations stay in the cache. Sums
//! have a fixed order for any number of threads.

mod attention;
mod kernels;
mod matmul;
mod pass;
mod weights;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::ModelConfig;
use crate::error::PairError;
use crate::model::NamedParameter;
use crate::training::batch::Sequence;
use pass::FusedPass;
use weights::Weights;

/// Number of parts of a batch. Their gradients are summed in order.
const PARTS: usize = 8;
/// Tokens processed together, few enough to stay in the cache.
const CHUNK_TOKENS: usize = 256;

/// The buffers of the threads and the gradients of the parts.
pub struct FusedEngine {
    config: ModelConfig,
    passes: Vec<FusedPass>,
    parts: Vec<Mutex<(Weights, f64)>>,
}

impl FusedEngine {
    /// `threads` = 0 means one per core.
    pub fn new(config: &ModelConfig, threads: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores } else { threads }.min(PARTS);
        Self {
            config: config.clone(),
            passes: (0..threads).map(|_| FusedPass::new(config)).collect(),
            parts: (0..PARTS).map(|_| Mutex::new((Weights::zeros(config), 0.0))).collect(),
        }
    }

    /// Replaces the parameters' values by the gradient of the mean cross-entropy over all answer
    /// tokens. Returns that mean.
    ///
    /// # Errors
    /// [`PairError::Tensor`] if the parameters do not fit the configuration.
    pub fn gradient(
        &mut self,
        parameters: &mut [NamedParameter],
        batch: &[Sequence],
    ) -> Result<f32, PairError> {
        let weights = Weights::pack(&self.config, parameters)?;
        let targets: usize = batch.iter().map(|sequence| sequence.targets().len()).sum();
        #[expect(clippy::cast_precision_loss, reason = "batches are small")]
        let weight = 1.0 / targets.max(1) as f32;
        let next = AtomicUsize::new(0);
        let parts = &self.parts;
        std::thread::scope(|scope| {
            for pass in &mut self.passes {
                let (weights, next) = (&weights, &next);
                scope.spawn(move || {
                    loop {
                        let part = next.fetch_add(1, Ordering::Relaxed);
                        let Some(slot) = parts.get(part) else { break };
                        let mut slot =
                            slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        let (gradient, loss) = &mut *slot;
                        gradient.parts_mut().for_each(|part| part.fill(0.0));
                        *loss = 0.0;
                        let begin = part * batch.len() / PARTS;
                        let end = (part + 1) * batch.len() / PARTS;
                        for chunk in chunks(&batch[begin..end]) {
                            *loss += pass.run(weights, chunk, weight, gradient);
                        }
                    }
                });
            }
        });
        let mut loss = 0.0;
        let mut parts = self
            .parts
            .iter_mut()
            .map(|part| part.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner));
        if let Some((total, first_loss)) = parts.next() {
            loss += *first_loss;
            for (part, part_loss) in parts {
                loss += *part_loss;
                for (total, part) in total.parts_mut().zip(part.parts_mut()) {
                    kernels::add(total, part);
                }
            }
            total.unpack(&self.config, parameters)?;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the loss is reported as f32")]
        Ok((loss * f64::from(weight)) as f32)
    }
}

/// Splits sequences into groups of about `CHUNK_TOKENS` tokens.
fn chunks(mut rest: &[Sequence]) -> impl Iterator<Item = &[Sequence]> {
    std::iter::from_fn(move || {
        let mut tokens = 0;
        let count = rest
            .iter()
            .take_while(|sequence| {
                let fits = tokens == 0 || tokens + sequence.inputs().len() <= CHUNK_TOKENS;
                tokens += sequence.inputs().len();
                fits
            })
            .count();
        let (chunk, tail) = rest.split_at(count);
        rest = tail;
        (count > 0).then_some(chunk)
    })
}
