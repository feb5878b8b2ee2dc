//! The Markdown report. It shows the SVG figures by relative name.

use minijinja::{AutoEscape, Environment, context};

use tokenroute_sweep::latency::LatencyStudy;

use crate::data::ReportData;
use crate::error::RenderError;
use crate::svg;
use crate::view::{LatencyView, View};

const LATENCY: &str = include_str!("../templates/latency.md");
const TEMPLATE: &str = include_str!("../templates/report.md");

/// Renders the Markdown. Figures lie beside it under the names of
/// [`crate::figures`].
///
/// # Errors
/// A template that does not fit its data, or a figure that cannot be drawn.
pub fn markdown(data: &ReportData) -> Result<String, RenderError> {
    let figures = svg::figures(data)?;
    let image = |name: &str| {
        figures
            .iter()
            .find(|f| f.name == name)
            .map(|f| figure(f.caption, f.name))
            .unwrap_or_default()
    };
    let environment = environment()?;
    Ok(environment.get_template("report.md")?.render(context! {
        view => View::of(data),
        latency => data.latency.as_ref().map(LatencyView::of),
        curve => image("curve.svg"),
        zoom => image("curve-zoom.svg"),
        labels => image("labels.svg"),
        reliability => image("reliability.svg"),
        ood => image("curve-ood.svg"),
        costs => ["positions.svg", "money.svg", "seconds.svg"].map(image).into_iter().filter(|i| !i.is_empty()).collect::<Vec<_>>(),
        seconds => image("latency.svg"),
        bytes => image("bytes.svg"),
    })?)
}

/// The network study alone, without figures.
///
/// # Errors
/// A template that does not fit its data.
pub fn latency_markdown(study: &LatencyStudy) -> Result<String, RenderError> {
    let environment = environment()?;
    let latency = LatencyView::of(study);
    Ok(environment.get_template("latency.md")?.render(context! { latency })?)
}

/// A figure that lies beside the Markdown.
pub(crate) fn figure(caption: &str, name: &str) -> String {
    format!("![{caption}]({name})")
}

pub(crate) fn environment() -> Result<Environment<'static>, RenderError> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    // Data are escaped by the formatter unless marked safe, as in the page.
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("markdown"));
    environment.set_formatter(|out, state, value| match (state.auto_escape(), value.as_str()) {
        (AutoEscape::Custom("markdown"), Some(text)) if !value.is_safe() => {
            out.write_str(&inert(text)).map_err(minijinja::Error::from)
        }
        _ => out.write_fmt(format_args!("{value}")).map_err(minijinja::Error::from),
    });
    environment.add_template("latency.md", LATENCY)?;
    environment.add_template("report.md", TEMPLATE)?;
    Ok(environment)
}

/// Text without meaning to Markdown or HTML: special characters become character
/// references.
fn inert(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '<' | '>' | '*' | '_' | '`' | '|' | '[' | ']' | '\\' | '#' | '$' | '~' => {
                out.push_str(&format!("&#{};", u32::from(c)));
            }
            '\n' => out.push_str("<br>"),
            c => out.push(c),
        }
    }
    out
}
