//! Accuracy against offload: the router with its band, and the policies it is
//! compared with.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use tokenroute_sweep::policies::PolicyKind;
use tokenroute_sweep::study::SplitResult;

use super::canvas::{Area, Drawn, INK, MUTED, accuracy_chart, axes, page, rgb, text, tick};
use crate::error::RenderError;
use crate::grid::{GridPoint, on_grid};
use crate::number::percent;
use crate::palette::{Stroke, strokes};

/// Range and size of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurveFigure {
    /// Greatest offload ratio on the axis, in (0, 1].
    pub max_offload: f64,
    /// Pixels, legend included.
    pub size: (u32, u32),
}

impl Default for CurveFigure {
    fn default() -> Self {
        CurveFigure { max_offload: 1.0, size: (860, 460) }
    }
}

const LEGEND: u32 = 200;

/// Draws all policies of a split. Lines are steps: a value holds until the next
/// budget. Rings are the router's points, with τ chosen on other questions.
///
/// # Errors
/// A figure the plotting library refuses.
pub fn svg_curve(split: &SplitResult, figure: &CurveFigure) -> Result<String, RenderError> {
    page("curve.svg", figure.size, |root| draw(root, split, figure))
}

fn draw(root: &Area<'_>, split: &SplitResult, figure: &CurveFigure) -> Drawn {
    let max = figure.max_offload;
    let strokes = strokes(&split.policies);
    let grids: Vec<Vec<GridPoint>> = split
        .policies
        .iter()
        .map(|p| on_grid(p).into_iter().filter(|g| g.rho <= max + 1e-9).collect())
        .collect();
    let (low, high) = range(split, &grids);
    let (plot, side) = root.split_horizontally(figure.size.0.saturating_sub(LEGEND));
    let mut chart = accuracy_chart(&plot, max, (low, high))?;
    axes(&mut chart.configure_mesh())
        .x_labels(11)
        .y_labels(8)
        .x_label_formatter(&tick)
        .x_desc("offload ratio (tokens made by the LLM)")
        .y_desc("accuracy")
        .draw()?;

    for (name, y, above) in
        [("SLM alone", split.gap.slm, false), ("LLM alone", split.gap.llm, true)]
    {
        let line = [(0.0, y), (max, y)];
        chart.draw_series(DashedLineSeries::new(line, 2, 4, MUTED.stroke_width(1)))?;
        let shift = (high - low) * if above { 0.025 } else { -0.025 };
        let label = format!("{name} {}", percent(y));
        let style = text(12, MUTED, HPos::Right);
        chart.draw_series([Text::new(label, (max * 0.995, y + shift), style)])?;
    }
    // The router is drawn last, on top; its band lies under everything.
    let mut order: Vec<usize> = (0..grids.len()).collect();
    let router = split.policies.iter().position(|p| p.kind == PolicyKind::Router);
    order.sort_by_key(|&i| Some(i) == router);
    for &i in &order {
        if Some(i) == router {
            let fill = rgb(strokes[i].light).mix(0.16).filled();
            chart.draw_series([Polygon::new(band(&grids[i]), fill)])?;
        }
    }
    for &i in &order {
        let steps = steps(&grids[i]);
        let style = rgb(strokes[i].light).stroke_width(strokes[i].width);
        match strokes[i].dash {
            None => chart.draw_series(LineSeries::new(steps, style))?,
            Some([on, off]) => {
                let dashes = DashedLineSeries::new(steps, on as i32, off as i32, style);
                chart.draw_series(dashes)?
            }
        };
    }
    if let Some(i) = router {
        let style = rgb(strokes[i].light).stroke_width(2);
        for p in split.policies[i].points.iter().filter(|p| p.offload <= max) {
            let at = (p.offload, p.accuracy);
            let whisker = vec![(p.offload, p.interval[0]), (p.offload, p.interval[1])];
            chart.draw_series([PathElement::new(whisker, style)])?;
            chart.draw_series([Circle::new(at, 4, WHITE.filled())])?;
            chart.draw_series([Circle::new(at, 4, style)])?;
        }
    }
    let names = split.policies.iter().map(|p| p.name.as_str());
    legend(&side, names.zip(strokes.iter()))
}

/// The accuracies shown, rounded outwards to steps of 5%.
fn range(split: &SplitResult, grids: &[Vec<GridPoint>]) -> (f64, f64) {
    let points = split.router().map(|r| r.points.as_slice()).unwrap_or_default();
    let values = grids
        .iter()
        .flatten()
        .flat_map(|g| std::iter::once(g.accuracy).chain(g.interval.into_iter().flatten()))
        .chain(points.iter().flat_map(|p| p.interval))
        .chain([split.gap.slm, split.gap.llm]);
    let (low, high) = values.fold((1.0f64, 0.0f64), |(l, h), y| (l.min(y), h.max(y)));
    let low = ((low - 0.02) * 20.0).floor() / 20.0;
    let high = ((high + 0.02) * 20.0).ceil() / 20.0;
    (low.max(0.0), high.min(1.0).max(low + 0.05))
}

/// A step line: each value holds until the next budget.
pub(super) fn steps(grid: &[GridPoint]) -> Vec<(f64, f64)> {
    corners(grid.iter().map(|g| (g.rho, g.accuracy)))
}

fn corners(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut line: Vec<(f64, f64)> = Vec::new();
    let mut extend = |x: f64, y: f64| match line.as_mut_slice() {
        // On a level stretch the end moves on instead of adding a point.
        [.., before, last] if before.1 == y && last.1 == y => last.0 = x,
        _ => line.push((x, y)),
    };
    let mut held = None;
    for (x, y) in points {
        if let Some(before) = held
            && before != y
        {
            extend(x, before);
        }
        extend(x, y);
        held = Some(y);
    }
    line
}

/// The outline of the band: along the upper edge, back along the lower.
pub(super) fn band(grid: &[GridPoint]) -> Vec<(f64, f64)> {
    let edge =
        |side: usize| corners(grid.iter().filter_map(|g| g.interval.map(|i| (g.rho, i[side]))));
    let mut outline = edge(1);
    outline.extend(edge(0).into_iter().rev());
    outline
}

fn legend<'a>(area: &Area<'_>, entries: impl Iterator<Item = (&'a str, &'a Stroke)>) -> Drawn {
    const LENGTH: i32 = 36;
    let entries: Vec<_> = entries.collect();
    // Many policies stand closer, so that none is cut off.
    let height = area.dim_in_pixel().1 as i32;
    let apart = ((height - 50) / entries.len().max(1) as i32).min(24);
    for (row, (name, stroke)) in entries.into_iter().enumerate() {
        let y = 30 + apart * row as i32;
        let style = rgb(stroke.light).stroke_width(stroke.width);
        let [on, off] = stroke.dash.map_or([LENGTH, 1], |d| d.map(|n| n as i32));
        let mut x = 0;
        while x < LENGTH {
            let end = (x + on).min(LENGTH);
            area.draw(&PathElement::new(vec![(x, y), (end, y)], style))?;
            x = end + off;
        }
        area.draw(&Text::new(name, (LENGTH + 10, y), text(13, INK, HPos::Left)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_hold_then_jump() {
        let line =
            corners([(0.0, 1.0), (0.1, 1.0), (0.2, 3.0), (0.3, 3.0), (0.4, 2.0)].into_iter());
        assert_eq!(line, [(0.0, 1.0), (0.2, 1.0), (0.2, 3.0), (0.4, 3.0), (0.4, 2.0)]);
    }
}
