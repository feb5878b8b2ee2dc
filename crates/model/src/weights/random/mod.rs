//! Models with random weights in the shape of real ones. Their answers mean nothing, but
//! they cost as much time and memory as trained models of that shape.

mod byte_tokenizer;
mod tensors;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;
use serde_json::{Map, Value, json};

use super::{EMBEDDING, HEAD, WeightSource};
use crate::hash::sha256;
use crate::json_fields::read_json;
use crate::{Config, LoadError};
use tensors::{fill, tensors};

/// Published shapes: hidden size, intermediate size, layers, heads, key and value heads.
const SHAPES: [(&str, [usize; 5]); 2] =
    [("qwen2.5-0.5b", [896, 4864, 24, 14, 2]), ("qwen2.5-1.5b", [1536, 8960, 28, 12, 2])];

/// A model with random f16 weights. A weight is a function of the seed, the tensor's name
/// and its place in the tensor, so weights need not be stored.
#[derive(Debug, Clone)]
pub struct RandomModel {
    json: Value,
    path: PathBuf,
    config: Config,
    seed: u64,
    /// Tokens whose rows of the LM head are scaled by [`LIKELY`].
    likely: Vec<u32>,
}

/// Scale of the rows of likely tokens.
const LIKELY: f32 = 3.0;

impl RandomModel {
    /// A model in a named shape: qwen2.5-0.5b or qwen2.5-1.5b.
    ///
    /// # Errors
    /// An unknown name.
    pub fn named(name: &str, seed: u64) -> Result<Self, LoadError> {
        let path = PathBuf::from(name);
        let shape = SHAPES.iter().find(|shape| shape.0.eq_ignore_ascii_case(name));
        let (_, [hidden, inner, layers, heads, key_value]) =
            shape.ok_or_else(|| LoadError::Config {
                path: path.clone(),
                field: "shape".to_owned(),
                value: name.to_owned(),
                expected: format!("one of {}, or a config.json", SHAPES.map(|s| s.0).join(", ")),
            })?;
        let json = json!({
            "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 151_936,
            "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": key_value, "hidden_act": "silu",
            "max_position_embeddings": 32_768, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
            "tie_word_embeddings": true, "use_sliding_window": false, "torch_dtype": "float16",
            "bos_token_id": 151_643, "eos_token_id": 151_645,
        });
        RandomModel::new(json, path, seed)
    }

    /// A model in the shape of a `config.json`.
    ///
    /// # Errors
    /// A file that cannot be read; a configuration that the decoder does not support.
    pub fn like(config: &Path, seed: u64) -> Result<Self, LoadError> {
        let json = read_json(config, "a Hugging Face config.json")?;
        RandomModel::new(json, config.to_owned(), seed)
    }

    fn new(mut json: Value, path: PathBuf, seed: u64) -> Result<Self, LoadError> {
        json["torch_dtype"] = json!("float16");
        json["random_weights"] = json!(true);
        let config = Config::parse(&path, &json)?;
        Ok(RandomModel { json, path, config, seed, likely: Vec::new() })
    }

    /// Changes the number of layers.
    ///
    /// # Errors
    /// No layers, or more than `layer_types` lists.
    pub fn with_layers(mut self, layers: usize) -> Result<Self, LoadError> {
        self.json["num_hidden_layers"] = json!(layers);
        if let Some(kinds) = self.json.get_mut("layer_types").and_then(Value::as_array_mut) {
            kinds.truncate(layers);
        }
        let model = RandomModel::new(self.json, self.path, self.seed)?;
        Ok(RandomModel { likely: self.likely, ..model })
    }

    /// Makes these tokens likely. Without this, a model with 150,000 tokens would hardly ever
    /// say one that a grader looks for, and no answer would be right.
    #[must_use]
    pub fn with_likely(mut self, tokens: Vec<u32>) -> Self {
        self.json["likely_tokens"] = json!(tokens);
        self.likely = tokens;
        self
    }

    /// The parsed configuration.
    pub(crate) fn shape(&self) -> &Config {
        &self.config
    }

    /// SHA-256 over seed and configuration, hexadecimal. The weights follow from these.
    pub(crate) fn hash(&self) -> String {
        sha256(format!("random {} {}", self.seed, self.json))
    }

    fn fill(&self, tensor: &str, row: usize, halves: &mut [f16]) {
        fill(self.seed, tensor, row, halves);
        let head = if self.config.tie_word_embeddings { EMBEDDING } else { HEAD };
        if tensor == head && self.likely.iter().any(|&token| token as usize == row) {
            for half in halves {
                *half = f16::from_f32(LIKELY * half.to_f32());
            }
        }
    }

    /// The model's `config.json`.
    #[must_use]
    pub fn config(&self) -> &Value {
        &self.json
    }

    /// A stand-in `tokenizer.json`: a token for every byte, and names for the ids beyond,
    /// which no text gives.
    #[must_use]
    pub fn tokenizer(&self) -> Value {
        byte_tokenizer::tokenizer(self.config.vocab_size)
    }

    /// Writes the model's `model.safetensors`, row by row.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_weights(&self, out: &mut impl Write) -> io::Result<()> {
        let tensors = tensors(&self.config);
        let mut header = Map::new();
        header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
        let mut offset = 0;
        for (name, shape) in &tensors {
            let end = offset + shape.iter().product::<usize>() * size_of::<f16>();
            let entry = json!({"dtype": "F16", "shape": shape, "data_offsets": [offset, end]});
            header.insert(name.clone(), entry);
            offset = end;
        }
        let mut header = Value::Object(header).to_string();
        while !header.len().is_multiple_of(size_of::<u64>()) {
            header.push(' ');
        }
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        let (mut halves, mut bytes) = (Vec::new(), Vec::new());
        for (name, shape) in &tensors {
            let width = shape.last().copied().unwrap_or(1);
            halves.resize(width, f16::ZERO);
            for row in 0..shape.iter().rev().skip(1).product() {
                self.fill(name, row, &mut halves);
                bytes.clear();
                bytes.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
                out.write_all(&bytes)?;
            }
        }
        Ok(())
    }
}

impl WeightSource for RandomModel {
    fn check(&self, tensor: &str, shape: &[usize]) -> Result<(), LoadError> {
        let known = tensors(&self.config).into_iter().find(|(name, _)| name == tensor);
        let (_, found) = known.ok_or_else(|| LoadError::MissingTensor {
            path: self.path.clone(),
            tensor: tensor.to_owned(),
            shape: shape.to_vec(),
        })?;
        if found != shape {
            return Err(LoadError::Shape {
                path: self.path.clone(),
                tensor: tensor.to_owned(),
                found,
                expected: shape.to_vec(),
            });
        }
        Ok(())
    }

    fn rows(
        &self,
        tensor: &str,
        row: usize,
        width: usize,
        out: &mut [f32],
    ) -> Result<(), LoadError> {
        let mut halves = vec![f16::ZERO; width];
        for (row, out) in (row..).zip(out.chunks_exact_mut(width)) {
            self.fill(tensor, row, &mut halves);
            halves.convert_to_f32_slice(out);
        }
        Ok(())
    }

    fn path(&self, _: &str) -> &Path {
        &self.path
    }
}
