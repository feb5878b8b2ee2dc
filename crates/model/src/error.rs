//! The errors of loading a model or a router.

use std::path::PathBuf;

use crate::weights::gguf::GgufError;

/// A model, a tokenizer or a router file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file that cannot be read.
    #[error("cannot read {}: {source}; expected {expected}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kind of file that was expected.
        expected: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
    /// A JSON file that does not parse.
    #[error("{}: {message}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The place and the reason.
        message: String,
    },
    /// A configuration this decoder does not implement.
    #[error("{}: `{field}` is {value}; expected {expected}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The offending field.
        field: String,
        /// Its value.
        value: String,
        /// The values that this decoder supports.
        expected: String,
    },
    /// A weights file that is cut short or that is not a safetensors file.
    #[error(
        "{} ({bytes} bytes) is not a whole safetensors file: {message}; copy or export it again",
        path.display()
    )]
    BadFile {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: usize,
        /// The parser's error.
        message: String,
    },
    /// Weights that cannot be quantised.
    #[error("{}: tensor `{tensor}`: {message}", path.display())]
    Pack {
        /// The file.
        path: PathBuf,
        /// The tensor, the first if several are stacked.
        tensor: String,
        /// The reason.
        message: String,
    },
    /// Threads or kernels that cannot be started.
    #[error(transparent)]
    Kernels(#[from] tokenroute_kernels::KernelError),
    /// A device that this program was built without.
    #[error("this program has no device {device}; build it with `--features {feature}`")]
    NoDevice {
        /// The device.
        device: &'static str,
        /// The cargo feature that adds it.
        feature: &'static str,
    },
    /// A device that cannot be opened, or that refuses the weights.
    #[error("the device {device} cannot hold the model: {message}")]
    Device {
        /// The device.
        device: &'static str,
        /// The reason.
        message: String,
    },
    /// Options that only this crate's kernels have.
    #[error(
        "the device {device} holds weights, keys and values in {floats}, not {refused}; leave that out, or run the model on kernels"
    )]
    OnlyFloats {
        /// The device.
        device: &'static str,
        /// Its numbers.
        floats: &'static str,
        /// What was asked for.
        refused: String,
    },
    /// A GGUF file that is damaged or not supported.
    #[error("{}: {source}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: GgufError,
    },
    /// Quantised weights that cannot be written to the cache.
    #[error(
        "cannot write quantised weights to {}: {source}; free space there, set TOKENROUTE_CACHE to another folder, or set it to nothing to keep none",
        path.display()
    )]
    Cache {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A missing tensor.
    #[error("{} has no tensor `{tensor}`; expected it with shape {shape:?}", path.display())]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The shape it should have.
        shape: Vec<usize>,
    },
    /// A tensor whose shape is not that of the configuration.
    #[error("{}: tensor `{tensor}` has shape {found:?}; expected {expected:?}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A tensor of a type that is not supported.
    #[error("{}: tensor `{tensor}` is {found}; expected {expected}", path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        found: String,
        /// The supported types.
        expected: &'static str,
    },
    /// A weight that is NaN or infinite.
    #[error(
        "{}: tensor `{tensor}` holds {value} at index {index}; expected finite weights: export them again",
        path.display()
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Index into the flattened tensor.
        index: usize,
        /// The value there.
        value: f32,
    },
    /// A tokenizer that does not load, encode or decode.
    #[error("{}: {message}", path.display())]
    Tokenizer {
        /// The tokenizer's file.
        path: PathBuf,
        /// The reason.
        message: String,
    },
    /// Two models that do not share a tokenizer.
    #[error(
        "{slm} and {llm} do not share a tokenizer: their {part} differ; a pair needs the same vocabulary, merges, added tokens and pre-tokenizer, or `through_text = true` under [pair] of an experiment"
    )]
    PairMismatch {
        /// The small model's name.
        slm: String,
        /// The large model's name.
        llm: String,
        /// The first part that differs.
        part: &'static str,
    },
    /// A router file that this version cannot use.
    #[error("{}: {message}", path.display())]
    Router {
        /// The file.
        path: PathBuf,
        /// The value found and the value expected.
        message: String,
    },
    /// A router trained with another KV type.
    #[error(
        "{} was trained with a KV cache in {router}, but the small model has {model}; set the KV type to {router}, or train a router for {model}",
        path.display()
    )]
    RouterKv {
        /// The router file.
        path: PathBuf,
        /// The router's side.
        router: String,
        /// The model's side.
        model: String,
    },
    /// A router trained for another model or tokenizer.
    #[error(
        "{} was trained for {what} {router}, but the model has {model}; train a router for this pair",
        path.display()
    )]
    RouterMismatch {
        /// The router file.
        path: PathBuf,
        /// The property that differs.
        what: &'static str,
        /// The router's side.
        router: String,
        /// The model's side.
        model: String,
    },
}
