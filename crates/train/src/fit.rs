//! Fits a head: the Bradley-Terry loss, minimised to the end for a linear head, and in
//! mini-batches with early stopping for an MLP.

use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::activation::{log_sigmoid, sigmoid};
use burn::tensor::{Device, Tensor, TensorData};
use rand::seq::SliceRandom;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokenroute_core::{Architecture, Platt, Progress};
use tokenroute_store::RouterLayer;

use crate::logistic::{Fit, Objective, STEPS};
use crate::metrics::weighted_cross_entropy;
use crate::model::initial;
use crate::router::scores;
use crate::{
    Epoch, RouterHead, Rows, Settings, TrainConfig, TrainError, TrainingData, rank_metrics,
};

/// The best weights by validation loss, and the course of the training.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The best weights, copied out of the model.
    pub layers: Vec<RouterLayer>,
    /// Every epoch, or every step of a linear head.
    pub history: Vec<Epoch>,
    /// Epochs run; of a linear head, steps until it converged.
    pub epochs: u32,
    /// Epoch of the best weights, counted from 1; of a linear head, its last step.
    pub best_epoch: u32,
    /// The lowest validation loss.
    pub loss: f64,
    /// Added to a logit to undo the class weight. Weighting divergent rows by c moves the
    /// optimum of the logit by −ln c.
    pub shift: f64,
}

/// Minimises the cross-entropy of P(keep ≻ offload | h) = σ(f(h)) against the soft targets
/// (Bradley-Terry; CITER, arXiv 2502.01976 §3). A linear head is trained until it converges.
/// An MLP is trained with AdamW, and the weights of the epoch with the lowest validation loss
/// are kept.
///
/// # Errors
/// A loss that is not a number, or a failure of the backend.
pub fn fit(
    config: &TrainConfig,
    settings: &Settings,
    data: &TrainingData,
    device: &Device,
    progress: &dyn Progress,
) -> Result<Fitted, TrainError> {
    let data = &*data.reading(&settings.features);
    match settings.architecture {
        Architecture::Linear { rewards } => {
            fit_linear(config, settings, rewards, data, device, progress)
        }
        Architecture::Mlp { .. } => fit_mlp(config, settings, data, device, progress),
    }
}

fn fit_linear(
    config: &TrainConfig,
    settings: &Settings,
    rewards: usize,
    data: &TrainingData,
    device: &Device,
    progress: &dyn Progress,
) -> Result<Fitted, TrainError> {
    let width = data.spec.width();
    let (coefficients, shift) = coefficients(config, &data.train);
    let objective = Objective {
        rows: &data.train,
        width,
        coefficients: &coefficients,
        focal_gamma: config.focal_gamma,
        l2: settings.penalties(),
    };
    progress.begin("train", u64::from(STEPS), "steps at most");
    let Fit { parameters, losses } = objective.minimise(vec![0.0; width + 1], progress)?;
    // Two rewards are the halves of the logit, r_keep = −r_offload.
    let signs: &[f64] = if rewards == 2 { &[0.5, -0.5] } else { &[1.0] };
    let scaled = |of: &[f64]| -> Vec<f32> {
        signs.iter().flat_map(|sign| of.iter().map(move |x| (sign * x) as f32)).collect()
    };
    let (weight, bias) = parameters.split_at(width);
    let layers = vec![RouterLayer { weight: scaled(weight), bias: scaled(bias) }];
    let head = RouterHead::new(&settings.architecture, width, &layers, device);
    let Validated { loss, auroc } = validated(&head, data, shift)?;
    let step = |(epoch, &train_loss): (u32, &f64)| Epoch {
        seed: config.seed,
        epoch,
        train_loss,
        validation_loss: None,
        auroc: None,
        learning_rate: None,
    };
    let mut history: Vec<Epoch> = (1..).zip(&losses).map(step).collect();
    if let Some(last) = history.last_mut() {
        (last.validation_loss, last.auroc) = (Some(loss), auroc);
    }
    let steps = history.len() as u32;
    Ok(Fitted { layers, history, epochs: steps, best_epoch: steps, loss, shift })
}

