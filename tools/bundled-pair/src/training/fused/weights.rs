//! The decoder's weights, or their gradients, packed for the fused engine. The query, key and
//! value projections are one matrix; gate and up are one matrix.

use std::collections::HashMap;

use crate::config::ModelConfig;
use crate::error::PairError;
use crate::model::NamedParameter;

/// The weights of one layer.
#[derive(Clone, Default)]
pub struct LayerWeights {
    pub attention_norm: Vec<f32>, // [width]
    pub qkv: Vec<f32>,            // [width + 2 * narrow, width]
    pub qkv_bias: Vec<f32>,       // [width + 2 * narrow]
    pub output: Vec<f32>,         // [width, width]
    pub mlp_norm: Vec<f32>,       // [width]
    pub gate_up: Vec<f32>,        // [2 * inner, width]
    pub down: Vec<f32>,           // [width, inner]
}

/// All weights.
#[derive(Clone, Default)]
pub struct Weights {
    pub embedding: Vec<f32>, // [vocab, width]
    pub layers: Vec<LayerWeights>,
    pub norm: Vec<f32>, // [width]
}

impl Weights {
    /// Zeros in the sizes of the configuration.
    pub fn zeros(config: &ModelConfig) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let all = width + 2 * config.key_value_size();
        let layer = LayerWeights {
            attention_norm: vec![0.0; width],
            qkv: vec![0.0; all * width],
            qkv_bias: vec![0.0; all],
            output: vec![0.0; width * width],
            mlp_norm: vec![0.0; width],
            gate_up: vec![0.0; 2 * inner * width],
            down: vec![0.0; width * inner],
        };
        Self {
            embedding: vec![0.0; config.vocab_size * width],
            layers: vec![layer; config.num_hidden_layers],
            norm: vec![0.0; width],
        }
    }

    /// Every packed vector, in a fixed order.
    pub fn parts_mut(&mut self) -> impl Iterator<Item = &mut Vec<f32>> {
        let layers = self.layers.iter_mut().flat_map(|layer| {
            [
                &mut layer.attention_norm,
                &mut layer.qkv,
                &mut layer.qkv_bias,
                &mut layer.output,
                &mut layer.mlp_norm,
                &mut layer.gate_up,
                &mut layer.down,
            ]
        });
        [&mut self.embedding, &mut self.norm].into_iter().chain(layers)
    }

    /// Packs a model's parameters.
    pub fn pack(config: &ModelConfig, parameters: &[NamedParameter]) -> Result<Self, PairError> {
        let mut packed = Self::zeros(config);
        for parameter in parameters {
            let place = packed.slice_mut(config, &parameter.name)?;
            place.copy_from_slice(&parameter.values);
        }
        Ok(packed)
    }

    /// Copies the packed numbers back into parameters of the same names.
    pub fn unpack(
        &mut self,
        config: &ModelConfig,
        parameters: &mut [NamedParameter],
    ) -> Result<(), PairError> {
        for parameter in parameters {
            let place = self.slice_mut(config, &parameter.name)?;
            parameter.values.copy_from_slice(place);
        }
        Ok(())
    }

    /// The packed part that holds the tensor of a Hugging Face name.
    fn slice_mut(&mut self, config: &ModelConfig, name: &str) -> Result<&mut [f32], PairError> {
        let unknown = || PairError::Tensor {
            name: name.to_owned(),
            reason: "not a tensor of a Qwen2 decoder".to_owned(),
        };
        match name {
            "model.embed_tokens.weight" => return Ok(&mut self.embedding),
            "model.norm.weight" => return Ok(&mut self.norm),
            _ => {}
        }
        let rest = name.strip_prefix("model.layers.").ok_or_else(unknown)?;
        let (index, part) = rest.split_once('.').ok_or_else(unknown)?;
        let index: usize = index.parse().map_err(|_| unknown())?;
        let layer = self.layers.get_mut(index).ok_or_else(unknown)?;
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let narrow = config.key_value_size();
        // Rows of q, k and v in the packed matrix.
        let spans = HashMap::from([
            ("q_proj", 0..width),
            ("k_proj", width..width + narrow),
            ("v_proj", width + narrow..width + 2 * narrow),
        ]);
        if let Some(rest) = part.strip_prefix("self_attn.") {
            if rest == "o_proj.weight" {
                return Ok(&mut layer.output);
            }
            let (projection, kind) = rest.split_once('.').ok_or_else(unknown)?;
            let span = spans.get(projection).ok_or_else(unknown)?;
            return match kind {
                "weight" => Ok(&mut layer.qkv[span.start * width..span.end * width]),
                "bias" => Ok(&mut layer.qkv_bias[span.clone()]),
                _ => Err(unknown()),
            };
        }
        match part {
            "input_layernorm.weight" => Ok(&mut layer.attention_norm),
            "post_attention_layernorm.weight" => Ok(&mut layer.mlp_norm),
            "mlp.gate_proj.weight" => Ok(&mut layer.gate_up[..inner * width]),
            "mlp.up_proj.weight" => Ok(&mut layer.gate_up[inner * width..]),
            "mlp.down_proj.weight" => Ok(&mut layer.down),
            _ => Err(unknown()),
        }
    }
}
