//! The report as words and formatted numbers. The page and the Markdown share it, so
//! that both show the same.

mod answer_costs;
mod cut;
mod errors;
mod examples;
mod latency;
mod split;
mod statistics;

use serde::Serialize;
use tokenroute_core::Bytes;
use tokenroute_sweep::diagnostics::{Diagnostics, PolicyRanking};

use crate::cost::{CostSummary, GRID_POINTS};
use crate::data::{LabelCounts, ReportData, StageCost};
use crate::number::{count, decimal, duration, percent};
use answer_costs::AnswerCostsView;
pub(crate) use answer_costs::assumptions;
use errors::ErrorsView;
use examples::ExampleView;
pub(super) use latency::LatencyView;
use split::SplitView;
pub(crate) use statistics::{DifferenceView, range};

/// The report in words.
#[derive(Debug, Serialize)]
pub(super) struct View {
    pub name: String,
    pub test: SplitView,
    pub ood: Option<SplitView>,
    pub answers: AnswerCostsView,
    pub labels: Vec<LabelView>,
    pub classes: Vec<ShareView>,
    pub diagnostics: Vec<Row>,
    /// The split of the labelled positions in the table of diagnostics.
    pub measured_on: String,
    /// The split of those in its figures.
    pub figures_on: String,
    pub ranking: Vec<RankingRow>,
    pub errors: Option<ErrorsView>,
    pub cost: Vec<Row>,
    pub examples: Vec<ExampleView>,
    pub notices: Vec<String>,
    pub stages: Vec<Row>,
    pub provenance: Vec<Row>,
    pub command: String,
}

/// A name, a value and a remark.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub name: String,
    pub value: String,
    pub note: String,
}

#[derive(Debug, Serialize)]
pub(super) struct LabelView {
    pub split: String,
    pub total: String,
    pub parts: Vec<ShareView>,
    /// The parts without the identical positions, so that the small ones are visible.
    pub differing: Vec<ShareView>,
    pub differing_share: String,
}

#[derive(Debug, Serialize)]
pub(super) struct ShareView {
    pub name: String,
    pub count: String,
    pub share: String,
    /// Width of a bar, in percent.
    pub width: String,
}

impl View {
    /// Puts the report into words.
    pub(super) fn of(data: &ReportData) -> View {
        let row =
            |name: &str, value: String| Row { name: name.to_owned(), value, note: String::new() };
        View {
            name: data.name.clone(),
            test: SplitView::of(&data.test),
            ood: data.ood.as_ref().map(SplitView::of),
            answers: AnswerCostsView::of(&data.answer_costs),
            labels: data.labels.iter().map(LabelView::of).collect(),
            classes: shares(data.divergent_classes.iter().map(|c| (c.class.as_str(), c.count))),
            diagnostics: data.diagnostics.as_ref().map(diagnostic_rows).unwrap_or_default(),
            measured_on: measured_on(data.diagnostics.as_ref()),
            ranking: data.diagnostics.iter().flat_map(|d| &d.ranking).map(RankingRow::of).collect(),
            figures_on: data.diagnostics.as_ref().map(|d| d.split.clone()).unwrap_or_default(),
            errors: data.errors.as_ref().map(ErrorsView::of),
            cost: cost_rows(&data.cost),
            examples: data.examples.iter().map(ExampleView::of).collect(),
            notices: data.notices.clone(),
            stages: data.stages.iter().map(|s| row(&s.stage, stage_cost(s))).collect(),
            provenance: data.provenance.iter().map(|f| row(&f.name, f.value.clone())).collect(),
            command: data.command.clone(),
        }
    }
}

impl LabelView {
    fn of(labels: &LabelCounts) -> LabelView {
        let c = labels.counts;
        let total = c.total();
        let differing = total - c.identical;
        let mut parts = vec![("neutral", c.neutral), ("both wrong", c.both_wrong)];
        parts.push(("divergent", c.divergent));
        if c.unjudged > 0 {
            parts.push(("unjudged", c.unjudged));
        }
        let all = std::iter::once(("identical", c.identical)).chain(parts.iter().copied());
        LabelView {
            split: labels.split.clone(),
            total: count(total),
            parts: shares_of(all, total),
            differing: shares_of(parts.into_iter(), differing),
            differing_share: percent(differing as f64 / total.max(1) as f64),
        }
    }
}

