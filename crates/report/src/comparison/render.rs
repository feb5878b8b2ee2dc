//! All files of a comparison's report.

use minijinja::context;
use serde::Serialize;

use super::data::ComparisonData;
use super::summary::ComparisonSummary;
use super::view::ComparisonView;
use crate::error::RenderError;
use crate::files::ReportFile;
use crate::html::STYLE;
use crate::svg::comparison_figures;
use crate::{html, markdown};

const PAGE: &str = include_str!("../../templates/comparison.html");
const MARKDOWN: &str = include_str!("../../templates/comparison.md");

/// A figure within the page or beside the Markdown.
#[derive(Serialize)]
struct Shown {
    name: &'static str,
    caption: &'static str,
    svg: String,
}

/// Renders every file of the report. The same data give the same bytes.
///
/// # Errors
/// See [`RenderError`].
pub fn comparison_files(data: &ComparisonData) -> Result<Vec<ReportFile>, RenderError> {
    let view = ComparisonView::of(data);
    let shown: Vec<Shown> = comparison_figures(data)?
        .into_iter()
        .map(|figure| Shown { name: figure.name, caption: figure.caption, svg: figure.svg })
        .collect();
    let mut environment = html::environment()?;
    environment.add_template("comparison.html", PAGE)?;
    let page = environment.get_template("comparison.html")?;
    let page = page.render(context! { view => &view, figures => &shown, style => STYLE })?;
    let images: Vec<String> = shown.iter().map(|f| markdown::figure(f.caption, f.name)).collect();
    let mut environment = markdown::environment()?;
    environment.add_template("comparison.md", MARKDOWN)?;
    let text = environment.get_template("comparison.md")?;
    let text = text.render(context! { view => &view, images => &images })?;
    let file = |name, text: String| ReportFile { name, bytes: text.into_bytes() };
    let mut files = vec![
        file("index.html", page),
        file("README.md", text),
        file("summary.json", ComparisonSummary::of(data).to_json()?),
    ];
    files.extend(shown.into_iter().map(|figure| file(figure.name, figure.svg)));
    Ok(files)
}
