//! Accuracy against the money or the time of an answer: a line for each policy, a mark for
//! each way without a threshold.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use tokenroute_sweep::answer_cost::{AnswerCost, AnswerCosts};

use super::canvas::{Area, Drawn, INK, accuracy_chart, accuracy_range, axes, page, rgb, text};
use crate::error::RenderError;
use crate::palette::Stroke;

const SIZE: (u32, u32) = (860, 460);
const LEGEND: u32 = 240;

/// Draws one measure. `strokes` are those of the policies, by name.
///
/// # Errors
/// A figure the plotting library refuses.
pub(super) fn svg_answer_costs(
    costs: &AnswerCosts,
    unit: &str,
    measure: &dyn Fn(&AnswerCost) -> f64,
    strokes: &dyn Fn(&str) -> Option<Stroke>,
) -> Result<String, RenderError> {
    page("costs.svg", SIZE, |root| draw(root, costs, unit, measure, strokes))
}

fn draw(
    root: &Area<'_>,
    costs: &AnswerCosts,
    unit: &str,
    measure: &dyn Fn(&AnswerCost) -> f64,
    strokes: &dyn Fn(&str) -> Option<Stroke>,
) -> Drawn {
    let lines = costs.policies.iter().flat_map(|p| &p.curve);
    let accuracies = costs.ways.iter().map(|w| w.accuracy).chain(lines.map(|p| p.accuracy));
    // Twice the dearest way without a threshold: beyond it no policy is of use.
    let furthest = costs.ways.iter().map(|w| measure(&w.cost)).fold(0.0, f64::max) * 2.0;
    let furthest = if furthest > 0.0 { furthest } else { 1.0 };
    let range = accuracy_range(accuracies);
    let (plot, side) = root.split_horizontally(SIZE.0 - LEGEND);
    let mut chart = accuracy_chart(&plot, furthest, range)?;
    axes(&mut chart.configure_mesh())
        .x_labels(8)
        .y_labels(8)
        .x_desc(unit.to_owned())
        .y_desc("accuracy")
        .draw()?;
    let mut y = 30;
    for policy in &costs.policies {
        let Some(stroke) = strokes(&policy.name) else { continue };
        let style = rgb(stroke.light).stroke_width(stroke.width);
        let line: Vec<(f64, f64)> = policy
            .curve
            .iter()
            .map(|p| (measure(&p.cost), p.accuracy))
            .filter(|p| p.0 <= furthest)
            .collect();
        chart.draw_series(LineSeries::new(line, style))?;
        side.draw(&PathElement::new(vec![(0, y), (30, y)], style))?;
        side.draw(&Text::new(policy.name.clone(), (38, y), text(13, INK, HPos::Left)))?;
        y += 22;
    }
    for (i, way) in costs.ways.iter().enumerate() {
        let at = chart.backend_coord(&(measure(&way.cost), way.accuracy));
        let number = (i + 1).to_string();
        root.draw(&Circle::new(at, 8, WHITE.filled()))?;
        root.draw(&Circle::new(at, 8, INK.stroke_width(1)))?;
        root.draw(&Text::new(number.clone(), at, text(12, INK, HPos::Center)))?;
        let name = format!("{number}  {}", way.name);
        side.draw(&Text::new(name, (8, y), text(12, INK, HPos::Left)))?;
        y += 22;
    }
    Ok(())
}
