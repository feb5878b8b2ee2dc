//! One pass of the decoder over some feeds: tokens in, steps out.

use tokenroute_core::{Detail, Feed, ModelError, Step};
use tokenroute_kernels::{Activations, KernelError, Pool};

use super::attention::{Attend, AttendRow};
use super::packing::PackedLayer;
use super::rotary::rotate;
use super::row_ops::{geglu, rms_norm, rms_norm_heads, swiglu};
use super::steps::step;
use super::transformer::Transformer;
use super::{KvState, Matrix};

/// Rows that go through the MLP together, so that activations between its layers stay in
/// the cache.
const CHUNK: usize = 96;

/// Floats in a cache line.
const LINE: usize = 16;
/// Approximate number of logits that are held at a time.
const LOGITS: usize = 4 << 20;
/// Most rows whose attention is computed together. Their scores stay in the second-level
/// cache.
const TOGETHER: usize = 8;
/// Rows that a thread takes at a time in the work between matrices.
const SHARE: usize = 8;

/// The steps of one feed, or why it has none.
pub(crate) type FeedSteps = Result<Vec<Step>, ModelError>;

/// A token in the batch. Row `r` of every activation belongs to `rows[r]`.
#[derive(Debug, Clone, Copy)]
struct ForwardRow {
    feed: usize,
    position: usize,
    wanted: bool,
}

/// Buffers of a pass, kept for the next one.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    rows: Vec<ForwardRow>,
    /// Residual stream `[rows, hidden]`.
    stream: Vec<f32>,
    /// Rotary angles `[rows, rotary_dim]`.
    angles: Vec<f32>,
    /// Those of layers with a window, where they are others.
    local_angles: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    mixed: Vec<f32>,
    gate_up: Vec<f32>,
    gated: Vec<f32>,
    logits: Vec<f32>,
    activations: Activations,
}

/// Feeds on their way through the layers.
pub(crate) struct Pass<'p, 'a> {
    transformer: &'p Transformer,
    feeds: &'p mut [Feed<'a, KvState>],
    detail: Detail,
    scratch: &'p mut Scratch,
}

