//! Chooses the settings that the configuration leaves open: each set is fitted on the training
//! rows and judged on the validation rows.

use burn::tensor::Device;
use tokenroute_core::{Progress, Ranks, Selection, Silent, Trial};

use crate::fit::fit_with;
use crate::metrics::weighted_cross_entropy;
use crate::{
    Loss, RouterHead, Rows, Settings, TrainConfig, TrainError, TrainingData, fit_platt,
    rank_metrics,
};

/// The best settings by validation, and what was tried. Settings that are all fixed are not
/// tried.
///
/// # Errors
/// As [`crate::fit`].
pub fn select(
    config: &TrainConfig,
    data: &TrainingData,
    device: &Device,
    progress: &dyn Progress,
) -> Result<(Settings, Option<Selection>), TrainError> {
    let candidates = Settings::candidates(config, data.spec.hidden)?;
    choose(config, candidates, &*config.loss()?, data, device, progress)
}

/// The best of some settings by validation.
pub(crate) fn choose(
    config: &TrainConfig,
    mut candidates: Vec<Settings>,
    loss: &dyn Loss,
    data: &TrainingData,
    device: &Device,
    progress: &dyn Progress,
) -> Result<(Settings, Option<Selection>), TrainError> {
    if candidates.len() == 1 {
        return Ok((candidates.remove(0), None));
    }
    progress.begin("choose settings", candidates.len() as u64, "settings");
    let mut tried = Vec::with_capacity(candidates.len());
    for settings in &candidates {
        tried.push(trial(config, settings, loss, data, device)?);
        progress.advance(1);
    }
    let mut order: Vec<usize> = (0..tried.len()).collect();
    // Stable, so that of equals the smaller model stands first.
    order.sort_by(|&a, &b| tried[a].validation_loss.total_cmp(&tried[b].validation_loss));
    let (best, next) = (order[0], order[1]);
    let reason = format!(
        "{} has the lowest validation cross-entropy after Platt scaling, {:.5}; next is {}, {:.5}",
        tried[best].settings(),
        tried[best].validation_loss,
        tried[next].settings(),
        tried[next].validation_loss,
    );
    progress.note(&format!("router: chose among {} settings: {reason}", tried.len()));
    let settings = candidates.swap_remove(best);
    Ok((settings, Some(Selection { reason, chosen: best, tried })))
}

fn trial(
    config: &TrainConfig,
    settings: &Settings,
    loss: &dyn Loss,
    data: &TrainingData,
    device: &Device,
) -> Result<Trial, TrainError> {
    let fitted = fit_with(config, loss, settings, data, device, &Silent)?;
    let data = &*data.reading(&settings.features);
    let architecture = settings.head.architecture(data.spec.width());
    let head = RouterHead::new(&architecture, data.spec.width(), &fitted.layers, device)?;
    let Rows { targets, weights, .. } = &data.validation;
    let logits = head.score_rows(&data.validation)?;
    // Two parameters undo what class weights and overfitting do to the logits' scale, which
    // calibration undoes in the router as well.
    let platt = fit_platt(&logits, targets, weights)?;
    let scaled: Vec<f64> = logits
        .iter()
        .map(|&f| f64::from(platt.scale) * f64::from(f) + f64::from(platt.bias))
        .collect();
    let scores = crate::router::scores(&logits, platt)?;
    let ranks = rank_metrics(&scores, targets, weights).ok_or(TrainError::OneClass {
        part: "validation",
        rows: targets.len(),
        kept: "kept",
    })?;
    let loss = weighted_cross_entropy(&scaled, targets, weights);
    Ok(settings.trial(loss, Ranks { auroc: ranks.auroc, auprc: ranks.auprc }))
}
