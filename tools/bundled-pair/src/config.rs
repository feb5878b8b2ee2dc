//! The configuration of the model, with the fields of Hugging Face's `config.json` of Qwen2, and
//! of a training run.

use serde::{Deserialize, Serialize};

use crate::error::PairError;

/// Shape and constants of a Qwen2 decoder, as written to `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelConfig {
    /// Always `["Qwen2ForCausalLM"]`.
    pub architectures: Vec<String>,
    /// Always `"qwen2"`.
    pub model_type: String,
    /// Rows of the embedding. 0 stands for the tokenizer's size and must be replaced before
    /// training.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the SwiGLU inner layer.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Number of key and value heads. Must divide `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Always `"silu"`.
    pub hidden_act: String,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Added to the mean square before the root.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Whether the LM head is the embedding. Always true here.
    pub tie_word_embeddings: bool,
    /// Standard deviation of the initial embedding.
    pub initializer_range: f64,
    /// Dropout of the attention probabilities. Always 0.
    pub attention_dropout: f64,
    /// First token of a sequence, if the tokenizer has one.
    pub bos_token_id: Option<u32>,
    /// Token that ends an answer.
    pub eos_token_id: u32,
    /// Number type of the exported weights.
    pub torch_dtype: String,
    /// Sliding-window attention. Always false here.
    pub use_sliding_window: bool,
    /// Whether decoders should cache keys and values.
    pub use_cache: bool,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            architectures: vec!["Qwen2ForCausalLM".to_owned()],
            model_type: "qwen2".to_owned(),
            vocab_size: 0,
            hidden_size: 128,
            intermediate_size: 344,
            num_hidden_layers: 4,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            hidden_act: "silu".to_owned(),
            max_position_embeddings: 512,
            rms_norm_eps: 1e-6,
            rope_theta: 10_000.0,
            tie_word_embeddings: true,
            initializer_range: 0.04,
            attention_dropout: 0.0,
            bos_token_id: None,
            eos_token_id: 0,
            torch_dtype: "float16".to_owned(),
            use_sliding_window: false,
            use_cache: true,
        }
    }
}

impl ModelConfig {
    /// Width of one attention head.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Width of all key heads together.
    #[must_use]
    pub fn key_value_size(&self) -> usize {
        self.head_dim() * self.num_key_value_heads
    }

    /// Checks that the fields are consistent.
    ///
    /// # Errors
    /// [`PairError::Config`] with the first field that does not fit.
    pub fn validate(&self) -> Result<(), PairError> {
        let positive = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        for (field, value) in positive {
            if value == 0 {
                return Err(PairError::config(field, value, "expected at least 1"));
            }
        }
        if self.model_type != "qwen2" {
            let expected = "expected \"qwen2\", the only architecture of the bundled pair";
            return Err(PairError::config("model_type", &self.model_type, expected));
        }
        if !self.tie_word_embeddings {
            let expected = "expected true: the bundled pair ties the LM head to the embedding";
            return Err(PairError::config("tie_word_embeddings", false, expected));
        }
        if !self.hidden_size.is_multiple_of(2 * self.num_attention_heads) {
            let expected = format!(
                "expected a multiple of 2 x num_attention_heads = {}, for rotary positions",
                2 * self.num_attention_heads
            );
            return Err(PairError::config("hidden_size", self.hidden_size, expected));
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            let expected =
                format!("expected a divisor of num_attention_heads = {}", self.num_attention_heads);
            return Err(PairError::config(
                "num_key_value_heads",
                self.num_key_value_heads,
                expected,
            ));
        }
        if self.eos_token_id as usize >= self.vocab_size {
            let expected = format!("expected a token below vocab_size = {}", self.vocab_size);
            return Err(PairError::config("eos_token_id", self.eos_token_id, expected));
        }
        Ok(())
    }
}

/// A stage of the curriculum. From the previous stage's end until this fraction of all steps,
/// questions have at most `max_steps` reasoning steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurriculumStage {
    /// Fraction of all steps at which the stage ends. The last stage always lasts to the end.
    pub until: f64,
    /// Passed to [`crate::training::ExampleSource::example`].
    pub max_steps: u32,
    /// Share of the stage's examples with 0 reasoning steps, so that the first stage's lesson is
    /// not forgotten.
    #[serde(default)]
    pub zero_steps: f64,
}

impl CurriculumStage {
    /// Most reasoning steps of an example. A low-discrepancy sequence over the indices chooses
    /// the examples without steps.
    #[must_use]
    pub fn max_steps_of(&self, index: u64) -> u32 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        #[expect(clippy::cast_precision_loss, reason = "a fraction of 2⁶⁴")]
        let place = index.wrapping_mul(GOLDEN) as f64 / u64::MAX as f64;
        if place < self.zero_steps { 0 } else { self.max_steps }
    }
}

/// The optimizer of the layers' matrices. All other parameters use AdamW.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// AdamW everywhere.
    #[default]
    AdamW,
    /// Muon for the matrices of attention and MLP (arXiv 2502.16982, updates matched to AdamW's).
    Muon,
}

