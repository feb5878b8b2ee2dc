//! Decoding and teacher-forced throughput, the row-stable kernel's rate and the
//! router's share of a step, on a random model of the bundled SLM's size:
//! `cargo bench -p tokenroute-model`.

use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use divan::Bencher;
use divan::counter::ItemsCount;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use tokenroute_core::{
    Activation, Architecture, FeatureSpec, LanguageModel, Normalisation, Platt, RouterHeader,
    TrainingRecord,
};
use tokenroute_core::{Detail, Feed, Step};
use tokenroute_model::{Linear, LoadOptions, LoadedModel, RouterScorer, load_model};

const HIDDEN: usize = 96;
const VOCABULARY: usize = 512;
const SEQUENCES: usize = 32;
const LENGTH: usize = 150;

fn noise(n: usize, spread: f32) -> Vec<f32> {
    let mut state = 2_463_534_242u32;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * spread
        })
        .collect()
}

fn save(path: &Path, tensors: &[(String, Vec<usize>)], metadata: Option<HashMap<String, String>>) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, shape)| {
            let values = noise(shape.iter().product(), 0.1);
            values.iter().flat_map(|v| v.to_le_bytes()).collect()
        })
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape), bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a shape that fits"))
    });
    safetensors::serialize_to_file(views, metadata, path).expect("a writable file");
}

fn model() -> LoadedModel {
    let (inner, layers, key_value) = (256, 4, 48);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let put = |name: &str, value: &serde_json::Value| {
        std::fs::write(dir.path().join(name), value.to_string()).expect("a writable file");
    };
    put(
        "config.json",
        &json!({
            "model_type": "qwen2", "vocab_size": VOCABULARY, "hidden_size": HIDDEN,
            "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": 4,
            "num_key_value_heads": 2, "max_position_embeddings": 512,
            "tie_word_embeddings": true, "eos_token_id": 0
        }),
    );
    let vocab: serde_json::Map<_, _> =
        (0..VOCABULARY).map(|i| (format!("t{i}"), json!(i))).collect();
    put(
        "tokenizer.json",
        &json!({"version": "1.0", "added_tokens": [],
                "model": {"type": "BPE", "vocab": vocab, "merges": []}}),
    );
    let mut tensors = vec![("model.embed_tokens.weight".to_owned(), vec![VOCABULARY, HIDDEN])];
    for i in 0..layers {
        for (name, shape) in [
            ("self_attn.q_proj.weight", vec![HIDDEN, HIDDEN]),
            ("self_attn.k_proj.weight", vec![key_value, HIDDEN]),
            ("self_attn.v_proj.weight", vec![key_value, HIDDEN]),
            ("self_attn.q_proj.bias", vec![HIDDEN]),
            ("self_attn.k_proj.bias", vec![key_value]),
            ("self_attn.v_proj.bias", vec![key_value]),
            ("self_attn.o_proj.weight", vec![HIDDEN, HIDDEN]),
            ("mlp.gate_proj.weight", vec![inner, HIDDEN]),
            ("mlp.up_proj.weight", vec![inner, HIDDEN]),
            ("mlp.down_proj.weight", vec![HIDDEN, inner]),
            ("input_layernorm.weight", vec![HIDDEN]),
            ("post_attention_layernorm.weight", vec![HIDDEN]),
        ] {
            tensors.push((format!("model.layers.{i}.{name}"), shape));
        }
    }
    tensors.push(("model.norm.weight".to_owned(), vec![HIDDEN]));
    save(&dir.path().join("model.safetensors"), &tensors, None);
    load_model(dir.path(), &LoadOptions::default()).expect("a sound model")
}

