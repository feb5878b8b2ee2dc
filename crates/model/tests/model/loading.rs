//! Models that load, and models that are refused by name.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use tokenroute_core::LanguageModel;
use tokenroute_model::{LoadError, LoadOptions, Tokenizer, check_pair, load_model};

use crate::support::{ModelFiles, alone, tokenizer};

/// Checks that a model changed by `spoil` fails with a message that holds all `words`.
fn check(spoil: impl FnOnce(&mut ModelFiles), words: &[&str]) {
    let mut files = ModelFiles::new(1);
    spoil(&mut files);
    let message = files.load().expect_err("a spoilt model").to_string();
    for word in words {
        assert!(message.contains(word), "{message:?} does not name {word:?}");
    }
}

#[test]
fn damaged_weights_are_refused_by_name() {
    const O: &str = "model.layers.1.self_attn.o_proj.weight";
    let tensor = |f: &mut ModelFiles| f.tensors.remove(O).expect("a tensor");
    check(|f| drop(tensor(f)), &["model.safetensors", O, "[48, 48]"]);
    check(
        |f| {
            let (_, values) = tensor(f);
            f.tensors.insert(O.to_owned(), (vec![24, 96], values));
        },
        &[O, "[24, 96]", "[48, 48]"],
    );
    for bad in [f32::NAN, f32::INFINITY] {
        check(
            |f| f.tensors.get_mut(O).expect("a tensor").1[17] = bad,
            &[O, "index 17", &bad.to_string()],
        );
    }
    check(|f| f.config["tie_word_embeddings"] = json!(false), &["lm_head.weight", "[50, 48]"]);
}

#[test]
fn missing_and_truncated_files_are_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let load = || load_model(dir.path(), &LoadOptions::default());
    let message = load().expect_err("an empty directory").to_string();
    assert!(message.contains("config.json"), "{message}");
    ModelFiles::new(1).write(dir.path());
    let weights = dir.path().join("model.safetensors");
    let bytes = std::fs::read(&weights).expect("the weights");
    for keep in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&weights, &bytes[..keep]).expect("a writable file");
        let error = load().expect_err("a truncated file");
        assert!(matches!(error, LoadError::BadFile { .. }), "{error}");
        assert!(error.to_string().contains(&format!("model.safetensors ({keep} bytes)")));
    }
    std::fs::remove_file(&weights).expect("a file to remove");
    let message = load().expect_err("no weights").to_string();
    assert!(message.contains("cannot read") && message.contains("model.safetensors"), "{message}");
}

#[test]
fn half_precision_weights_load_as_their_f32_values() {
    let mut files = ModelFiles::new(1);
    for (_, values) in files.tensors.values_mut() {
        for v in values {
            *v = (*v * 64.0).round() / 64.0;
        }
    }
    let whole = files.load().expect("f32 weights");
    files.dtype = safetensors::Dtype::BF16;
    let half = files.load().expect("bf16 weights");
    assert_eq!(alone(&whole.decoder, &[1, 2, 3], 3), alone(&half.decoder, &[1, 2, 3], 3));
    assert_ne!(whole.decoder.info().weights_hash, half.decoder.info().weights_hash);
    assert_eq!(half.decoder.info().weights_hash.len(), 64);

    let dir = tempfile::tempdir().expect("a temporary directory");
    files.write(dir.path());
    let tensors: HashMap<String, Tensor> = files
        .tensors
        .iter()
        .map(|(name, (shape, values))| {
            let tensor = Tensor::from_slice(values, shape.as_slice(), &Device::Cpu)
                .and_then(|tensor| tensor.to_dtype(DType::F16));
            (name.clone(), tensor.expect("a tensor"))
        })
        .collect();
    candle_core::safetensors::save(&tensors, dir.path().join("model.safetensors"))
        .expect("a writable file");
    let half = load_model(dir.path(), &LoadOptions::default()).expect("f16 weights");
    assert_eq!(alone(&whole.decoder, &[1, 2, 3], 3), alone(&half.decoder, &[1, 2, 3], 3));
}

