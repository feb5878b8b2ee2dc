//! Reads and writes core values as files: question sets, label tables, router files,
//! curves, manifests. Only this crate uses polars, to write.
//!
//! Key types:
//! - [`Dataset`]: a data-set directory with its card and question files.
//! - [`load_questions`], [`Schema`]: public question sets in their published formats.
//! - [`load_mapped`], [`ColumnMap`]: questions from files with any columns.
//! - [`read_outcomes`]: tables of both models' grades and routers' scores, from anywhere.
//! - [`Columns`]: which columns of a label table to read. The table itself is a `Vec` of
//!   [`tokenroute_core::LabelRow`].
//! - [`RouterFile`]: a router's header and layers; also as an ONNX model.
//! - [`PolicyCurves`]: the exact step functions of one policy on one split.
//! - [`PublishedHead`]: a head that others trained, from a PyTorch state dict.
//! - [`FileHash`]: hashes of files, read anew or remembered.
//! - [`Manifest`]: the inputs, configuration and outputs of a finished stage.
//! - [`StoreError`]: every failure, with the file and the cause.
//!
//! Every write goes through [`write()`] or [`write_all`], which write a file completely or
//! not at all.

mod atomic;
#[cfg(feature = "tables")]
mod curves;
mod dataset;
mod engine_states;
mod error;
mod floats;
mod folder_lock;
mod hash;
#[cfg(feature = "tables")]
mod labels;
mod manifest;
mod onnx;
mod outcomes;
mod parquet;
mod public;
mod published;
mod router;
mod rows;
#[cfg(feature = "tables")]
mod table;

pub use atomic::{
    exists, file_len, list, make_dir, move_file, read, read_text, remove, remove_leftovers, write,
    write_all,
};
#[cfg(feature = "tables")]
pub use curves::{PolicyCurves, curve_csv, read_curves, write_curves};
pub use dataset::{Dataset, DatasetCard, Split, questions_jsonl, read_questions, write_questions};
pub use engine_states::EngineStates;
pub use error::StoreError;
pub use folder_lock::FolderLock;
pub use hash::{FileHash, ReadAnew, sha256, sha256_file};
#[cfg(feature = "tables")]
pub use labels::{
    Columns, encode_judgements, encode_labels, label_shards, read_labels, read_labels_dir,
    read_recorded_labels, write_labels,
};
pub use manifest::Manifest;
pub use outcomes::{OutcomeColumns, read_outcomes};
pub use public::{AnswerForm, ColumnMap, Names, Schema, load_mapped, load_questions};
pub use published::{PublishedHead, Publisher, TokenEmbedding};
pub use router::{RouterFile, RouterLayer};