/// The method to compute gradients. A test checks that both give the same numbers up to rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GradientEngine {
    /// Hand-written forward and backward passes on the CPU, without padding. Several times
    /// faster.
    #[default]
    Fused,
    /// Burn's autodiff on the training device. The choice for GPUs.
    Autodiff,
}

/// The configuration of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PairTrainConfig {
    /// Shape of the model.
    pub model: ModelConfig,
    /// Seed of the initial weights and of the order of batches.
    pub seed: u64,
    /// Index of the first example drawn.
    pub first_example: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// Tokens in a batch, prompts included.
    pub batch_tokens: usize,
    /// Number of batches drawn together and sorted by length.
    pub pool_batches: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Learning rate of the last step, as a fraction of the peak.
    pub final_learning_rate: f64,
    /// Share of the steps at the end that use this final rate, to show that the loss has settled.
    pub settle: f64,
    /// Steps of linear warmup.
    pub warmup: u64,
    /// Decoupled weight decay of matrices (not of norms and biases).
    pub weight_decay: f64,
    /// AdamW's first moment decay.
    pub beta_1: f32,
    /// AdamW's second moment decay.
    pub beta_2: f32,
    /// Largest norm of the gradient over all parameters.
    pub gradient_clip: f64,
    /// Optimizer of the layers' matrices.
    pub optimizer: OptimizerKind,
    /// The method to compute gradients.
    pub engine: GradientEngine,
    /// Threads of the fused engine. 0 means one per core. The result does not depend on it.
    pub threads: usize,
    /// Difficulty over time. Empty means no limit.
    pub curriculum: Vec<CurriculumStage>,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
}

impl Default for PairTrainConfig {
    fn default() -> Self {
        Self {
            model: ModelConfig::default(),
            seed: 0,
            first_example: 0,
            steps: 2000,
            batch_tokens: 7040,
            pool_batches: 32,
            learning_rate: 3e-3,
            final_learning_rate: 0.02,
            settle: 0.0,
            warmup: 100,
            weight_decay: 0.05,
            beta_1: 0.9,
            beta_2: 0.98,
            gradient_clip: 1.0,
            optimizer: OptimizerKind::default(),
            engine: GradientEngine::default(),
            threads: 0,
            curriculum: Vec::new(),
            checkpoint_every: 250,
        }
    }
}

impl PairTrainConfig {
    /// Checks the ranges of all fields.
    ///
    /// # Errors
    /// [`PairError::Config`] with the first field that is out of range.
    pub fn validate(&self) -> Result<(), PairError> {
        self.model.validate()?;
        if self.steps == 0 || self.checkpoint_every == 0 || self.pool_batches == 0 {
            let value = format!("{}/{}/{}", self.steps, self.checkpoint_every, self.pool_batches);
            let field = "steps/checkpoint_every/pool_batches";
            return Err(PairError::config(field, value, "expected at least 1 each"));
        }
        if self.batch_tokens < 2 {
            return Err(PairError::config(
                "batch_tokens",
                self.batch_tokens,
                "expected at least 2",
            ));
        }
        let rates = [("learning_rate", self.learning_rate), ("gradient_clip", self.gradient_clip)];
        for (field, value) in rates {
            if !(value.is_finite() && value > 0.0) {
                return Err(PairError::config(field, value, "expected a positive number"));
            }
        }
        if !(0.0..1.0).contains(&self.settle) {
            return Err(PairError::config("settle", self.settle, "expected a share in [0, 1)"));
        }
        let mut previous = 0.0;
        for stage in &self.curriculum {
            if !(stage.until > previous && stage.until <= 1.0) {
                let expected = format!("expected a fraction in ({previous}, 1], rising by stage");
                return Err(PairError::config("curriculum.until", stage.until, expected));
            }
            if !(0.0..=1.0).contains(&stage.zero_steps) {
                let expected = "expected a share from 0 to 1";
                return Err(PairError::config("curriculum.zero_steps", stage.zero_steps, expected));
            }
            previous = stage.until;
        }
        Ok(())
    }

    /// The stage of a step, counted from 0. Without a curriculum there is no limit.
    #[must_use]
    pub fn stage_at(&self, step: u64) -> CurriculumStage {
        #[expect(clippy::cast_precision_loss, reason = "a fraction of the run")]
        let done = step as f64 / self.steps as f64;
        self.curriculum
            .iter()
            .find(|stage| done < stage.until)
            .or(self.curriculum.last())
            .copied()
            .unwrap_or(CurriculumStage { until: 1.0, max_steps: u32::MAX, zero_steps: 0.0 })
    }

    /// Learning rate of a step, counted from 0: linear warmup, a cosine, then the final rate.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "step counts are far below 2^52")]
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.learning_rate * (step + 1) as f64 / self.warmup as f64;
        }
        let span = self.steps as f64 * (1.0 - self.settle) - self.warmup as f64;
        let done = ((step - self.warmup) as f64 / span.max(1.0)).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        let floor = self.final_learning_rate;
        self.learning_rate * (floor + (1.0 - floor) * cosine)
    }
}
