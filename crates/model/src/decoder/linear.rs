//! A row-stable matrix product in f32. The bits of an output row depend on its input row
//! and the weights alone, never on the number of rows or threads.
//!
//! Every output element is one chain of multiply-adds over the inputs in order. Vectors
//! run across outputs, register blocks across rows.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::OnceLock;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Multiply-adds below which one thread is faster than several.
const PARALLEL_WORK: usize = 8 << 20;
/// Rows of the largest register block.
const BLOCK_ROWS: usize = 6;
/// Rows that are multiplied while a panel is in the first-level cache.
const CACHE_ROWS: usize = 16 * BLOCK_ROWS;
/// Vectors of a panel.
const PANEL_VECTORS: usize = 2;

/// The instruction set of this machine. It is detected once.
pub(crate) fn arch() -> Arch {
    static ARCH: OnceLock<Arch> = OnceLock::new();
    *ARCH.get_or_init(Arch::new)
}

struct PanelWidth;

impl WithSimd for PanelWidth {
    type Output = usize;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        PANEL_VECTORS * S::F32_LANES
    }
}

/// A linear layer, y = W·x + b, packed for this machine.
#[derive(Debug)]
pub struct Linear {
    inputs: usize,
    outputs: usize,
    /// Outputs of a panel.
    width: usize,
    /// `[panels, inputs, width]` from `start` on, padded with zeros.
    packed: Vec<f32>,
    /// The first element that is aligned to a cache line.
    start: usize,
    /// `[panels, width]`, padded with zeros.
    bias: Vec<f32>,
}

impl Linear {
    /// Packs row-major weights `[outputs, inputs]` and, if there is one, a bias `[outputs]`.
    ///
    /// # Panics
    /// If the lengths do not fit. Loaders check shapes first.
    #[must_use]
    pub fn new(inputs: usize, outputs: usize, weights: &[f32], bias: Option<&[f32]>) -> Self {
        assert_eq!(weights.len(), inputs * outputs, "weights of a linear layer");
        let copy = |first: usize, rows: &mut [f32]| {
            rows.copy_from_slice(&weights[first * inputs..][..rows.len()]);
            Ok::<_, Infallible>(())
        };
        match Self::pack(inputs, outputs, bias, copy) {
            Ok(layer) => layer,
            Err(never) => match never {},
        }
    }

    /// Packs weights as they are read, so that no second copy of the matrix is held.
    /// `read` fills whole rows `[_, inputs]` from a given output on. Several threads call it
    /// at once.
    ///
    /// # Errors
    /// Those of `read`.
    ///
    /// # Panics
    /// If the bias is not `[outputs]`.
    pub(crate) fn pack<E: Send>(
        inputs: usize,
        outputs: usize,
        bias: Option<&[f32]>,
        read: impl Fn(usize, &mut [f32]) -> Result<(), E> + Sync,
    ) -> Result<Self, E> {
        const LINE: usize = 16;
        let width = arch().dispatch(PanelWidth);
        let panels = outputs.div_ceil(width);
        let size = inputs * width;
        let mut packed = vec![0.0; panels * size + LINE];
        let start = packed.as_ptr().align_offset(64).min(LINE);
        packed[start..][..panels * size]
            .par_chunks_mut(size.max(1))
            .enumerate()
            .try_for_each_init(
                || vec![0.0; size],
                |rows, (panel, packed)| {
                    let first = panel * width;
                    let rows = &mut rows[..width.min(outputs - first) * inputs];
                    read(first, rows)?;
                    for (lane, row) in rows.chunks_exact(inputs).enumerate() {
                        for (column, &w) in packed.chunks_exact_mut(width).zip(row) {
                            column[lane] = w;
                        }
                    }
                    Ok(())
                },
            )?;
        let mut padded = bias.unwrap_or(&[]).to_vec();
        assert!(padded.is_empty() || padded.len() == outputs, "bias of a linear layer");
        padded.resize(panels * width, 0.0);
        Ok(Linear { inputs, outputs, width, packed, start, bias: padded })
    }

