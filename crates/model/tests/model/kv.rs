//! KV caches of every type: bits that depend only on a sequence's prefix, forks, memory,
//! identity, and the distance from f32.

use std::path::Path;

use tokenroute_core::{Detail, Feed, LanguageModel, ModelError, Step};
use tokenroute_model::{Decoder, Format, KvType, LoadOptions, continue_greedy, load_model};

use crate::support::{ModelFiles, alone, bits, feed, sequences};

fn load(files: &ModelFiles, kv: KvType, quantize: Option<Format>, threads: usize) -> Decoder {
    let dir = tempfile::tempdir().expect("a temporary directory");
    files.write(dir.path());
    let options = LoadOptions { kv, quantize, threads: Some(threads), ..LoadOptions::default() };
    load_model(dir.path(), &options).expect("a sound model").decoder
}

#[test]
fn bits_do_not_depend_on_batch_pieces_or_threads() {
    let sequences = sequences(4, &[33, 1, 64, 7, 90, 31, 32, 12, 50, 3, 65, 20]);
    for kv in KvType::ALL {
        for (quantize, threads) in [(None, 1), (Some(Format::Q8_0), 1), (Some(Format::Q8_0), 3)] {
            let model = load(&ModelFiles::new(3), kv, quantize, threads);
            let expected: Vec<Vec<_>> =
                sequences.iter().map(|s| alone(&model, s, 1).iter().map(bits).collect()).collect();
            for (tokens, expected) in sequences.iter().zip(&expected) {
                for piece in [5, 96] {
                    let steps: Vec<_> = alone(&model, tokens, piece).iter().map(bits).collect();
                    assert!(&steps == expected, "{kv}, pieces of {piece}");
                }
            }
            // All prompts in one batch, then their last tokens in one.
            let mut states = vec![model.start(); sequences.len()];
            for part in [0, 1] {
                let cut = |tokens: &[u32]| tokens.len() - 1;
                let mut feeds: Vec<_> = states
                    .iter_mut()
                    .zip(&sequences)
                    .filter(|(_, tokens)| tokens.len() > 1)
                    .map(|(state, tokens)| {
                        let (prompt, last) = tokens.split_at(cut(tokens));
                        Feed { state, tokens: if part == 0 { prompt } else { last }, from: 0 }
                    })
                    .collect();
                let steps = model.advance(&mut feeds, Detail::Logits).expect("a valid batch");
                let of = sequences.iter().zip(&expected).filter(|(tokens, _)| tokens.len() > 1);
                for (steps, (tokens, expected)) in steps.iter().zip(of) {
                    let steps: Vec<_> = steps.iter().map(bits).collect();
                    let (prompt, last) = expected.split_at(cut(tokens));
                    assert!(steps == if part == 0 { prompt } else { last }, "{kv}, batch {part}");
                }
            }
        }
    }
}

#[test]
fn forks_decode_together_as_alone() {
    for kv in KvType::ALL {
        let model = load(&ModelFiles::new(5), kv, None, 1);
        let prompt = sequences(6, &[40]).remove(0);
        let ends = sequences(7, &[30, 1, 17, 24, 2, 9, 28, 12, 5, 30]);
        let mut parent = model.start();
        let before: Vec<_> = feed(&model, &mut parent, &prompt).iter().map(bits).collect();
        let mut forks = vec![parent.clone(); ends.len()];
        for i in 0..30 {
            let mut feeds: Vec<_> = forks
                .iter_mut()
                .zip(&ends)
                .filter(|(_, end)| i < end.len())
                .map(|(state, end)| Feed { state, tokens: &end[i..=i], from: 0 })
                .collect();
            let steps = model.advance(&mut feeds, Detail::Logits).expect("a valid batch");
            for (steps, end) in steps.iter().zip(ends.iter().filter(|end| i < end.len())) {
                let whole: Vec<u32> = prompt.iter().chain(&end[..=i]).copied().collect();
                let expected = alone(&model, &whole, 96).pop().expect("a step");
                assert!(bits(&steps[0]) == bits(&expected), "{kv}, token {i}");
            }
        }
        // The parent and a truncated fork continue as if there had been no forks.
        let again: Vec<_> = {
            let mut fork = forks.remove(0);
            model.truncate(&mut fork, 20);
            feed(&model, &mut fork, &prompt[20..]).iter().map(bits).collect()
        };
        assert!(again == before[20..], "{kv}");
        let rest = feed(&model, &mut parent, &ends[0]);
        let whole: Vec<u32> = prompt.iter().chain(&ends[0]).copied().collect();
        let expected: Vec<_> = alone(&model, &whole, 96)[40..].iter().map(bits).collect();
        assert!(rest.iter().map(bits).collect::<Vec<_>>() == expected, "{kv}");
    }
}

