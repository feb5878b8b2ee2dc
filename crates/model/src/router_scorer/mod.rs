//! The router's scorer: runs a router file on the decoder's row-stable layers, one position
//! at a time.

mod header;
mod pass;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokenroute_core::{
    FeatureReader, History, LabelRow, ModelInfo, Operator, Position, RouterHeader, Score,
    ScoreError, Scored, Scorer, ScorerState, Seen, Step,
};
use tokenroute_kernels::{Activations, Pool};

use self::pass::{Run, Weights};
use crate::load::start_threads;
use crate::weights::{WeightFile, WeightSource};
use crate::{Decoder, KvType, LoadError};

/// A trained router: features → normalisation → layers → logit → Platt → score.
///
/// Layers of 2^20 weights and more run in 8 bits (Q8_0, activations likewise), unless the file
/// asks for full precision. Labelling, sweep and decoding all use this scorer and see the same
/// scores.
#[derive(Debug)]
pub struct RouterScorer {
    path: PathBuf,
    header: RouterHeader,
    reader: FeatureReader,
    operators: Vec<Operator>,
    /// Whether a score depends on earlier steps.
    remembers: bool,
    /// Of the operators that have some, in their order.
    weights: Vec<Weights>,
    pool: Arc<Pool>,
}

/// What a router remembers of an answer's earlier steps. The default is the answer's begin.
#[derive(Debug, Clone, Default)]
struct Memory {
    history: History,
    /// The state of each recurrent unit, in the order of their use.
    recurrent: Vec<Vec<f32>>,
}