    /// Number of inputs.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of outputs.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Applies the layer to every row: `x` `[rows, inputs]` → `y` `[rows, outputs]`.
    ///
    /// # Panics
    /// If the lengths of `x` and `y` do not fit.
    pub fn apply(&self, x: &[f32], y: &mut [f32]) {
        let rows = x.len() / self.inputs;
        assert_eq!(x.len(), rows * self.inputs, "input of a linear layer");
        assert_eq!(y.len(), rows * self.outputs, "output of a linear layer");
        let panels = self.bias.len() / self.width;
        let threads = rayon::current_num_threads();
        if threads == 1 || rows * self.inputs * self.outputs < PARALLEL_WORK {
            arch().dispatch(Multiply { layer: self, panels: 0..panels, x, y });
        } else if rows == 1 {
            let share = panels.div_ceil(threads);
            y.par_chunks_mut(share * self.width).enumerate().for_each(|(i, y)| {
                let panels = i * share..panels.min((i + 1) * share);
                arch().dispatch(Multiply { layer: self, panels, x, y });
            });
        } else {
            let share = rows.div_ceil(threads).next_multiple_of(BLOCK_ROWS);
            let parts = y.par_chunks_mut(share * self.outputs);
            parts.zip(x.par_chunks(share * self.inputs)).for_each(|(y, x)| {
                arch().dispatch(Multiply { layer: self, panels: 0..panels, x, y });
            });
        }
    }

    #[inline(always)]
    fn panel(&self, panel: usize) -> &[f32] {
        let size = self.inputs * self.width;
        &self.packed[self.start + panel * size..][..size]
    }
}

/// Some panels of a layer, applied to some rows. `y` holds the outputs of these panels only.
struct Multiply<'a> {
    layer: &'a Linear,
    panels: Range<usize>,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Multiply<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Multiply { layer, panels, x, y } = self;
        let inputs = layer.inputs;
        let width = y.len() / (x.len() / inputs).max(1);
        for (x, y) in x.chunks(CACHE_ROWS * inputs).zip(y.chunks_mut(CACHE_ROWS * width)) {
            let blocked = x.len() / inputs / BLOCK_ROWS * BLOCK_ROWS;
            let (x, x_tail) = x.split_at(blocked * inputs);
            let (y, y_tail) = y.split_at_mut(blocked * width);
            rows::<S, BLOCK_ROWS, 1>(simd, layer, &panels, x, y, width);
            match x_tail.len() / inputs {
                1 => rows::<S, 1, 4>(simd, layer, &panels, x_tail, y_tail, width),
                2 => rows::<S, 2, 2>(simd, layer, &panels, x_tail, y_tail, width),
                3 => rows::<S, 3, 2>(simd, layer, &panels, x_tail, y_tail, width),
                4 => rows::<S, 4, 1>(simd, layer, &panels, x_tail, y_tail, width),
                5 => rows::<S, 5, 1>(simd, layer, &panels, x_tail, y_tail, width),
                _ => {}
            }
        }
    }
}

/// Applies all panels to blocks of `R` rows, `P` panels at a time.
#[inline(always)]
fn rows<S: Simd, const R: usize, const P: usize>(
    simd: S,
    layer: &Linear,
    panels: &Range<usize>,
    x: &[f32],
    y: &mut [f32],
    width: usize,
) {
    let mut panel = panels.start;
    while panel + P <= panels.end {
        let first = (panel - panels.start) * layer.width;
        block_rows::<S, R, P>(simd, layer, panel, x, y, width, first);
        panel += P;
    }
    while panel < panels.end {
        let first = (panel - panels.start) * layer.width;
        block_rows::<S, R, 1>(simd, layer, panel, x, y, width, first);
        panel += 1;
    }
}

