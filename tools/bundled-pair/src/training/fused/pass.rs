//! Forward and backward pass over a few whole sequences, few enough to stay in the cache. The
//! tokens of all sequences are rows of one matrix. Only attention uses sequence boundaries.

use std::ops::Range;

use super::attention::AttentionPass;
use super::kernels;
use super::matmul::{MatrixView, matmul};
use super::weights::{LayerWeights, Weights};
use crate::config::ModelConfig;
use crate::training::batch::Sequence;

/// Values of a layer's forward pass that the backward pass needs.
#[derive(Default)]
struct Saved {
    input: Vec<f32>,       // [tokens, width]
    input_scale: Vec<f32>, // [tokens]
    normed: Vec<f32>,      // [tokens, width]
    attention: AttentionPass,
    middle: Vec<f32>,       // [tokens, width]
    middle_scale: Vec<f32>, // [tokens]
    mlp_normed: Vec<f32>,   // [tokens, width]
    gate_up: Vec<f32>,      // [tokens, 2 * inner]
    inner: Vec<f32>,        // [tokens, inner]
}

/// Buffers of one thread, reused from chunk to chunk.
pub struct FusedPass {
    config: ModelConfig,
    cos: Vec<f32>, // [max_position_embeddings, head_dim / 2]
    sin: Vec<f32>,
    layers: Vec<Saved>,
    output: Vec<f32>,  // [tokens, width]
    d_x: Vec<f32>,     // [tokens, width]
    d_wide: Vec<f32>,  // [tokens, width]
    d_inner: Vec<f32>, // [tokens, inner]
    head: Head,
}

/// Buffers over the rows that have a target.
#[derive(Default)]
struct Head {
    rows: Vec<usize>,
    targets: Vec<u32>,
    x: Vec<f32>,      // [rows, width]
    scale: Vec<f32>,  // [rows]
    normed: Vec<f32>, // [rows, width]
    logits: Vec<f32>, // [rows, vocab]
    d_x: Vec<f32>,    // [rows, width]
}

impl FusedPass {
    pub fn new(config: &ModelConfig) -> Self {
        let (cos, sin) = crate::model::rotary_table(config, config.max_position_embeddings);
        Self {
            config: config.clone(),
            cos,
            sin,
            layers: (0..config.num_hidden_layers).map(|_| Saved::default()).collect(),
            output: Vec::new(),
            d_x: Vec::new(),
            d_wide: Vec::new(),
            d_inner: Vec::new(),
            head: Head::default(),
        }
    }

    /// Adds the gradient of `weight` times the summed cross-entropy of the answers to `gradient`.
    /// Returns that sum.
    pub fn run(
        &mut self,
        weights: &Weights,
        sequences: &[Sequence],
        weight: f32,
        gradient: &mut Weights,
    ) -> f64 {
        let mut spans = Vec::with_capacity(sequences.len());
        let mut tokens = 0;
        for sequence in sequences {
            let end = tokens + sequence.inputs().len();
            spans.push(tokens..end);
            tokens = end;
        }
        self.forward(weights, sequences, &spans, tokens);
        let loss = self.head(weights, sequences, &spans, weight, gradient);
        self.backward(weights, sequences, &spans, tokens, gradient);
        loss
    }

