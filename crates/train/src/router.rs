//! Makes router files from label rows: choose settings, fit, calibrate, measure.

use std::sync::Arc;

use burn::tensor::Device;
use tokenroute_core::{
    LabelRow, Platt, Progress, Ranks, RouterHeader, Score, ScoreError, Selection, TrainingRecord,
};
use tokenroute_store::RouterFile;

use crate::fit::fit_with;
use crate::layer::is_recurrent;
use crate::select::{choose, select};
use crate::{
    Epoch, Fitted, Head, LabelRule, Loss, RouterHead, Rows, Settings, TrainConfig, TrainError,
    TrainingData, expected_calibration_error, fit_platt, metrics, rank_metrics, tau_points,
};

/// Hashes of a label table and its sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Hash of the SLM's weights.
    pub slm: String,
    /// Hash of the LLM's weights.
    pub llm: String,
    /// Hash of the pair's tokenizer.
    pub tokenizer: String,
    /// Hash of the label table.
    pub labels: String,
}

/// A trained router and how it got there.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// The router.
    pub file: RouterFile,
    /// Every epoch, or every step of a linear head.
    pub history: Vec<Epoch>,
}

/// Trains a router on label rows: chooses what the configuration leaves open, fits,
/// calibrates and measures. On the CPU, the same configuration, rows and device give the same
/// bytes.
///
/// # Errors
/// A configuration out of range, rows that cannot be trained on
/// ([`TrainingData::new`]), or a loss that is not a number.
pub fn train(
    config: &TrainConfig,
    rows: &[LabelRow],
    provenance: &Provenance,
    device: &Device,
    progress: &dyn Progress,
) -> Result<RouterFile, TrainError> {
    let mut trained = train_seeds(config, &[config.seed], rows, provenance, device, progress)?;
    Ok(trained.remove(0).file)
}

/// As [`train`], one router for each seed. The settings are chosen once, with the first seed.
///
/// # Errors
/// As [`train`].
pub fn train_seeds(
    config: &TrainConfig,
    seeds: &[u64],
    rows: &[LabelRow],
    provenance: &Provenance,
    device: &Device,
    progress: &dyn Progress,
) -> Result<Vec<Trained>, TrainError> {
    config.check()?;
    let data = TrainingData::new(config, rows)?;
    fit_seeds(config, seeds, &data, provenance, device, progress)
}

/// Trains a router with a label rule that no experiment file names.
///
/// # Errors
/// As [`train`].
pub fn train_rule(
    config: &TrainConfig,
    rule: &dyn LabelRule,
    rows: &[LabelRow],
    provenance: &Provenance,
    device: &Device,
    progress: &dyn Progress,
) -> Result<Trained, TrainError> {
    config.check()?;
    let data = TrainingData::ruled(config, rule, rows)?;
    let mut trained = fit_seeds(config, &[config.seed], &data, provenance, device, progress)?;
    Ok(trained.remove(0))
}

fn fit_seeds(
    config: &TrainConfig,
    seeds: &[u64],
    data: &TrainingData,
    provenance: &Provenance,
    device: &Device,
    progress: &dyn Progress,
) -> Result<Vec<Trained>, TrainError> {
    let seeded = |seed: u64| TrainConfig { seed, ..config.clone() };
    let first = seeded(seeds.first().copied().unwrap_or(config.seed));
    let (settings, selection) = select(&first, data, device, progress)?;
    let loss = config.loss()?;
    let data = data.reading(&settings.features);
    seeds
        .iter()
        .map(|&seed| {
            let selection = selection.clone();
            let config = seeded(seed);
            let fitted = fit_with(&config, &*loss, &settings, &data, device, progress)?;
            router(&config, &settings, fitted, selection, &data, provenance, device, progress)
        })
        .collect()
}

/// Trains a router with a head and a loss that no experiment file names.
///
/// # Errors
/// As [`train`].
pub fn train_head(
    config: &TrainConfig,
    head: &Arc<dyn Head>,
    loss: &dyn Loss,
    rows: &[LabelRow],
    provenance: &Provenance,
    device: &Device,
    progress: &dyn Progress,
) -> Result<Trained, TrainError> {
    config.check()?;
    let recurrent = is_recurrent(&head.layers(1));
    let data = TrainingData::of(config, &*config.rule()?, rows, recurrent)?;
    let candidates = Settings::of_head(head, config, data.spec.hidden);
    let (settings, selection) = choose(config, candidates, loss, &data, device, progress)?;
    let data = data.reading(&settings.features);
    let fitted = fit_with(config, loss, &settings, &data, device, progress)?;
    router(config, &settings, fitted, selection, &data, provenance, device, progress)
}

