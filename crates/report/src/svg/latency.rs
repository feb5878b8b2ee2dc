//! Accuracy against the cost of an answer behind a network: the exact curve of
//! blocking decoding by the model, and the measured points.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use tokenroute_core::CurvePoint;
use tokenroute_sweep::latency::{LatencyRow, LatencyStudy, NetworkRows, Way, modelled};
use tokenroute_sweep::study::{PolicyResult, SplitResult};

use super::canvas::{Area, Drawn, INK, accuracy_chart, accuracy_range, axes, page, rgb, text};
use crate::error::RenderError;
use crate::grid::on_grid;
use crate::names::way_name;

const SIZE: (u32, u32) = (860, 460);
const LEGEND: u32 = 200;

/// Okabe and Ito's hues, by network.
const HUES: [[u8; 3]; 6] =
    [[60, 60, 60], [0, 98, 160], [0, 140, 105], [176, 122, 0], [213, 94, 0], [184, 80, 140]];

/// The horizontal axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// Seconds to the last token; one line for each round trip.
    Seconds,
    /// Kilobytes up and down.
    Kilobytes,
}

/// Draws the study at its largest bandwidth against the router's curve. `None`
/// if there is nothing to draw.
///
/// # Errors
/// A figure the plotting library refuses.
pub fn svg_latency(
    study: &LatencyStudy,
    split: &SplitResult,
    cost: Cost,
) -> Result<Option<String>, RenderError> {
    let widest = |n: &&NetworkRows| n.network.megabits.unwrap_or(f64::INFINITY);
    let Some(best) = study.networks.iter().max_by(|a, b| widest(a).total_cmp(&widest(b))) else {
        return Ok(None);
    };
    let Some(router) = split.router() else { return Ok(None) };
    let mut networks: Vec<&NetworkRows> =
        study.networks.iter().filter(|n| n.network.megabits == best.network.megabits).collect();
    if cost == Cost::Kilobytes {
        // Bytes do not depend on the round trip.
        networks.truncate(1);
    }
    let lines: Vec<Line<'_>> = networks.iter().map(|n| Line::of(n, router, cost)).collect();
    page("latency.svg", SIZE, |root| draw(root, split, &lines, cost)).map(Some)
}

/// One network.
struct Line<'a> {
    name: String,
    /// The router's curve, every τ.
    curve: Vec<(f64, f64)>,
    /// The measured points: cost, accuracy and its interval.
    points: Vec<(&'a LatencyRow, f64, f64, [f64; 2])>,
}

impl<'a> Line<'a> {
    fn of(found: &'a NetworkRows, router: &PolicyResult, cost: Cost) -> Self {
        let bytes = |row: &LatencyRow| row.figures.bytes_up.value + row.figures.bytes_down.value;
        let per_call = found
            .row(Way::Blocking)
            .map_or(0.0, |row| bytes(row) / row.figures.calls.value.max(1.0));
        let of_point = |point: &CurvePoint| {
            let each = |n: u64| n as f64 / router.curve.questions.max(1) as f64;
            let (tokens, calls) = (each(point.generated), each(point.offloaded));
            let round = found.network.round_trip_ms / 1e3;
            match cost {
                Cost::Kilobytes => calls * per_call / 1e3,
                Cost::Seconds => {
                    modelled(tokens, found.token_seconds, calls, round, found.call_seconds)
                }
            }
        };
        let curve = on_grid(router)
            .iter()
            .map(|at| (of_point(&router.curve.at(at.tau)), at.accuracy))
            .collect();
        let points = found
            .rows
            .iter()
            .map(|row| {
                let x = match cost {
                    Cost::Seconds => row.figures.total.value,
                    Cost::Kilobytes => bytes(row) / 1e3,
                };
                (row, x, row.figures.accuracy.value, row.figures.accuracy.interval)
            })
            .collect();
        let name = match cost {
            Cost::Seconds => format!("{} ms", found.network.round_trip_ms),
            Cost::Kilobytes => "every τ, blocking".to_owned(),
        };
        Line { name, curve, points }
    }
}

fn draw(root: &Area<'_>, split: &SplitResult, lines: &[Line<'_>], cost: Cost) -> Drawn {
    // The curve goes on beyond the measured points, up to the LLM for every token.
    let furthest = lines.iter().flat_map(|l| &l.points).map(|p| p.1).fold(0.0, f64::max) * 1.08;
    let furthest = furthest.max(1e-6);
    let ends = [split.gap.slm, split.gap.llm];
    let values = lines.iter().flat_map(|l| &l.points).flat_map(|p| p.3).chain(ends);
    let range = accuracy_range(values);
    let (plot, side) = root.split_horizontally(SIZE.0 - LEGEND);
    let mut chart = accuracy_chart(&plot, furthest, range)?;
    axes(&mut chart.configure_mesh())
        .x_labels(9)
        .y_labels(8)
        .x_desc(match cost {
            Cost::Seconds => "seconds for an answer",
            Cost::Kilobytes => "kilobytes for an answer, up and down",
        })
        .y_desc("accuracy")
        .draw()?;
    for (line, hue) in lines.iter().zip(HUES.iter().cycle()) {
        let shown = line.curve.iter().copied().take_while(|p| p.0 <= furthest);
        chart.draw_series(LineSeries::new(shown, rgb(*hue).mix(0.6).stroke_width(2)))?;
        for &(row, x, y, [lower, upper]) in &line.points {
            let whisker = vec![(x, lower), (x, upper)];
            let thin = rgb(*hue).mix(0.35).stroke_width(1);
            chart.draw_series([PathElement::new(whisker, thin)])?;
            mark(root, chart.backend_coord(&(x, y)), row.way, *hue)?;
        }
    }
    legend(&side, lines)
}

/// The mark of a way.
fn mark(area: &Area<'_>, at: (i32, i32), way: Way, hue: [u8; 3]) -> Drawn {
    let (line, fill) = (rgb(hue).stroke_width(2), rgb(hue).filled());
    match way {
        Way::Slm => area.draw(&TriangleMarker::new(at, 6, fill))?,
        Way::Llm => {
            area.draw(&Rectangle::new([(at.0 - 4, at.1 - 4), (at.0 + 4, at.1 + 4)], fill))?;
        }
        Way::Blocking => area.draw(&Circle::new(at, 5, line))?,
        Way::Speculative => area.draw(&Circle::new(at, 5, fill))?,
        Way::Relay => area.draw(&Cross::new(at, 5, line))?,
    }
    Ok(())
}

fn legend(area: &Area<'_>, lines: &[Line<'_>]) -> Drawn {
    let mut y = 30;
    let label =
        |text_at: &str, y: i32| Text::new(text_at.to_owned(), (46, y), text(13, INK, HPos::Left));
    for (line, hue) in lines.iter().zip(HUES.iter().cycle()) {
        let stroke = rgb(*hue).mix(0.6).stroke_width(2);
        area.draw(&PathElement::new(vec![(0, y), (36, y)], stroke))?;
        area.draw(&label(&line.name, y))?;
        y += 24;
    }
    y += 12;
    for &(row, ..) in lines.first().map(|l| l.points.as_slice()).unwrap_or_default() {
        mark(area, (18, y), row.way, HUES[0])?;
        area.draw(&label(way_name(row.way), y))?;
        y += 24;
    }
    Ok(())
}