    fn forward(
        &mut self,
        weights: &Weights,
        sequences: &[Sequence],
        spans: &[Range<usize>],
        tokens: usize,
    ) {
        let (width, inner) = (self.config.hidden_size, self.config.intermediate_size);
        #[expect(clippy::cast_possible_truncation, reason = "the model is f32")]
        let epsilon = self.config.rms_norm_eps as f32;
        let mut x = std::mem::take(&mut self.output);
        x.clear();
        for &id in sequences.iter().flat_map(Sequence::inputs) {
            let row = id as usize * width;
            x.extend_from_slice(&weights.embedding[row..row + width]);
        }
        for (saved, layer) in self.layers.iter_mut().zip(&weights.layers) {
            std::mem::swap(&mut saved.input, &mut x);
            saved.input_scale.resize(tokens, 0.0);
            saved.normed.resize(tokens * width, 0.0);
            let (scale, normed) = (&mut saved.input_scale, &mut saved.normed);
            kernels::rms_norm(&saved.input, &layer.attention_norm, epsilon, scale, normed);
            saved.attention.forward(&self.config, layer, normed, spans, (&self.cos, &self.sin));

            saved.middle.clone_from(&saved.input);
            let mixed = MatrixView::rows(&saved.attention.mixed, width);
            let output = MatrixView::rows(&layer.output, width).transposed();
            matmul(&mut saved.middle, width, true, [tokens, width, width], mixed, output);

            saved.middle_scale.resize(tokens, 0.0);
            saved.mlp_normed.resize(tokens * width, 0.0);
            let (scale, normed) = (&mut saved.middle_scale, &mut saved.mlp_normed);
            kernels::rms_norm(&saved.middle, &layer.mlp_norm, epsilon, scale, normed);
            saved.gate_up.resize(tokens * 2 * inner, 0.0);
            let normed = MatrixView::rows(normed, width);
            let gate_up = MatrixView::rows(&layer.gate_up, width).transposed();
            let shape = [tokens, width, 2 * inner];
            matmul(&mut saved.gate_up, 2 * inner, false, shape, normed, gate_up);
            saved.inner.resize(tokens * inner, 0.0);
            kernels::swiglu(&saved.gate_up, inner, &mut saved.inner);

            x.clone_from(&saved.middle);
            let hidden = MatrixView::rows(&saved.inner, inner);
            let down = MatrixView::rows(&layer.down, inner).transposed();
            matmul(&mut x, width, true, [tokens, inner, width], hidden, down);
        }
        self.output = x;
    }

    /// Final norm, LM head and loss over the rows that have a target. Stores the gradient of the
    /// last layer's output in `d_x`.
    fn head(
        &mut self,
        weights: &Weights,
        sequences: &[Sequence],
        spans: &[Range<usize>],
        weight: f32,
        gradient: &mut Weights,
    ) -> f64 {
        let (width, vocab) = (self.config.hidden_size, self.config.vocab_size);
        #[expect(clippy::cast_possible_truncation, reason = "the model is f32")]
        let epsilon = self.config.rms_norm_eps as f32;
        let head = &mut self.head;
        head.rows.clear();
        head.targets.clear();
        for (sequence, span) in sequences.iter().zip(spans) {
            head.rows.extend(sequence.first_target()..span.len());
            let start = head.rows.len() - (span.len() - sequence.first_target());
            head.rows[start..].iter_mut().for_each(|row| *row += span.start);
            head.targets.extend_from_slice(sequence.targets());
        }
        let rows = head.rows.len();
        head.x.clear();
        for &row in &head.rows {
            head.x.extend_from_slice(&self.output[row * width..(row + 1) * width]);
        }
        head.scale.resize(rows, 0.0);
        head.normed.resize(rows * width, 0.0);
        kernels::rms_norm(&head.x, &weights.norm, epsilon, &mut head.scale, &mut head.normed);
        head.logits.resize(rows * vocab, 0.0);
        let embedding = MatrixView::rows(&weights.embedding, width);
        let normed = MatrixView::rows(&head.normed, width);
        let shape = [rows, width, vocab];
        matmul(&mut head.logits, vocab, false, shape, normed, embedding.transposed());
        let loss = kernels::cross_entropy(&mut head.logits, vocab, &head.targets, weight);

        let d_logits = MatrixView::rows(&head.logits, vocab);
        let shape = [vocab, rows, width];
        matmul(&mut gradient.embedding, width, true, shape, d_logits.transposed(), normed);
        head.d_x.resize(rows * width, 0.0);
        matmul(&mut head.d_x, width, false, [rows, vocab, width], d_logits, embedding);
        self.d_wide.clear();
        self.d_wide.resize(rows * width, 0.0);
        let d_rows = &mut self.d_wide;
        let d_norm = &mut gradient.norm;
        kernels::rms_norm_backward(&head.d_x, &head.x, &weights.norm, &head.scale, d_rows, d_norm);
        self.d_x.clear();
        self.d_x.resize(self.output.len(), 0.0);
        for (&row, d_row) in head.rows.iter().zip(d_rows.chunks_exact(width)) {
            self.d_x[row * width..(row + 1) * width].copy_from_slice(d_row);
        }
        loss
    }

