//! Figures as SVG, for the Markdown report and the README. Text stays text, so no
//! font file is needed. A white ground keeps figures readable on dark pages.

mod answer_costs;
mod canvas;
mod comparison;
mod curve;
mod labels;
mod latency;
mod reliability;

pub(crate) use comparison::comparison_figures;
pub use curve::{CurveFigure, svg_curve};
pub use labels::svg_labels;
pub use latency::{Cost, svg_latency};
pub use reliability::svg_reliability;

use tokenroute_sweep::answer_cost::AnswerCost;

use crate::data::ReportData;
use crate::error::RenderError;

/// A figure and its file name in the Markdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// File name, as in "curve.svg".
    pub name: &'static str,
    /// Its content in words, for screen readers.
    pub caption: &'static str,
    /// The SVG document.
    pub svg: String,
}

/// All figures that the data allow, in the order the Markdown shows them.
///
/// # Errors
/// A figure the plotting library refuses.
pub fn figures(data: &ReportData) -> Result<Vec<Figure>, RenderError> {
    let mut figures = vec![
        Figure {
            name: "curve-zoom.svg",
            caption: "Accuracy against offload ratio, 0 to 20%",
            svg: svg_curve(
                &data.test,
                &CurveFigure { max_offload: 0.2, ..CurveFigure::default() },
            )?,
        },
        Figure {
            name: "curve.svg",
            caption: "Accuracy against offload ratio, 0 to 100%",
            svg: svg_curve(&data.test, &CurveFigure::default())?,
        },
    ];
    if !data.labels.is_empty() {
        let svg = svg_labels(&data.labels)?;
        figures.push(Figure { name: "labels.svg", caption: "Label composition by split", svg });
    }
    if let Some(svg) = data.diagnostics.as_ref().map(svg_reliability).transpose()?.flatten() {
        figures.push(Figure { name: "reliability.svg", caption: "Reliability of the scores", svg });
    }
    if let Some(ood) = &data.ood {
        let options = CurveFigure { max_offload: 0.2, ..CurveFigure::default() };
        figures.push(Figure {
            name: "curve-ood.svg",
            caption: "Accuracy against offload ratio out of distribution, 0 to 20%",
            svg: svg_curve(ood, &options)?,
        });
    }
    figures.extend(cost_figures(data)?);
    figures.extend(latency_figures(data)?);
    Ok(figures)
}

/// Accuracy over money and over time, where prices and a network are stated; else over the
/// positions of the LLM.
///
/// # Errors
/// As [`figures`].
pub(super) fn cost_figures(data: &ReportData) -> Result<Vec<Figure>, RenderError> {
    let costs = &data.answer_costs;
    let strokes = crate::palette::strokes(&data.test.policies);
    let stroke = |name: &str| {
        let at = data.test.policies.iter().position(|p| p.name == name)?;
        strokes.get(at).copied()
    };
    let mut figures = Vec::new();
    let mut draw = |name, caption, unit: &str, measure: &dyn Fn(&AnswerCost) -> f64| {
        let svg = answer_costs::svg_answer_costs(costs, unit, measure, &stroke)?;
        figures.push(Figure { name, caption, svg });
        Ok::<(), RenderError>(())
    };
    draw(
        "positions.svg",
        "Accuracy against the LLM positions of an answer",
        "LLM positions for an answer",
        &|c: &AnswerCost| c.llm_positions,
    )?;
    if let Some(prices) = &costs.prices {
        let unit = format!("{} for 1000 answers", prices.currency);
        draw("money.svg", "Accuracy against the money for an answer", &unit, &|c: &AnswerCost| {
            1e3 * prices.money(c)
        })?;
    }
    if let Some(network) = costs.network {
        draw(
            "seconds.svg",
            "Accuracy against the time of an answer",
            "seconds for an answer",
            &|c: &AnswerCost| network.seconds(c),
        )?;
    }
    Ok(figures)
}

/// The figures of the network study, if there is one.
///
/// # Errors
/// As [`figures`].
pub(super) fn latency_figures(data: &ReportData) -> Result<Vec<Figure>, RenderError> {
    let Some(study) = &data.latency else { return Ok(Vec::new()) };
    let mut figures = Vec::new();
    for (name, caption, cost) in [
        ("latency.svg", "Accuracy against the time of an answer", Cost::Seconds),
        ("bytes.svg", "Accuracy against the bytes of an answer", Cost::Kilobytes),
    ] {
        if let Some(svg) = svg_latency(study, &data.test, cost)? {
            figures.push(Figure { name, caption, svg });
        }
    }
    Ok(figures)
}
