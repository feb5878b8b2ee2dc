//! Arguments of the commands that decode: greedy, or at a temperature.

use clap::Args;

/// How both models draw their tokens.
#[derive(Debug, Args)]
pub struct Drawing {
    /// Draw tokens at this temperature, up to 2, on both sides. 0 is greedy, which alone is
    /// what τ and its curves hold for.
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    pub temperature: f64,
    /// Draw from the most probable tokens that make up this share of the probability.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    pub top_p: f64,
    /// Seed of what is drawn: the same seed gives the same answer.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}
