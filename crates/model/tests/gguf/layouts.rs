//! SmolLM3 and Phi-3 as llama.cpp stores them: small files of random weights, held against what
//! llama.cpp makes of them (`make_layouts.py`).

use tokenroute_core::LanguageModel;
use tokenroute_model::gguf::Kind;
use tokenroute_model::{LoadOptions, load_model};

use crate::models::{exported, load_bytes, load_directory, model, replace, step_bits};
use crate::{here, peer};

#[test]
fn logits_are_llama_cpps() {
    peer::logits_agree("tiny-smollm3", 1e-4);
    peer::logits_agree("tiny-phi3", 1e-4);
}

/// Texts are cut as GPT-4o cuts them, where a word ends before a capital.
#[test]
fn phi3_cuts_texts_and_ends_answers_as_its_files_say() {
    let model = peer::load("tiny-phi3", &LoadOptions::default());
    assert_eq!(model.tokenizer.encode("ab").expect("ids"), [38]);
    assert_eq!(model.tokenizer.encode("abAb").expect("ids"), [38, 26, 1]);
    assert!(model.vocabulary.is_end(39) && model.vocabulary.is_end(0));
    assert!(!peer::load("tiny-smollm3", &LoadOptions::default()).vocabulary.is_end(0));
}

/// The factors of a file hold up to the context of the first training.
#[test]
fn phi3_is_as_long_as_its_first_training() {
    let model = peer::load("tiny-phi3", &LoadOptions::default());
    assert_eq!(model.decoder.info().context, 256);
}

#[test]
fn smollm3_is_written_and_read_back() {
    let mut files = model("smollm3");
    let dir = tempfile::tempdir().expect("a directory");
    let folder = load_directory(&files, dir.path(), &LoadOptions::default());
    let bytes = exported(&files, Kind::F32, &[]).expect("a file");
    let file = load_bytes(&bytes).expect("a sound file");
    assert_eq!(step_bits(&folder), step_bits(&file));
    files.config["no_rope_layers"] = serde_json::json!([1, 0]);
    let error = exported(&files, Kind::F32, &[]).expect_err("a list llama.cpp cannot know");
    assert!(error.to_string().contains("no_rope_layers"), "{error}");
    files.config["model_type"] = serde_json::json!("phi3");
    let error = exported(&files, Kind::F32, &[]).expect_err("Phi-3").to_string();
    assert!(error.contains("Phi-3 is read, not written"), "{error}");
}

#[test]
fn a_file_without_its_factors_is_refused_by_name() {
    let mut bytes = std::fs::read(here("tiny-phi3.gguf")).expect("tiny-phi3.gguf");
    replace(
        &mut bytes,
        "rope.scaling.original_context_length",
        "rope.scaling.original_context_lengtk",
    );
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, bytes).expect("a write");
    let error = load_model(&path, &LoadOptions::default()).expect_err("a missing key").to_string();
    assert!(error.contains("phi3.rope.scaling.original_context_length"), "{error}");
}