impl<'p, 'a> Pass<'p, 'a> {
    /// Embeds the tokens of checked feeds and reserves room in their states.
    pub(crate) fn new(
        transformer: &'p Transformer,
        feeds: &'p mut [Feed<'a, KvState>],
        detail: Detail,
        scratch: &'p mut Scratch,
    ) -> Result<Self, ModelError> {
        let hidden = transformer.info.hidden;
        let total: usize = feeds.iter().map(|feed| feed.tokens.len()).sum();
        scratch.rows.clear();
        scratch.angles.clear();
        scratch.local_angles.clear();
        let gemma = transformer.config.gemma.is_some();
        let scale = (hidden as f32).sqrt();
        grow(&mut scratch.stream, total * hidden);
        let stream = &mut scratch.stream[..total * hidden];
        let mut embedded = stream.chunks_exact_mut(hidden);
        for (feed, f) in feeds.iter_mut().enumerate() {
            let start = f.state.len();
            f.state.reserve(&transformer.shape, start + f.tokens.len());
            for (i, (&token, out)) in f.tokens.iter().zip(&mut embedded).enumerate() {
                scratch.rows.push(ForwardRow { feed, position: start + i, wanted: i >= f.from });
                transformer.rotary.angles(start + i, &mut scratch.angles);
                if let Some(local) = &transformer.local_rotary {
                    local.angles(start + i, &mut scratch.local_angles);
                }
                let row = transformer.embedding.row(token as usize, out);
                row.map_err(|error| backend(transformer, &error))?;
                if gemma {
                    out.iter_mut().for_each(|x| *x *= scale);
                }
            }
        }
        Ok(Pass { transformer, feeds, detail, scratch })
    }

    /// Runs all layers and the LM head. A feed whose logits are not finite fails alone. The
    /// tokens of the others are committed.
    pub(crate) fn run(&mut self) -> Result<Vec<FeedSteps>, ModelError> {
        let transformer = self.transformer;
        for (i, layer) in transformer.layers.iter().enumerate() {
            self.attention(i, layer).map_err(|error| backend(transformer, &error))?;
            if i + 1 == transformer.layers.len() {
                self.scratch.rows.retain(|row| row.wanted);
            }
            self.mlp(layer).map_err(|error| backend(transformer, &error))?;
        }
        let steps = self.head()?;
        for (feed, _) in self.feeds.iter_mut().zip(&steps).filter(|(_, steps)| steps.is_ok()) {
            let len = feed.state.len() + feed.tokens.len();
            feed.state.commit(len);
        }
        Ok(steps)
    }

    /// x += O · attention(norm x). Once the last layer's keys and values are written, only
    /// rows whose steps are wanted continue.
    fn attention(&mut self, index: usize, layer: &PackedLayer) -> Result<(), KernelError> {
        let Transformer { info, config, shape, pool, .. } = self.transformer;
        let Scratch { rows, stream, angles, local_angles, normed, qkv, mixed, activations, .. } =
            &mut *self.scratch;
        let local = layer.window.is_some() && self.transformer.local_rotary.is_some();
        let angles = if local { local_angles } else { angles };
        let (hidden, head_dim) = (info.hidden, shape.head_dim);
        let (queries, key_value) = (config.query_size(), config.key_value_size());
        let (width, rotary) = (queries + 2 * key_value, config.rotary_dim);
        let eps = config.rms_norm_eps as f32;
        let scale = match &config.gemma {
            Some(gemma) => 1.0 / (gemma.query_pre_attn_scalar as f32).sqrt(),
            None => 1.0 / (head_dim as f32).sqrt(),
        };

        let normed = sized(normed, rows.len() * hidden);
        norm_rows(pool, stream, &layer.attention_norm, eps, normed);
        let qkv = sized(qkv, rows.len() * width); // [rows, queries + 2 key_value]
        layer.qkv.apply(pool, activations, normed, qkv)?;
        pool.chunks_mut(qkv, SHARE * width, |share, qkv| {
            let angles = angles[share * SHARE * rotary..].chunks_exact(rotary);
            for (qkv, angles) in qkv.chunks_exact_mut(width).zip(angles) {
                let angles = if layer.rotates { angles } else { &[] };
                let (q, kv) = qkv.split_at_mut(queries);
                let k = &mut kv[..key_value];
                if let Some((q_norm, k_norm)) = &layer.qk_norm {
                    rms_norm_heads(q, q_norm, eps);
                    rms_norm_heads(k, k_norm, eps);
                }
                rotate(q, head_dim, angles, scale);
                rotate(k, head_dim, angles, 1.0);
            }
        });
        for (row, qkv) in rows.iter().zip(qkv.chunks_exact(width)) {
            let (k, v) = qkv[queries..].split_at(key_value);
            self.feeds[row.feed].state.write(shape, index, row.position, k, v);
        }
        let (mut kept, last) = (rows.len(), index + 1 == config.num_hidden_layers);
        if last {
            keep_wanted(rows, stream, hidden);
            kept = keep_wanted(rows, qkv, width);
        }
        let mixed = sized(mixed, kept * queries); // [rows, queries]
        let rows: Vec<AttendRow<'_>> = rows
            .iter()
            .filter(|row| row.wanted || !last)
            .map(|row| {
                let end = row.position + 1;
                let seen = end.saturating_sub(layer.window.unwrap_or(end))..end;
                AttendRow { blocks: self.feeds[row.feed].state.blocks(), seen }
            })
            .collect();
        let group = queries / shape.kv_heads;
        // A part is some rows, or, if there are few, one head of keys of one row.
        let together = together(kept, pool.threads());
        let size = if together > 1 { together * queries } else { group };
        pool.chunks_mut(mixed, size, |part, out| {
            let (row, kv_heads) = match together {
                1 => (part / shape.kv_heads, part % shape.kv_heads..part % shape.kv_heads + 1),
                _ => (part * together, 0..shape.kv_heads),
            };
            Attend {
                shape,
                layer: index,
                rows: &rows[row..][..out.len() / (kv_heads.len() * group)],
                queries: &qkv[row * width + kv_heads.start * group..],
                stride: width,
                kv_heads,
                group: group / head_dim,
                out,
            }
            .run();
        });
        let normed = &mut normed[..kept * hidden];
        layer.output.apply(pool, activations, mixed, normed)?; // [rows, hidden]
        if let Some((norm, _)) = &layer.post_norms {
            norm_in_place(pool, normed, norm, eps);
        }
        add(pool, &mut stream[..kept * hidden], normed);
        Ok(())
    }

    /// x += down(silu(gate) · up)(norm x), or with GELU and a norm more in Gemma
    fn mlp(&mut self, layer: &PackedLayer) -> Result<(), KernelError> {
        let Transformer { info, config, pool, .. } = self.transformer;
        let Scratch { rows, stream, normed, gate_up, gated, activations, .. } = &mut *self.scratch;
        let (hidden, inner) = (info.hidden, config.intermediate_size);
        let eps = config.rms_norm_eps as f32;
        let stream = &mut stream[..rows.len() * hidden];
        for x in stream.chunks_mut(chunk(rows.len(), &layer.gate_up) * hidden) {
            let rows = x.len() / hidden;
            let normed = sized(normed, rows * hidden);
            let gate_up = sized(gate_up, rows * 2 * inner);
            let gated = sized(gated, rows * inner);
            norm_rows(pool, x, &layer.mlp_norm, eps, normed);
            layer.gate_up.apply(pool, activations, normed, gate_up)?;
            pool.chunks_mut(gated, SHARE * inner, |share, gated| {
                let from = share * SHARE * 2 * inner;
                let gate_up = &gate_up[from..][..2 * gated.len()];
                if config.gemma.is_some() {
                    geglu(gate_up, inner, gated);
                } else {
                    swiglu(gate_up, inner, gated);
                }
            });
            layer.down.apply(pool, activations, gated, normed)?;
            if let Some((_, norm)) = &layer.post_norms {
                norm_in_place(pool, normed, norm, eps);
            }
            add(pool, x, normed);
        }
        Ok(())
    }

    /// Final norm and LM head for the wanted rows.
    fn head(&mut self) -> Result<Vec<FeedSteps>, ModelError> {
        let transformer = self.transformer;
        let Transformer { info, config, norm, head, pool, .. } = transformer;
        let Scratch { rows, stream, normed, logits, activations, .. } = &mut *self.scratch;
        let (hidden, vocabulary) = (info.hidden, info.vocabulary);
        let stream = &stream[..rows.len() * hidden];
        let count = |f: &Feed<'_, KvState>| Ok(Vec::with_capacity(f.tokens.len() - f.from));
        let mut steps: Vec<FeedSteps> = self.feeds.iter().map(count).collect();
        let chunk = chunk(rows.len(), head).min((LOGITS / vocabulary).max(CHUNK / 4));
        for (x, rows) in stream.chunks(chunk * hidden).zip(rows.chunks(chunk)) {
            let normed = sized(normed, x.len());
            let logits = sized(logits, rows.len() * vocabulary);
            norm_rows(pool, x, norm, config.rms_norm_eps as f32, normed);
            let done = head.apply(pool, activations, normed, logits);
            done.map_err(|error| backend(transformer, &error))?;
            let mut made: Vec<Option<Step>> = vec![None; rows.len()];
            pool.chunks_mut(&mut made, 1, |r, made| {
                let logits = &logits[r * vocabulary..][..vocabulary];
                let hidden = &normed[r * hidden..][..hidden];
                made[0] = step(pool, logits, hidden, self.detail, info.top_k);
            });
            for (row, step) in rows.iter().zip(made) {
                let Ok(made) = &mut steps[row.feed] else { continue };
                match step {
                    Some(step) => made.push(step),
                    None => {
                        let (model, position) = (info.name.clone(), row.position);
                        steps[row.feed] = Err(ModelError::NotFinite { model, position });
                    }
                }
            }
        }
        Ok(steps)
    }
}

