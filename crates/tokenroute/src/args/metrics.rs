//! Arguments of `metrics`.

use std::path::PathBuf;

use clap::Args;

use super::count;

/// Most resamples that an option may name.
const MOST_RESAMPLES: u64 = 1_000_000;

/// Arguments of `metrics`.
#[derive(Debug, Args)]
pub struct Metrics {
    /// The table, one row a question: CSV with a header, JSON, JSON Lines or Parquet.
    #[arg(value_name = "FILE")]
    pub path: PathBuf,
    /// Column of the question's id.
    #[arg(long, value_name = "COLUMN", default_value = "id")]
    pub id: String,
    /// Column that tells whether the weak model is right: 0, 1, true or false.
    #[arg(long, value_name = "COLUMN", default_value = "weak")]
    pub weak: String,
    /// Column that tells whether the strong model is right.
    #[arg(long, value_name = "COLUMN", default_value = "strong")]
    pub strong: String,
    /// Columns of routers whose low scores go to the strong model first. Without this and
    /// --threshold: all columns whose names begin with score or threshold.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub score: Vec<String>,
    /// Columns of routers whose high scores go to the strong model first, as RouteLLM's
    /// win rates do.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub threshold: Vec<String>,
    /// Column of the weak answer's cost. Default: weak_cost if it is there, or no cost.
    #[arg(long, value_name = "COLUMN")]
    pub weak_cost: Option<String>,
    /// Column of the strong answer's cost. Default: strong_cost or cost, if it is there.
    #[arg(long, value_name = "COLUMN")]
    pub strong_cost: Option<String>,
    /// Shares of the performance gap whose least share of strong calls is printed (CPT).
    #[arg(long, value_name = "SHARES", value_delimiter = ',', default_value = "0.5,0.8")]
    pub cpt: Vec<f64>,
    /// Offload ratios at which accuracy is printed, 0 to 1.
    #[arg(long, value_name = "SHARES", value_delimiter = ',', default_value = "0.1,0.2,0.5")]
    pub offload: Vec<f64>,
    /// Bootstrap resamples behind every interval and p-value.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = count(1..=MOST_RESAMPLES))]
    pub resamples: usize,
    /// Their seed.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Print JSON, with the curves.
    #[arg(long)]
    pub json: bool,
}