#[expect(clippy::too_many_arguments, reason = "all that a router file holds")]
fn router(
    config: &TrainConfig,
    settings: &Settings,
    fitted: Fitted,
    selection: Option<Selection>,
    data: &TrainingData,
    provenance: &Provenance,
    device: &Device,
    progress: &dyn Progress,
) -> Result<Trained, TrainError> {
    let architecture = settings.head.architecture(data.spec.width());
    let head = RouterHead::new(&architecture, data.spec.width(), &fitted.layers, device)?;
    let measured = data.measured();
    let Rows { targets, weights, .. } = measured;
    let logits = head.score_rows(measured)?;
    let platt = fit_platt(&logits, targets, weights)?;
    let before = scores(&logits, Platt { scale: 1.0, bias: 0.0 })?;
    let after = scores(&logits, platt)?;
    let Some(ranks) = rank_metrics(&after, targets, weights) else {
        let (part, rows) = ("calibration", targets.len());
        return Err(TrainError::OneClass { part, rows, kept: "kept" });
    };
    let max_probability = metrics::ranks(measured.uncertainty.iter().map(|u| u[0]), measured);
    let split = match data.calibration {
        Some(_) => &config.calibration_split,
        None => &config.validation_split,
    };
    let training = TrainingRecord {
        seed: config.seed,
        epochs: fitted.epochs,
        best_epoch: fitted.best_epoch,
        rows: data.sizes(),
        validation_loss: fitted.loss,
        auroc: ranks.auroc,
        auprc: ranks.auprc,
        ece_before: expected_calibration_error(&before, targets, weights),
        ece_after: expected_calibration_error(&after, targets, weights),
        positive_rate_at_recall_95: ranks.positive_rate_at_recall_95,
        measured_on: split.clone(),
        max_probability,
        entropy: metrics::ranks(measured.uncertainty.iter().map(|u| -u[1]), measured),
        loses_to_max_probability: max_probability
            .is_some_and(|other| ranks.auroc < other.auroc || ranks.auprc < other.auprc),
        selection,
    };
    let words = settings.trial(fitted.loss, Ranks::default()).settings();
    report(&words, &training, progress);
    let positions = head.score_answers(&data.positions, &data.lengths)?;
    let header = RouterHeader {
        format: RouterHeader::FORMAT,
        architecture,
        features: data.spec.clone(),
        normalisation: data.normalisation.clone(),
        platt,
        full_precision: false,
        slm_hash: provenance.slm.clone(),
        llm_hash: provenance.llm.clone(),
        tokenizer_hash: provenance.tokenizer.clone(),
        labels_hash: provenance.labels.clone(),
        calibration: tau_points(&scores(&positions, platt)?),
        training,
    };
    Ok(Trained { file: RouterFile { header, layers: fitted.layers }, history: fitted.history })
}

fn report(settings: &str, record: &TrainingRecord, progress: &dyn Progress) {
    let TrainingRecord { auroc, auprc, measured_on, .. } = record;
    progress.note(&format!(
        "router: {settings}, epoch {} of {}, validation cross-entropy {:.4}; on {measured_on} \
         rows AUROC {auroc:.4}, AUPRC {auprc:.4}",
        record.best_epoch, record.epochs, record.validation_loss
    ));
    if let Some(other) = record.max_probability.filter(|_| record.loses_to_max_probability) {
        progress.note(&format!(
            "warning: maximum probability finds divergent positions better than this router \
             (AUROC {:.4}, AUPRC {:.4}); label more questions before you sweep",
            other.auroc, other.auprc
        ));
    }
}

/// The scores of logits.
pub(crate) fn scores(logits: &[f32], platt: Platt) -> Result<Vec<Score>, TrainError> {
    let collected: Result<_, ScoreError> = logits.iter().map(|&f| platt.score(f)).collect();
    collected.map_err(|e| TrainError::Backend(e.to_string()))
}
