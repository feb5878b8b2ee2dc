//! Compares Q4_K with ggml's own, which candle has: equal blocks that keep the weights.
//! This file is separate because `aarch64.sh` builds the other tests without candle.

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};
use tokenroute_kernels::{Format, k_quants};

/// Numbers in [−1, 1), the same on every machine.
fn numbers(count: usize, mut seed: u64) -> Vec<f32> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn the_blocks_of_q4_k_are_ggmls_and_keep_the_weights() {
    // Ranges that differ from part to part, with and without negative weights.
    let mut weights = numbers(4 * 256, 8);
    for (part, weights) in weights.chunks_mut(32).enumerate() {
        weights.iter_mut().for_each(|w| *w = (*w + (part % 3) as f32) * (1.0 + part as f32));
    }
    weights[64..96].fill(0.0);
    weights[96..128].fill(2.5);
    weights[128..160].fill(-2.5);
    let mut blocks = Vec::new();
    k_quants::quantise(&weights, &mut blocks);
    assert_eq!(blocks.len(), 4 * k_quants::BYTES);
    let mut theirs = vec![0.0; weights.len()];
    let bytes = QStorage::from_data(blocks.clone().into(), &Device::Cpu, GgmlDType::Q4K);
    let tensor = QTensor::new(bytes.expect("their blocks"), weights.len()).expect("a tensor");
    let read = tensor.dequantize(&Device::Cpu).and_then(|t| t.to_vec1::<f32>());
    theirs.copy_from_slice(&read.expect("their weights"));

    let (mut flat, mut ours) = (Vec::new(), vec![0.0; weights.len()]);
    k_quants::flatten(&blocks, &mut flat);
    Format::Q4K.dequantise(&flat, &mut ours);
    let mut direct = Vec::new();
    Format::Q4K.quantise(&weights, &mut direct);
    assert!(direct == flat, "whole blocks of 256 are Q4_K's");

    let peer = Tensor::new(&weights[..], &Device::Cpu).expect("a tensor");
    let peer = QTensor::quantize(&peer, GgmlDType::Q4K).expect("their search");
    let peer = peer.dequantize(&Device::Cpu).and_then(|t| t.to_vec1::<f32>()).expect("weights");
    let off = |found: &[f32]| -> f32 {
        found.iter().zip(&weights).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
    };
    let size = off(&vec![0.0; weights.len()]);
    assert!(off(&theirs) < 1.02 * off(&peer), "{} against {}", off(&theirs), off(&peer));
    assert!(off(&theirs) < 0.05 * size, "{} of {size}", off(&theirs));
    // Scales and minima are f16 and have 11 bits of precision.
    for (part, (ours, theirs)) in ours.chunks(32).zip(theirs.chunks(32)).enumerate() {
        let most = theirs.iter().fold(0.0f32, |most, w| most.max(w.abs()));
        let range = 2.0 * most.max((part + 1) as f32);
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert!((ours - theirs).abs() <= range * 2f32.powi(-11), "{part}: {ours}, {theirs}");
        }
    }
}
