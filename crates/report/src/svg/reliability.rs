//! Reliability diagram: the share of tokens that may be kept, against the score,
//! before and after Platt scaling.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use tokenroute_sweep::diagnostics::{Diagnostics, ReliabilityBin};

use super::canvas::{Area, Drawn, INK, MUTED, axes, page, text};
use crate::error::RenderError;

/// Draws the diagram; `None` if there are no bins.
///
/// # Errors
/// A figure the plotting library refuses.
pub fn svg_reliability(diagnostics: &Diagnostics) -> Result<Option<String>, RenderError> {
    let (before, after) = (&diagnostics.reliability_before, &diagnostics.reliability_after);
    if before.is_empty() && after.is_empty() {
        return Ok(None);
    }
    page("reliability.svg", (460, 430), |root| draw(root, before, after)).map(Some)
}

fn draw(root: &Area<'_>, before: &[ReliabilityBin], after: &[ReliabilityBin]) -> Drawn {
    let mut chart = ChartBuilder::on(root)
        .margin(12)
        .margin_right(20)
        .x_label_area_size(44)
        .y_label_area_size(54)
        .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
    axes(&mut chart.configure_mesh())
        .x_labels(6)
        .y_labels(6)
        .x_desc("score, P(keep)")
        .y_desc("may be kept")
        .draw()?;
    let ideal = [(0.0, 0.0), (1.0, 1.0)];
    chart.draw_series(DashedLineSeries::new(ideal, 3, 4, MUTED.stroke_width(1)))?;
    let series = [
        ("before scaling", before, RGBColor(213, 94, 0), 3),
        ("after scaling", after, RGBColor(0, 98, 160), 5),
    ];
    for (row, (name, bins, colour, radius)) in series.into_iter().enumerate() {
        if bins.is_empty() {
            continue;
        }
        let points: Vec<(f64, f64)> = bins.iter().map(|b| (b.predicted, b.observed)).collect();
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        chart.draw_series(points.into_iter().map(|p| Circle::new(p, radius, colour.filled())))?;
        let y = 30 + 22 * row as i32;
        root.draw(&Circle::new((90, y), radius, colour.filled()))?;
        root.draw(&Text::new(name, (102, y), text(13, INK, HPos::Left)))?;
    }
    Ok(())
}