/// A router of CITER's shape on this model's features.
fn router() -> RouterScorer {
    let features = FeatureSpec { hidden: HIDDEN, top_k: 8, ..FeatureSpec::default() };
    let width = features.width();
    let architecture =
        Architecture::Mlp { widths: vec![2 * HIDDEN], activation: Activation::Relu, rewards: 1 };
    let mut tensors = Vec::new();
    for (i, (inputs, outputs)) in architecture.layers(width).into_iter().enumerate() {
        tensors.push((format!("layers.{i}.weight"), vec![outputs, inputs]));
        tensors.push((format!("layers.{i}.bias"), vec![outputs]));
    }
    let header = RouterHeader {
        format: RouterHeader::FORMAT,
        architecture,
        features,
        normalisation: Normalisation { mean: vec![0.0; width], scale: vec![1.0; width] },
        platt: Platt { scale: 1.0, bias: 0.0 },
        full_precision: false,
        slm_hash: String::new(),
        llm_hash: String::new(),
        tokenizer_hash: String::new(),
        labels_hash: String::new(),
        calibration: vec![],
        training: TrainingRecord::default(),
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("router.safetensors");
    let json = serde_json::to_string(&header).expect("JSON");
    save(&path, &tensors, Some(HashMap::from([(RouterHeader::METADATA_KEY.to_owned(), json)])));
    RouterScorer::open(&path).expect("a sound router")
}

fn sequences() -> Vec<Vec<u32>> {
    let id = |s: usize, i: usize| ((s * 31 + i * 17) % VOCABULARY) as u32;
    (0..SEQUENCES).map(|s| (0..LENGTH).map(|i| id(s, i)).collect()).collect()
}

/// All steps of all sequences in one ragged pass.
fn whole(model: &LoadedModel, sequences: &[Vec<u32>], detail: Detail) -> Vec<Vec<Step>> {
    let mut states = vec![model.decoder.start(); sequences.len()];
    let mut feeds: Vec<_> = states
        .iter_mut()
        .zip(sequences)
        .map(|(state, tokens)| Feed { state, tokens, from: 0 })
        .collect();
    model.decoder.advance(&mut feeds, detail).expect("a valid batch")
}

/// All steps, one sequence and one token at a time.
fn token_by_token(model: &LoadedModel, sequences: &[Vec<u32>], detail: Detail) {
    for sequence in sequences {
        let mut state = model.decoder.start();
        for token in sequence {
            let mut feeds =
                [Feed { state: &mut state, tokens: std::slice::from_ref(token), from: 0 }];
            black_box(model.decoder.advance(&mut feeds, detail).expect("a valid feed"));
        }
    }
}

#[divan::bench(args = [1, 4, 16, 64])]
fn decode(bencher: Bencher<'_, '_>, batch: usize) {
    let model = model();
    let sequences: Vec<Vec<u32>> = sequences().into_iter().cycle().take(batch).collect();
    bencher.counter(ItemsCount::new(batch * LENGTH)).bench_local(|| {
        let mut states = vec![model.decoder.start(); batch];
        for i in 0..LENGTH {
            let mut feeds: Vec<_> = states
                .iter_mut()
                .zip(&sequences)
                .map(|(state, tokens)| Feed { state, tokens: &tokens[i..=i], from: 0 })
                .collect();
            black_box(model.decoder.advance(&mut feeds, Detail::Full).expect("a valid batch"));
        }
    });
}

#[divan::bench]
fn teacher_forced(bencher: Bencher<'_, '_>) {
    let (model, sequences) = (model(), sequences());
    bencher
        .counter(ItemsCount::new(SEQUENCES * LENGTH))
        .bench_local(|| whole(&model, &sequences, Detail::Full));
}

#[divan::bench]
fn router_score(bencher: Bencher<'_, '_>) {
    let (router, model) = (router(), model());
    let step = whole(&model, &[vec![1, 2, 3]], Detail::Full).remove(0).remove(2);
    bencher
        .counter(ItemsCount::new(1usize))
        .bench_local(|| router.score_step(black_box(&step)).expect("a number"));
}

/// Items are multiply-adds.
#[divan::bench(args = [(48, 1), (48, 64), (96, 1), (96, 64), (192, 1), (192, 64), (192, 512), (256, 512)])]
fn linear(bencher: Bencher<'_, '_>, (width, rows): (usize, usize)) {
    let layer = Linear::new(width, 4 * width, &noise(4 * width * width, 1.0), None);
    let x = noise(rows * width, 1.0);
    let mut y = vec![0.0; rows * 4 * width];
    bencher
        .counter(ItemsCount::new(rows * width * 4 * width))
        .bench_local(|| layer.apply(black_box(&x), &mut y));
}

/// Seconds of the fastest of five runs.
fn seconds(mut run: impl FnMut()) -> f64 {
    let runs = (0..5).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    runs.fold(f64::INFINITY, f64::min)
}

#[expect(clippy::print_stdout, reason = "a benchmark reports to its terminal")]
fn main() {
    divan::main();
    let (model, router, sequences) = (model(), router(), sequences());
    let tokens = (SEQUENCES * LENGTH) as f64;
    let forced = seconds(|| {
        black_box(whole(&model, &sequences, Detail::Full));
    });
    let single = seconds(|| token_by_token(&model, &sequences, Detail::Full));
    let steps = whole(&model, &sequences, Detail::Full);
    let scored = seconds(|| {
        for step in steps.iter().flatten() {
            black_box(router.score_step(step)).expect("a number");
        }
    });
    println!("token by token  {:9.0} tokens/s", tokens / single);
    println!(
        "teacher-forced  {:9.0} tokens/s, {:.2} times as many",
        tokens / forced,
        single / forced
    );
    println!(
        "router          {:9.2} µs a token, {:.1}% of a decoding step with it",
        scored / tokens * 1e6,
        100.0 * scored / (single + scored)
    );
}
