//! One pass of the decoder over some feeds: rows in, steps out.

use tokenroute_core::{Detail, Feed, ModelError, Step};

use crate::attention::Attend;
use crate::cache::KvState;
use crate::decoder::Decoder;
use crate::layers::Layer;
use crate::rope::rotate;
use crate::rows::{rms_norm, swiglu};
use crate::steps::step;

/// Rows that go through the MLP or the LM head together, so that what lies
/// between its layers stays in the cache.
const CHUNK: usize = 96;

/// A token to be processed: row `r` of every activation belongs to `rows[r]`.
#[derive(Debug, Clone, Copy)]
struct Row {
    feed: usize,
    position: usize,
    wanted: bool,
}

/// Feeds on their way through the layers.
pub(crate) struct Pass<'p, 'a> {
    model: &'p Decoder,
    feeds: &'p mut [Feed<'a, KvState>],
    detail: Detail,
    rows: Vec<Row>,
    /// Residual stream `[rows, hidden]`.
    stream: Vec<f32>,
    /// Rotary angles `[rows, head_dim]`.
    angles: Vec<f32>,
}

impl<'p, 'a> Pass<'p, 'a> {
    /// Embeds the tokens of checked feeds and makes room in their states.
    pub(crate) fn new(
        model: &'p Decoder,
        feeds: &'p mut [Feed<'a, KvState>],
        detail: Detail,
    ) -> Result<Self, ModelError> {
        let hidden = model.info.hidden;
        let total: usize = feeds.iter().map(|feed| feed.tokens.len()).sum();
        let mut rows = Vec::with_capacity(total);
        let mut stream = vec![0.0; total * hidden];
        let mut angles = Vec::with_capacity(total * model.shape.head_dim);
        let mut embedded = stream.chunks_exact_mut(hidden);
        for (feed, f) in feeds.iter_mut().enumerate() {
            let start = f.state.len();
            f.state.reserve(&model.shape, start + f.tokens.len());
            for (i, (&token, out)) in f.tokens.iter().zip(&mut embedded).enumerate() {
                rows.push(Row { feed, position: start + i, wanted: i >= f.from });
                model.rotary.angles(start + i, &mut angles);
                model.embedding.row(token as usize, out).map_err(|error| {
                    let model = model.info.name.clone();
                    ModelError::Backend { model, message: error.to_string() }
                })?;
            }
        }
        Ok(Pass { model, feeds, detail, rows, stream, angles })
    }

    /// Runs all layers and the head. On success the tokens are committed.
    pub(crate) fn run(mut self) -> Result<Vec<Vec<Step>>, ModelError> {
        let model = self.model;
        for (i, layer) in model.layers.iter().enumerate() {
            self.attention(i, layer, i + 1 == model.layers.len());
            self.mlp(layer);
        }
        let steps = self.head()?;
        for feed in self.feeds.iter_mut() {
            let len = feed.state.len() + feed.tokens.len();
            feed.state.commit(len);
        }
        Ok(steps)
    }

    /// x += O · attention(norm x). After the last layer's keys and values are
    /// written, only rows whose steps are wanted go on.
    fn attention(&mut self, index: usize, layer: &Layer, last: bool) {
        let Decoder { info, config, shape, .. } = self.model;
        let (hidden, head_dim) = (info.hidden, shape.head_dim);
        let (queries, key_value) = (config.query_size(), config.key_value_size());
        let width = queries + 2 * key_value;
        let eps = config.rms_norm_eps as f32;

        let mut normed = vec![0.0; self.stream.len()]; // [rows, hidden]
        rms_norm(&self.stream, &layer.attention_norm, eps, &mut normed);
        let mut qkv = vec![0.0; self.rows.len() * width]; // [rows, queries + 2 key_value]
        layer.qkv.apply(&normed, &mut qkv);
        let mut raw = vec![0.0; if layer.qk_norm.is_some() { queries + key_value } else { 0 }];
        let angles = self.angles.chunks_exact(head_dim);
        for ((row, qkv), angles) in self.rows.iter().zip(qkv.chunks_exact_mut(width)).zip(angles) {
            if let Some((q_norm, k_norm)) = &layer.qk_norm {
                raw.copy_from_slice(&qkv[..queries + key_value]);
                rms_norm(&raw[..queries], q_norm, eps, &mut qkv[..queries]);
                rms_norm(&raw[queries..], k_norm, eps, &mut qkv[queries..][..key_value]);
            }
            let (q, kv) = qkv.split_at_mut(queries);
            let (k, v) = kv.split_at_mut(key_value);
            rotate(q, angles, 1.0 / (head_dim as f32).sqrt());
            rotate(k, angles, 1.0);
            self.feeds[row.feed].state.write(shape, index, row.position, k, v);
        }
        if last && self.rows.iter().any(|row| !row.wanted) {
            keep_wanted(&self.rows, &mut self.stream, hidden);
            keep_wanted(&self.rows, &mut qkv, width);
            self.rows.retain(|row| row.wanted);
        }
        let mut mixed = vec![0.0; self.rows.len() * queries]; // [rows, queries]
        let mut scores = Vec::new();
        let outputs = mixed.chunks_exact_mut(queries).zip(qkv.chunks_exact(width));
        for (row, (out, qkv)) in self.rows.iter().zip(outputs) {
            let positions = row.position + 1;
            Attend {
                shape,
                blocks: self.feeds[row.feed].state.blocks(),
                layer: index,
                seen: positions.saturating_sub(layer.window.unwrap_or(positions))..positions,
                queries: &qkv[..queries],
                scores: &mut scores,
                out,
            }
            .run();
        }
        normed.truncate(self.stream.len());
        layer.output.apply(&mixed, &mut normed); // [rows, hidden]
        add(&mut self.stream, &normed);
    }

    /// x += down(silu(gate) · up)(norm x)
    fn mlp(&mut self, layer: &Layer) {
        let (hidden, inner) = (self.model.info.hidden, self.model.config.intermediate_size);
        let eps = self.model.config.rms_norm_eps as f32;
        let chunk = self.chunk();
        let mut normed = vec![0.0; chunk * hidden];
        let mut gate_up = vec![0.0; chunk * 2 * inner];
        let mut gated = vec![0.0; chunk * inner];
        for x in self.stream.chunks_mut(chunk * hidden) {
            let rows = x.len() / hidden;
            let normed = &mut normed[..rows * hidden];
            let gated = &mut gated[..rows * inner];
            rms_norm(x, &layer.mlp_norm, eps, normed);
            layer.gate_up.apply(normed, &mut gate_up[..rows * 2 * inner]);
            swiglu(&gate_up[..rows * 2 * inner], inner, gated);
            layer.down.apply(gated, normed);
            add(x, normed);
        }
    }

    /// Final norm and LM head of the wanted rows.
    fn head(&self) -> Result<Vec<Vec<Step>>, ModelError> {
        let Decoder { info, config, norm, head, .. } = self.model;
        let (hidden, vocabulary) = (info.hidden, info.vocabulary);
        let chunk = self.chunk();
        let mut normed = vec![0.0; chunk * hidden];
        let mut logits = vec![0.0; chunk * vocabulary];
        let mut steps: Vec<Vec<Step>> =
            self.feeds.iter().map(|f| Vec::with_capacity(f.tokens.len() - f.from)).collect();
        for (x, rows) in self.stream.chunks(chunk * hidden).zip(self.rows.chunks(chunk)) {
            let normed = &mut normed[..x.len()];
            let logits = &mut logits[..rows.len() * vocabulary];
            rms_norm(x, norm, config.rms_norm_eps as f32, normed);
            head.apply(normed, logits);
            let values = normed.chunks_exact(hidden).zip(logits.chunks_exact(vocabulary));
            for (row, (hidden, logits)) in rows.iter().zip(values) {
                let step = step(logits, hidden, self.detail, info.top_k).ok_or_else(|| {
                    ModelError::NotFinite { model: info.name.clone(), position: row.position }
                })?;
                steps[row.feed].push(step);
            }
        }
        Ok(steps)
    }

    /// Rows of a chunk: more than [`CHUNK`] where the layer is large enough for
    /// threads to share its rows.
    fn chunk(&self) -> usize {
        self.rows.len().clamp(1, CHUNK * rayon::current_num_threads())
    }
}

/// Moves the wanted rows of `x` `[rows, width]` to the front and drops the rest.
fn keep_wanted(rows: &[Row], x: &mut Vec<f32>, width: usize) {
    let mut kept = 0;
    for (r, _) in rows.iter().enumerate().filter(|(_, row)| row.wanted) {
        x.copy_within(r * width..(r + 1) * width, kept * width);
        kept += 1;
    }
    x.truncate(kept * width);
}

fn add(x: &mut [f32], y: &[f32]) {
    for (x, &y) in x.iter_mut().zip(y) {
        *x += y;
    }
}
