//! The decoder on candle's CPU device, held against the one on the kernels: every family, forks,
//! batches, long prompts, errors and names of weights. `TOKENROUTE_TEST_DEVICE=cuda-f32` names
//! another device, for a program built with it.

use std::path::Path;

use safetensors::Dtype;
use tokenroute_core::{Detail, Feed, LanguageModel, ModelError, Step};
use tokenroute_model::{
    Decoder, Device, Format, KvType, LoadOptions, continue_greedy, load_decoder, load_model,
    weights_hash,
};

use crate::fixture::Fixture;
use crate::support::{ModelFiles, alone, feed, sequences, write_tensors};

const TOLERANCE: f32 = 1e-4;

/// The device that is held against the kernels.
fn candle() -> Device {
    let named = std::env::var("TOKENROUTE_TEST_DEVICE");
    named.map_or(Device::Cpu, |name| name.parse().expect("a device"))
}

fn on(device: Device) -> LoadOptions {
    LoadOptions { device, ..LoadOptions::default() }
}

/// The same model on candle's device and on the kernels.
fn both(fixture: &Fixture) -> [Decoder; 2] {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = fixture.config.to_string();
    std::fs::write(dir.path().join("config.json"), config).expect("a writable directory");
    write_tensors(&dir.path().join("model.safetensors"), &fixture.tensors(), Dtype::F32, None);
    [candle(), Device::Kernels].map(|device| {
        let decoder = load_decoder(dir.path(), &on(device)).expect("a sound model");
        assert_eq!(decoder.device(), device);
        decoder
    })
}

/// The greatest difference of hidden states and logits, and of what follows from them.
fn apart(ours: &[Step], theirs: &[Step]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let mut most = 0f32;
    for (a, b) in ours.iter().zip(theirs) {
        let numbers = |step: &Step| {
            let logits = step.logits.as_deref().expect("logits were asked for");
            let rest = [step.entropy, step.rest as f32, step.top[0].1];
            [&step.hidden[..], logits, &rest].concat()
        };
        let (a, b) = (numbers(a), numbers(b));
        assert_eq!(a.len(), b.len());
        most = a.iter().zip(&b).fold(most, |most, (a, b)| most.max((a - b).abs()));
    }
    most
}

#[test]
fn every_family_gives_what_the_kernels_give() {
    let all = Fixture::all();
    assert!(all.len() >= 10, "only {} fixtures", all.len());
    for (name, fixture) in all {
        let [candle, kernels] = both(&fixture);
        let expected = &fixture.expected;
        let greedy =
            continue_greedy(&candle, &mut candle.start(), &expected.prompt, 256, |_| false);
        assert_eq!(greedy.expect("tokens"), expected.greedy, "{name}");
        let tokens: Vec<u32> = [&expected.prompt[..], &expected.greedy].concat();
        let theirs = alone(&kernels, &tokens, tokens.len());
        for piece in [tokens.len(), 33, 1] {
            let most = apart(&alone(&candle, &tokens, piece), &theirs);
            assert!(most < TOLERANCE, "{name} in pieces of {piece}: {most} apart");
        }
    }
}

#[test]
fn forks_and_truncation_leave_no_trace() {
    for name in ["qwen3-tied", "mistral-window"] {
        let [candle, kernels] = both(&Fixture::named(name));
        let tokens = sequences(6, &[150]).remove(0);
        let expected = alone(&kernels, &tokens, 150);
        let mut state = candle.start();
        feed(&candle, &mut state, &tokens[..100]);
        let mut fork = state.clone();
        feed(&candle, &mut fork, &[1, 2, 3, 4, 5]);
        candle.truncate(&mut fork, 93);
        feed(&candle, &mut fork, &[9, 9]);
        assert_eq!((candle.positions(&state), candle.positions(&fork)), (100, 95));
        // The parent continues as without the fork. A truncated fork catches up.
        assert!(apart(&feed(&candle, &mut state, &tokens[100..]), &expected[100..]) < TOLERANCE);
        candle.truncate(&mut fork, 64);
        assert!(apart(&feed(&candle, &mut fork, &tokens[64..]), &expected[64..]) < TOLERANCE);
        candle.truncate(&mut fork, 0);
        assert!(apart(&feed(&candle, &mut fork, &tokens), &expected) < TOLERANCE);
    }
}

