//! Questions, SLM and LLM to a label table: which tokens the SLM may keep.
//!
//! Key types:
//! - [`Item`]: a question, its split and its prompt in token ids.
//! - [`Labeller`]: the pair, its vocabulary and a [`LabelConfig`].
//! - [`Round`]: the reference path (round 0), or the states that the current
//!   router visits (round 1 onwards).
//! - [`Estimate`], [`Inspection`]: what labelling will cost, and what it found.
//!
//! Usage:
//! 1. [`Labeller::estimate`] says what a run costs.
//! 2. [`Labeller::run`] writes a directory of Parquet shards and its manifest;
//!    killed at any point, it goes on where it stopped.
//! 3. [`inspect`] counts and samples what is there.
//!
//! Labels follow CITER (arXiv 2502.01976): where the two models agree, the label is keep; where
//! they differ, both continuations are graded.

mod asked;
mod batch;
mod config;
mod error;
mod estimate;
mod inspect;
mod judgement;
mod judgements;
mod labeller;
mod metered;
mod on_policy;
mod reference;
mod rollouts;
mod shards;
mod walk;

pub use config::{ContinuationPolicy, LabelConfig, Reference};
pub use error::LabelError;
pub use estimate::Estimate;
pub use inspect::{Group, Inspection, Sample, inspect};
pub use judgements::keep_judgements;
pub use labeller::{Item, Labeller, Round};
pub use shards::{PairHashes, SHARDS, ShardRecord, shard_records, work};
pub use walk::{Walked, Walks};