/// As in "5 min 12 s, 1.40 GB, 12,345 LLM positions, 6,789 bytes up, 9,876 down".
fn stage_cost(stage: &StageCost) -> String {
    let mut line = stage.seconds.map_or_else(|| "time not recorded".to_owned(), duration);
    if let Some(bytes) = stage.peak_bytes {
        line += &format!(", {:.2} GB", bytes as f64 / 1e9);
    }
    if let Some(positions) = stage.llm_positions {
        line += &format!(", {} LLM positions", count(positions));
    }
    if let Some(Bytes { up, down }) = stage.bytes {
        line += &format!(", {} bytes up, {} down", count(up), count(down));
    }
    line
}

/// Counts with their shares of their sum.
fn shares<'a>(parts: impl Iterator<Item = (&'a str, u64)> + Clone) -> Vec<ShareView> {
    let total = parts.clone().map(|p| p.1).sum();
    shares_of(parts, total)
}

fn shares_of<'a>(parts: impl Iterator<Item = (&'a str, u64)>, total: u64) -> Vec<ShareView> {
    parts
        .map(|(name, n)| {
            let share = n as f64 / total.max(1) as f64;
            ShareView {
                name: name.to_owned(),
                count: count(n),
                share: percent(share),
                width: format!("{:.2}", 100.0 * share),
            }
        })
        .collect()
}

/// A policy as a detector of divergent positions.
#[derive(Debug, Serialize)]
pub(super) struct RankingRow {
    pub name: String,
    pub auroc: String,
    pub auprc: String,
    pub positive_rate: String,
    pub calibration_error: String,
}

impl RankingRow {
    fn of(ranking: &PolicyRanking) -> Self {
        RankingRow {
            name: ranking.policy.clone(),
            auroc: decimal(Some(ranking.auroc), 3),
            auprc: decimal(Some(ranking.auprc), 3),
            positive_rate: percent(ranking.positive_rate_at_recall_95),
            calibration_error: decimal(Some(ranking.calibration_error), 4),
        }
    }
}

/// The split that a router was measured on when it was trained. Older routers do not say it.
fn measured_on(diagnostics: Option<&Diagnostics>) -> String {
    let named = diagnostics.map(|d| d.training.measured_on.as_str()).filter(|n| !n.is_empty());
    named.unwrap_or("validation").to_owned()
}

fn diagnostic_rows(diagnostics: &Diagnostics) -> Vec<Row> {
    let t = &diagnostics.training;
    let row = |name: &str, value: String, note: &str| Row {
        name: name.to_owned(),
        value,
        note: note.to_owned(),
    };
    vec![
        row("AUROC", decimal(Some(t.auroc), 3), "finding divergent positions; chance is 0.5"),
        row("AUPRC", decimal(Some(t.auprc), 3), "chance is the share of divergent positions"),
        row("Calibration error, raw", decimal(Some(t.ece_before), 4), "before Platt scaling"),
        row("Calibration error, scaled", decimal(Some(t.ece_after), 4), "after Platt scaling"),
        row(
            "Positive rate at recall .95",
            percent(t.positive_rate_at_recall_95),
            "positions routed to catch 95% of the divergent ones",
        ),
        row(
            "Epochs",
            format!("{} (kept {})", t.epochs, t.best_epoch),
            "early stopping on validation loss",
        ),
        row(
            "Rows",
            format!("{} / {}", count(t.rows[0]), count(t.rows[1])),
            "trained on / validated on",
        ),
    ]
}

fn cost_rows(cost: &CostSummary) -> Vec<Row> {
    let row = |name: String, value: String, note: &str| Row { name, value, note: note.to_owned() };
    vec![
        row(
            "Exact sweep, every τ".to_owned(),
            format!("{:.2} ×", cost.cost_ratio),
            "SLM positions evaluated / tokens of one SLM-only decode",
        ),
        row(
            format!("Grid of {GRID_POINTS} values of τ"),
            format!("{:.1} ×", cost.grid_cost_ratio),
            "the same measure, one decode per grid point",
        ),
        row(
            "LLM, exact sweep".to_owned(),
            format!("{:.2} ×", cost.llm_cost_ratio),
            "LLM positions / tokens of one LLM-only decode",
        ),
        row(
            "SLM positions evaluated".to_owned(),
            count(cost.decoded_tokens),
            "discarded work included",
        ),
        row("SLM-only tokens".to_owned(), count(cost.slm_only_tokens), "one decode of the split"),
    ]
}
