//! Makes a router file from label rows: fit, calibrate, measure.

use burn::tensor::Device;
use tokenroute_core::{LabelRow, Platt, Progress, RouterHeader, Score, ScoreError, TrainingRecord};
use tokenroute_store::RouterFile;

use crate::{
    RouterHead, TrainConfig, TrainError, TrainingData, expected_calibration_error, fit, fit_platt,
    rank_metrics, tau_points,
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

/// Trains a router on label rows. On the CPU, the same configuration, rows and device give
/// the same bytes.
///
/// # Errors
/// A configuration out of range, rows that cannot be trained on
/// ([`TrainingData::new`]), or a loss that is not a number.
pub fn train(
    config: &TrainConfig,
    rows: &[LabelRow],
    provenance: Provenance,
    device: &Device,
    progress: &dyn Progress,
) -> Result<RouterFile, TrainError> {
    config.check()?;
    let data = TrainingData::new(config, rows)?;
    let architecture = config.architecture(data.spec.hidden);
    let fitted = fit(config, &architecture, &data, device, progress)?;

    let head = RouterHead::new(&architecture, data.spec.width(), &fitted.layers, device);
    let targets = &data.validation.targets;
    let logits = head.score(&data.validation.features)?;
    let platt = fit_platt(&logits, targets)?;
    let before = scores(&logits, Platt { scale: 1.0, bias: 0.0 })?;
    let after = scores(&logits, platt)?;
    let Some(ranks) = rank_metrics(&after, targets) else {
        let (part, rows) = ("validation", targets.len());
        return Err(TrainError::OneClass { part, rows, kept: "kept" });
    };
    let positions = head.score(&data.positions)?;
    let training = TrainingRecord {
        seed: config.seed,
        epochs: fitted.losses.len() as u32,
        best_epoch: fitted.best_epoch,
        rows: data.sizes(),
        validation_loss: fitted.losses[fitted.best_epoch as usize - 1],
        auroc: ranks.auroc,
        auprc: ranks.auprc,
        ece_before: expected_calibration_error(&before, targets),
        ece_after: expected_calibration_error(&after, targets),
        positive_rate_at_recall_95: ranks.positive_rate_at_recall_95,
    };
    progress.note(&format!(
        "router: kept epoch {} of {}, validation cross-entropy {:.4}, AUROC {:.4}, AUPRC {:.4}",
        training.best_epoch,
        training.epochs,
        training.validation_loss,
        training.auroc,
        training.auprc
    ));
    let header = RouterHeader {
        format: RouterHeader::FORMAT,
        architecture,
        features: data.spec,
        normalisation: data.normalisation,
        platt,
        slm_hash: provenance.slm,
        llm_hash: provenance.llm,
        tokenizer_hash: provenance.tokenizer,
        labels_hash: provenance.labels,
        calibration: tau_points(&scores(&positions, platt)?),
        training,
    };
    Ok(RouterFile { header, layers: fitted.layers })
}

fn scores(logits: &[f32], platt: Platt) -> Result<Vec<Score>, TrainError> {
    let scaled = logits.iter().map(|&f| platt.score(f));
    let collected: Result<_, ScoreError> = scaled.collect();
    collected.map_err(|e| TrainError::Backend(e.to_string()))
}
