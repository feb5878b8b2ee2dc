//! Passes of the decoder over some feeds: tokens in, steps out.

use candle_core::{DType, Result, Tensor};
use candle_nn::ops::rms_norm;
use candle_nn::rotary_emb::rope_thd;
use tokenroute_core::{Detail, Feed, ModelError, Step};

use super::CandleState;
use super::attention::Attention;
use super::plan::{Plan, Waiting};
use super::tensors::{TensorLayer, Tensors};
use crate::decoder::{FeedSteps, Rotary, step};

/// Bytes of earlier keys and values that a group gathers at a time. A single sequence may have
/// more.
const GATHERED: usize = 256 << 20;
/// Approximate number of logits that are held at a time.
const LOGITS: usize = 4 << 20;

/// A token in the pass. Row `r` of every activation belongs to `rows[r]`.
#[derive(Debug, Clone, Copy)]
struct Row {
    feed: usize,
    position: usize,
    wanted: bool,
}

/// Cosines and sines of the rows' positions, each `[rows, rotary_dim / 2]`.
struct Angles {
    cos: Tensor,
    sin: Tensor,
}

/// Runs passes until all tokens are read. A feed whose logits are not finite fails alone.
pub(super) fn run(
    tensors: &Tensors,
    feeds: &mut [Feed<'_, CandleState>],
    detail: Detail,
) -> std::result::Result<Vec<FeedSteps>, ModelError> {
    let heads = tensors.config.num_attention_heads;
    let positions = GATHERED / tensors.kv_bytes_per_position().max(1);
    let mut next = vec![0; feeds.len()];
    let mut steps: Vec<FeedSteps> = feeds.iter().map(|_| Ok(Vec::new())).collect();
    loop {
        let waiting: Vec<Waiting> = feeds
            .iter()
            .zip(&next)
            .map(|(feed, &next)| Waiting {
                past: feed.state.len(),
                next,
                left: feed.tokens.len() - next,
            })
            .collect();
        let plan = Plan::next(&waiting, heads, positions);
        if plan.pieces.is_empty() {
            return Ok(steps);
        }
        let mut pass = Pass { tensors, feeds: &mut *feeds, plan: &plan, rows: Vec::new() };
        let made = pass.run(detail).map_err(|error| tensors.failed(&error))?;
        for (row, step) in made {
            let kept = &mut steps[row.feed];
            match (kept.as_mut(), step) {
                (Ok(steps), Some(step)) => steps.push(step),
                (Ok(_), None) => {
                    let (model, position) = (tensors.info.name.clone(), row.position);
                    *kept = Err(ModelError::NotFinite { model, position });
                }
                (Err(_), _) => {}
            }
        }
        plan.pieces.iter().for_each(|piece| next[piece.feed] += piece.len);
    }
}

/// Some tokens on their way through the layers.
struct Pass<'p, 'a> {
    tensors: &'p Tensors,
    feeds: &'p mut [Feed<'a, CandleState>],
    plan: &'p Plan,
    rows: Vec<Row>,
}