fn fit_mlp(
    config: &TrainConfig,
    settings: &Settings,
    data: &TrainingData,
    device: &Device,
    progress: &dyn Progress,
) -> Result<Fitted, TrainError> {
    let (architecture, dropout) = (&settings.architecture, settings.dropout);
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    let training = device.clone().autodiff();
    let (rows, width) = (&data.train, data.spec.width());
    let (coefficients, shift) = coefficients(config, rows);
    let mut average = initial(architecture, width, &mut rng);
    let mut head = RouterHead::new(architecture, width, &average, &training);
    let mut optimizer =
        AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(config.weight_decay as f32).init();

    let mut order: Vec<usize> = (0..rows.len()).collect();
    let steps_per_epoch = rows.len().div_ceil(config.batch_rows) as u64;
    let steps = u64::from(config.epochs) * steps_per_epoch;
    let widths: Vec<usize> = average[..average.len() - 1].iter().map(|l| l.bias.len()).collect();
    let mut step = 0;
    let mut best: Option<(f64, u32, Vec<RouterLayer>)> = None;
    let mut history = Vec::new();
    progress.begin("train", u64::from(config.epochs) * rows.len() as u64, "rows");
    for epoch in 1..=config.epochs {
        order.shuffle(&mut rng);
        let (mut train_loss, mut rate) = (0.0, 0.0);
        for batch in order.chunks(config.batch_rows) {
            let masks: Vec<_> = widths
                .iter()
                .filter(|_| dropout > 0.0)
                .map(|&w| mask(dropout, batch.len(), w, &mut rng, &training))
                .collect();
            let logits = head.logits(gather(rows, width, batch, &training), &masks);
            let loss = loss(config, logits, &coefficients, batch, &training);
            let value: f32 = loss.clone().into_scalar();
            train_loss += f64::from(value) * batch.len() as f64 / rows.len() as f64;
            let gradients = GradientsParams::from_grads(loss.backward(), &head);
            rate = learning_rate(config, step, steps);
            head = optimizer.step(rate, head, gradients);
            step += 1;
            average = running_average(average, head.layers()?, config.average, step);
            progress.advance(batch.len() as u64);
        }
        let now = RouterHead::new(architecture, width, &average, device);
        let Validated { loss, auroc } = validated(&now, data, shift)?;
        if !loss.is_finite() {
            let learning_rate = config.learning_rate;
            return Err(TrainError::Diverged { epoch, loss, learning_rate });
        }
        history.push(Epoch {
            seed: config.seed,
            epoch,
            train_loss,
            validation_loss: Some(loss),
            auroc,
            learning_rate: Some(rate),
        });
        if best.as_ref().is_none_or(|b| loss < b.0) {
            best = Some((loss, epoch, average.clone()));
        }
        if best.as_ref().is_some_and(|b| epoch - b.1 >= config.patience.max(1)) {
            break;
        }
    }
    let (loss, best_epoch, layers) = best.unwrap_or((f64::INFINITY, config.epochs, average));
    Ok(Fitted { layers, epochs: history.len() as u32, history, best_epoch, loss, shift })
}

/// The factors of −ln σ(f) and −ln σ(−f) per row, scaled to a mean of 1 over both, and the
/// logit's shift by the class weight.
fn coefficients(config: &TrainConfig, rows: &Rows) -> (Vec<[f32; 2]>, f64) {
    let (mut keep, mut offload) = (0.0, 0.0);
    for (&w, &y) in rows.weights.iter().zip(&rows.targets) {
        keep += f64::from(w) * f64::from(y);
        offload += f64::from(w) * f64::from(1.0 - y);
    }
    let factor = config.class_weight.factor(keep, offload);
    let scale = rows.len() as f64 / (keep + factor * offload);
    let of_row = |(&w, &y): (&f32, &f32)| {
        let w = f64::from(w) * scale;
        [(w * f64::from(y)) as f32, (w * factor * f64::from(1.0 - y)) as f32]
    };
    (rows.weights.iter().zip(&rows.targets).map(of_row).collect(), factor.ln())
}

