//! The label stage: from questions and a pair to a table of the tokens that the SLM may keep.
//!
//! Key types:
//! - [`Item`]: a question, its split and its prompt in token ids.
//! - [`Labeller`]: the pair, its vocabulary and a [`LabelConfig`].
//! - [`Round`]: the reference path (round 0), or the states that the current router visits
//!   (round 1 onwards).
//! - [`Estimate`], [`Inspection`]: the expected cost of labelling, and a summary of the table.
//!
//! Usage:
//! 1. [`Labeller::estimate`] estimates the cost of a run.
//! 2. [`Labeller::run`] writes a directory of Parquet shards with a manifest. A killed run
//!    resumes. [`Labeller::run_part`] labels a part of the questions; [`merge()`] joins the parts.
//! 3. [`inspect`] summarises the directory.
//!
//! Labels follow CITER (arXiv 2502.01976). Where the models agree, the label is keep. Where they
//! differ, the answers after both tokens are graded.

mod asked;
mod batch;
mod config;
mod error;
mod estimate;
mod inspect;
mod judgement;
mod judgements;
mod labeller;
mod merge;
mod metered;
mod on_policy;
mod probabilities;
mod recorded;
mod reference;
mod rollouts;
mod shards;
mod walk;

pub use config::{ContinuationPolicy, LabelConfig, Reference};
pub use error::LabelError;
pub use estimate::Estimate;
pub use inspect::{Group, Inspection, SampledRow, inspect};
pub use judgements::keep_judgements;
pub use labeller::{Item, Labeller, Round};
pub use merge::{PartFolder, merge};
pub use recorded::{SHARDS, ShardRecord, shard_records};
pub use shards::{PairHashes, due, work};
pub use walk::{Walked, Walks};