/// Rows whose attention is computed together. Every thread gets two parts or more.
fn together(rows: usize, threads: usize) -> usize {
    (rows / (2 * threads)).clamp(1, TOGETHER)
}

/// Rows that go through a matrix together. With f32 weights there are [`CHUNK`] for each
/// thread, since threads share out the rows.
fn chunk(rows: usize, matrix: &Matrix) -> usize {
    let threads = if matrix.format().is_some() { 2 } else { rayon::current_num_threads() };
    rows.clamp(1, CHUNK * threads)
}

/// The first `len` elements of a buffer, which grows if need be. They begin at a cache
/// line: vectors that cross lines slow a product by a tenth. Their values are arbitrary.
fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    grow(buffer, len + LINE);
    let start = buffer.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
    &mut buffer[start..][..len]
}

fn grow(buffer: &mut Vec<f32>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
}

pub(super) fn backend(transformer: &Transformer, error: &dyn std::error::Error) -> ModelError {
    ModelError::Backend { model: transformer.info.name.clone(), message: error.to_string() }
}

fn norm_rows(pool: &Pool, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let share = SHARE * weight.len();
    pool.chunks_mut(out, share, |i, out| {
        rms_norm(&x[i * share..][..out.len()], weight, eps, out);
    });
}

fn norm_in_place(pool: &Pool, x: &mut [f32], weight: &[f32], eps: f32) {
    pool.chunks_mut(x, SHARE * weight.len(), |_, x| rms_norm_heads(x, weight, eps));
}

/// Moves the wanted rows of `x` `[rows, width]` to the front and returns their number.
fn keep_wanted(rows: &[ForwardRow], x: &mut [f32], width: usize) -> usize {
    let mut kept = 0;
    for (r, _) in rows.iter().enumerate().filter(|(_, row)| row.wanted) {
        x.copy_within(r * width..(r + 1) * width, kept * width);
        kept += 1;
    }
    kept
}

fn add(pool: &Pool, x: &mut [f32], y: &[f32]) {
    const SHARE: usize = 1 << 13;
    pool.chunks_mut(x, SHARE, |i, x| {
        for (x, &y) in x.iter_mut().zip(&y[i * SHARE..]) {
            *x += y;
        }
    });
}