#[test]
fn a_type_says_its_memory_and_is_part_of_the_weights_identity() {
    let files = ModelFiles::new(1);
    let plain = load(&files, KvType::F32, None, 1);
    let half = load(&files, KvType::F16, None, 1);
    assert_eq!((plain.kv_type(), half.kv_type()), ("f32", "f16"));
    // Two layers of two heads: keys of 12 numbers, values padded to 16.
    assert_eq!(plain.kv_bytes_per_position(), 2 * 2 * (12 + 16) * 4);
    assert_eq!(half.kv_bytes_per_position(), 2 * 2 * (12 + 16) * 2);
    // A byte for each, and four f16 scales in each layer.
    let eight = load(&files, KvType::Q8_0, None, 1);
    assert_eq!(eight.kv_bytes_per_position(), 2 * (2 * (12 + 16) + 4 * 2));
    let hash = &plain.info().weights_hash;
    assert_eq!(hash.len(), 64, "files made with f32 are as before");
    assert_eq!(half.info().weights_hash, format!("{hash}+kv-f16"));
    let both = load(&files, KvType::F16, Some(Format::Q8_0), 1);
    assert_eq!(both.info().weights_hash, format!("{hash}+q8_0+kv-f16"));
}

#[test]
fn names_are_read_and_unknown_ones_refused_with_those_that_exist() {
    for kv in KvType::ALL {
        assert_eq!(kv.to_string().parse(), Ok(kv));
    }
    let error = "f8".parse::<KvType>().expect_err("no type").to_string();
    assert_eq!(error, "no KV type \"f8\"; expected f32, f16, q8_0");
}

#[test]
fn a_key_that_a_type_does_not_hold_fails_its_feed_alone() {
    let mut files = ModelFiles::new(15).untied();
    // Only token 7 has a number in direction 40, from which the first keys get theirs.
    let mut column = |name: &str, value: f32| {
        let weights = &mut files.tensors.get_mut(name).expect("a weight").1;
        weights.chunks_mut(48).for_each(|row| row[40] = value);
    };
    column("model.embed_tokens.weight", 0.0);
    column("model.layers.0.self_attn.k_proj.weight", -2e5);
    files.tensors.get_mut("model.embed_tokens.weight").expect("a weight").1[7 * 48 + 40] = 1.0;
    let good = [1, 2, 3, 4, 5];
    for (kv, fails) in [(KvType::F32, false), (KvType::F16, true), (KvType::Q8_0, false)] {
        let model = load(&files, kv, None, 1);
        let mut states = vec![model.start(); 2];
        let tokens: [&[u32]; 2] = [&good, &[1, 7, 2]];
        let mut feeds: Vec<_> = states
            .iter_mut()
            .zip(tokens)
            .map(|(state, tokens)| Feed { state, tokens, from: 0 })
            .collect();
        let made = model.advance_each(&mut feeds, Detail::Logits);
        let steps: Vec<_> = made[0].as_ref().expect("steps").iter().map(bits).collect();
        let expected: Vec<_> = alone(&model, &good, 96).iter().map(bits).collect();
        assert!(steps == expected, "{kv}");
        match &made[1] {
            Err(ModelError::NotFinite { .. }) => assert!(fails, "{kv}"),
            other => assert!(!fails && other.is_ok(), "{kv}: {other:?}"),
        }
    }
}

/// KL(f32 ‖ other) of one position.
fn divergence(exact: &Step, other: &Step) -> f64 {
    let probabilities = |step: &Step| {
        let logits: Vec<f64> =
            step.logits.as_deref().expect("logits").iter().map(|&l| f64::from(l)).collect();
        let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = logits.iter().map(|l| (l - most).exp()).sum();
        logits.into_iter().map(|l| l - most - total.ln()).collect::<Vec<f64>>()
    };
    let (p, q) = (probabilities(exact), probabilities(other));
    p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum()
}

#[test]
fn the_bundled_pair_says_nearly_the_same_with_every_type() {
    for part in ["word-problems-slm", "word-problems-llm"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(part);
        let load = |kv| {
            load_model(&folder, &LoadOptions { kv, ..LoadOptions::default() }).expect("a model")
        };
        let exact = load(KvType::F32);
        for (kv, least, most) in [(KvType::F16, 0.99, 1e-5), (KvType::Q8_0, 0.97, 1e-3)] {
            let model = load(kv).decoder;
            let (mut same, mut count, mut sum) = (0, 0, 0.0);
            for text in ["Mia has 3 apples.", "Tom buys 12 pens and 7 cups. How many", "Ann"] {
                let prompt = exact.tokenizer.encode(text).expect("tokens");
                let answer = continue_greedy(
                    &exact.decoder,
                    &mut exact.decoder.start(),
                    &prompt,
                    150,
                    |_| false,
                )
                .expect("an answer");
                let whole: Vec<u32> = prompt.into_iter().chain(answer).collect();
                let steps = alone(&exact.decoder, &whole, whole.len());
                for (exact, other) in steps.iter().zip(alone(&model, &whole, whole.len())) {
                    same += usize::from(exact.token == other.token);
                    sum += divergence(exact, &other);
                    count += 1;
                }
            }
            let (share, mean) = (f64::from(same as u32) / f64::from(count), sum / f64::from(count));
            assert!(share >= least && mean > 0.0 && mean < most, "{part}, {kv}: {share}, {mean:e}");
        }
    }
}
