//! Parity with transformers for every family. A row's bits do not depend on how it is fed.

use std::path::PathBuf;

use tokenroute_core::{Detail, Feed, LanguageModel, Step};
use tokenroute_model::{Decoder, LoadOptions, continue_greedy, load_model};

use crate::fixture::{Expected, Fixture, folder};
use crate::support::{alone, bits, feed};

const TOLERANCE: f32 = 1e-4;

/// Compares stored positions with steps and returns the greatest difference.
fn compare(name: &str, expected: &Expected, steps: &[Step]) -> f32 {
    let mut most = 0f32;
    for kept in &expected.kept {
        let step = &steps[kept.position];
        let logits = step.logits.as_deref().expect("logits were asked for");
        let hidden: Vec<f32> = step.hidden.iter().step_by(expected.stride).copied().collect();
        assert_eq!((logits.len(), hidden.len()), (kept.logits.len(), kept.hidden.len()));
        let ours = logits.iter().chain(&hidden);
        for (a, b) in ours.zip(kept.logits.iter().chain(&kept.hidden)) {
            let apart = (a - b).abs();
            assert!(apart < TOLERANCE, "{name}, position {}: {a} against {b}", kept.position);
            most = most.max(apart);
        }
    }
    most
}

/// Prefill of the prompt, then one token at a time; and everything in one pass.
fn check(name: &str, expected: &Expected, model: &Decoder) -> f32 {
    assert!(expected.deviation >= 1.0, "{name}: logits deviate by {}", expected.deviation);
    assert!(expected.gap > 10.0 * TOLERANCE, "{name}: the least gap is {}", expected.gap);
    assert_eq!(expected.greedy.len(), 256);
    let greedy =
        continue_greedy(model, &mut model.start(), &expected.prompt, 256, |_| false).expect(name);
    assert_eq!(greedy, expected.greedy, "{name}");

    let mut state = model.start();
    let mut steps = feed(model, &mut state, &expected.prompt);
    for &token in &expected.greedy {
        steps.extend(feed(model, &mut state, &[token]));
    }
    let whole: Vec<u32> = expected.prompt.iter().chain(&expected.greedy).copied().collect();
    let at_once = alone(model, &whole, whole.len());
    compare(name, expected, &steps).max(compare(name, expected, &at_once))
}

#[test]
fn every_family_matches_transformers() {
    let all = Fixture::all();
    assert!(all.len() >= 10, "only {} fixtures", all.len());
    for (name, fixture) in all {
        check(&name, &fixture.expected, &fixture.load());
    }
}

#[test]
fn fixtures_stay_small() {
    let sizes = std::fs::read_dir(folder()).expect("the folder of fixtures");
    let total: u64 = sizes.map(|e| e.expect("an entry").metadata().expect("a size").len()).sum();
    assert!(total <= 2 << 20, "{total} bytes of fixtures");
}

#[test]
fn every_family_gives_the_same_bits_however_it_is_fed() {
    for (name, fixture) in Fixture::all() {
        let model = fixture.load();
        let tokens: Vec<u32> =
            fixture.expected.prompt.iter().chain(&fixture.expected.greedy[..60]).copied().collect();
        let expected: Vec<_> = alone(&model, &tokens, 1).iter().map(bits).collect();
        for piece in [7, 33, tokens.len()] {
            let steps: Vec<_> = alone(&model, &tokens, piece).iter().map(bits).collect();
            assert!(steps == expected, "{name}, pieces of {piece}");
        }
        let lengths = [tokens.len(), 5, 64, 33, 70, 1, 99];
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
            let mut states = vec![model.start(); lengths.len()];
            let mut feeds: Vec<_> = states
                .iter_mut()
                .zip(lengths)
                .map(|(state, n)| Feed { state, tokens: &tokens[..n], from: n / 3 })
                .collect();
            let steps =
                pool.install(|| model.advance(&mut feeds, Detail::Logits)).expect("a valid batch");
            for (steps, n) in steps.iter().zip(lengths) {
                let steps: Vec<_> = steps.iter().map(bits).collect();
                assert!(steps == expected[n / 3..n], "{name}, {threads} threads, length {n}");
            }
        }
    }
}

/// Tests new directories that `save_pretrained` has written:
///
/// ```text
/// python crates/model/tests/fixtures/make.py --fresh DIR --seed N
/// TOKENROUTE_FRESH_MODELS=DIR cargo test -p tokenroute-model -- --ignored fresh --nocapture
/// ```
#[test]
#[ignore = "needs model directories made by tests/fixtures/make.py --fresh"]
fn fresh_directories_match_transformers() {
    let dir = PathBuf::from(std::env::var_os("TOKENROUTE_FRESH_MODELS").expect("the directory"));
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).expect("a folder of models") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read(path.join("expected.json")).expect("what transformers says");
        let expected: Expected = serde_json::from_slice(&text).expect("what transformers says");
        let model = load_model(&path, &LoadOptions::default()).expect("a sound model");
        let name = path.display().to_string();
        assert!(model.vocabulary.is_end(2) && model.vocabulary.is_end(5));
        let most = check(&name, &expected, &model.decoder);
        println!("{name}: at most {most:.1e} apart, least gap {:.1e}", expected.gap);
        seen += 1;
    }
    assert!(seen >= 10, "only {seen} models");
}
