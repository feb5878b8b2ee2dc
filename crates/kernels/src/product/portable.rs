//! The product in plain Rust. It runs on every machine and is the reference for the
//! other kernels.

use std::ops::Range;

use half::f16;

use super::job::Job;
use crate::matrix::{PANEL, SCALES, head_bytes, tile_bytes};
use crate::{BLOCK, Format};

pub(crate) fn multiply(job: &Job<'_>, panels: Range<usize>) {
    for panel in panels {
        let tiles = job.panel(panel);
        for row in 0..job.rows {
            let (mut sums, mut minima) = ([0.0f32; PANEL], [0.0f32; PANEL]);
            for (b, tile) in tiles.chunks_exact(tile_bytes(job.format)).enumerate() {
                let (heads, weights) = tile.split_at(head_bytes(job.format));
                let block = row * job.blocks + b;
                let x = &job.quants[block * BLOCK..][..BLOCK];
                let dots = match job.format {
                    Format::Q8_0 => dots_of_8_bits(weights, x),
                    Format::Q4_0 => dots_of_4_bits::<8>(weights, x),
                    Format::Q4K => dots_of_4_bits::<0>(weights, x),
                    Format::Q5_0 => dots_of_5_bits::<16>(weights, x),
                    Format::Q5K => dots_of_5_bits::<0>(weights, x),
                };
                for o in 0..PANEL {
                    let half = |at: usize| f16::from_le_bytes([heads[at], heads[at + 1]]).to_f32();
                    let scale = half(2 * o);
                    sums[o] = (scale * job.scales[block]).mul_add(dots[o] as f32, sums[o]);
                    if job.format.has_minimum() {
                        minima[o] = half(SCALES + 2 * o).mul_add(job.sums[block], minima[o]);
                    }
                }
            }
            if job.format.has_minimum() {
                sums.iter_mut().zip(minima).for_each(|(sum, min)| *sum += min);
            }
            job.store(row, panel, 0, &sums);
        }
    }
}

fn dots_of_8_bits(weights: &[u8], x: &[i8]) -> [i32; PANEL] {
    let mut dots = [0; PANEL];
    for (vector, x) in weights.chunks_exact(4 * PANEL).zip(x.chunks_exact(4)) {
        for (dot, w) in dots.iter_mut().zip(vector.chunks_exact(4)) {
            for (w, x) in w.iter().zip(x) {
                *dot += (i32::from(*w) - 128) * i32::from(*x);
            }
        }
    }
    dots
}

/// `OFFSET` was added to the stored weights.
fn dots_of_4_bits<const OFFSET: i32>(weights: &[u8], x: &[i8]) -> [i32; PANEL] {
    let mut dots = [0; PANEL];
    let (low, high) = x.split_at(BLOCK / 2);
    let columns = low.chunks_exact(4).zip(high.chunks_exact(4));
    for (vector, (low, high)) in weights.chunks_exact(4 * PANEL).zip(columns) {
        for (dot, w) in dots.iter_mut().zip(vector.chunks_exact(4)) {
            for (w, (low, high)) in w.iter().zip(low.iter().zip(high)) {
                *dot += (i32::from(w & 15) - OFFSET) * i32::from(*low);
                *dot += (i32::from(w >> 4) - OFFSET) * i32::from(*high);
            }
        }
    }
    dots
}

/// [`dots_of_4_bits`], and the products of the fifth bits.
fn dots_of_5_bits<const OFFSET: i32>(weights: &[u8], x: &[i8]) -> [i32; PANEL] {
    let (weights, masks) = weights.split_at(PANEL * BLOCK / 2);
    let mut dots = dots_of_4_bits::<OFFSET>(weights, x);
    for (mask, x) in masks.chunks_exact(PANEL / 2).zip(x.chunks_exact(4)) {
        for (o, dot) in dots.iter_mut().enumerate() {
            let bits = mask[o / 2] >> (4 * (o % 2));
            for (c, x) in x.iter().enumerate() {
                *dot += (i32::from(bits >> c & 1) << 4) * i32::from(*x);
            }
        }
    }
    dots
}