#[inline(always)]
fn block_rows<S: Simd, const R: usize, const P: usize>(
    simd: S,
    layer: &Linear,
    panel: usize,
    x: &[f32],
    y: &mut [f32],
    width: usize,
    first: usize,
) {
    let inputs = layer.inputs;
    let mut weights: [&[[S::f32s; PANEL_VECTORS]]; P] = [&[]; P];
    for (p, w) in weights.iter_mut().enumerate() {
        *w = &S::as_simd_f32s(layer.panel(panel + p)).0.as_chunks().0[..inputs];
    }
    for block in 0..x.len() / (R * inputs) {
        let x = &x[block * R * inputs..][..R * inputs];
        let y = &mut y[block * R * width..][..R * width];
        let mut inputs_of: [&[f32]; R] = [&[]; R];
        for (r, row) in inputs_of.iter_mut().enumerate() {
            *row = &x[r * inputs..][..inputs];
        }
        let mut sums = [[[simd.splat_f32s(0.0); PANEL_VECTORS]; P]; R];
        for i in 0..inputs {
            for r in 0..R {
                let value = simd.splat_f32s(inputs_of[r][i]);
                for p in 0..P {
                    for v in 0..PANEL_VECTORS {
                        sums[r][p][v] = simd.mul_add_e_f32s(value, weights[p][i][v], sums[r][p][v]);
                    }
                }
            }
        }
        for (r, row) in sums.iter().enumerate() {
            for (p, sums) in row.iter().enumerate() {
                let from = first + p * layer.width;
                let to = (from + layer.width).min(width);
                let bias = &layer.bias[(panel + p) * layer.width..][..layer.width];
                store(simd, *sums, bias, &mut y[r * width..][from..to]);
            }
        }
    }
}

#[inline(always)]
fn store<S: Simd>(simd: S, sums: [S::f32s; PANEL_VECTORS], bias: &[f32], y: &mut [f32]) {
    let bias = S::as_simd_f32s(bias).0;
    let (whole, rest) = S::as_mut_simd_f32s(y);
    let full = whole.len();
    for (v, y) in whole.iter_mut().enumerate() {
        *y = simd.add_f32s(sums[v], bias[v]);
    }
    if !rest.is_empty() {
        simd.partial_store_f32s(rest, simd.add_f32s(sums[full], bias[full]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u32, n: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).max(1);
        (0..n)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    fn check(inputs: usize, outputs: usize, rows: usize) {
        let (weights, bias) = (noise(1, inputs * outputs), noise(2, outputs));
        let x = noise(3, rows * inputs);
        let layer = Linear::new(inputs, outputs, &weights, Some(&bias));
        let mut y = vec![f32::NAN; rows * outputs];
        layer.apply(&x, &mut y);
        for r in 0..rows {
            let mut alone = vec![f32::NAN; outputs];
            layer.apply(&x[r * inputs..][..inputs], &mut alone);
            let together = &y[r * outputs..][..outputs];
            assert_eq!(alone, together, "{inputs}x{outputs}, row {r} of {rows}");
            for o in 0..outputs {
                let exact: f64 = (0..inputs)
                    .map(|i| f64::from(x[r * inputs + i]) * f64::from(weights[o * inputs + i]))
                    .sum::<f64>()
                    + f64::from(bias[o]);
                assert!((f64::from(alone[o]) - exact).abs() < 1e-5 * inputs as f64);
            }
        }
    }

    #[test]
    fn rows_do_not_depend_on_their_company() {
        for rows in [1, 2, 3, 4, 5, 6, 7, 16, 100] {
            check(48, 70, rows);
        }
        check(1, 1, 3);
        check(7, 33, 13);
        check(64, 128, 8);
    }

    #[test]
    fn splitting_over_threads_changes_no_bit() {
        // Large enough to split: 13 rows by rows, one row by panels.
        let (inputs, outputs) = (256, 33_000);
        assert!(inputs * outputs > PARALLEL_WORK);
        let layer = Linear::new(inputs, outputs, &noise(5, inputs * outputs), None);
        let pool =
            |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().expect("a small pool");
        for rows in [1, 13] {
            let x = noise(6, rows * inputs);
            let run = |threads| {
                let mut y = vec![0.0; rows * outputs];
                pool(threads).install(|| layer.apply(&x, &mut y));
                y
            };
            assert_eq!(run(1), run(2), "{rows} rows");
            assert_eq!(run(1), run(3), "{rows} rows");
        }
    }
}
