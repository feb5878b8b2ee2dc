//! Fits a head to a loss: to the end for a linear head, and in mini-batches with early stopping
//! for others.

use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokenroute_core::{Platt, Progress};
use tokenroute_store::RouterLayer;

use crate::batches::Batches;
use crate::layer::{Running, dropout_widths, initial, is_recurrent, operators};
use crate::logistic::{Fit, Objective, STEPS};
use crate::metrics::weighted_cross_entropy;
use crate::model::values;
use crate::router::scores;
use crate::steps::Packed;
use crate::{
    Epoch, Layer, Loss, LossRows, RouterHead, Rows, Settings, TrainConfig, TrainError,
    TrainingData, fit_platt, rank_metrics,
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

/// Fits a head to the loss of the configuration. A head of one linear layer is trained until it
/// converges. Another is trained with AdamW, and the weights of the epoch with the lowest
/// validation loss are kept.
///
/// # Errors
/// A loss that is not a number, a recurrent head on rows without steps, or a failure of the backend.
pub fn fit(
    config: &TrainConfig,
    settings: &Settings,
    data: &TrainingData,
    device: &Device,
    progress: &dyn Progress,
) -> Result<Fitted, TrainError> {
    fit_with(config, &*config.loss()?, settings, data, device, progress)
}

/// As [`fit`], with a loss.
pub(crate) fn fit_with(
    config: &TrainConfig,
    loss: &dyn Loss,
    settings: &Settings,
    data: &TrainingData,
    device: &Device,
    progress: &dyn Progress,
) -> Result<Fitted, TrainError> {
    let data = &*data.reading(&settings.features);
    let rows = data.train.len();
    let lacking = data.train.probabilities.iter().filter(|[_, llm]| *llm <= 0.0).count();
    if loss.reads_probabilities() && lacking > 0 {
        return Err(TrainError::NoLlmProbability { lacking, rows });
    }
    let layers = settings.head.layers(data.spec.width());
    if is_recurrent(&layers) && [&data.train, &data.validation].iter().any(|r| r.steps.is_none()) {
        return Err(TrainError::NoSteps { head: settings.head.name() });
    }
    if let &[Layer::Linear { outputs, .. }] = layers.as_slice() {
        return fit_linear(config, loss, settings, outputs, data, device, progress);
    }
    fit_layers(config, loss, settings, &layers, data, device, progress)
}

fn fit_linear(
    config: &TrainConfig,
    loss: &dyn Loss,
    settings: &Settings,
    rewards: usize,
    data: &TrainingData,
    device: &Device,
    progress: &dyn Progress,
) -> Result<Fitted, TrainError> {
    let width = data.spec.width();
    let (coefficients, shift) = coefficients(config, &data.train);
    let labels = LossRows::of(&data.train, coefficients);
    let objective =
        Objective { rows: &data.train, width, labels: &labels, loss, l2: settings.penalties() };
    progress.begin("train", u64::from(STEPS), "steps at most");
    let Fit { parameters, losses } = objective.minimise(vec![0.0; width + 1], progress)?;
    // Two rewards are the halves of the logit, r_keep = −r_offload.
    let signs: &[f64] = if rewards == 2 { &[0.5, -0.5] } else { &[1.0] };
    let scaled = |of: &[f64]| -> Vec<f32> {
        signs.iter().flat_map(|sign| of.iter().map(move |x| (sign * x) as f32)).collect()
    };
    let (weight, bias) = parameters.split_at(width);
    let layers = vec![RouterLayer { weight: scaled(weight), bias: scaled(bias) }];
    let head = RouterHead::of_layers(settings.head.layers(width), &layers, device);
    let Validated { loss, auroc } = validated(&head, data, shift, loss)?;
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

fn fit_layers(
    config: &TrainConfig,
    loss: &dyn Loss,
    settings: &Settings,
    layers: &[Layer],
    data: &TrainingData,
    device: &Device,
    progress: &dyn Progress,
) -> Result<Fitted, TrainError> {
    let dropout = settings.dropout;
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    let training = device.clone().autodiff();
    let (rows, width) = (&data.train, data.spec.width());
    let (coefficients, shift) = coefficients(config, rows);
    let labels = LossRows::of(rows, coefficients);
    let mut average = initial(layers, &mut rng);
    let mut running = Running::new(layers);
    let validating: Vec<Layer> =
        operators(layers).iter().map(Layer::try_from).collect::<Result<_, _>>()?;
    let mut head = RouterHead::of_layers(layers.to_vec(), &average, &training);
    let mut optimizer =
        AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(config.weight_decay as f32).init();

    let whole_answers = loss.compares_rows() || is_recurrent(layers);
    let mut batches = Batches::new(rows, config.batch_rows, whole_answers);
    let steps = u64::from(config.epochs) * batches.most();
    let widths = dropout_widths(layers, width);
    let mut step = 0;
    let mut best: Option<(f64, u32, Vec<RouterLayer>)> = None;
    let mut history = Vec::new();
    progress.begin("train", u64::from(config.epochs) * rows.len() as u64, "rows");
    for epoch in 1..=config.epochs {
        let (mut train_loss, mut rate) = (0.0, 0.0);
        for batch in batches.shuffled(&mut rng) {
            let taken = Taken::of(rows, batch, is_recurrent(layers));
            let masks: Vec<_> = widths
                .iter()
                .filter(|_| dropout > 0.0)
                .map(|&w| mask(dropout, taken.positions.len(), w, &mut rng, &training))
                .collect();
            let features = gather(taken.features, width, &taken.positions, &training);
            let (mut logits, statistics) = head.training_logits(features, &masks, &taken.sizes);
            if let Some(places) = taken.places {
                let count = places.len();
                let places = Tensor::from_data(TensorData::new(places, [count]), &training);
                logits = logits.select(0, places);
            }
            let loss = loss.tensor(logits, &labels.pick(batch), &training)?;
            running.add(read(statistics)?);
            let value: f32 = loss.clone().into_scalar();
            train_loss += f64::from(value) * batch.len() as f64 / rows.len() as f64;
            let gradients = GradientsParams::from_grads(loss.backward(), &head);
            rate = learning_rate(config, step, steps);
            head = optimizer.step(rate, head, gradients);
            step += 1;
            average = running_average(average, head.layers()?, config.average, step);
            progress.advance(batch.len() as u64);
        }
        let folded = running.folded(layers, &average);
        let now = RouterHead::of_layers(validating.clone(), &folded, device);
        let Validated { loss, auroc } = validated(&now, data, shift, loss)?;
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
            best = Some((loss, epoch, folded));
        }
        if best.as_ref().is_some_and(|b| epoch - b.1 >= config.patience.max(1)) {
            break;
        }
    }
    let unfit = || (f64::INFINITY, config.epochs, running.folded(layers, &average));
    let (loss, best_epoch, layers) = best.unwrap_or_else(unfit);
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

/// What a pass takes for a batch: its rows, or all steps of its answers.
struct Taken<'r> {
    features: &'r [f32],
    /// Places in `features`.
    positions: Vec<usize>,
    sizes: Vec<usize>,
    /// The batch's rows among the positions; `None` if they are the positions.
    places: Option<Vec<i64>>,
}

impl<'r> Taken<'r> {
    fn of(rows: &'r Rows, batch: &[usize], recurrent: bool) -> Self {
        match rows.steps.as_ref().filter(|_| recurrent) {
            Some(steps) => {
                let (packed, places) = steps.pack(batch, &rows.answers);
                let Packed { positions, sizes } = packed;
                Taken { features: &steps.features, positions, sizes, places: Some(places) }
            }
            None => Taken {
                features: &rows.features,
                positions: batch.to_vec(),
                sizes: vec![batch.len()],
                places: None,
            },
        }
    }
}

/// The features `[batch, width]` of some rows.
fn gather(features: &[f32], width: usize, batch: &[usize], device: &Device) -> Tensor<2> {
    let mut values = Vec::with_capacity(batch.len() * width);
    for &row in batch {
        values.extend_from_slice(&features[row * width..(row + 1) * width]);
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

/// Copies the statistics of a batch out.
fn read(statistics: Vec<[Tensor<1>; 2]>) -> Result<Vec<[Vec<f32>; 2]>, TrainError> {
    statistics.into_iter().map(|[mean, variance]| Ok([values(mean)?, values(variance)?])).collect()
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

fn validated(
    head: &RouterHead,
    data: &TrainingData,
    shift: f64,
    loss: &dyn Loss,
) -> Result<Validated, TrainError> {
    let Rows { targets, weights, .. } = &data.validation;
    let logits = head.score_rows(&data.validation)?;
    // A loss that is no number is an error of the caller's, with more to say.
    let ranked = scores(&logits, Platt { scale: 1.0, bias: 0.0 }).ok();
    let auroc = ranked.and_then(|scores| rank_metrics(&scores, targets, weights));
    let shifted: Vec<f64> = if loss.gives_log_odds() {
        logits.into_iter().map(|f| f64::from(f) + shift).collect()
    } else {
        match fit_platt(&logits, targets, weights) {
            Ok(Platt { scale, bias }) => {
                let scaled = |f: f32| f64::from(scale) * f64::from(f) + f64::from(bias);
                logits.into_iter().map(scaled).collect()
            }
            // A logit is no number, which the caller refuses.
            Err(_) => vec![f64::NAN; logits.len()],
        }
    };
    let loss = weighted_cross_entropy(&shifted, targets, weights);
    Ok(Validated { loss, auroc: auroc.map(|ranks| ranks.auroc) })
}