impl Pass<'_, '_> {
    /// Runs all layers and the LM head, and appends the tokens to their states.
    fn run(&mut self, detail: Detail) -> Result<Vec<(Row, Option<Step>)>> {
        let tensors = self.tensors;
        let config = &tensors.config;
        for piece in &self.plan.pieces {
            let from = self.feeds[piece.feed].from;
            self.rows.extend((0..piece.len).map(|i| Row {
                feed: piece.feed,
                position: piece.past + i,
                wanted: piece.from + i >= from,
            }));
        }
        let mut stream = self.embedded()?; // [rows, hidden]
        let angles = self.angles(&tensors.rotary)?;
        let local = tensors.local_rotary.as_ref().map(|rotary| self.angles(rotary)).transpose()?;
        let states = |feed: usize| &*self.feeds[feed].state;
        let groups: Result<Vec<_>> = (self.plan.groups.iter())
            .map(|group| {
                let (place, pieces) = (&tensors.place, &self.plan.pieces);
                Attention::new(place, tensors.heads, group, pieces, &config.windows, states)
            })
            .collect();
        let groups = groups?;
        let wanted: Vec<u32> =
            (0..).zip(&self.rows).filter(|(_, row)| row.wanted).map(|(r, _)| r).collect();
        let mut kept = Vec::with_capacity(tensors.layers.len());
        for (i, layer) in tensors.layers.iter().enumerate() {
            let angles = match (&local, layer.window) {
                (Some(local), Some(_)) => local,
                _ => &angles,
            };
            let (queries, new) = self.queries_and_keys(layer, &stream, angles)?;
            kept.push(new);
            let last = i + 1 == tensors.layers.len();
            if last && wanted.is_empty() {
                break;
            }
            let mixed: Result<Vec<_>> = (groups.iter())
                .map(|group| group.run(i, layer.window, &queries, &kept[i]))
                .collect();
            let mut mixed = Tensor::cat(&mixed?, 0)?; // [rows, queries]
            // Once the last layer's keys are there, only rows whose steps are wanted go on.
            if last && wanted.len() < self.rows.len() {
                let wanted = Tensor::new(wanted.as_slice(), tensors.place.device())?;
                mixed = mixed.index_select(&wanted, 0)?;
                stream = stream.index_select(&wanted, 0)?;
                self.rows.retain(|row| row.wanted);
            }
            stream = self.residual(layer, &stream, &mixed)?;
        }
        let new = Tensor::stack(&kept, 1)?; // [rows, layers, keys then values]
        let mut first = 0;
        for piece in &self.plan.pieces {
            self.feeds[piece.feed].state.append(&new.narrow(0, first, piece.len)?)?;
            first += piece.len;
        }
        if wanted.is_empty() { Ok(Vec::new()) } else { self.head(&stream, detail) }
    }

    /// The embeddings of the tokens `[rows, hidden]`.
    fn embedded(&self) -> Result<Tensor> {
        let hidden = self.tensors.info.hidden;
        let mut stream = vec![0.0; self.rows.len() * hidden];
        let pieces = self.plan.pieces.iter();
        let tokens = pieces.flat_map(|p| &self.feeds[p.feed].tokens[p.from..p.from + p.len]);
        for (&token, out) in tokens.zip(stream.chunks_exact_mut(hidden)) {
            let row = self.tensors.embedding.row(token as usize, out);
            row.map_err(candle_core::Error::wrap)?;
            if self.tensors.config.gemma.is_some() {
                let scale = (hidden as f32).sqrt();
                out.iter_mut().for_each(|x| *x *= scale);
            }
        }
        self.tensors.place.tensor(stream, hidden)
    }

    fn angles(&self, rotary: &Rotary) -> Result<Angles> {
        let half = self.tensors.config.rotary_dim / 2;
        let (mut angles, mut cos, mut sin) = (Vec::new(), Vec::new(), Vec::new());
        for row in &self.rows {
            angles.clear();
            rotary.angles(row.position, &mut angles);
            cos.extend_from_slice(&angles[..half]);
            sin.extend_from_slice(&angles[half..]);
        }
        let place = &self.tensors.place;
        Ok(Angles { cos: place.tensor(cos, half)?, sin: place.tensor(sin, half)? })
    }

    /// Queries `[rows, heads * head_dim]`, and keys then values
    /// `[rows, 2 * key heads * head_dim]`, of norm x.
    fn queries_and_keys(
        &self,
        layer: &TensorLayer,
        stream: &Tensor,
        angles: &Angles,
    ) -> Result<(Tensor, Tensor)> {
        let config = &self.tensors.config;
        let eps = config.rms_norm_eps as f32;
        let (queries, key_value) = (config.query_size(), config.key_value_size());
        let rows = self.rows.len();
        let qkv = layer.qkv.apply(&rms_norm(stream, &layer.attention_norm, eps)?)?;
        let heads = |from, width: usize, norm: Option<&Tensor>| {
            let shape = (rows, width / config.head_dim, config.head_dim);
            let mut x = qkv.narrow(1, from, width)?.reshape(shape)?;
            if let Some(norm) = norm {
                x = rms_norm(&x.contiguous()?, norm, eps)?;
            }
            if layer.rotates {
                x = rotate(&x, angles)?;
            }
            x.reshape((rows, width))
        };
        let norms = layer.qk_norm.as_ref();
        let q = heads(0, queries, norms.map(|norms| &norms.0))?;
        let k = heads(queries, key_value, norms.map(|norms| &norms.1))?;
        let v = qkv.narrow(1, queries + key_value, key_value)?;
        Ok((q, Tensor::cat(&[&k, &v.contiguous()?], 1)?))
    }