#[test]
fn the_tokenizer_goes_both_ways_and_knows_ends() {
    let mut files = ModelFiles::new(1);
    files.generation = Some(json!({"eos_token_id": [45, 0]}));
    let model = files.load().expect("a sound model");
    let ids = model.tokenizer.encode("sand and 7.\nend?").expect("known characters");
    assert!(ids.contains(&44), "merges apply: {ids:?}");
    let with_end: Vec<u32> = ids.iter().copied().chain([0]).collect();
    assert_eq!(model.tokenizer.decode(&with_end).expect("known ids"), "sand and 7.\nend?");
    let v = &model.vocabulary;
    assert_eq!((v.len(), v.is_end(0), v.is_end(45), v.is_end(1)), (46, true, true, false));
    let id = |text: &str| model.tokenizer.encode(text).expect("known characters")[0];
    for (text, ends) in
        [(".", true), ("!", true), ("?", true), ("\n", true), (",", false), ("a", false)]
    {
        assert_eq!(v.ends_sentence(id(text)), ends, "{text:?}");
    }
    let (line, letter) = (id("\n"), id("a"));
    assert!(v.ends_paragraph(Some(line), line), "an empty line");
    assert!(!v.ends_paragraph(None, line) && !v.ends_paragraph(Some(letter), line));
    files.generation = None;
    let model = files.load().expect("a sound model");
    assert!(model.vocabulary.is_end(0) && !model.vocabulary.is_end(45));
}

#[test]
fn a_prompt_begins_as_the_models_makers_want() {
    let mut files = ModelFiles::new(1);
    let (plain, text) = (files.load().expect("a sound model").tokenizer, "and");
    assert_eq!(plain.encode_prompt(text).expect("ids"), [44]);
    let special = |content: &str| json!({"SpecialToken": {"id": content, "type_id": 0}});
    files.tokenizer["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [special("<stop>"), {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<stop>": {"id": "<stop>", "ids": [45], "tokens": ["<stop>"]}},
    });
    let with = files.load().expect("a sound model").tokenizer;
    assert_eq!(with.encode_prompt(text).expect("ids"), [45, 44]);
    assert_eq!(with.encode(text).expect("ids"), [44]);
    assert_eq!(with.encode("<stop>and").expect("ids"), [45, 44], "a template writes it itself");
}

#[test]
fn a_pair_is_told_by_content_not_by_formatting() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let read = |text: String| {
        let path = dir.path().join("tokenizer.json");
        std::fs::write(&path, text).expect("a writable file");
        Tokenizer::read(&path).expect("a sound tokenizer")
    };
    let plain = read(tokenizer().to_string());
    let mut other = tokenizer();
    other["model"]["merges"] = json!(["a n", "an d"]);
    let pretty = serde_json::to_string_pretty(&other).expect("JSON");
    let other = read(pretty);
    assert_eq!(plain.pair_hash(), other.pair_hash());
    assert_eq!(plain.difference(&other), None);
}

#[test]
fn a_mismatched_pair_names_both_and_the_first_difference() {
    let pair = |change: &dyn Fn(&mut Value), part: &str| {
        let slm = ModelFiles::new(1).load().expect("a sound model");
        let mut files = ModelFiles::new(2);
        change(&mut files.tokenizer);
        let llm = files.load().expect("a sound model");
        let message = check_pair(&slm, &llm).expect_err("not a pair").to_string();
        for word in [part, &slm.decoder.info().name, &llm.decoder.info().name] {
            assert!(message.contains(word), "{message:?} does not name {word:?}");
        }
        assert_ne!(slm.vocabulary.hash(), llm.vocabulary.hash());
    };
    let swap = |t: &mut Value| {
        t["model"]["vocab"]["y"] = json!(26);
        t["model"]["vocab"]["z"] = json!(25);
    };
    pair(&swap, "vocabularies");
    pair(&|t| t["model"]["merges"] = json!([["a", "n"]]), "merges");
    pair(&|t| t["added_tokens"][1]["lstrip"] = json!(true), "added tokens");
    pair(&|t| t["pre_tokenizer"]["add_prefix_space"] = json!(true), "pre-tokenizers");
    let (a, b) = (ModelFiles::new(1), ModelFiles::new(2));
    check_pair(&a.load().expect("a sound model"), &b.load().expect("a sound model"))
        .expect("the same tokenizer");
}
