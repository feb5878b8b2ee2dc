//! The parts of a decoder layer: projection, norm, SwiGLU MLP, and their assembly.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::activation::silu;

use super::attention::{Attention, Positions};
use super::parameters::Builder;
use crate::config::ModelConfig;
use crate::error::PairError;

/// A linear map, with the weight in Hugging Face's layout.
#[derive(Module, Debug)]
pub struct Projection {
    /// `[out, in]`
    pub weight: Param<Tensor<2>>,
    /// `[out]`
    pub bias: Option<Param<Tensor<1>>>,
}

impl Projection {
    pub(super) fn build(
        name: &str,
        shape: [usize; 2],
        bias: bool,
        build: &mut Builder<'_>,
    ) -> Result<Self, PairError> {
        let weight = build.matrix(&format!("{name}.weight"), shape)?;
        let bias = match bias {
            true => Some(build.vector(&format!("{name}.bias"), shape[0])?),
            false => None,
        };
        Ok(Self { weight, bias })
    }

    /// `[rows, in]` to `[rows, out]`.
    #[must_use]
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let y = x.matmul(self.weight.val().transpose());
        match &self.bias {
            Some(bias) => y + bias.val().unsqueeze(),
            None => y,
        }
    }
}

/// Root-mean-square norm over the last dimension.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[width]`
    pub weight: Param<Tensor<1>>,
    epsilon: f64,
}

impl RmsNorm {
    pub(super) fn build(
        config: &ModelConfig,
        name: &str,
        build: &mut Builder<'_>,
    ) -> Result<Self, PairError> {
        let weight = build.vector(&format!("{name}.weight"), config.hidden_size)?;
        Ok(Self { weight, epsilon: config.rms_norm_eps })
    }

    /// `[batch, seq, width]` to the same shape.
    #[must_use]
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let mean = x.clone().square().mean_dim(2); // [batch, seq, 1]
        let root = mean.add_scalar(self.epsilon).sqrt();
        x / root * self.weight.val().unsqueeze()
    }
}

/// `down(silu(gate(x)) * up(x))`.
#[derive(Module, Debug)]
pub struct Mlp {
    /// `[inner, width]`
    pub gate_proj: Projection,
    /// `[inner, width]`
    pub up_proj: Projection,
    /// `[width, inner]`
    pub down_proj: Projection,
}

impl Mlp {
    fn build(config: &ModelConfig, name: &str, build: &mut Builder<'_>) -> Result<Self, PairError> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let mut projection =
            |part: &str, shape| Projection::build(&format!("{name}.{part}"), shape, false, build);
        Ok(Self {
            gate_proj: projection("gate_proj", [inner, width])?,
            up_proj: projection("up_proj", [inner, width])?,
            down_proj: projection("down_proj", [width, inner])?,
        })
    }

    /// `[rows, width]` to the same shape.
    #[must_use]
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let gate = silu(self.gate_proj.forward(x.clone()));
        self.down_proj.forward(gate * self.up_proj.forward(x))
    }
}

/// One decoder layer.
#[derive(Module, Debug)]
pub struct DecoderLayer {
    /// Norm before attention.
    pub input_layernorm: RmsNorm,
    /// Attention.
    pub self_attn: Attention,
    /// Norm before the MLP.
    pub post_attention_layernorm: RmsNorm,
    /// MLP.
    pub mlp: Mlp,
}

impl DecoderLayer {
    pub(super) fn build(
        config: &ModelConfig,
        name: &str,
        build: &mut Builder<'_>,
    ) -> Result<Self, PairError> {
        Ok(Self {
            input_layernorm: RmsNorm::build(config, &format!("{name}.input_layernorm"), build)?,
            self_attn: Attention::build(config, &format!("{name}.self_attn"), build)?,
            post_attention_layernorm: RmsNorm::build(
                config,
                &format!("{name}.post_attention_layernorm"),
                build,
            )?,
            mlp: Mlp::build(config, &format!("{name}.mlp"), build)?,
        })
    }

    pub(super) fn forward(&self, x: Tensor<3>, positions: &Positions) -> Tensor<3> {
        let [batch, seq, width] = x.dims();
        let x = x.clone() + self.self_attn.forward(self.input_layernorm.forward(x), positions);
        let normed = self.post_attention_layernorm.forward(x.clone());
        let mlp = self.mlp.forward(normed.reshape([batch * seq, width]));
        x + mlp.reshape([batch, seq, width])
    }
}
