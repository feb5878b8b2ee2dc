//! Causal grouped-query attention, forward and backward, one sequence and one head at a time.

use std::ops::Range;

use super::kernels::{self, LANES};
use super::matmul::{MatrixView, Triangle, matmul, matmul_triangle};
use super::weights::LayerWeights;
use crate::config::ModelConfig;

/// Buffers of one layer's attention.
#[derive(Default)]
pub struct AttentionPass {
    qkv: Vec<f32>,       // [tokens, width + 2 * narrow], rotated
    probs: Vec<f32>,     // per sequence and head: [seq, seq rounded up to LANES]
    pub mixed: Vec<f32>, // [tokens, width]
    d_qkv: Vec<f32>,     // [tokens, width + 2 * narrow]
    d_probs: Vec<f32>,   // [seq, seq rounded up to LANES]
}

/// The places of the heads in a token's row.
struct Heads {
    width: usize,
    narrow: usize,
    head: usize,
    group: usize,
    count: usize,
    scale: f32,
}

impl Heads {
    #[expect(clippy::cast_precision_loss, reason = "head widths are small")]
    fn new(config: &ModelConfig) -> Self {
        let head = config.head_dim();
        Self {
            width: config.hidden_size,
            narrow: config.key_value_size(),
            head,
            group: config.num_attention_heads / config.num_key_value_heads,
            count: config.num_attention_heads,
            scale: 1.0 / (head as f32).sqrt(),
        }
    }

    fn all(&self) -> usize {
        self.width + 2 * self.narrow
    }

    /// First columns of a head's query, key and value.
    fn columns(&self, head: usize) -> [usize; 3] {
        let key = self.width + head / self.group * self.head;
        [head * self.head, key, key + self.narrow]
    }

    /// Number of rotated heads: all queries and keys.
    fn rotated(&self) -> usize {
        (self.width + self.narrow) / self.head
    }
}

impl AttentionPass {
    /// Normed inputs `[tokens, width]` to `mixed`, the input of the output projection.
    pub fn forward(
        &mut self,
        config: &ModelConfig,
        layer: &LayerWeights,
        normed: &[f32],
        spans: &[Range<usize>],
        (cos, sin): (&[f32], &[f32]),
    ) {
        let heads = Heads::new(config);
        let (width, all) = (heads.width, heads.all());
        let tokens = normed.len() / width;
        self.qkv.resize(tokens * all, 0.0);
        let weight = MatrixView::rows(&layer.qkv, width).transposed();
        matmul(
            &mut self.qkv,
            all,
            false,
            [tokens, width, all],
            MatrixView::rows(normed, width),
            weight,
        );
        kernels::add_bias(&mut self.qkv, &layer.qkv_bias);
        self.mixed.resize(tokens * width, 0.0);
        let cells = spans.iter().map(|span| square(span.len())).sum::<usize>();
        self.probs.resize(cells * heads.count, 0.0);
        let mut begin = 0;
        for span in spans {
            let (seq, stride) = (span.len(), span.len().next_multiple_of(LANES));
            let half = heads.head / 2;
            let rows = &mut self.qkv[span.start * all..span.end * all];
            let (cos, sin) = (&cos[..seq * half], &sin[..seq * half]);
            kernels::rotate(rows, all, heads.rotated(), cos, sin, half, 1.0);
            let mixed = &mut self.mixed[span.start * width..span.end * width];
            for head in 0..heads.count {
                let [q, k, v] =
                    heads.columns(head).map(|column| MatrixView::rows(&rows[column..], all));
                let probs = &mut self.probs[begin..begin + square(seq)];
                begin += square(seq);
                let shape = [seq, heads.head, seq];
                matmul_triangle(probs, stride, false, shape, q, k.transposed(), Triangle::LowerOut);
                kernels::causal_softmax(probs, stride, heads.scale);
                let out = &mut mixed[head * heads.head..];
                let (shape, probs) = ([seq, seq, heads.head], MatrixView::rows(probs, stride));
                matmul_triangle(out, width, false, shape, probs, v, Triangle::LowerLeft);
            }
        }
    }

    /// Replaces `d`, the gradient of `mixed`, by the gradient of the normed inputs.
    #[expect(clippy::too_many_arguments, reason = "one pass over everything the layer holds")]
    pub fn backward(
        &mut self,
        config: &ModelConfig,
        layer: &LayerWeights,
        d_layer: &mut LayerWeights,
        normed: &[f32],
        spans: &[Range<usize>],
        (cos, sin): (&[f32], &[f32]),
        d: &mut [f32],
    ) {
        let heads = Heads::new(config);
        let (width, all) = (heads.width, heads.all());
        let tokens = normed.len() / width;
        self.d_qkv.resize(tokens * all, 0.0);
        let mut begin = 0;
        for span in spans {
            let (seq, stride) = (span.len(), span.len().next_multiple_of(LANES));
            let rows = &self.qkv[span.start * all..span.end * all];
            let d_rows = &mut self.d_qkv[span.start * all..span.end * all];
            let d_mixed = &d[span.start * width..span.end * width];
            self.d_probs.resize(square(seq), 0.0);
            for head in 0..heads.count {
                let columns = heads.columns(head);
                let [q, k, v] = columns.map(|column| MatrixView::rows(&rows[column..], all));
                let [q_column, k_column, v_column] = columns;
                let probs = &self.probs[begin..begin + square(seq)];
                begin += square(seq);
                let weights = MatrixView::rows(probs, stride);
                let d_out = MatrixView::rows(&d_mixed[head * heads.head..], width);
                let narrow = [seq, seq, heads.head];
                // The first query head of a group starts the sums of its key and value head.
                let add = head % heads.group != 0;
                let (out, left) = (&mut d_rows[v_column..], weights.transposed());
                matmul_triangle(out, all, add, narrow, left, d_out, Triangle::UpperLeft);
                let d_probs = &mut self.d_probs;
                let (shape, right) = ([seq, heads.head, seq], v.transposed());
                matmul_triangle(d_probs, stride, false, shape, d_out, right, Triangle::LowerOut);
                kernels::causal_softmax_backward(probs, d_probs, stride, heads.scale);
                let d_scores = MatrixView::rows(d_probs, stride);
                let out = &mut d_rows[q_column..];
                matmul_triangle(out, all, false, narrow, d_scores, k, Triangle::LowerLeft);
                let (out, left) = (&mut d_rows[k_column..], d_scores.transposed());
                matmul_triangle(out, all, add, narrow, left, q, Triangle::UpperLeft);
            }
            let half = heads.head / 2;
            let (cos, sin) = (&cos[..seq * half], &sin[..seq * half]);
            kernels::rotate(d_rows, all, heads.rotated(), cos, sin, half, -1.0);
        }
        kernels::add_bias_backward(&self.d_qkv, &mut d_layer.qkv_bias);
        let d_qkv = MatrixView::rows(&self.d_qkv, all);
        let inputs = MatrixView::rows(normed, width);
        let shape = [all, tokens, width];
        matmul(&mut d_layer.qkv, width, true, shape, d_qkv.transposed(), inputs);
        let weight = MatrixView::rows(&layer.qkv, width);
        matmul(d, width, false, [tokens, all, width], d_qkv, weight);
    }
}

/// Size of one head's probabilities.
fn square(seq: usize) -> usize {
    seq * seq.next_multiple_of(LANES)
}
