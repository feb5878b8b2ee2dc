//! Renders a report: [`ReportData`] in, bytes out. A page that works offline,
//! Markdown with SVG figures, CSV and `summary.json`.
//!
//! Key types:
//! - [`ReportData`]: everything a report shows, already measured.
//! - [`files`]: every file of the report, name and bytes.
//! - [`Summary`]: the figures as `summary.json`.
//! - [`comparison`]: the report of several routers.
//! - [`RouterCard`]: the model card of a router.
//! - [`CostSummary`]: the cost of a sweep as reports state it.
//!
//! Nothing here measures, decodes or touches a file.

mod card;
pub mod comparison;
mod cost;
mod csv;
mod data;
mod error;
mod files;
mod grid;
mod headline;
mod html;
mod markdown;
mod names;
mod number;
mod palette;
#[cfg(test)]
mod sample;
mod summary;
mod svg;
#[cfg(test)]
mod tests;
mod view;

pub use card::RouterCard;
pub use cost::{CostSummary, GRID_POINTS};
pub use csv::curves_csv;
pub use data::{ClassCount, Fact, LabelCounts, ReportData, StageCost};
pub use error::RenderError;
pub use files::{ReportFile, files};
pub use grid::{GridPoint, budgets, on_grid};
pub use headline::headline;
pub use html::html;
pub use markdown::{latency_markdown, markdown};
pub use summary::{
    CalibrationSummary, EndSummary, PointSummary, PolicySummary, SplitSummary, Summary,
};
pub use svg::{
    Cost, CurveFigure, Figure, figures, svg_curve, svg_labels, svg_latency, svg_reliability,
};
