//! The page: template, style, script, plotting library and data in one file that
//! works offline.

use minijinja::{Environment, context};
use serde::Serialize;

use tokenroute_sweep::diagnostics::{HistogramBin, ReliabilityBin};
use tokenroute_sweep::policies::PolicyKind;
use tokenroute_sweep::study::{Point, PolicyResult, SplitResult};

use crate::data::ReportData;
use crate::error::RenderError;
use crate::svg::Figure;
use crate::view::{LatencyView, View};
use crate::{grid, palette, svg};

const TEMPLATE: &str = include_str!("../templates/report.html");
const LATENCY: &str = include_str!("../templates/latency.html");
const HEAD: &str = include_str!("../templates/head.html");
pub(crate) const STYLE: &str = include_str!("../templates/report.css");
const SCRIPT: &str = include_str!("../templates/report.js");
const UPLOT: &str = include_str!("../assets/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("../assets/uPlot.min.css");

/// Renders the page. The same data gives the same bytes.
///
/// # Errors
/// A template that does not fit its data, a value that JSON cannot hold, or a figure
/// that cannot be drawn.
pub fn html(data: &ReportData) -> Result<String, RenderError> {
    let mut environment = environment()?;
    environment.add_template("report.html", TEMPLATE)?;
    environment.add_template("latency.html", LATENCY)?;
    Ok(environment.get_template("report.html")?.render(context! {
        view => View::of(data),
        latency => data.latency.as_ref().map(LatencyView::of),
        figures => svg::latency_figures(data)?.into_iter().map(Shown::from).collect::<Vec<_>>(),
        cost_figures => svg::cost_figures(data)?.into_iter().map(Shown::from).collect::<Vec<_>>(),
        style => format!("{UPLOT_STYLE}\n{STYLE}"),
        library => UPLOT,
        script => SCRIPT,
        charts => script_json(&Charts::of(data))?,
    })?)
}

/// Pages begin with `head.html`. The ending `.html` turns on escaping of everything not marked
/// safe.
pub(crate) fn environment() -> Result<Environment<'static>, RenderError> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.add_template("head.html", HEAD)?;
    Ok(environment)
}

/// A figure within the page.
#[derive(Serialize)]
struct Shown {
    caption: &'static str,
    svg: String,
}

impl From<Figure> for Shown {
    fn from(figure: Figure) -> Self {
        Shown { caption: figure.caption, svg: figure.svg }
    }
}

/// JSON that is inert inside a script element. Without `<`, `>` and `&` it cannot end
/// the element or open a comment.
fn script_json(value: &impl Serialize) -> Result<String, RenderError> {
    Ok(serde_json::to_string(value)?
        .replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029"))
}

/// The data of the script.
#[derive(Serialize)]
struct Charts<'a> {
    /// Offload budgets, the x axis of all curves.
    rho: Vec<f64>,
    splits: Vec<SplitChart<'a>>,
    reliability: [Vec<[f64; 3]>; 2],
    /// Shares of keepable and of divergent positions per bin of score.
    histogram: [Vec<f64>; 2],
}

#[derive(Serialize)]
struct SplitChart<'a> {
    slm: f64,
    llm: f64,
    policies: Vec<Line<'a>>,
    points: &'a [Point],
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    router: bool,
    light: String,
    dark: String,
    width: u32,
    dash: Option<[u32; 2]>,
    tau: Vec<f64>,
    offload: Vec<f64>,
    accuracy: Vec<f64>,
    lower: Option<Vec<Option<f64>>>,
    upper: Option<Vec<Option<f64>>>,
}

impl<'a> Charts<'a> {
    fn of(data: &'a ReportData) -> Self {
        let diagnostics = data.diagnostics.as_ref();
        let bins = |bins: &[ReliabilityBin]| {
            bins.iter()
                .map(|b| [rounded(b.predicted), rounded(b.observed), b.count as f64])
                .collect()
        };
        let histogram = diagnostics.map(|d| d.histogram.as_slice()).unwrap_or_default();
        let share = |of: fn(&HistogramBin) -> f64| {
            let total: f64 = histogram.iter().map(of).sum();
            let total = if total > 0.0 { total } else { 1.0 };
            histogram.iter().map(|b| rounded(of(b) / total)).collect()
        };
        Charts {
            rho: grid::budgets(),
            splits: std::iter::once(&data.test).chain(&data.ood).map(SplitChart::of).collect(),
            reliability: diagnostics
                .map(|d| [bins(&d.reliability_before), bins(&d.reliability_after)])
                .unwrap_or_default(),
            histogram: [share(|b| b.keep), share(|b| b.divergent)],
        }
    }
}

impl<'a> SplitChart<'a> {
    fn of(split: &'a SplitResult) -> Self {
        let strokes = palette::strokes(&split.policies);
        SplitChart {
            slm: split.gap.slm,
            llm: split.gap.llm,
            policies: split
                .policies
                .iter()
                .zip(strokes)
                .enumerate()
                .map(|(i, (policy, stroke))| Line::of(policy, stroke, i == 0))
                .collect(),
            points: split.router().map(|r| r.points.as_slice()).unwrap_or_default(),
        }
    }
}

impl<'a> Line<'a> {
    /// `main`: the router, which leads the policies; not one of another seed.
    fn of(policy: &'a PolicyResult, stroke: palette::Stroke, main: bool) -> Self {
        let grid = grid::on_grid(policy);
        let edge = |side: usize| {
            (!policy.band.is_empty())
                .then(|| grid.iter().map(|g| g.interval.map(|i| rounded(i[side]))).collect())
        };
        Line {
            name: &policy.name,
            router: main && policy.kind == PolicyKind::Router,
            light: palette::hex(stroke.light),
            dark: palette::hex(stroke.dark),
            width: stroke.width,
            dash: stroke.dash,
            tau: grid.iter().map(|g| g.tau.get()).collect(),
            offload: grid.iter().map(|g| rounded(g.offload)).collect(),
            accuracy: grid.iter().map(|g| rounded(g.accuracy)).collect(),
            lower: edge(0),
            upper: edge(1),
        }
    }
}

/// Five decimals: finer than a pixel, and a third of the bytes.
fn rounded(x: f64) -> f64 {
    (x * 1e5).round() / 1e5
}