impl RouterScorer {
    /// Reads a router file: safetensors with `layers.{i}.weight` `[out, in]`,
    /// `layers.{i}.bias` `[out]` and the header's JSON in its metadata.
    ///
    /// # Errors
    /// A file that cannot be read; a header of another format or that contradicts itself; a
    /// tensor that is missing, of the wrong shape, unknown or not finite.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let file = WeightFile::open(path, "a router file")?;
        let header = header::header(path, &file)?;
        let width = header.features.width();
        let operators = header.architecture.operators(width);
        let shapes = Operator::weights(&operators);
        start_threads()?;
        let pool = Arc::new(Pool::new(1)?);
        let mut weights = Vec::with_capacity(shapes.len());
        let mut known = HashSet::with_capacity(2 * shapes.len());
        for (i, shape) in shapes.iter().enumerate() {
            let [weight, bias] = ["weight", "bias"].map(|part| format!("layers.{i}.{part}"));
            let numbers = file.tensor(&weight, &shape.weight)?;
            known.insert(weight);
            let biases = match shape.bias {
                0 => Vec::new(),
                length => {
                    let biases = file.tensor(&bias, &[length])?;
                    known.insert(bias);
                    biases
                }
            };
            weights.push(Weights::new(&pool, shape, header.full_precision, numbers, biases)?);
        }
        if let Some(name) = file.names().into_iter().find(|name| !known.contains(name)) {
            let message = format!(
                "tensor `{name}` belongs to no layer of the {} its header describes",
                shapes.len()
            );
            return Err(LoadError::Router { path: path.to_owned(), message });
        }
        let reader = FeatureReader::new(&header.features);
        let remembers = reader.remembers() || Operator::remembers(&operators);
        let path = path.to_owned();
        Ok(RouterScorer { path, header, reader, operators, remembers, weights, pool })
    }

    /// The file's header.
    #[must_use]
    pub fn header(&self) -> &RouterHeader {
        &self.header
    }

    /// Number of weights and biases.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.header.parameters()
    }

    /// Checks that the router was trained for this SLM and tokenizer, and that the loaded
    /// SLM gives all features that the router reads.
    ///
    /// # Errors
    /// Names both KV types, hashes or widths.
    pub fn check(&self, slm: &ModelInfo, tokenizer_hash: &str) -> Result<(), LoadError> {
        self.check_kv_name(KvType::name_in(&slm.weights_hash))?;
        let features = &self.header.features;
        let known = [
            ("SLM weights", &self.header.slm_hash, slm.weights_hash.as_str()),
            ("tokenizer", &self.header.tokenizer_hash, tokenizer_hash),
        ];
        for (what, router, model) in known {
            if router != model {
                return Err(self.mismatch(what, router, model));
            }
        }
        // A router of the probabilities alone reads no hidden state.
        let read = features.reads_hidden();
        if read != 0 && read != slm.hidden {
            let (router, model) = (read.to_string(), slm.hidden.to_string());
            return Err(self.mismatch("hidden width", &router, &model));
        }
        if features.top() > slm.top_k.min(slm.vocabulary) {
            let (router, model) = (features.top().to_string(), slm.top_k.to_string());
            return Err(self.mismatch("a top-k of", &router, &model));
        }
        Ok(())
    }

    /// Checks, before the SLM is loaded, that the router was trained with its KV type.
    ///
    /// # Errors
    /// Names both types.
    pub fn check_kv(&self, slm: KvType) -> Result<(), LoadError> {
        self.check_kv_name(slm.name())
    }

    fn check_kv_name(&self, model: &str) -> Result<(), LoadError> {
        let router = KvType::name_in(&self.header.slm_hash);
        if router == model {
            return Ok(());
        }
        let (router, model) = (router.to_owned(), model.to_owned());
        Err(LoadError::RouterKv { path: self.path.clone(), router, model })
    }

    /// Runs on the threads of the SLM, which are awake when a step is to be scored. Without
    /// this call the calling thread works alone. The scores are the same.
    pub fn share_threads(&mut self, slm: &Decoder) {
        self.pool = Arc::clone(slm.pool());
    }

    /// The uncalibrated logit of features `[width]` at an answer's begin: ln P(keep) / P(offload), or
    /// for two rewards r_keep − r_offload. NaN if the width is not the router's.
    #[must_use]
    pub fn logit(&self, features: &[f32]) -> f32 {
        self.run(features, &[]).0
    }

    /// The logit, and the states of the recurrent units after this step.
    fn run(&self, features: &[f32], before: &[Vec<f32>]) -> (f32, Vec<Vec<f32>>) {
        let normalisation = &self.header.normalisation;
        if features.len() != normalisation.mean.len() {
            return (f32::NAN, Vec::new());
        }
        let mut x: Vec<f32> = features
            .iter()
            .zip(normalisation.mean.iter().zip(&normalisation.scale))
            .map(|(x, (mean, scale))| (x - mean) * scale)
            .collect();
        let mut run = Run {
            pool: &self.pool,
            weights: self.weights.iter(),
            buffer: Activations::default(),
            before,
            after: Vec::new(),
        };
        if run.operators(&self.operators, &mut x).is_none() {
            return (f32::NAN, Vec::new());
        }
        let logit = match x.as_slice() {
            [keep, offload] => keep - offload,
            [logit] => *logit,
            _ => f32::NAN,
        };
        (logit, run.after)
    }

    /// The uncalibrated logits of label rows. Those of an answer follow each other from its begin.
    #[must_use]
    pub fn logits_along<'r>(&self, rows: impl IntoIterator<Item = &'r LabelRow>) -> Vec<f32> {
        let mut memory = Memory::default();
        let logit = |row: &'r LabelRow| {
            if row.position == 0 {
                memory = Memory::default();
            }
            let (logit, after) = self.logit_at(&Seen::of_row(row), &memory);
            memory = after;
            logit
        };
        rows.into_iter().map(logit).collect()
    }

    /// The logit of a position, and what is remembered from then on.
    fn logit_at(&self, now: &Seen<'_>, memory: &Memory) -> (f32, Memory) {
        let Memory { history, recurrent } = memory;
        let (logit, recurrent) = self.run(&self.reader.read(now, history).0, recurrent);
        (logit, Memory { history: self.reader.after(now, history), recurrent })
    }

    /// The calibrated score of a step that begins an answer.
    ///
    /// # Errors
    /// A score that is not a number.
    pub fn score_step(&self, step: &Step) -> Result<Score, ScoreError> {
        self.score_features(&self.reader.read(&Seen::of_step(0, step), &History::default()).0)
    }

    /// The calibrated score of features `[width]`.
    ///
    /// # Errors
    /// A score that is not a number.
    pub fn score_features(&self, features: &[f32]) -> Result<Score, ScoreError> {
        self.header.platt.score(self.logit(features))
    }

    fn mismatch(&self, what: &'static str, router: &str, model: &str) -> LoadError {
        LoadError::RouterMismatch {
            path: self.path.clone(),
            what,
            router: router.to_owned(),
            model: model.to_owned(),
        }
    }
}

impl Scorer for RouterScorer {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Ok(self.scored(position)?.score)
    }

    fn scored(&self, position: &Position<'_>) -> Result<Scored, ScoreError> {
        let begin = Memory::default();
        let memory = position.state.and_then(ScorerState::get).unwrap_or(&begin);
        let (logit, memory) = self.logit_at(&Seen::of_step(position.index, position.step), memory);
        let state = self.remembers.then(|| ScorerState::new(memory));
        Ok(Scored { score: self.header.platt.score(logit)?, state })
    }

    fn state_bytes(&self) -> usize {
        if !self.remembers {
            return 0;
        }
        // A list for each feature.
        let lists = self.header.features.features().len() * size_of::<Vec<Arc<[f32]>>>();
        let kept = self.header.features.history_bytes().saturating_add(lists);
        let recurrent = Operator::state_bytes(&self.operators);
        kept.saturating_add(recurrent).saturating_add(size_of::<Memory>())
    }
}
