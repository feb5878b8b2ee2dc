//! The router's scorer: runs a router file on the decoder's row-stable layers, one position
//! at a time.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;

use serde_json::Value;
use tokenroute_core::{
    Activation, FeatureReader, History, LabelRow, ModelInfo, Operator, Position, RouterHeader,
    Score, ScoreError, Scored, Scorer, ScorerState, Seen, Step, WeightKind, WeightShape,
};
use tokenroute_kernels::{Activations, Format, Pool, QuantMatrix};

use crate::decoder::{Linear, Matrix};
use crate::load::start_threads;
use crate::weights::{WeightFile, WeightSource};
use crate::{Decoder, KvType, LoadError};

/// Weights from which a layer is held in 8 bits. Reading so large a layer dominates the cost
/// of a score, and every token needs one.
const LARGE: usize = 1 << 20;

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

/// The weights of an operator.
#[derive(Debug)]
enum Weights {
    Linear(Matrix),
    Scale { weight: Vec<f32>, bias: Vec<f32> },
    Table { rows: Vec<f32>, width: usize },
}

impl Weights {
    fn new(
        pool: &Arc<Pool>,
        shape: &WeightShape,
        full_precision: bool,
        weight: Vec<f32>,
        bias: Vec<f32>,
    ) -> Result<Self, LoadError> {
        let (outputs, inputs) = match (shape.kind, &shape.weight[..]) {
            (WeightKind::Linear, &[outputs, inputs]) => (outputs, inputs),
            (WeightKind::Table, &[_, width]) => return Ok(Weights::Table { rows: weight, width }),
            _ => return Ok(Weights::Scale { weight, bias }),
        };
        Ok(Weights::Linear(if full_precision || inputs * outputs < LARGE {
            Matrix::Plain(Linear::new(inputs, outputs, &weight, Some(&bias)))
        } else {
            let weights = QuantMatrix::from_f32(pool, Format::Q8_0, outputs, inputs, &weight)?;
            Matrix::Quantised { weights, bias }
        }))
    }
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
        let header = header(path, &file)?;
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

/// One pass over a head.
struct Run<'r> {
    pool: &'r Pool,
    /// Those that are not used yet.
    weights: slice::Iter<'r, Weights>,
    buffer: Activations,
    /// The states of the recurrent units before this step. Empty at an answer's begin.
    before: &'r [Vec<f32>],
    /// Those after it, as far as they are computed.
    after: Vec<Vec<f32>>,
}

impl Run<'_> {
    /// Applies operators to `x`. `None` if their weights do not fit, which the header's check
    /// rules out.
    fn operators(&mut self, operators: &[Operator], x: &mut Vec<f32>) -> Option<()> {
        for operator in operators {
            match operator {
                Operator::Linear { .. } => *x = self.linear(x)?,
                Operator::Affine { .. } => self.scale(x)?,
                Operator::LayerNorm { .. } => {
                    normalise(x);
                    self.scale(x)?;
                }
                Operator::Activation { activation } => activate(*activation, x),
                Operator::Softmax => softmax(x),
                Operator::Residual { operators, skip } => {
                    let mut kept = x.clone();
                    self.operators(skip, &mut kept)?;
                    self.operators(operators, x)?;
                    x.iter_mut().zip(kept).for_each(|(x, kept)| *x += kept);
                }
                Operator::Embedding { .. } => {
                    let Weights::Table { rows, width } = self.weights.next()? else { return None };
                    let &[id] = x.as_slice() else { return None };
                    // A number that is no row of the table has no score.
                    let row = Some(id as usize).filter(|&row| row as f32 == id)?;
                    *x = rows.chunks_exact(*width).nth(row)?.to_vec();
                }
                Operator::Gru { width, .. } => {
                    let unit = self.after.len();
                    let mut state =
                        self.before.get(unit).cloned().unwrap_or_else(|| vec![0.0; *width]);
                    let (input, recurrent) = (self.linear(x)?, self.linear(&state)?);
                    gru(&input, &recurrent, &mut state);
                    x.clone_from(&state);
                    self.after.push(state);
                }
                Operator::Parts { parts } => {
                    let (mut rest, mut joined) = (x.as_slice(), Vec::new());
                    for part in parts {
                        let (now, later) = rest.split_at_checked(part.inputs)?;
                        let mut now = now.to_vec();
                        self.operators(&part.operators, &mut now)?;
                        joined.extend(now);
                        rest = later;
                    }
                    *x = joined;
                }
            }
        }
        Some(())
    }

    /// W · x + b, with the next weights.
    fn linear(&mut self, x: &[f32]) -> Option<Vec<f32>> {
        let Weights::Linear(matrix) = self.weights.next()? else { return None };
        let mut y = vec![0.0; matrix.outputs()];
        matrix.apply(self.pool, &mut self.buffer, x, &mut y).ok()?;
        Some(y)
    }

    /// w · x + b, with the next weights.
    fn scale(&mut self, x: &mut [f32]) -> Option<()> {
        let Weights::Scale { weight, bias } = self.weights.next()? else { return None };
        for (x, (w, b)) in x.iter_mut().zip(weight.iter().zip(bias)) {
            *x = *x * w + b;
        }
        Some(())
    }
}

