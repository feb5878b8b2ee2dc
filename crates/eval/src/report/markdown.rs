//! The Markdown report, which shows the SVG figures by relative name.

use minijinja::{AutoEscape, Environment, context};

use super::data::ReportData;
use super::view::View;
use super::{RenderError, svg};

const TEMPLATE: &str = include_str!("../../templates/report.md");

/// Renders the Markdown. Figures lie beside it under the names of
/// [`super::figures`].
///
/// # Errors
/// A template that does not fit its data, or a figure that cannot be drawn.
pub fn markdown(data: &ReportData) -> Result<String, RenderError> {
    let figures = svg::figures(data)?;
    let image = |name: &str| {
        figures
            .iter()
            .find(|f| f.name == name)
            .map(|f| format!("![{}]({})", f.caption, f.name))
            .unwrap_or_default()
    };
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
    environment.add_template("report.md", TEMPLATE)?;
    Ok(environment.get_template("report.md")?.render(context! {
        view => View::of(data),
        curve => image("curve.svg"),
        zoom => image("curve-zoom.svg"),
        labels => image("labels.svg"),
        reliability => image("reliability.svg"),
        ood => image("curve-ood.svg"),
    })?)
}

/// Text without meaning to Markdown or HTML: what could have one becomes a
/// character reference.
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
