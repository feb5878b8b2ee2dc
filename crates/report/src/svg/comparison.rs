//! Figures of a comparison: one small chart for each router, all with the same axes, and the
//! learning curves.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use tokenroute_sweep::study::ComparedRouter;

use super::Figure;
use super::canvas::{Area, Drawn, INK, MUTED, accuracy_range, axes, page, rgb, text, tick};
use super::curve::{band, steps};
use crate::comparison::{ComparisonData, TrainedFacts};
use crate::error::RenderError;
use crate::grid::{GridPoint, on_grid};
use crate::palette::hue;

/// Charts beside each other.
const COLUMNS: usize = 3;
/// Pixels of a chart, title included.
const CHART: (u32, u32) = (300, 230);
const LEARNING: (u32, u32) = (900, 400);
const LEGEND: u32 = 260;
const LINE: RGBColor = RGBColor(0, 98, 160);
const FIRST: RGBColor = RGBColor(150, 156, 163);

/// All figures that the data allow.
///
/// # Errors
/// A figure the plotting library refuses.
pub(crate) fn comparison_figures(data: &ComparisonData) -> Result<Vec<Figure>, RenderError> {
    let mut figures = vec![
        Figure {
            name: "curves-zoom.svg",
            caption: "Accuracy against offload ratio of each router, 0 to 20%",
            svg: multiples(data, 0.2)?,
        },
        Figure {
            name: "curves.svg",
            caption: "Accuracy against offload ratio of each router, 0 to 100%",
            svg: multiples(data, 1.0)?,
        },
    ];
    if !data.learning().is_empty() {
        figures.push(Figure {
            name: "learning.svg",
            caption: "APGR[0, .2] against the share of the training questions",
            svg: learning(data)?,
        });
    }
    Ok(figures)
}

/// A chart for each router: its seeds as thin lines, the interval of the first seed, and the
/// first router in grey.
fn multiples(data: &ComparisonData, furthest: f64) -> Result<String, RenderError> {
    let routers: Vec<&ComparedRouter> = data.whole().map(|(router, _)| router).collect();
    let rows = routers.len().div_ceil(COLUMNS).max(1);
    let size = (CHART.0 * COLUMNS as u32, CHART.1 * rows as u32);
    let grids = routers.iter().flat_map(|r| &r.seeds).flat_map(on_grid);
    let shown = grids.filter(|point| point.rho <= furthest + 1e-9).map(|point| point.accuracy);
    let range = accuracy_range(shown.chain([data.study.gap.slm, data.study.gap.llm]));
    page("curves.svg", size, |root| {
        for (panel, router) in root.split_evenly((rows, COLUMNS)).iter().zip(&routers) {
            chart(panel, data, router, furthest, range)?;
        }
        Ok(())
    })
}

fn chart(
    panel: &Area<'_>,
    data: &ComparisonData,
    router: &ComparedRouter,
    furthest: f64,
    (low, high): (f64, f64),
) -> Drawn {
    let name = shortened(&router.name);
    panel.draw(&Text::new(name, (14, 14), text(13, INK, HPos::Left)))?;
    let mut chart = ChartBuilder::on(panel)
        .margin(6)
        .margin_top(26)
        .margin_right(14)
        .x_label_area_size(24)
        .y_label_area_size(40)
        .build_cartesian_2d(0.0..furthest, low..high)?;
    axes(&mut chart.configure_mesh()).x_labels(5).y_labels(5).x_label_formatter(&tick).draw()?;
    for accuracy in [data.study.gap.slm, data.study.gap.llm] {
        let line = [(0.0, accuracy), (furthest, accuracy)];
        chart.draw_series(DashedLineSeries::new(line, 2, 4, MUTED.stroke_width(1)))?;
    }
    let within = |policy| -> Vec<GridPoint> {
        on_grid(policy).into_iter().filter(|point| point.rho <= furthest + 1e-9).collect()
    };
    if let Some(seed) = router.seeds.first() {
        let outline = band(&within(seed));
        chart.draw_series([Polygon::new(outline, LINE.mix(0.14).filled())])?;
    }
    let first = data.study.routers.first().filter(|first| first.name != router.name);
    if let Some(seed) = first.and_then(|first| first.seeds.first()) {
        chart.draw_series(LineSeries::new(steps(&within(seed)), FIRST.stroke_width(2)))?;
    }
    let width = if router.seeds.len() > 1 { 1 } else { 2 };
    for seed in &router.seeds {
        chart.draw_series(LineSeries::new(steps(&within(seed)), LINE.stroke_width(width)))?;
    }
    Ok(())
}

/// A name that fits over a chart.
fn shortened(name: &str) -> String {
    const MOST: usize = 42;
    if name.chars().count() <= MOST {
        return name.to_owned();
    }
    name.chars().take(MOST - 1).chain(['…']).collect()
}

fn learning(data: &ComparisonData) -> Result<String, RenderError> {
    let curves = data.learning();
    let points = || curves.iter().flat_map(|(_, points)| points);
    let values = points().flat_map(|(point, _)| {
        point.apgr20.into_iter().chain(point.apgr20_interval.into_iter().flatten())
    });
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), y| (l.min(y), h.max(y)));
    let (low, high) = if low < high { (low, high) } else { (0.0, 1.0) };
    let margin = 0.05 * (high - low);
    page("learning.svg", LEARNING, |root| {
        let (plot, side) = root.split_horizontally(LEARNING.0 - LEGEND);
        let mut chart = ChartBuilder::on(&plot)
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..1.0, low - margin..high + margin)?;
        axes(&mut chart.configure_mesh())
            .x_labels(11)
            .y_labels(8)
            .x_label_formatter(&tick)
            .y_label_formatter(&|y| format!("{y:.2}"))
            .x_desc("share of the training questions")
            .y_desc("APGR[0, .2]")
            .draw()?;
        for (i, (router, points)) in curves.iter().enumerate() {
            let style = rgb(hue(i).light).stroke_width(2);
            let at = |(point, trained): &(&ComparedRouter, &TrainedFacts)| {
                Some((trained.share, point.apgr20?))
            };
            let line: Vec<(f64, f64)> = points.iter().filter_map(at).collect();
            for (point, trained) in points {
                let Some([low, high]) = point.apgr20_interval else { continue };
                let whisker = vec![(trained.share, low), (trained.share, high)];
                chart.draw_series([PathElement::new(whisker, style.stroke_width(1))])?;
            }
            chart.draw_series(LineSeries::new(line.clone(), style))?;
            chart.draw_series(line.into_iter().map(|at| Circle::new(at, 3, style.filled())))?;
            let y = 30 + 22 * i as i32;
            side.draw(&PathElement::new(vec![(0, y), (30, y)], style))?;
            let name = shortened(&router.name);
            side.draw(&Text::new(name, (38, y), text(13, INK, HPos::Left)))?;
        }
        Ok(())
    })
}
