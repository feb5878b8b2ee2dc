//! The headline of a report as lines for a terminal.

use crate::summary::{PointSummary, Summary};

/// Accuracy of both models alone, and a row for each of the router's points.
#[must_use]
pub fn headline(summary: &Summary) -> Vec<String> {
    let test = &summary.test;
    let mut lines = vec![
        format!(
            "SLM alone {}   LLM alone {}   APGR[0, .2] {}   APGR {}",
            share(test.slm.accuracy),
            share(test.llm.accuracy),
            number(test.router.apgr20, 3),
            number(test.router.apgr, 3),
        ),
        "offload target   τ                      offload   LLM positions   accuracy   95% interval      PGR"
            .to_owned(),
    ];
    lines.extend(test.router.points.iter().map(row));
    lines
}

fn row(point: &PointSummary) -> String {
    format!(
        "{:>14}   {:<20}   {:>7}   {:>13}   {:>8}   {:>6} - {:<6}   {}",
        share(point.target),
        point.tau.to_string(),
        share(point.offload),
        format!("{:.1}", point.llm_positions_per_question),
        share(point.accuracy),
        share(point.ci[0]),
        share(point.ci[1]),
        number(point.pgr, 2),
    )
}

fn share(x: f64) -> String {
    format!("{:.1}%", 100.0 * x)
}

fn number(x: Option<f64>, digits: usize) -> String {
    x.map_or("-".to_owned(), |x| format!("{x:.digits$}"))
}
