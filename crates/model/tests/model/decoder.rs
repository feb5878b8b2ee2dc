//! Parity with candle's Qwen2, and bits that depend only on a sequence's prefix.

use candle_core::{DType, Device, Tensor};
use candle_transformers::models::qwen2;
use tokenroute_core::{Detail, Feed, LanguageModel, ModelError, Step};
use tokenroute_model::{Format, LoadOptions, continue_greedy, load_model};

use crate::support::{ModelFiles, alone, bits, feed, sequences};

/// Hidden states and logits of candle's own model for one sequence.
fn reference(files: &ModelFiles, tokens: &[u32]) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let device = Device::Cpu;
    let tensors = files
        .tensors
        .iter()
        .map(|(name, (shape, values))| {
            let tensor = Tensor::from_slice(values, shape.as_slice(), &device).expect("a tensor");
            (name.clone(), tensor)
        })
        .collect();
    let config = qwen2::Config {
        vocab_size: 50,
        hidden_size: 48,
        intermediate_size: 80,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        max_position_embeddings: 96,
        sliding_window: 1 << 20,
        max_window_layers: 0,
        tie_word_embeddings: true,
        rope_theta: 10_000.0,
        rms_norm_eps: 1e-6,
        use_sliding_window: false,
        hidden_act: candle_nn::Activation::Silu,
    };
    let head =
        files.tensors.get("lm_head.weight").unwrap_or(&files.tensors["model.embed_tokens.weight"]);
    let head = Tensor::from_slice(&head.1, (50, 48), &device).expect("a head");
    let builder = candle_nn::VarBuilder::from_tensors(tensors, DType::F32, &device);
    let mut model = qwen2::Model::new(&config, builder).expect("candle's model");
    let ids = Tensor::from_slice(tokens, (1, tokens.len()), &device).expect("ids");
    let hidden = model.forward(&ids, 0, None).expect("a pass").squeeze(0).expect("one sequence");
    let logits = hidden.matmul(&head.t().expect("a matrix")).expect("logits");
    (hidden.to_vec2().expect("numbers"), logits.to_vec2().expect("numbers"))
}

fn check_parity(files: &ModelFiles) {
    let model = files.load().expect("a sound model").decoder;
    for tokens in sequences(9, &[1, 5, 70]) {
        let (hidden, logits) = reference(files, &tokens);
        for (i, step) in alone(&model, &tokens, 70).iter().enumerate() {
            let ours = step.logits.as_deref().expect("logits were asked for");
            assert_eq!(ours.len(), 46, "padded rows are left out");
            for (a, b) in step.hidden.iter().zip(&hidden[i]).chain(ours.iter().zip(&logits[i])) {
                assert!((a - b).abs() < 1e-4, "position {i}: {a} against {b}");
            }
        }
    }
}

#[test]
fn hidden_states_and_logits_match_candle() {
    check_parity(&ModelFiles::new(1));
    check_parity(&ModelFiles::new(2).untied());
}

#[test]
fn bits_do_not_depend_on_batch_chunking_or_threads() {
    let model = ModelFiles::new(3).load().expect("a sound model").decoder;
    // More than 500 rows together, so that a batch of 16 is split over threads.
    let lengths = [33, 1, 64, 7, 90, 31, 32, 12, 50, 3, 65, 20, 40, 2, 28, 45];
    let sequences = sequences(4, &lengths);
    let expected: Vec<Vec<Vec<u32>>> =
        sequences.iter().map(|s| alone(&model, s, 1).iter().map(bits).collect()).collect();
    for piece in [2, 5, 96] {
        for (sequence, expected) in sequences.iter().zip(&expected) {
            let steps: Vec<_> = alone(&model, sequence, piece).iter().map(bits).collect();
            assert!(&steps == expected, "pieces of {piece}");
        }
    }
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        for batch in [1, 2, 7, 16] {
            for (sequences, expected) in sequences.chunks(batch).zip(expected.chunks(batch)) {
                let mut states = vec![model.start(); sequences.len()];
                let mut feeds: Vec<_> = states
                    .iter_mut()
                    .zip(sequences)
                    .map(|(state, tokens)| Feed { state, tokens, from: tokens.len() / 2 })
                    .collect();
                let steps = pool
                    .install(|| model.advance(&mut feeds, Detail::Logits))
                    .expect("a valid batch");
                for ((steps, expected), tokens) in steps.iter().zip(expected).zip(sequences) {
                    let steps: Vec<_> = steps.iter().map(bits).collect();
                    assert!(
                        steps == expected[tokens.len() / 2..],
                        "batch {batch}, threads {threads}, length {}",
                        tokens.len()
                    );
                }
            }
        }
    }
}

