//! The type of the KV cache, for every command that loads a model.

use clap::Args;
use tokenroute_model::KvType;

/// How models that run here store keys and values.
#[derive(Debug, Args)]
pub struct Kv {
    /// Number type of the KV cache: f32, f16 (half the memory) or q8_0 (about a quarter). Results differ slightly.
    /// A router belongs to the type it was trained with.
    #[arg(long, value_name = "TYPE", default_value_t)]
    pub kv: KvType,
}
