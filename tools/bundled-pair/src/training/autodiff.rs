//! Computes gradients by Burn's autodiff, on the model's device.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Gradients, Int, Tensor, TensorData};

use super::batch::Sequence;
use crate::model::{NamedParameter, Qwen2, values};

/// Replaces the parameters' values by the gradient of the mean cross-entropy over all answer
/// tokens. Returns that mean.
pub fn gradient(model: &Qwen2, parameters: &mut [NamedParameter], batch: &[Sequence]) -> f32 {
    let loss = loss(model, batch);
    let value = values(loss.clone().inner())[0];
    let mut collector = Collector { gradients: loss.backward(), found: parameters.iter_mut() };
    model.visit(&mut collector);
    value
}

/// Mean cross-entropy over all answer tokens, `[1]`.
fn loss(model: &Qwen2, batch: &[Sequence]) -> Tensor<1> {
    let width = model.config().hidden_size;
    let seq = batch.iter().map(|sequence| sequence.inputs().len()).max().unwrap_or(0);
    let (mut rows, mut positions, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    for (row, sequence) in batch.iter().enumerate() {
        let inputs = sequence.inputs();
        let begin = row * seq;
        positions.extend((begin + sequence.first_target()..begin + inputs.len()).map(as_index));
        targets.extend(sequence.targets().iter().map(|&id| i64::from(id)));
        // Padding is at the end, where causal attention hides it from the real tokens.
        let mut padded = inputs.to_vec();
        padded.resize(seq, 0);
        rows.push(padded);
    }
    let count = targets.len();
    let ids = model.ids(&rows);
    let device = ids.device();
    let index =
        |data: Vec<i64>| Tensor::<1, Int>::from_data(TensorData::new(data, [count]), &device);
    let hidden =
        model.forward_hidden(ids).reshape([rows.len() * seq, width]).select(0, index(positions)); // [targets, width]
    let targets = index(targets).reshape([count, 1]);
    log_softmax(model.logits(hidden), 1).gather(1, targets).mean().neg()
}

fn as_index(position: usize) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

struct Collector<'a> {
    gradients: Gradients,
    found: std::slice::IterMut<'a, NamedParameter>,
}

impl ModuleVisitor for Collector<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // Parameters are visited in the order of the list.
        if let Some(slot) = self.found.next() {
            match param.val().grad_remove(&mut self.gradients) {
                Some(gradient) => slot.values = values(gradient),
                None => slot.values.fill(0.0),
            }
        }
    }
}
