//! Errors of rendering.

/// A report that cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The template and its data do not fit.
    #[error("the report's template cannot be rendered: {0}")]
    Template(#[from] minijinja::Error),
    /// A value that JSON cannot hold.
    #[error("the report's figures cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The plotting library refused a figure.
    #[error("figure {figure} cannot be drawn: {cause}")]
    Figure {
        /// File name of the figure.
        figure: String,
        /// The library's error.
        cause: String,
    },
}
