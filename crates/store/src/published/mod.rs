//! Heads that others trained and published, read from PyTorch state dicts in safetensors files.

mod citer;
mod r2r;
mod state_dict;

use std::path::Path;
use std::str::FromStr;

use tokenroute_core::{
    Architecture, FeatureSpec, ModelInfo, Normalisation, Operator, Platt, RouterHeader,
    TrainingRecord,
};

use crate::{RouterFile, RouterLayer, StoreError, atomic};
use state_dict::StateDict;

const KIND: &str = "PyTorch state dict";

/// Whose head it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publisher {
    /// CITER (arXiv 2502.01976): an MLP with batch norm on the hidden state. Its logit is that of
    /// keeping.
    Citer,
    /// R2R (arXiv 2505.21600): hidden state, the token's embedding and the greatest logits through
    /// residual blocks. Its logit is that of offloading.
    R2r,
}

impl Publisher {
    /// All of them, with their names.
    pub const NAMES: [(&'static str, Publisher); 2] =
        [("citer", Publisher::Citer), ("r2r", Publisher::R2r)];
}

impl FromStr for Publisher {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, publisher)| *publisher).ok_or_else(|| {
            let names = Self::NAMES.map(|(name, _)| name);
            format!("the layout is {text:?}; expected {}", names.join(" or "))
        })
    }
}

/// The embeddings of an SLM's tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenEmbedding {
    /// Numbers of a row.
    pub width: usize,
    /// `[tokens, width]`
    pub values: Vec<f32>,
}

/// A head as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedHead {
    /// Its operators.
    pub architecture: Architecture,
    /// What it reads.
    pub features: FeatureSpec,
    /// Turns its logit into the score of keeping.
    pub platt: Platt,
    /// Its weights.
    pub layers: Vec<RouterLayer>,
}

impl PublishedHead {
    /// Reads a head. `embedding` gives the SLM's embeddings where the file has none: R2R leaves
    /// them out.
    ///
    /// # Errors
    /// A file that is no safetensors file; a tensor that is missing, of another width or type, not
    /// finite, or unknown in this layout; the errors of `embedding`.
    pub fn read<E: From<StoreError>>(
        path: &Path,
        publisher: Publisher,
        embedding: impl FnOnce() -> Result<TokenEmbedding, E>,
    ) -> Result<Self, E> {
        let bytes = atomic::read(path)?;
        let bad = |what| E::from(StoreError::Format { path: path.to_owned(), kind: KIND, what });
        let mut state = StateDict::new(&bytes).map_err(bad)?;
        let head = match publisher {
            Publisher::Citer => citer::head(&mut state).map_err(bad)?,
            Publisher::R2r => {
                let known = r2r::known_embedding(&mut state).map_err(bad)?;
                let known = known.map_or_else(embedding, Ok)?;
                r2r::head(&mut state, known).map_err(bad)?
            }
        };
        state.finish().map_err(bad)?;
        let width = head.features.width();
        head.architecture.check(width).map_err(bad)?;
        Ok(head)
    }

    /// The router file of this head for an SLM. It has no calibration τ ↔ offload.
    #[must_use]
    pub fn router(self, slm: &ModelInfo, tokenizer_hash: &str) -> RouterFile {
        let PublishedHead { architecture, features, platt, layers } = self;
        let width = features.width();
        let header = RouterHeader {
            format: RouterHeader::FORMAT,
            architecture,
            features,
            normalisation: Normalisation { mean: vec![0.0; width], scale: vec![1.0; width] },
            platt,
            full_precision: true,
            slm_hash: slm.weights_hash.clone(),
            llm_hash: String::new(),
            tokenizer_hash: tokenizer_hash.to_owned(),
            labels_hash: String::new(),
            calibration: Vec::new(),
            training: TrainingRecord::default(),
        };
        RouterFile { header, layers }
    }
}

/// Operators and their weights, side by side.
#[derive(Default)]
struct Stack {
    operators: Vec<Operator>,
    layers: Vec<RouterLayer>,
}

impl Stack {
    /// The linear layer `{name}` from `inputs` numbers. Returns its outputs.
    fn linear(
        &mut self,
        state: &mut StateDict<'_>,
        name: &str,
        inputs: usize,
    ) -> Result<usize, String> {
        let (outputs, weight) = state.matrix(&format!("{name}.weight"), inputs)?;
        let bias = state.vector(&format!("{name}.bias"), outputs)?;
        self.operators.push(Operator::Linear { inputs, outputs });
        self.layers.push(RouterLayer { weight, bias });
        Ok(outputs)
    }

    /// The layer norm `{name}`.
    fn layer_norm(
        &mut self,
        state: &mut StateDict<'_>,
        name: &str,
        width: usize,
    ) -> Result<(), String> {
        let weight = state.vector(&format!("{name}.weight"), width)?;
        let bias = state.vector(&format!("{name}.bias"), width)?;
        self.operators.push(Operator::LayerNorm { width });
        self.layers.push(RouterLayer { weight, bias });
        Ok(())
    }
}
