//! Files on candle's CPU device, held against the kernels: Gemma 3 and others in f32, and blocks
//! as the floats that they stand for.

use tokenroute_core::LanguageModel;
use tokenroute_model::gguf::Kind;
use tokenroute_model::{Device, LoadOptions, LoadedModel, load_model};

use crate::models::{exported, model};
use crate::peer::{self, ids};
use crate::support::alone;

fn on(device: Device) -> LoadOptions {
    LoadOptions { device, ..LoadOptions::default() }
}

/// The greatest difference of hidden states and logits, and the greatest logit.
fn apart(models: [&LoadedModel; 2], ids: &[u32], piece: usize) -> (f32, f32) {
    let [ours, theirs] = models.map(|model| {
        let steps = alone(&model.decoder, ids, piece);
        let numbers = steps.iter().flat_map(|step| {
            let logits = step.logits.as_deref().expect("logits were asked for");
            step.hidden.iter().chain(logits).copied().collect::<Vec<f32>>()
        });
        numbers.collect::<Vec<f32>>()
    });
    assert_eq!(ours.len(), theirs.len());
    let pairs = || ours.iter().zip(&theirs);
    let apart = pairs().fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    (apart, theirs.iter().fold(0f32, |most, x| most.max(x.abs())))
}

#[test]
fn files_of_floats_give_what_the_kernels_give() {
    for name in ["tiny-gemma3", "tiny-phi3", "tiny-smollm3"] {
        let ids = ids(&peer::expected(name)["ids"]);
        let [candle, kernels] =
            [Device::Cpu, Device::Kernels].map(|device| peer::load(name, &on(device)));
        let hash = &kernels.decoder.info().weights_hash;
        assert_eq!(candle.decoder.info().weights_hash, format!("{hash}+f32"));
        for piece in [ids.len(), 7, 1] {
            let (apart, most) = apart([&candle, &kernels], &ids, piece);
            assert!(apart < 1e-4, "{name} in pieces of {piece}: {apart} apart of {most}");
        }
    }
}

#[test]
fn blocks_are_the_floats_that_they_stand_for() {
    let files = model("qwen3");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, exported(&files, Kind::Q8_0, &[]).expect("a file")).expect("a write");
    let [candle, kernels] = [Device::Cpu, Device::Kernels]
        .map(|device| load_model(&path, &on(device)).expect("a file"));
    // The kernels round activations to 8 bits, candle does not.
    let (apart, most) = apart([&candle, &kernels], &[1, 17, 3, 40, 5, 44, 9, 22], 8);
    assert!(apart > 0.0 && apart < 0.05 * most, "{apart} apart of {most}");
}
