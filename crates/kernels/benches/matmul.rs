//! Weight products at Qwen2.5-0.5B's shapes, as tokens/s and as a share of the read
//! bandwidth measured in the same run, beside candle's `QMatMul`:
//! `cargo bench -p tokenroute-kernels [-- THREADS]` (`TOKENROUTE_ISA` forces a kernel).
#![allow(clippy::print_stdout)]

use std::borrow::Cow;
use std::hint::black_box;
use std::time::Instant;

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{Device, Module, Tensor};
use tokenroute_kernels::{Activations, BLOCK, Format, Pool, QuantMatrix};

const HIDDEN: usize = 896;
const INTERMEDIATE: usize = 4864;
const KEY_VALUE: usize = 128;
const LAYERS: usize = 24;
const VOCABULARY: usize = 151_936;
/// `[outputs, inputs]` of a layer: query, key and value; output; gate and up; down.
const LAYER: [(usize, usize); 4] = [
    (HIDDEN + 2 * KEY_VALUE, HIDDEN),
    (HIDDEN, HIDDEN),
    (2 * INTERMEDIATE, HIDDEN),
    (HIDDEN, INTERMEDIATE),
];
/// Rows of a call, and whether the LM head runs on all of them or only on the last.
const CASES: [(&str, usize, bool); 4] = [
    ("decode", 1, true),
    ("2 sequences", 2, true),
    ("8 sequences", 8, true),
    ("prefill 512", 512, false),
];
const ROUNDS: usize = 5;

type Error = Box<dyn std::error::Error>;

/// Random ggml blocks; scales such that outputs stay finite from layer to layer.
fn blocks(format: Format, outputs: usize, inputs: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = vec![0; outputs * inputs / BLOCK * format.block_bytes()];
    for word in bytes.chunks_mut(8) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let noise = (state ^ state >> 29).to_le_bytes();
        word.copy_from_slice(&noise[..word.len()]);
    }
    for block in bytes.chunks_mut(format.block_bytes()) {
        block[..2].copy_from_slice(&half::f16::from_f32(1e-3).to_le_bytes());
        if format == Format::Q4K {
            block[2..4].copy_from_slice(&half::f16::from_f32(-7.5e-3).to_le_bytes());
        }
    }
    bytes
}

fn rows(count: usize, inputs: usize) -> Vec<f32> {
    (0..count * inputs).map(|i| (i as f32 * 0.37).sin()).collect()
}

struct Ours {
    layers: Vec<QuantMatrix>,
    head: QuantMatrix,
    x: Activations,
    y: Vec<f32>,
}

impl Ours {
    fn step(
        &mut self,
        pool: &Pool,
        inputs: &[Vec<f32>],
        count: usize,
        all: bool,
    ) -> Result<(), Error> {
        let mut run = |matrix: &QuantMatrix, count: usize| -> Result<(), Error> {
            let input = &inputs[usize::from(matrix.inputs() == INTERMEDIATE)];
            self.x.quantise(pool, &input[..count * matrix.inputs()], matrix.inputs())?;
            matrix.matmul(pool, &self.x, &mut self.y[..count * matrix.outputs()])?;
            Ok(())
        };
        self.layers.iter().try_for_each(|matrix| run(matrix, count))?;
        run(&self.head, if all { count } else { 1 })
    }
}

fn main() -> Result<(), Error> {
    let given = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let threads = given.unwrap_or(std::thread::available_parallelism()?.get());
    let pool = Pool::new(threads)?;
    let gigabytes = pool.read_bandwidth() / 1e9;
    println!(
        "{threads} threads, {}, {gigabytes:.1} GB/s read; tokens/s of the weight products",
        pool.isa()
    );
    println!("| format | case | tokens/s | of bandwidth | Gop/s | candle | ratio |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    // Q4_K is held in Q4_1's blocks.
    for (format, dtype) in [
        (Format::Q8_0, GgmlDType::Q8_0),
        (Format::Q4_0, GgmlDType::Q4_0),
        (Format::Q4K, GgmlDType::Q4_1),
    ] {
        let device = Device::Cpu;
        let mut layers = Vec::new();
        let mut peers = Vec::new();
        let shapes = (0..LAYERS).flat_map(|_| LAYER).chain([(VOCABULARY, HIDDEN)]);
        for (i, (outputs, inputs)) in shapes.enumerate() {
            let bytes = blocks(format, outputs, inputs, i as u64);
            layers.push(QuantMatrix::from_blocks(&pool, format, inputs, &[&bytes])?);
            let storage = QStorage::from_data(Cow::Owned(bytes), &device, dtype)?;
            peers.push(QMatMul::from_qtensor(QTensor::new(storage, (outputs, inputs))?)?);
        }
        let bytes: usize = layers.iter().map(QuantMatrix::bytes).sum();
        let weights: usize = layers.iter().map(|m| m.outputs() * m.inputs()).sum();
        let head = layers.pop().ok_or("no head")?;
        let mut ours = Ours { layers, head, x: Activations::default(), y: Vec::new() };
        for (name, count, all) in CASES {
            let inputs = [rows(count, HIDDEN), rows(count, INTERMEDIATE)];
            let tensor = |rows: usize, width: usize, x: &[f32]| {
                Tensor::from_slice(&x[..rows * width], (1, rows, width), &device)
            };
            let narrow = tensor(count, HIDDEN, &inputs[0])?;
            let wide = tensor(count, INTERMEDIATE, &inputs[1])?;
            let last = tensor(if all { count } else { 1 }, HIDDEN, &inputs[0])?;
            ours.y.resize(ours.y.len().max(count * 2 * INTERMEDIATE).max(8 * VOCABULARY), 0.0);
            let (mut best, mut peer) = (f64::MAX, f64::MAX);
            let repeats = (16 / count).max(1);
            for _ in 0..ROUNDS {
                let start = Instant::now();
                for _ in 0..repeats {
                    ours.step(&pool, &inputs, count, all)?;
                }
                best = best.min(start.elapsed().as_secs_f64() / repeats as f64);
                if count == 512 && peer < f64::MAX {
                    continue;
                }
                let start = Instant::now();
                for (i, matrix) in peers.iter().enumerate() {
                    let x = match i {
                        _ if i + 1 == peers.len() => &last,
                        _ if i % LAYER.len() == 3 => &wide,
                        _ => &narrow,
                    };
                    black_box(matrix.forward(x)?);
                }
                peer = peer.min(start.elapsed().as_secs_f64());
            }
            let head_rows = if all { count } else { 1 };
            let products =
                (weights - VOCABULARY * HIDDEN) * count + VOCABULARY * HIDDEN * head_rows;
            println!(
                "| {format:?} | {name} | {:.1} | {:.0}% | {:.0} | {:.1} | {:.2} |",
                count as f64 / best,
                100.0 * bytes as f64 / best / 1e9 / gigabytes,
                2.0 * products as f64 / best / 1e9,
                count as f64 / peer,
                peer / best,
            );
        }
    }
    Ok(())
}
