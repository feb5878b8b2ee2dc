//! Helpers of the targets: a folder in memory for readers that take paths, and a model
//! small enough to write for every input.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokenroute_core::{Detail, Feed, LanguageModel};
use tokenroute_model::Decoder;

/// `config.json` of the model with the weights of [`weights`].
pub const CONFIG: &str = r#"{"model_type":"llama","architectures":["LlamaForCausalLM"],"vocab_size":4,"hidden_size":4,"intermediate_size":4,"num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,"max_position_embeddings":8,"rms_norm_eps":1e-6,"rope_theta":10000.0,"tie_word_embeddings":true,"eos_token_id":3}"#;

/// `tokenizer.json` of the same model.
pub const TOKENIZER: &str = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[{"id":3,"content":"<end>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],"normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},"post_processor":null,"decoder":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},"model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}}"#;

/// A temporary folder, in memory if the system has /dev/shm.
pub struct Folder(TempDir);

impl Default for Folder {
    fn default() -> Self {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        Folder(TempDir::new_in(parent).expect("a folder for temporary files"))
    }
}

impl Folder {
    /// The path of the folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file into the folder.
    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, bytes).expect("a file in the folder");
        path
    }
}

/// Zeros in the shapes of [`CONFIG`], as a safetensors file.
pub fn weights() -> Vec<u8> {
    let layer = "model.layers.0";
    let shapes: [(String, &[usize]); 11] = [
        ("model.embed_tokens.weight".into(), &[4, 4]),
        (format!("{layer}.self_attn.q_proj.weight"), &[4, 4]),
        (format!("{layer}.self_attn.k_proj.weight"), &[2, 4]),
        (format!("{layer}.self_attn.v_proj.weight"), &[2, 4]),
        (format!("{layer}.self_attn.o_proj.weight"), &[4, 4]),
        (format!("{layer}.mlp.gate_proj.weight"), &[4, 4]),
        (format!("{layer}.mlp.up_proj.weight"), &[4, 4]),
        (format!("{layer}.mlp.down_proj.weight"), &[4, 4]),
        (format!("{layer}.input_layernorm.weight"), &[4]),
        (format!("{layer}.post_attention_layernorm.weight"), &[4]),
        ("model.norm.weight".into(), &[4]),
    ];
    let (mut header, mut at) = (serde_json::Map::new(), 0);
    for (name, shape) in shapes {
        let end = at + 4 * shape.iter().product::<usize>();
        let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [at, end]});
        header.insert(name, entry);
        at = end;
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + at, 0);
    file
}

/// Runs a loaded model on one token.
pub fn decode(decoder: &Decoder) {
    let mut state = decoder.start();
    let mut feeds = [Feed { state: &mut state, tokens: &[0], from: 0 }];
    // Overflowing weights are an error of the model, not of the reader.
    let _ = decoder.advance(&mut feeds, Detail::Full);
}