/// The batch's features `[batch, width]`.
fn gather(rows: &Rows, width: usize, batch: &[usize], device: &Device) -> Tensor<2> {
    let mut values = Vec::with_capacity(batch.len() * width);
    for &row in batch {
        values.extend_from_slice(&rows.features[row * width..(row + 1) * width]);
    }
    Tensor::from_data(TensorData::new(values, [batch.len(), width]), device)
}

/// Dropout's factors `[rows, width]`: 0, or 1 / (share kept). The same on every device. The
/// dropped share is rounded to 1/256.
fn mask(p: f64, rows: usize, width: usize, rng: &mut ChaCha8Rng, device: &Device) -> Tensor<2> {
    let dropped = (p * 256.0).round() as u8;
    let kept = 256.0 / (256.0 - f32::from(dropped));
    let mut bytes = vec![0u8; rows * width];
    rng.fill_bytes(&mut bytes);
    let values: Vec<f32> = bytes.iter().map(|&b| if b < dropped { 0.0 } else { kept }).collect();
    Tensor::from_data(TensorData::new(values, [rows, width]), device)
}

/// −mean(a (1 − p)^γ ln p + b p^γ ln(1 − p)) with p = σ(f) and the rows' [a, b].
fn loss(
    config: &TrainConfig,
    logits: Tensor<1>,
    coefficients: &[[f32; 2]],
    batch: &[usize],
    device: &Device,
) -> Tensor<1> {
    let column = |side: usize| -> Tensor<1> {
        let values: Vec<f32> = batch.iter().map(|&row| coefficients[row][side]).collect();
        Tensor::from_data(TensorData::new(values, [batch.len()]), device)
    };
    let mut keep = log_sigmoid(logits.clone());
    let mut offload = log_sigmoid(logits.clone().neg());
    if config.focal_gamma > 0.0 {
        let gamma = config.focal_gamma as f32;
        keep = keep * sigmoid(logits.clone().neg()).powf_scalar(gamma);
        offload = offload * sigmoid(logits).powf_scalar(gamma);
    }
    (keep * column(0) + offload * column(1)).mean().neg()
}

/// Rises linearly over the first twentieth of all steps, then falls along a cosine to a
/// hundredth.
fn learning_rate(config: &TrainConfig, step: u64, steps: u64) -> f64 {
    let warmup = (steps / 20).max(1);
    let rise = (step + 1) as f64 / warmup as f64;
    let past = step.saturating_sub(warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
    let cosine = 0.5 * (1.0 + (std::f64::consts::PI * past).cos());
    config.learning_rate * rise.min(1.0) * (0.01 + 0.99 * cosine)
}

/// Moves the average towards the weights. The decay rises to `decay` over the first steps,
/// so that the random start soon loses its influence.
fn running_average(
    average: Vec<RouterLayer>,
    now: Vec<RouterLayer>,
    decay: f64,
    step: u64,
) -> Vec<RouterLayer> {
    let decay = decay.min((1 + step) as f64 / (10 + step) as f64) as f32;
    if decay <= 0.0 {
        return now;
    }
    let mut average = average;
    for (old, new) in average.iter_mut().zip(&now) {
        let old = old.weight.iter_mut().chain(&mut old.bias);
        for (a, w) in old.zip(new.weight.iter().chain(&new.bias)) {
            *a += (1.0 - decay) * (w - *a);
        }
    }
    average
}

/// A head on the validation rows.
struct Validated {
    /// Cross-entropy without class weights.
    loss: f64,
    /// `None` if a logit is no number.
    auroc: Option<f64>,
}

fn validated(head: &RouterHead, data: &TrainingData, shift: f64) -> Result<Validated, TrainError> {
    let Rows { features, targets, weights, .. } = &data.validation;
    let logits = head.score(features)?;
    // A loss that is no number is an error of the caller's, with more to say.
    let ranked = scores(&logits, Platt { scale: 1.0, bias: 0.0 }).ok();
    let auroc = ranked.and_then(|scores| rank_metrics(&scores, targets, weights));
    let shifted: Vec<f64> = logits.into_iter().map(|f| f64::from(f) + shift).collect();
    let loss = weighted_cross_entropy(&shifted, targets, weights);
    Ok(Validated { loss, auroc: auroc.map(|ranks| ranks.auroc) })
}
