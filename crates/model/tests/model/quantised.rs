//! Decoding with quantised weights: bits do not depend on the batch, threads or instruction
//! set, and steps are close to those of f32 weights.

use tokenroute_core::{Detail, Feed, LanguageModel};
use tokenroute_model::{Decoder, Format, LoadOptions, load_model};

use crate::support::{ModelFiles, alone, bits, feed, sequences};

fn load(files: &ModelFiles, quantize: Option<Format>, threads: usize) -> Decoder {
    let dir = tempfile::tempdir().expect("a temporary directory");
    files.write(dir.path());
    let options = LoadOptions { quantize, threads: Some(threads), ..LoadOptions::default() };
    load_model(dir.path(), &options).expect("a sound model").decoder
}

#[test]
fn bits_do_not_depend_on_batch_pieces_or_threads() {
    let sequences = sequences(4, &[33, 1, 64, 7, 90, 31, 32, 12]);
    for format in [Format::Q8_0, Format::Q4_0, Format::Q4K] {
        let models = [1, 2, 3].map(|threads| load(&ModelFiles::new(3), Some(format), threads));
        let expected: Vec<Vec<_>> =
            sequences.iter().map(|s| alone(&models[0], s, 1).iter().map(bits).collect()).collect();
        for model in &models {
            for (tokens, expected) in sequences.iter().zip(&expected) {
                let steps: Vec<_> = alone(model, tokens, 96).iter().map(bits).collect();
                assert!(&steps == expected, "{format}, a whole sequence");
            }
            let mut states = vec![model.start(); sequences.len()];
            let mut feeds: Vec<_> = states
                .iter_mut()
                .zip(&sequences)
                .map(|(state, tokens)| Feed { state, tokens, from: tokens.len() / 2 })
                .collect();
            let steps = model.advance(&mut feeds, Detail::Logits).expect("a valid batch");
            for ((steps, expected), tokens) in steps.iter().zip(&expected).zip(&sequences) {
                let steps: Vec<_> = steps.iter().map(bits).collect();
                assert!(steps == expected[tokens.len() / 2..], "{format}, a ragged batch");
            }
        }
    }
}

#[test]
fn logits_stay_near_those_of_f32_weights() {
    let files = ModelFiles::new(5).untied();
    let plain = load(&files, None, 1);
    let tokens = sequences(9, &[80]).remove(0);
    let reference = alone(&plain, &tokens, 80);
    // Root mean square of the difference over that of the logits.
    for (format, most) in [(Format::Q8_0, 0.05), (Format::Q4_0, 0.6), (Format::Q4K, 0.5)] {
        let steps = alone(&load(&files, Some(format), 2), &tokens, 80);
        let (mut off, mut size) = (0.0f64, 0.0f64);
        for (ours, theirs) in steps.iter().zip(&reference) {
            let logits = |s: &tokenroute_core::Step| s.logits.clone().expect("logits");
            for (a, b) in logits(ours).iter().zip(logits(theirs)) {
                off += f64::from(a - b).powi(2);
                size += f64::from(b).powi(2);
            }
        }
        let share = (off / size).sqrt();
        assert!(share > 0.0 && share < most, "{format}: {share}");
    }
}

#[test]
fn forks_of_quantised_decoding_leave_no_trace() {
    let model = load(&ModelFiles::new(5), Some(Format::Q8_0), 2);
    let tokens = sequences(6, &[60]).remove(0);
    let expected: Vec<_> = alone(&model, &tokens, 60).iter().map(bits).collect();
    let mut state = model.start();
    feed(&model, &mut state, &tokens[..40]);
    let mut fork = state.clone();
    feed(&model, &mut fork, &[1, 2, 3]);
    let rest: Vec<_> = feed(&model, &mut state, &tokens[40..]).iter().map(bits).collect();
    assert!(rest == expected[40..]);
}

#[test]
fn a_quantised_model_says_what_it_is() {
    let files = ModelFiles::new(1);
    let plain = load(&files, None, 2);
    let quantised = load(&files, Some(Format::Q4_0), 2);
    let hash = &plain.info().weights_hash;
    assert_eq!(quantised.info().weights_hash, format!("{hash}+q4_0"));
    assert_eq!(plain.kernels(), None);
    assert_eq!(quantised.kernels().map(|k| k.1), Some(2));
    // Panels of 16 outputs, blocks of 32 inputs (48 is padded to 64), the head in 8 bits.
    let (q4, q8) = (32 + 16 * 16, 32 + 16 * 32);
    let layer = (96 / 16 * 2 + 48 / 16 * 2 + 160 / 16 * 2 + 48 / 16 * 3) * q4;
    assert_eq!(quantised.bytes_per_token(), 2 * layer + 3 * 2 * q8);
    // Two layers of two heads: keys of 12 numbers, values padded to 16.
    assert_eq!(plain.kv_bytes_per_position(), 2 * 2 * (12 + 16) * 4);
    assert_eq!(plain.bytes_per_token(), 4 * (2 * (96 + 48 + 160 + 80) * 48 + 46 * 48));
}
