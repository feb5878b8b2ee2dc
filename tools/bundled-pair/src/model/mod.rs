//! A Qwen2 decoder in Burn: pre-norm, grouped-query attention with biases, rotary positions,
//! SwiGLU, tied embeddings. Field names are Hugging Face's, so module paths are its tensor names.

mod attention;
mod layers;
mod parameters;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};

pub use attention::Attention;
pub use layers::{DecoderLayer, Mlp, Projection, RmsNorm};
pub(crate) use parameters::{Builder, values};
pub use parameters::{NamedParameter, Values};

use crate::config::ModelConfig;
use crate::error::PairError;
use attention::Positions;
pub(crate) use attention::rotary_table;

/// The token embedding, also used as the LM head.
#[derive(Module, Debug)]
pub struct TokenEmbedding {
    /// `[vocab, width]`
    pub weight: Param<Tensor<2>>,
}

/// The whole decoder.
#[derive(Module, Debug)]
pub struct Qwen2 {
    /// Token embedding and LM head.
    pub embed_tokens: TokenEmbedding,
    /// Decoder layers.
    pub layers: Vec<DecoderLayer>,
    /// Final norm.
    pub norm: RmsNorm,
    #[module(skip)]
    config: ModelConfig,
}

impl Qwen2 {
    /// A decoder with random weights. They depend only on the seed.
    ///
    /// # Errors
    /// [`PairError::Config`] if the configuration is inconsistent.
    pub fn new(config: &ModelConfig, seed: u64, device: &Device) -> Result<Self, PairError> {
        let mut normal = parameters::Normal::new(seed);
        let range = config.initializer_range;
        #[expect(clippy::cast_precision_loss, reason = "layer counts are small")]
        let residual = 1.0 / (2.0 * config.num_hidden_layers as f64).sqrt();
        Self::from_values(config, device, &mut |name, shape| {
            let count = shape.iter().product();
            #[expect(clippy::cast_precision_loss, reason = "widths are small")]
            let fan_in = 1.0 / (shape[shape.len() - 1] as f64).sqrt();
            Ok(if name.ends_with("norm.weight") {
                vec![1.0; count]
            } else if name.ends_with(".bias") {
                vec![0.0; count]
            } else if name.contains("embed_tokens") {
                normal.take(count, range)
            } else if name.contains("o_proj") || name.contains("down_proj") {
                normal.take(count, fan_in * residual)
            } else {
                normal.take(count, fan_in)
            })
        })
    }

    /// A decoder with the tensors that `values` returns for each Hugging Face name and shape.
    ///
    /// # Errors
    /// [`PairError::Config`] if the configuration is inconsistent, or the error of `values`.
    pub fn from_values(
        config: &ModelConfig,
        device: &Device,
        values: Values<'_>,
    ) -> Result<Self, PairError> {
        config.validate()?;
        let mut build = Builder::new(device, values);
        let embed_tokens = TokenEmbedding {
            weight: build
                .matrix("model.embed_tokens.weight", [config.vocab_size, config.hidden_size])?,
        };
        let layers = (0..config.num_hidden_layers)
            .map(|index| DecoderLayer::build(config, &format!("model.layers.{index}"), &mut build))
            .collect::<Result<_, _>>()?;
        let norm = RmsNorm::build(config, "model.norm", &mut build)?;
        Ok(Self { embed_tokens, layers, norm, config: config.clone() })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Ids `[batch, seq]` to hidden states after the final norm `[batch, seq, width]`.
    #[must_use]
    pub fn forward_hidden(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [batch, seq] = ids.dims();
        let width = self.config.hidden_size;
        let positions = Positions::new(&self.config, seq, &ids.device());
        let mut x = self
            .embed_tokens
            .weight
            .val()
            .select(0, ids.reshape([batch * seq]))
            .reshape([batch, seq, width]);
        for layer in &self.layers {
            x = layer.forward(x, &positions); // [batch, seq, width]
        }
        self.norm.forward(x)
    }

    /// Hidden states `[rows, width]` to logits `[rows, vocab]`.
    #[must_use]
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        hidden.matmul(self.embed_tokens.weight.val().transpose())
    }

    /// Copies ids, in rows of equal length, to the model's device as `[batch, seq]`.
    #[must_use]
    pub fn ids(&self, rows: &[Vec<u32>]) -> Tensor<2, Int> {
        let seq = rows.first().map_or(0, Vec::len);
        let flat: Vec<i64> = rows.iter().flatten().map(|&id| i64::from(id)).collect();
        let device = self.embed_tokens.weight.val().device();
        Tensor::from_data(TensorData::new(flat, [rows.len(), seq]), &device)
    }
}
