//! The report of several routers on one label table: page, Markdown, figures and summary.

mod data;
mod render;
mod summary;
#[cfg(test)]
mod tests;
mod view;

pub use data::{ComparisonData, RouterFacts, SeedRecord, TrainedFacts};
pub use render::comparison_files;
pub use summary::{ComparisonSummary, RouterSummary, SeedSummary};