#[test]
fn forks_and_truncation_leave_no_trace() {
    let model = ModelFiles::new(5).load().expect("a sound model").decoder;
    let tokens = sequences(6, &[60]).remove(0);
    let expected: Vec<_> = alone(&model, &tokens, 60).iter().map(bits).collect();
    let mut state = model.start();
    feed(&model, &mut state, &tokens[..40]);
    let mut fork = state.clone();
    feed(&model, &mut fork, &[1, 2, 3, 4, 5]);
    model.truncate(&mut fork, 33);
    feed(&model, &mut fork, &[9, 9]);
    assert_eq!((model.positions(&state), model.positions(&fork)), (40, 35));
    // The parent continues as without the fork. A truncated fork catches up.
    let rest: Vec<_> = feed(&model, &mut state, &tokens[40..]).iter().map(bits).collect();
    assert!(rest == expected[40..]);
    model.truncate(&mut fork, 20);
    let again: Vec<_> = feed(&model, &mut fork, &tokens[20..]).iter().map(bits).collect();
    assert!(again == expected[20..]);
}

#[test]
fn less_detail_gives_the_same_tokens() {
    let model = ModelFiles::new(7).load().expect("a sound model").decoder;
    let tokens = sequences(8, &[30]).remove(0);
    let full = alone(&model, &tokens, 30);
    let run = |detail| {
        let mut state = model.start();
        let mut feeds = [Feed { state: &mut state, tokens: &tokens, from: 0 }];
        model.advance(&mut feeds, detail).expect("a valid feed").remove(0)
    };
    for (token, full) in run(Detail::Token).iter().zip(&full) {
        let expected = Step {
            token: full.token,
            top: vec![],
            top_logits: vec![],
            entropy: 0.0,
            rest: 1.0,
            hidden: [].into(),
            logits: None,
        };
        assert_eq!(token, &expected);
    }
    for (step, full) in run(Detail::Full).iter().zip(&full) {
        assert_eq!(step, &Step { logits: None, ..full.clone() });
        assert_eq!((step.top.len(), step.top[0].0), (8, step.token));
        let probabilities: f32 = step.top.iter().map(|t| t.1).sum();
        assert!(probabilities <= 1.0 + 1e-6 && step.top.windows(2).all(|w| w[0].1 >= w[1].1));
        assert!(step.entropy > 0.0 && step.entropy <= (46f32).ln());
    }
}

#[test]
fn greedy_continuation_equals_feeding_by_hand() {
    let model = ModelFiles::new(11).load().expect("a sound model").decoder;
    let prompt = sequences(12, &[9]).remove(0);
    let answer = continue_greedy(&model, &mut model.start(), &prompt, 12, |_| false)
        .expect("a valid prompt");
    let whole: Vec<u32> = prompt.iter().chain(&answer).copied().collect();
    let steps = alone(&model, &whole, 96);
    let tokens: Vec<u32> = steps[8..20].iter().map(|s| s.token).collect();
    assert_eq!(answer, tokens);
}

#[test]
fn bad_feeds_are_named_and_change_nothing() {
    let model = ModelFiles::new(13).load().expect("a sound model").decoder;
    let mut state = model.start();
    feed(&model, &mut state, &[1, 2, 3]);
    let mut check = |tokens: &[u32], from: usize| {
        let mut feeds = [Feed { state: &mut state, tokens, from }];
        let error = model.advance(&mut feeds, Detail::Token).expect_err("a bad feed");
        assert_eq!(model.positions(&state), 3);
        error
    };
    assert_eq!(check(&[], 0), ModelError::BadFeed { tokens: 0, from: 0 });
    assert_eq!(check(&[1], 1), ModelError::BadFeed { tokens: 1, from: 1 });
    let error = check(&[1, 46], 0);
    assert!(matches!(error, ModelError::TokenOutOfRange { token: 46, vocabulary: 46, .. }));
    let error = check(&[1; 94], 93);
    assert!(matches!(error, ModelError::ContextOverrun { positions: 97, context: 96, .. }));
}

