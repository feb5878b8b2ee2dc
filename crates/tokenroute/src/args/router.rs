//! Arguments of `router`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tokenroute_model::Format;
use tokenroute_store::Publisher;

use super::stages::ExperimentFile;
use super::{Kv, OnDevice};

/// What to do with a router file.
#[derive(Debug, Subcommand)]
pub enum RouterCommand {
    /// Write a router as an ONNX model, which takes features and gives scores.
    Export(RouterExport),
    /// Make a router file of a published head: a PyTorch state dict in a safetensors file.
    Import(RouterImport),
    /// Write a folder for the Hub: the router and its model card.
    Card(RouterCard),
}

/// Arguments of `router export`.
#[derive(Debug, Args)]
pub struct RouterExport {
    /// The router: a file, a folder as `router card` writes it, or an hf: reference to one.
    #[arg(long)]
    pub router: PathBuf,
    /// The ONNX model to write.
    #[arg(long, value_name = "FILE.onnx")]
    pub onnx: PathBuf,
}

/// Arguments of `router import`.
#[derive(Debug, Args)]
pub struct RouterImport {
    /// Layout of the state dict: citer or r2r.
    #[arg(long, value_name = "LAYOUT")]
    pub from: Publisher,
    /// The safetensors file with the state dict.
    pub file: PathBuf,
    /// The small model that the head reads: a folder in Hugging Face layout, a .gguf file, or an
    /// hf: reference to one. R2R's token embeddings are taken from it if the file has none.
    #[arg(long)]
    pub slm: PathBuf,
    /// Quantise the small model's weights, as later when it is used: q8_0, q4_0 or q4_k.
    #[arg(long, value_name = "FORMAT")]
    pub quantize: Option<Format>,
    /// The KV cache.
    #[command(flatten)]
    pub kv: Kv,
    /// The device.
    #[command(flatten)]
    pub place: OnDevice,
    /// Run layers of 2^20 weights and more in 8 bits. Without it all run in f32, as in PyTorch.
    #[arg(long)]
    pub eight_bits: bool,
    /// The router file to write.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Arguments of `router card`.
#[derive(Debug, Args)]
pub struct RouterCard {
    /// The experiment, whose report is rendered.
    #[command(flatten)]
    pub experiment: ExperimentFile,
    /// The router file. Default: the experiment's first router.
    #[arg(long)]
    pub router: Option<PathBuf>,
    /// A summary.json of the router. Default: that of the experiment's report.
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Licence of the router, as the Hub names licences, such as apache-2.0.
    #[arg(long, value_name = "NAME")]
    pub license: Option<String>,
    /// The folder to write. `hf upload OWNER/NAME FOLDER` pushes it as it is.
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
}