#[test]
fn a_ragged_batch_gives_what_its_sequences_give_alone() {
    for name in ["smollm3", "phi3-window", "qwen2-windows"] {
        let [candle, kernels] = both(&Fixture::named(name));
        // More rows than a pass has, and a feed of several pieces.
        let sequences = sequences(4, &[33, 1, 64, 7, 90, 1, 64, 300, 50, 1, 290, 200, 2]);
        let mut states = vec![candle.start(); sequences.len()];
        for part in 0..2 {
            let tokens: Vec<&[u32]> = sequences
                .iter()
                .map(|s| if part == 0 { &s[..s.len() / 3] } else { &s[s.len() / 3..] })
                .collect();
            let mut feeds: Vec<Feed<'_, _>> = states
                .iter_mut()
                .zip(&tokens)
                .filter(|(_, tokens)| !tokens.is_empty())
                .map(|(state, tokens)| Feed { state, tokens, from: tokens.len() / 2 })
                .collect();
            let made = candle.advance(&mut feeds, Detail::Logits).expect("a valid batch");
            let fed = sequences.iter().zip(&tokens).filter(|(_, tokens)| !tokens.is_empty());
            for ((sequence, tokens), steps) in fed.zip(&made) {
                let first = if part == 0 { 0 } else { sequence.len() / 3 };
                let from = first + tokens.len() / 2;
                let single = alone(&candle, sequence, 1);
                let range = from..first + tokens.len();
                let most = apart(steps, &single[range.clone()]);
                assert!(most < TOLERANCE, "{name}: {most} apart from the sequence alone");
                let most = apart(steps, &alone(&kernels, sequence, 400)[range]);
                assert!(most < TOLERANCE, "{name}: {most} apart from the kernels");
            }
        }
    }
}

#[test]
fn less_detail_gives_the_same_tokens_and_no_logits() {
    let [candle, _] = both(&Fixture::named("llama3"));
    let tokens = sequences(8, &[30]).remove(0);
    let full = alone(&candle, &tokens, 30);
    let run = |detail| {
        let mut state = candle.start();
        let mut feeds = [Feed { state: &mut state, tokens: &tokens, from: 20 }];
        candle.advance(&mut feeds, detail).expect("a valid feed").remove(0)
    };
    for (token, full) in run(Detail::Token).iter().zip(&full[20..]) {
        assert_eq!(
            (token.token, token.hidden.len(), token.logits.is_none()),
            (full.token, 0, true)
        );
    }
    for (step, full) in run(Detail::Full).iter().zip(&full[20..]) {
        let tops = |step: &Step| step.top.iter().map(|t| t.0).collect::<Vec<_>>();
        assert_eq!((tops(step), step.logits.is_none()), (tops(full), true));
    }
}

#[test]
fn a_feed_that_fails_leaves_the_others_whole() {
    let mut files = ModelFiles::new(15).untied();
    // The first MLP overflows once token 7 is read.
    let mut column = |name: &str, width: usize, value: f32| {
        let weights = &mut files.tensors.get_mut(name).expect("a weight").1;
        weights.chunks_mut(width).for_each(|row| row[40] = value);
    };
    column("model.embed_tokens.weight", 48, 0.0);
    column("model.layers.0.mlp.gate_proj.weight", 48, 1e20);
    column("model.layers.0.mlp.up_proj.weight", 48, 1e20);
    let row = files.tensors.get_mut("model.layers.0.self_attn.o_proj.weight");
    row.expect("a weight").1[40 * 48..41 * 48].fill(0.0);
    files.tensors.get_mut("model.embed_tokens.weight").expect("a weight").1[7 * 48 + 40] = 1.0;
    let dir = tempfile::tempdir().expect("a directory");
    files.write(dir.path());
    let model = load_model(dir.path(), &on(candle())).expect("finite weights").decoder;
    let good: Vec<u32> = (8..28).collect();
    let whole = alone(&model, &good, 20);
    let feeds: [&[u32]; 5] = [&good, &[1, 7, 2], &[1, 46], &[], &good[..1]];
    let mut states = vec![model.start(); feeds.len()];
    let mut fed: Vec<_> = states
        .iter_mut()
        .zip(feeds)
        .map(|(state, tokens)| Feed { state, tokens, from: 0 })
        .collect();
    let made = model.advance_each(&mut fed, Detail::Logits);
    assert!(matches!(made[1], Err(ModelError::NotFinite { .. })), "{:?}", made[1]);
    assert!(matches!(made[2], Err(ModelError::TokenOutOfRange { token: 46, .. })));
    assert!(matches!(made[3], Err(ModelError::BadFeed { .. })));
    assert!(apart(made[0].as_ref().expect("steps"), &whole) < TOLERANCE);
    assert!(apart(made[4].as_ref().expect("steps"), &whole[..1]) < TOLERANCE);
    assert_eq!((model.positions(&states[0]), model.positions(&states[4])), (20, 1));
}