/// (x − mean) / √(variance + 1e-5).
fn normalise(x: &mut [f32]) {
    let count = x.len().max(1) as f64;
    let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    let scale = 1.0 / (variance + 1e-5).sqrt();
    for x in x {
        *x = ((f64::from(*x) - mean) * scale) as f32;
    }
}

/// A step of a recurrent unit. `input` is W x + b and `recurrent` U h + c, `[3 width]` each in the
/// order r, z, n.
fn gru(input: &[f32], recurrent: &[f32], state: &mut [f32]) {
    let width = state.len();
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    for (i, h) in state.iter_mut().enumerate() {
        let [reset, update, new] = [i, width + i, 2 * width + i];
        let r = sigmoid(input[reset] + recurrent[reset]);
        let z = sigmoid(input[update] + recurrent[update]);
        let n = (input[new] + r * recurrent[new]).tanh();
        *h = (1.0 - z) * n + z * *h;
    }
}

fn softmax(x: &mut [f32]) {
    let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    x.iter_mut().for_each(|x| *x = (*x - most).exp());
    let total: f32 = x.iter().sum();
    x.iter_mut().for_each(|x| *x /= total);
}

fn activate(activation: Activation, x: &mut [f32]) {
    let f: fn(f32) -> f32 = match activation {
        Activation::Relu => |x| if x < 0.0 { 0.0 } else { x },
        Activation::Gelu => |x| {
            0.5 * x * (1.0 + candle_core::cpu::erf::erf_f32(x * std::f32::consts::FRAC_1_SQRT_2))
        },
        Activation::Silu => |x| x / (1.0 + (-x).exp()),
    };
    for x in x {
        *x = f(*x);
    }
}

/// Reads and checks the header.
fn header(path: &Path, file: &WeightFile) -> Result<RouterHeader, LoadError> {
    let bad = |message: String| LoadError::Router { path: path.to_owned(), message };
    let key = RouterHeader::METADATA_KEY;
    let text = file.metadata(key).ok_or_else(|| {
        bad(format!("no `{key}` in its metadata; expected a file written by `tokenroute train`"))
    })?;
    let json: Value = serde_json::from_str(text).map_err(|e| bad(format!("`{key}`: {e}")))?;
    let format = json.get("format").unwrap_or(&Value::Null);
    let (oldest, newest) = (RouterHeader::OLDEST, RouterHeader::FORMAT);
    if !format.as_u64().is_some_and(|f| (u64::from(oldest)..=u64::from(newest)).contains(&f)) {
        return Err(bad(format!(
            "router format {format}; this version reads formats {oldest} to {newest}"
        )));
    }
    let header: RouterHeader =
        serde_json::from_value(json).map_err(|e| bad(format!("`{key}`: {e}")))?;
    let header = header.widened();
    header.check().map_err(bad)?;
    let width = header.features.width();
    let normalisation = &header.normalisation;
    for (name, values) in [("mean", &normalisation.mean), ("scale", &normalisation.scale)] {
        if width == 0 || values.len() != width {
            let found = values.len();
            return Err(bad(format!(
                "normalisation.{name} has {found} values; expected {width}, one per feature"
            )));
        }
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            return Err(bad(format!(
                "normalisation.{name}[{i}] is {}; expected a finite number",
                values[i]
            )));
        }
    }
    for (name, value) in [("scale", header.platt.scale), ("bias", header.platt.bias)] {
        if !value.is_finite() {
            return Err(bad(format!("platt.{name} is {value}; expected a finite number")));
        }
    }
    Ok(header)
}
