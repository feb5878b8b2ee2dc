//! Random models: equal in memory and on disk, with logits of the intended spread.

use std::io::BufWriter;

use serde_json::json;
use tokenroute_core::{Detail, Feed, LanguageModel, Step};
use tokenroute_model::{Decoder, LoadOptions, RandomModel, Tokenizer, load_decoder};

fn model(changes: &serde_json::Value) -> RandomModel {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("config.json");
    let mut config = json!({
        "model_type": "qwen2", "vocab_size": 600, "hidden_size": 64, "intermediate_size": 160,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 128, "tie_word_embeddings": true, "eos_token_id": 0,
    });
    for (key, value) in changes.as_object().expect("changes") {
        config[key] = value.clone();
    }
    std::fs::write(&path, config.to_string()).expect("a file");
    RandomModel::like(&path, 3).expect("a shape that is supported")
}

fn steps(decoder: &Decoder) -> Vec<Step> {
    let mut state = decoder.start();
    let tokens: Vec<u32> = (0..48).map(|i| i * 11 % 600).collect();
    let mut feeds = [Feed { state: &mut state, tokens: &tokens, from: 0 }];
    decoder.advance(&mut feeds, Detail::Logits).expect("a valid feed").remove(0)
}

#[test]
fn memory_and_disk_give_the_same_bits() {
    for changes in [
        json!({}),
        json!({"model_type": "llama", "tie_word_embeddings": false}),
        json!({"model_type": "qwen3", "head_dim": 32}),
    ] {
        let model = model(&changes);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let put = |name: &str, json: &serde_json::Value| {
            std::fs::write(dir.path().join(name), json.to_string()).expect("a file");
        };
        put("config.json", model.config());
        let file = std::fs::File::create(dir.path().join("model.safetensors")).expect("a file");
        model.write_weights(&mut BufWriter::new(file)).expect("a writable file");
        let stored = load_decoder(dir.path(), &LoadOptions::default()).expect("a sound model");
        let made = model.decoder(&LoadOptions::default()).expect("a sound model");
        let logits = |decoder| steps(decoder).into_iter().map(|s| s.logits).collect::<Vec<_>>();
        assert_eq!(logits(&made), logits(&stored));
    }
}

#[test]
fn logits_are_neither_flat_nor_hopelessly_apart() {
    let steps = steps(&model(&json!({})).decoder(&LoadOptions::default()).expect("a decoder"));
    for step in steps {
        let logits = step.logits.expect("logits");
        let mean = logits.iter().sum::<f32>() / logits.len() as f32;
        let variance = logits.iter().map(|l| (l - mean).powi(2)).sum::<f32>() / logits.len() as f32;
        assert!((0.7..1.4).contains(&variance.sqrt()), "{}", variance.sqrt());
    }
}

#[test]
fn seeds_and_layers_matter() {
    let tokens = |model: RandomModel| {
        let decoder = model.decoder(&LoadOptions::default()).expect("a decoder");
        steps(&decoder).iter().map(|s| s.token).collect::<Vec<_>>()
    };
    let one = tokens(model(&json!({})));
    assert_eq!(one, tokens(model(&json!({}))));
    assert_ne!(one, tokens(model(&json!({})).with_layers(2).expect("two layers")));
    assert!(model(&json!({})).with_layers(0).is_err());
    let named = RandomModel::named("Qwen2.5-0.5B", 0).expect("a known shape");
    assert_eq!(named.config()["hidden_size"], 896);
    assert_eq!(
        RandomModel::named("qwen", 0).expect_err("no such shape").to_string(),
        "qwen: `shape` is qwen; expected one of qwen2.5-0.5b, qwen2.5-1.5b, or a config.json"
    );
}

#[test]
fn likely_tokens_are_said_often() {
    let answer = |model: RandomModel| {
        let steps = steps(&model.decoder(&LoadOptions::default()).expect("a decoder"));
        steps.iter().filter(|s| [7, 300, 301].contains(&s.token)).count()
    };
    let plain = answer(model(&json!({})));
    let likely = answer(model(&json!({})).with_likely(vec![7, 300, 301]));
    assert!(plain < 3 && likely > 5, "{plain} and {likely} of 48");
    let marked = model(&json!({})).with_likely(vec![7]);
    assert_eq!(marked.config()["random_weights"], true);
    assert_eq!(marked.config()["likely_tokens"], json!([7]));
}

#[test]
fn the_tokenizer_that_is_made_knows_every_byte() {
    let model = model(&json!({}));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("tokenizer.json");
    std::fs::write(&path, model.tokenizer().to_string()).expect("a file");
    let tokenizer = Tokenizer::read(&path).expect("a sound tokenizer");
    assert_eq!(tokenizer.size(), 600);
    let text = "Mia has 3 äpples,\n\t(no: 4) \u{1f34e}\u{7f}\u{1}.";
    let ids = tokenizer.encode(text).expect("ids");
    assert_eq!(ids, text.bytes().map(u32::from).collect::<Vec<_>>());
    assert_eq!(tokenizer.decode(&ids).expect("text"), text);
}
