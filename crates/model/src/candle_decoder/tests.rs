//! The path of half precision, which is the default on GPUs: here in f16 on the CPU, where
//! bf16 has no matrix product.

use std::sync::Arc;

use candle_core::DType;
use tokenroute_core::{Detail, Feed, ModelInfo, Step};

use super::tensors::{Place, Tensors};
use super::*;
use crate::{Device, RandomModel};

const VOCABULARY: usize = 500;

/// A random model whose weights, keys and values are in these numbers.
fn model(floats: DType) -> CandleDecoder {
    let random = RandomModel::named("qwen2.5-0.5b", 3).and_then(|random| random.with_layers(2));
    let random = random.expect("a known shape");
    let config = random.shape().clone();
    let info = ModelInfo {
        name: "random".to_owned(),
        weights_hash: String::new(),
        hidden: config.hidden_size,
        vocabulary: VOCABULARY,
        context: 4096,
        top_k: 8,
    };
    let weights: Arc<dyn WeightSource> = Arc::new(random);
    let place = Place::open(Device::Cpu).expect("the CPU").with(floats);
    let tensors = Tensors::read(|| Ok(info), config, &weights, place, None).expect("weights");
    CandleDecoder(Arc::new(tensors))
}

/// The last steps of two sequences that are read at once and then one token further.
fn steps(model: &CandleDecoder) -> Vec<Step> {
    let tokens: Vec<u32> = (0..40).map(|i| i * 37 % VOCABULARY as u32).collect();
    let mut states = [model.start(), model.start()];
    let mut last = Vec::new();
    for (short, long) in [(0..9, 0..30), (9..10, 30..31)] {
        let ranges = [short, long];
        let mut feeds: Vec<Feed<'_, CandleState>> = states
            .iter_mut()
            .zip(ranges)
            .map(|(state, range)| Feed { state, from: range.len() - 1, tokens: &tokens[range] })
            .collect();
        for made in model.passes(&mut feeds, Detail::Logits) {
            last.extend(made.expect("steps"));
        }
    }
    assert_eq!(states.map(|state| state.len()), [10, 31]);
    last
}

#[test]
fn half_precision_stays_near_single_precision() {
    let (half, single) = (model(DType::F16), model(DType::F32));
    assert_eq!(2 * half.bytes_per_token(), single.bytes_per_token());
    assert_eq!(2 * half.kv_bytes_per_position(), single.kv_bytes_per_position());
    let (half, single) = (steps(&half), steps(&single));
    assert_eq!((half.len(), single.len()), (4, 4));
    for (half, single) in half.iter().zip(&single) {
        let numbers =
            |step: &Step| [&step.hidden[..], step.logits.as_deref().expect("logits")].concat();
        let (half, single) = (numbers(half), numbers(single));
        let most = single.iter().fold(0f32, |most, x| most.max(x.abs()));
        let apart = half.iter().zip(&single).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(apart > 0.0 && apart < 0.02 * most, "{apart} of {most}");
    }
}