#[test]
fn overflow_is_an_error_with_its_position() {
    let mut files = ModelFiles::new(14);
    // Finite weights with products that are not finite.
    let norm = files.tensors.get_mut("model.norm.weight").expect("the final norm");
    norm.1.fill(3e38);
    files
        .tensors
        .get_mut("model.embed_tokens.weight")
        .expect("the embedding")
        .1
        .iter_mut()
        .for_each(|w| *w *= 100.0);
    let model = files.load().expect("finite weights").decoder;
    let mut state = model.start();
    let mut feeds = [Feed { state: &mut state, tokens: &[1, 2, 3], from: 1 }];
    let error = model.advance(&mut feeds, Detail::Full).expect_err("an overflow");
    assert!(matches!(error, ModelError::NotFinite { position: 1, .. }), "{error}");
}

/// A model whose values are not finite once it has read token 7: no other token reaches a
/// direction of the stream in which the first MLP overflows.
fn breaking_at_seven(steep: f32) -> ModelFiles {
    let mut files = ModelFiles::new(15).untied();
    let mut column = |name: &str, width: usize, value: f32| {
        let weights = &mut files.tensors.get_mut(name).expect("a weight").1;
        weights.chunks_mut(width).for_each(|row| row[40] = value);
    };
    column("model.embed_tokens.weight", 48, 0.0);
    column("model.layers.0.mlp.gate_proj.weight", 48, steep);
    column("model.layers.0.mlp.up_proj.weight", 48, steep);
    let row = &mut files.tensors.get_mut("model.layers.0.self_attn.o_proj.weight");
    row.as_mut().expect("a weight").1[40 * 48..41 * 48].fill(0.0);
    files.tensors.get_mut("model.embed_tokens.weight").expect("a weight").1[7 * 48 + 40] = 1.0;
    files
}

#[test]
fn a_feed_that_fails_leaves_the_others_whole() {
    // In f32 the product overflows. Quantised activations are not finite from 8.3 million on.
    for (steep, quantize) in [(1e20, None), (1e4, Some(Format::Q8_0))] {
        let dir = tempfile::tempdir().expect("a directory");
        breaking_at_seven(steep).write(dir.path());
        let options = LoadOptions { quantize, ..LoadOptions::default() };
        let model = load_model(dir.path(), &options).expect("finite weights").decoder;
        let lengths = [5, 1, 12, 3, 40];
        let good: Vec<Vec<u32>> = sequences(16, &lengths)
            .into_iter()
            .map(|tokens| tokens.into_iter().map(|t| if t == 7 { 8 } else { t }).collect())
            .collect();
        let whole: Vec<_> = good
            .iter()
            .map(|tokens| alone(&model, tokens, 96).iter().map(bits).collect::<Vec<_>>())
            .collect();
        let bad_feeds: [&[u32]; 4] = [&[7], &[1, 7, 2], &[1, 46], &[]];
        for (bad, place) in bad_feeds.iter().flat_map(|bad| (0..=5).map(move |at| (bad, at))) {
            let mut feeds: Vec<&[u32]> = good.iter().map(Vec::as_slice).collect();
            feeds.insert(place, bad);
            let mut states = vec![model.start(); feeds.len()];
            let mut feeds: Vec<_> = states
                .iter_mut()
                .zip(&feeds)
                .map(|(state, tokens)| Feed { state, tokens, from: 0 })
                .collect();
            let mut made = model.advance_each(&mut feeds, Detail::Logits);
            let error = made.remove(place).expect_err("a bad feed");
            match bad {
                [] => assert!(matches!(error, ModelError::BadFeed { .. }), "{error}"),
                [1, 46] => assert!(matches!(error, ModelError::TokenOutOfRange { .. }), "{error}"),
                _ => assert!(matches!(error, ModelError::NotFinite { .. }), "{error}"),
            }
            states.remove(place);
            for ((steps, whole), state) in made.iter().zip(&whole).zip(&states) {
                let steps: Vec<_> = steps.as_ref().expect("steps").iter().map(bits).collect();
                assert!(&steps == whole, "{bad:?} at {place}, {quantize:?}");
                assert_eq!(model.positions(state), whole.len());
            }
        }
    }
}
