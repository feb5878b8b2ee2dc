//! Report rendering: [`ReportData`] in, bytes out. A self-contained HTML page,
//! Markdown with SVG figures, and CSV. Nothing here touches a file.

mod csv;
mod data;
mod grid;
mod html;
mod markdown;
mod number;
mod palette;
#[cfg(test)]
mod sample;
mod svg;
#[cfg(test)]
mod tests;
mod view;

pub use csv::curves_csv;
pub use data::{
    BandPoint, ClassCount, Diagnostics, Difference, Example, ExampleRun, ExampleToken, Fact,
    HistogramBin, LabelCounts, Point, PolicyKind, PolicyResult, ReliabilityBin, ReportData,
    SplitResult, StageCost, SweepCost,
};
pub use grid::{GridPoint, budgets, on_grid};
pub use html::html;
pub use markdown::{latency_markdown, markdown};
pub use svg::{
    Cost, CurveFigure, Figure, figures, svg_curve, svg_labels, svg_latency, svg_reliability,
};

/// Why a report could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The template and its data do not fit.
    #[error("the report's template cannot be rendered: {0}")]
    Template(#[from] minijinja::Error),
    /// A value that JSON cannot hold.
    #[error("the report's charts cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The plotting library refused a figure.
    #[error("figure {figure} cannot be drawn: {cause}")]
    Figure {
        /// File name of the figure.
        figure: String,
        /// What the library says.
        cause: String,
    },
}
