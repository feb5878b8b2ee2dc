//! Causal grouped-query attention with rotary positions in Hugging Face's convention, which pairs
//! the two halves of a head's dimensions.

use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};

use super::layers::Projection;
use super::parameters::Builder;
use crate::config::ModelConfig;
use crate::error::PairError;

/// Tables that depend on the length alone. Made once per pass and used by every layer.
pub struct Positions {
    cos: Tensor<4>,  // [1, 1, seq, head_dim / 2]
    sin: Tensor<4>,  // [1, 1, seq, head_dim / 2]
    mask: Tensor<4>, // [1, 1, seq, seq], 0 where visible
}

impl Positions {
    pub(super) fn new(config: &ModelConfig, seq: usize, device: &Device) -> Self {
        let half = config.head_dim() / 2;
        let (cos, sin) = rotary_table(config, seq);
        let mask = (0..seq * seq)
            .map(|cell| if cell % seq > cell / seq { -1e9 } else { 0.0 })
            .collect::<Vec<f32>>();
        Self {
            cos: Tensor::from_data(TensorData::new(cos, [1, 1, seq, half]), device),
            sin: Tensor::from_data(TensorData::new(sin, [1, 1, seq, half]), device),
            mask: Tensor::from_data(TensorData::new(mask, [1, 1, seq, seq]), device),
        }
    }

    /// Rotates `[batch, heads, seq, head_dim]`.
    fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let half = x.dims()[3] / 2;
        let first = x.clone().narrow(3, 0, half);
        let second = x.narrow(3, half, half);
        let turned = first.clone() * self.cos.clone() - second.clone() * self.sin.clone();
        Tensor::cat(vec![turned, second * self.cos.clone() + first * self.sin.clone()], 3)
    }
}

/// Cosines and sines, `[seq, head_dim / 2]` each.
pub(crate) fn rotary_table(config: &ModelConfig, seq: usize) -> (Vec<f32>, Vec<f32>) {
    let half = config.head_dim() / 2;
    let mut cos = Vec::with_capacity(seq * half);
    let mut sin = Vec::with_capacity(seq * half);
    for position in 0..seq {
        for pair in 0..half {
            #[expect(clippy::cast_precision_loss, reason = "positions and widths are small")]
            let angle = position as f64 * config.rope_theta.powf(-(pair as f64) / half as f64);
            #[expect(clippy::cast_possible_truncation, reason = "the model is f32")]
            {
                cos.push(angle.cos() as f32);
                sin.push(angle.sin() as f32);
            }
        }
    }
    (cos, sin)
}

/// Self-attention of one layer.
#[derive(Module, Debug)]
pub struct Attention {
    /// `[heads * head_dim, width]`
    pub q_proj: Projection,
    /// `[key_value_heads * head_dim, width]`
    pub k_proj: Projection,
    /// `[key_value_heads * head_dim, width]`
    pub v_proj: Projection,
    /// `[width, heads * head_dim]`
    pub o_proj: Projection,
    heads: usize,
    key_value_heads: usize,
}

impl Attention {
    pub(super) fn build(
        config: &ModelConfig,
        name: &str,
        build: &mut Builder<'_>,
    ) -> Result<Self, PairError> {
        let (width, narrow) = (config.hidden_size, config.key_value_size());
        let mut projection = |part: &str, shape, bias| {
            Projection::build(&format!("{name}.{part}"), shape, bias, build)
        };
        Ok(Self {
            q_proj: projection("q_proj", [width, width], true)?,
            k_proj: projection("k_proj", [narrow, width], true)?,
            v_proj: projection("v_proj", [narrow, width], true)?,
            o_proj: projection("o_proj", [width, width], false)?,
            heads: config.num_attention_heads,
            key_value_heads: config.num_key_value_heads,
        })
    }

    /// `[batch, seq, width]` to the same shape.
    pub(super) fn forward(&self, x: Tensor<3>, positions: &Positions) -> Tensor<3> {
        let [batch, seq, width] = x.dims();
        let head_dim = width / self.heads;
        let group = self.heads / self.key_value_heads;
        let rows = x.reshape([batch * seq, width]);
        let split = |y: Tensor<2>, heads| {
            y.reshape([batch, seq, heads, head_dim]).swap_dims(1, 2) // [batch, heads, seq, head_dim]
        };
        let q = positions.rotate(split(self.q_proj.forward(rows.clone()), self.heads));
        let k = positions.rotate(split(self.k_proj.forward(rows.clone()), self.key_value_heads));
        let v = split(self.v_proj.forward(rows), self.key_value_heads);
        // Queries with the same key head are stacked, so keys and values are not copied.
        #[expect(clippy::cast_precision_loss, reason = "head widths are small")]
        let scale = (head_dim as f64).powf(-0.5);
        let q = q.mul_scalar(scale).reshape([batch, self.key_value_heads, group * seq, head_dim]);
        let scores = q.matmul(k.swap_dims(2, 3)).reshape([batch, self.heads, seq, seq]);
        let weights = softmax(scores + positions.mask.clone(), 3).reshape([
            batch,
            self.key_value_heads,
            group * seq,
            seq,
        ]);
        let mixed = weights
            .matmul(v)
            .reshape([batch, self.heads, seq, head_dim])
            .swap_dims(1, 2)
            .reshape([batch * seq, width]);
        self.o_proj.forward(mixed).reshape([batch, seq, width])
    }
}
