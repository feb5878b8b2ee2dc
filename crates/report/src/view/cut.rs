//! Cut answers in words: their shares for both models alone and for every policy.

use serde::Serialize;
use tokenroute_core::CurvePoint;
use tokenroute_sweep::policies::PolicyKind;
use tokenroute_sweep::study::SplitResult;

use crate::number::percent;

/// Shares of answers that were cut at their most tokens.
#[derive(Debug, Serialize)]
pub(crate) struct CutView {
    pub slm: String,
    pub llm: String,
    /// Empty where all shares are below 1%; `most` is the greatest.
    pub rows: Vec<CutRow>,
    pub most: String,
}

/// One policy at the offload targets.
#[derive(Debug, Serialize)]
pub(crate) struct CutRow {
    pub name: String,
    pub router: bool,
    /// One share for each of the split's columns.
    pub shares: Vec<String>,
}

/// Shares below this need no table.
const SHOWN: f64 = 0.01;

impl CutView {
    /// `None` if no answer was cut at any τ of any policy.
    pub(super) fn of(split: &SplitResult) -> Option<CutView> {
        let is_cut = |point: &CurvePoint| point.cut > 0;
        if !split.policies.iter().any(|p| p.curve.points.iter().any(is_cut)) {
            return None;
        }
        let [slm, llm] = split.cut_alone().map(percent);
        let columns = split.router().map_or(&[][..], |router| &router.points);
        let rows = split
            .policies
            .iter()
            .enumerate()
            .filter(|(i, p)| *i == 0 || p.kind != PolicyKind::Router)
            .map(|(_, policy)| CutRow {
                name: policy.name.clone(),
                router: policy.kind == PolicyKind::Router,
                shares: columns
                    .iter()
                    .map(|column| {
                        let same =
                            policy.points.iter().find(|p| (p.target - column.target).abs() < 1e-9);
                        same.map_or_else(|| "–".to_owned(), |p| percent(p.cut))
                    })
                    .collect(),
            });
        let shares = split.policies.iter().flat_map(|p| p.points.iter().map(|point| point.cut));
        let most = shares.fold(0.0, f64::max);
        let rows = if most < SHOWN { Vec::new() } else { rows.collect() };
        Some(CutView { slm, llm, rows, most: percent(most) })
    }
}