    fn backward(
        &mut self,
        weights: &Weights,
        sequences: &[Sequence],
        spans: &[Range<usize>],
        tokens: usize,
        gradient: &mut Weights,
    ) {
        let (width, inner) = (self.config.hidden_size, self.config.intermediate_size);
        self.d_wide.resize(tokens * width, 0.0);
        self.d_inner.resize(tokens * inner, 0.0);
        let layers = weights.layers.iter().zip(&mut gradient.layers).zip(&mut self.layers);
        for ((layer, d_layer), saved) in layers.rev() {
            let (d_x, d_wide, d_inner) = (&mut self.d_x, &mut self.d_wide, &mut self.d_inner);
            mlp_backward(layer, d_layer, saved, [tokens, width, inner], d_x, d_wide, d_inner);

            let d_middle = MatrixView::rows(d_x, width);
            let mixed = MatrixView::rows(&saved.attention.mixed, width);
            let shape = [width, tokens, width];
            matmul(&mut d_layer.output, width, true, shape, d_middle.transposed(), mixed);
            let output = MatrixView::rows(&layer.output, width);
            matmul(d_wide, width, false, [tokens, width, width], d_middle, output);
            let rotary = (self.cos.as_slice(), self.sin.as_slice());
            let normed = &saved.normed;
            saved.attention.backward(&self.config, layer, d_layer, normed, spans, rotary, d_wide);
            let (norm, d_norm) = (&layer.attention_norm, &mut d_layer.attention_norm);
            kernels::rms_norm_backward(d_wide, &saved.input, norm, &saved.input_scale, d_x, d_norm);
        }
        let ids = sequences.iter().flat_map(Sequence::inputs);
        for (&id, d_row) in ids.zip(self.d_x.chunks_exact(width)) {
            let row = id as usize * width;
            kernels::add(&mut gradient.embedding[row..row + width], d_row);
        }
    }
}

/// Replaces `d_x`, the gradient of the layer's output, by the gradient of the attention's output.
fn mlp_backward(
    layer: &LayerWeights,
    d_layer: &mut LayerWeights,
    saved: &mut Saved,
    [tokens, width, inner]: [usize; 3],
    d_x: &mut [f32],
    d_wide: &mut [f32],
    d_inner: &mut [f32],
) {
    let d_out = MatrixView::rows(d_x, width);
    let hidden = MatrixView::rows(&saved.inner, inner);
    matmul(&mut d_layer.down, inner, true, [width, tokens, inner], d_out.transposed(), hidden);
    let down = MatrixView::rows(&layer.down, inner);
    matmul(d_inner, inner, false, [tokens, width, inner], d_out, down);
    kernels::swiglu_backward(&mut saved.gate_up, inner, d_inner);
    let d_gate_up = MatrixView::rows(&saved.gate_up, 2 * inner);
    let normed = MatrixView::rows(&saved.mlp_normed, width);
    let shape = [2 * inner, tokens, width];
    matmul(&mut d_layer.gate_up, width, true, shape, d_gate_up.transposed(), normed);
    let gate_up = MatrixView::rows(&layer.gate_up, width);
    matmul(d_wide, width, false, [tokens, 2 * inner, width], d_gate_up, gate_up);
    let (norm, d_norm) = (&layer.mlp_norm, &mut d_layer.mlp_norm);
    kernels::rms_norm_backward(d_wide, &saved.middle, norm, &saved.middle_scale, d_x, d_norm);
}
