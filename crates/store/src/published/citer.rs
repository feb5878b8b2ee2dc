//! CITER's `ConfidenceModel`: torchvision's `MLP` with batch norm, ReLU and dropout, then one
//! linear layer. The last layer of the MLP has neither norm nor activation. Published widths are
//! 2 · hidden and hidden.

use tokenroute_core::{Activation, Architecture, FeatureSpec, Operator, Platt};

use super::{PublishedHead, Stack};
use crate::RouterLayer;
use crate::published::state_dict::StateDict;

/// Modules of a layer of the MLP: linear, batch norm, activation, dropout.
const MODULES: usize = 4;

pub(super) fn head(state: &mut StateDict<'_>) -> Result<PublishedHead, String> {
    let [_, hidden] = state.size("mlp.0.weight")?;
    let (mut stack, mut widths, mut width, mut at) = (Stack::default(), Vec::new(), hidden, 0);
    loop {
        width = stack.linear(state, &format!("mlp.{at}"), width)?;
        widths.push(width);
        let norm = format!("mlp.{}", at + 1);
        if !state.has(&format!("{norm}.running_mean")) {
            break;
        }
        stack.layers.push(batch_norm(state, &norm, width)?);
        stack.operators.push(Operator::Affine { width });
        stack.operators.push(Operator::Activation { activation: Activation::Relu });
        at += MODULES;
    }
    let outputs = stack.linear(state, "linear", width)?;
    if outputs != 1 {
        return Err(format!("linear.weight has {outputs} rows; expected 1"));
    }
    Ok(PublishedHead {
        architecture: Architecture::Operators {
            name: format!("CITER's head, imported (widths {widths:?})"),
            operators: stack.operators,
        },
        features: FeatureSpec { hidden, ..FeatureSpec::default() },
        platt: Platt { scale: 1.0, bias: 0.0 },
        layers: stack.layers,
    })
}

/// Batch norm as factors and biases: w / √(v + 1e-5) and b − m w / √(v + 1e-5).
fn batch_norm(state: &mut StateDict<'_>, name: &str, width: usize) -> Result<RouterLayer, String> {
    let [weight, bias, mean, variance] = ["weight", "bias", "running_mean", "running_var"]
        .map(|part| state.vector(&format!("{name}.{part}"), width));
    let (mut weight, mut bias, mean, variance) = (weight?, bias?, mean?, variance?);
    state.pass(&format!("{name}.num_batches_tracked"));
    if let Some(at) = variance.iter().position(|&v| v < 0.0) {
        return Err(format!("{name}.running_var[{at}] is {}; expected at least 0", variance[at]));
    }
    for (i, (w, b)) in weight.iter_mut().zip(&mut bias).enumerate() {
        let factor = f64::from(*w) / (f64::from(variance[i]) + 1e-5).sqrt();
        *w = factor as f32;
        *b = (f64::from(*b) - f64::from(mean[i]) * factor) as f32;
    }
    Ok(RouterLayer { weight, bias })
}
