//! An experiment as a library: its file, its stages and their manifests.
//!
//! Key types:
//! - [`Experiment`]: an experiment.toml, read and checked.
//! - [`Chain`]: an experiment with its pair loaded; one method per stage. [`Chain::of_part`] does
//!   a part of one.
//! - [`Compare`]: a compare.toml, several routers on the label table of one experiment.
//! - [`LlmUsage`]: requests, positions and bytes that a stage cost on a server.
//! - [`TextUsage`]: what answers took in the tokens of an LLM that has its own.
//! - [`Watch`]: what a running experiment has done so far.
//! - [`Prompter`]: from a question to the tokens of its prompt.
//!
//! Usage:
//! ```no_run
//! use std::path::Path;
//! use tokenroute_core::Silent;
//! use tokenroute_lab::Chain;
//!
//! # fn main() -> anyhow::Result<()> {
//! // 1. Read the experiment and load its pair.
//! let chain = Chain::open(Path::new("experiments/quickstart/experiment.toml"), &[], &Silent)?;
//! // 2. Run the stages; one whose manifest still matches is skipped.
//! chain.label("flex")?;
//! chain.train("flex")?;
//! chain.sweep()?;
//! // 3. Render the report.
//! chain.report(None)?;
//! # Ok(())
//! # }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod chain;
mod command_grader;
#[cfg(feature = "latency")]
pub mod cpu_pinning;
mod error;
mod experiment;
mod judge_grader;
mod llm_usage;
mod prompts;
mod watch;

pub use chain::Chain;
pub use chain::compare::Compare;
pub use error::LabError;
pub use experiment::{Experiment, Override, SPLITS, experiment_schema};
pub use llm_usage::{LlmUsage, TextUsage};
pub use prompts::Prompter;
pub use watch::{Watch, WatchState};
