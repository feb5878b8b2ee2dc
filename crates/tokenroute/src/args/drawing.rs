//! Sampling arguments of the commands that decode.

use clap::Args;

/// How both models choose their tokens.
#[derive(Debug, Args)]
pub struct Drawing {
    /// Sample the tokens of both models at this temperature, up to 2. 0 is greedy. τ and
    /// its curves hold for greedy decoding only.
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    pub temperature: f64,
    /// Sample from the most probable tokens that together have this share of the
    /// probability.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    pub top_p: f64,
    /// Seed for sampling. The same seed gives the same answer.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}