    /// x + O · mixed, and to that + down(silu(gate) · up)(norm x), or with GELU and norms more in
    /// Gemma.
    fn residual(&self, layer: &TensorLayer, stream: &Tensor, mixed: &Tensor) -> Result<Tensor> {
        let config = &self.tensors.config;
        let eps = config.rms_norm_eps as f32;
        let normed = |x: Tensor, norm: Option<&Tensor>| match norm {
            Some(norm) => rms_norm(&x, norm, eps),
            None => Ok(x),
        };
        let norms = layer.post_norms.as_ref();
        let attended = normed(layer.output.apply(mixed)?, norms.map(|norms| &norms.0))?;
        let stream = (stream + attended)?;
        let gate_up = layer.gate_up.apply(&rms_norm(&stream, &layer.mlp_norm, eps)?)?;
        let inner = config.intermediate_size;
        let gate = gate_up.narrow(1, 0, inner)?;
        let gate = if config.gemma.is_some() { gate.gelu()? } else { gate.silu()? };
        let gated = (gate * gate_up.narrow(1, inner, inner)?)?;
        let made = normed(layer.down.apply(&gated)?, norms.map(|norms| &norms.1))?;
        stream + made
    }

    /// Final norm and LM head for the wanted rows `[rows, hidden]`.
    fn head(&self, stream: &Tensor, detail: Detail) -> Result<Vec<(Row, Option<Step>)>> {
        let Tensors { config, norm, .. } = self.tensors;
        let normed = rms_norm(&stream.contiguous()?, norm, config.rms_norm_eps as f32)?;
        let steps = steps(self.tensors, &normed, detail)?;
        Ok(self.rows.iter().copied().zip(steps).collect())
    }
}

/// The steps of states `[rows, hidden]` after the final norm. `None` is one whose logits are not
/// finite.
fn steps(tensors: &Tensors, normed: &Tensor, detail: Detail) -> Result<Vec<Option<Step>>> {
    let Tensors { info, head, pool, .. } = tensors;
    let (hidden, vocabulary) = (info.hidden, info.vocabulary);
    let (rows, some) = (normed.dim(0)?, (LOGITS / vocabulary).max(8));
    let mut steps = Vec::with_capacity(rows);
    for first in (0..rows).step_by(some) {
        let normed = normed.narrow(0, first, some.min(rows - first))?.contiguous()?;
        let logits = numbers(&head.apply(&normed)?)?;
        let normed = numbers(&normed)?;
        let mut made: Vec<Option<Step>> = vec![None; normed.len() / hidden];
        pool.chunks_mut(&mut made, 1, |r, made| {
            let logits = &logits[r * vocabulary..][..vocabulary];
            let hidden = &normed[r * hidden..][..hidden];
            made[0] = step(pool, logits, hidden, detail, info.top_k);
        });
        steps.extend(made);
    }
    Ok(steps)
}

/// The states `[n, hidden]` after the final norm, from those after the last layer.
pub(super) fn final_norm(tensors: &Tensors, states: &[f32]) -> Result<Vec<f32>> {
    let states = tensors.place.tensor(states.to_vec(), tensors.info.hidden)?;
    numbers(&rms_norm(&states, &tensors.norm, tensors.config.rms_norm_eps as f32)?)
}

/// The steps of states `[n, hidden]` after the final norm.
pub(super) fn steps_of(tensors: &Tensors, states: &[f32]) -> Result<Vec<Option<Step>>> {
    let states = tensors.place.tensor(states.to_vec(), tensors.info.hidden)?;
    steps(tensors, &states, Detail::Full)
}

/// Rotates the first dimensions of every head of `x` `[rows, heads, head_dim]`
/// (`rotate_half`).
fn rotate(x: &Tensor, angles: &Angles) -> Result<Tensor> {
    let (_, _, head_dim) = x.dims3()?;
    let rotary_dim = 2 * angles.cos.dim(1)?;
    let rotated =
        |x: Tensor| rope_thd(&x.contiguous()?.unsqueeze(0)?, &angles.cos, &angles.sin)?.squeeze(0);
    if rotary_dim == head_dim {
        return rotated(x.clone());
    }
    let rest = x.narrow(2, rotary_dim, head_dim - rotary_dim)?.contiguous()?;
    Tensor::cat(&[rotated(x.narrow(2, 0, rotary_dim)?)?, rest], 2)
}

/// The numbers of a tensor, row by row.
fn numbers(x: &Tensor) -> Result<Vec<f32>> {
    x.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}