#[test]
fn states_computed_elsewhere_give_the_steps_of_the_kernels() {
    let [candle, kernels] = both(&Fixture::named("phi3-long"));
    let steps = alone(&kernels, &sequences(8, &[30]).remove(0), 30);
    let states: Vec<f32> = steps.iter().flat_map(|step| step.hidden.to_vec()).collect();
    let made = candle.steps_of(&states).expect("steps");
    assert_eq!(made.len(), steps.len());
    for (made, step) in made.iter().zip(&steps) {
        assert_eq!((made.token, &made.hidden), (step.token, &step.hidden));
        assert!((made.entropy - step.entropy).abs() < TOLERANCE);
    }
    let [ours, theirs] = [&candle, &kernels].map(|model| model.final_norm(&states).expect("rows"));
    assert_eq!((ours.len(), theirs.len()), (states.len(), states.len()));
    assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < TOLERANCE));
}

#[test]
fn states_belong_to_their_device() {
    let [candle, kernels] = both(&Fixture::named("qwen2-wide"));
    for (model, other) in [(&candle, &kernels), (&kernels, &candle)] {
        let mut foreign = other.start();
        let mut feeds = [Feed { state: &mut foreign, tokens: &[1], from: 0 }];
        let error = model.advance(&mut feeds, Detail::Token).expect_err("a foreign state");
        assert!(error.to_string().contains("another device"), "{error}");
    }
}

#[test]
fn f32_keeps_the_name_of_float_weights_and_bf16_has_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    ModelFiles::new(1).write(dir.path());
    let name = |options: &LoadOptions| {
        load_model(dir.path(), options).expect("a model").decoder.info().weights_hash.clone()
    };
    assert_eq!(name(&on(Device::Cpu)), name(&on(Device::Kernels)));
    let named = |path: &str, device| weights_hash(Path::new(path), "hash", &on(device));
    assert_eq!(named("model", Device::CudaF32), "hash");
    assert_eq!(named("model", Device::Cuda), "hash+bf16");
    assert_eq!(named("model.gguf", Device::Cpu), "hash+f32");
    assert_eq!(named("model.gguf", Device::Kernels), "hash");
}

#[test]
fn what_a_device_cannot_do_is_refused_before_anything_is_read() {
    let refused = |options: &LoadOptions| {
        let error = load_model(Path::new("no/such/model"), options).expect_err("no such model");
        error.to_string()
    };
    assert!(refused(&on(Device::Cpu)).contains("no/such/model"));
    if cfg!(not(feature = "metal")) {
        let error = refused(&on(Device::Metal));
        assert_eq!(error, "this program has no device metal; build it with `--features metal`");
    }
    let quantised = LoadOptions { quantize: Some(Format::Q8_0), ..on(Device::Cpu) };
    assert!(refused(&quantised).contains("weights quantised to q8_0"));
    let kv = LoadOptions { kv: KvType::F16, ..on(Device::Cpu) };
    assert!(refused(&kv).contains("a KV cache in f16"));
}
