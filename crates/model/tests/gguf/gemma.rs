//! Gemma 3 and SentencePiece: a small file of random weights, held against what llama.cpp makes
//! of it (`make_gemma3.py`).

use tokenroute_core::TokenId;
use tokenroute_model::{KvType, LoadOptions, LoadedModel, Tokenizer, load_model};

use crate::peer::{self, ids, steps};

const NAME: &str = "tiny-gemma3";

fn load(options: &LoadOptions) -> LoadedModel {
    peer::load(NAME, options)
}

#[test]
fn ids_are_llama_cpps() {
    let (model, expected) = (load(&LoadOptions::default()), peer::expected(NAME));
    let texts = expected["texts"].as_array().expect("texts");
    assert!(texts.len() >= 19);
    for pair in texts {
        let (text, ids) = (pair[0].as_str().expect("a text"), ids(&pair[1]));
        assert_eq!(model.tokenizer.encode(text).expect("ids"), ids, "{text:?}");
        let prompt = model.tokenizer.encode_prompt(text).expect("ids");
        assert_eq!(prompt, [&[2][..], &ids].concat(), "{text:?} begins with <bos>");
        // Literal "▁" becomes a space, as in SentencePiece itself.
        let back = model.tokenizer.decode(&ids).expect("a text");
        assert_eq!(back, text.replace('\u{2581}', " "));
    }
    assert!(model.vocabulary.is_end(1) && model.vocabulary.is_end(4), "<eos> and <end_of_turn>");
}

/// A published file, if one is named: `TOKENROUTE_GEMMA` is its path, `TOKENROUTE_GEMMA_TEXTS`
/// a file of texts with zero bytes between them, and beside it `.ids`, what `tokens` of
/// experiments/llama-cpp says of them.
#[test]
fn ids_of_a_published_vocabulary_are_llama_cpps() {
    let named = ["TOKENROUTE_GEMMA", "TOKENROUTE_GEMMA_TEXTS"].map(std::env::var_os);
    let [Some(model), Some(texts)] = named else {
        eprintln!("skipped: set TOKENROUTE_GEMMA and TOKENROUTE_GEMMA_TEXTS");
        return;
    };
    let tokenizer = Tokenizer::of_model(model.as_ref()).unwrap_or_else(|error| panic!("{error}"));
    let read = |path: &std::ffi::OsStr| std::fs::read_to_string(path).expect("a file");
    let (all, mut beside) = (read(&texts), texts.clone());
    beside.push(".ids");
    let said = read(&beside);
    let (mut compared, mut tokens) = (0, 0);
    for (text, ids) in all.split('\0').zip(said.lines()) {
        // llama.cpp was asked to leave special tokens in texts alone. It takes "</s>" for one,
        // whatever the file says; to the file, and to transformers, it is a tag of HTML.
        if tokenizer.special_token_in(text).is_some() || text.contains("</s>") {
            continue;
        }
        let ids: Vec<TokenId> = ids.split(' ').map(|id| id.parse().expect("an id")).collect();
        assert_eq!(tokenizer.encode(text).expect("ids"), ids, "{text:?}");
        compared += 1;
        tokens += ids.len();
    }
    eprintln!("{compared} texts, {tokens} tokens");
    assert!(compared > 1000);
}

#[test]
fn logits_are_llama_cpps() {
    // llama.cpp looks its GELU up in a table of f16.
    peer::logits_agree(NAME, 2e-3);
}

#[test]
fn a_row_does_not_depend_on_how_it_is_fed() {
    let ids = ids(&peer::expected(NAME)["ids"]);
    for kv in KvType::ALL {
        let model = load(&LoadOptions { kv, ..LoadOptions::default() });
        let whole = steps(&model, &ids, ids.len());
        for part in [1, 3, 7] {
            let parts = steps(&model, &ids, part);
            for (i, (a, b)) in whole.iter().zip(&parts).enumerate() {
                assert_eq!(a.logits, b.logits, "position {i} in parts of {part}, {}", kv.name());
            }
        }
    }
}

#[test]
fn a_folder_of_gemma_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = r#"{"model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"]}"#;
    std::fs::write(dir.path().join("config.json"), config).expect("a write");
    let error = load_model(dir.path(), &LoadOptions::default()).expect_err("a folder").to_string();
    assert!(error.contains("gemma3_text") && error.contains("GGUF files alone"), "{error}");
}
