//! All files of a report.

use crate::csv::curves_csv;
use crate::data::ReportData;
use crate::error::RenderError;
use crate::html::html;
use crate::markdown::markdown;
use crate::summary::Summary;
use crate::svg::figures;

/// One file of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFile {
    /// Name in the report's folder.
    pub name: &'static str,
    /// Content.
    pub bytes: Vec<u8>,
}

/// Renders every file of the report. The same data give the same bytes.
///
/// # Errors
/// See [`RenderError`].
pub fn files(data: &ReportData) -> Result<Vec<ReportFile>, RenderError> {
    let file = |name, text: String| ReportFile { name, bytes: text.into_bytes() };
    let mut files = vec![
        file("index.html", html(data)?),
        file("README.md", markdown(data)?),
        file("curve.csv", curves_csv(&data.test)),
        file("summary.json", Summary::of(data)?.to_json()?),
    ];
    if let Some(ood) = &data.ood {
        files.push(file("curve-ood.csv", curves_csv(ood)));
    }
    for figure in figures(data)? {
        files.push(file(figure.name, figure.svg));
    }
    Ok(files)
}
