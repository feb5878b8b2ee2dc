//! Reads back an exported file: weights, configuration, tokenizer.

use serde_json::{Value, json};
use tokenroute_model::gguf::{Gguf, GgufError, Kind, NewTensor, export};

fn config(model: &str) -> Value {
    json!({
        "model_type": model, "vocab_size": 8, "hidden_size": 32, "intermediate_size": 256,
        "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 1000.0,
        "tie_word_embeddings": true, "eos_token_id": 6,
    })
}

fn tokenizer() -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": {"type": "NFC"},
        "added_tokens": [{"id": 6, "content": "<end>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true}],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "behavior": "Isolated", "invert": false, "pattern": {"Regex":
                "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
        ]},
        "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
            "byte_fallback": false, "ignore_merges": false,
            "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3, "c": 4, "é": 5}, "merges": [["a", "b"]]},
    })
}

const TENSORS: [(&str, &[usize]); 6] = [
    ("model.embed_tokens.weight", &[8, 32]),
    ("model.norm.weight", &[32]),
    ("model.layers.0.self_attn.q_proj.weight", &[32, 32]),
    ("model.layers.0.self_attn.q_proj.bias", &[32]),
    ("model.layers.0.self_attn.k_proj.weight", &[16, 32]),
    ("model.layers.0.mlp.down_proj.weight", &[32, 256]),
];

/// A weight that f16 holds exactly and Q8_0 to within 1/254 of the greatest.
fn weight(row: usize, column: usize) -> f32 {
    ((row * 37 + column * 11) % 255) as f32 / 16.0 - 7.0
}

fn written(config: &Value, kind: Kind) -> Result<Gguf, GgufError> {
    let fill = |row: usize, out: &mut [f32]| {
        out.iter_mut().enumerate().for_each(|(column, out)| *out = weight(row, column));
    };
    let sources: Vec<NewTensor<'_>> =
        TENSORS.iter().map(|&(name, shape)| NewTensor { name, shape, row: &fill }).collect();
    let mut bytes = Vec::new();
    export(&mut bytes, config, &tokenizer(), kind, &[("general.name", "tiny")], &sources)?;
    Gguf::parse(bytes)
}

#[test]
fn weights_come_back() {
    for model in ["qwen2", "llama"] {
        for (kind, tolerance) in [
            (Kind::F32, 0.0),
            (Kind::F16, 0.0),
            (Kind::Q8_0, 0.04),
            (Kind::Q4_0, 1.0),
            (Kind::Q4K, 1.0),
        ] {
            let file = written(&config(model), kind).expect("a sound file");
            for (name, shape) in TENSORS {
                let found = file.weight(name).expect("sound metadata").expect(name);
                assert_eq!(found.shape(), shape);
                let is_vector = shape.len() == 1;
                let stored = match kind {
                    _ if is_vector => Kind::F32,
                    Kind::Q4_0 | Kind::Q4K if name.contains("embed") => Kind::Q8_0,
                    // Blocks of 256 do not fill a row.
                    Kind::Q4K if !name.contains("down") => Kind::Q4_1,
                    kind => kind,
                };
                assert_eq!(found.kind(), stored, "{name}");
                for (i, value) in found.to_f32().into_iter().enumerate() {
                    let expected = weight(i / found.columns(), i % found.columns());
                    assert!((value - expected).abs() <= tolerance, "{name}[{i}] in {model}");
                }
            }
        }
    }
}

#[test]
fn llama_cpp_finds_its_own_order_in_llama_files() {
    let (qwen, llama) = ("qwen2", "llama");
    let rows = |model: &str| {
        let file = written(&config(model), Kind::F32).expect("a sound file");
        let tensor = file.tensor("blk.0.attn_q.weight").expect("queries").clone();
        let first = |row: usize| {
            let mut out = [0.0; 32];
            tensor.kind.dequantise(&file.bytes(&tensor)[row * 128..], &mut out);
            out[0]
        };
        (0..8).map(first).collect::<Vec<_>>()
    };
    assert_eq!(rows(qwen), [0, 1, 2, 3, 4, 5, 6, 7].map(|row| weight(row, 0)));
    // Heads are 8 wide: the halves of each are interleaved.
    assert_eq!(rows(llama), [0, 4, 1, 5, 2, 6, 3, 7].map(|row| weight(row, 0)));
}

#[test]
fn configuration_and_tokenizer_come_back() {
    let file = written(&config("qwen2"), Kind::F32).expect("a sound file");
    let (found, given) = (file.config().expect("a configuration"), config("qwen2"));
    for (field, value) in given.as_object().expect("an object") {
        let expected = if field == "eos_token_id" { &json!([6]) } else { value };
        assert_eq!(&found[field], expected, "{field}");
    }
    assert_eq!(file.tokenizer().expect("a tokenizer"), tokenizer());
    assert_eq!(file.get("tokenizer.ggml.pre").and_then(|v| v.as_str()), Some("qwen2"));
}

#[test]
fn rotary_scaling_comes_back() {
    for scaling in [
        json!({"rope_type": "linear", "factor": 4.0}),
        json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
    ] {
        let mut config = config("llama");
        config["rope_theta"] = json!(500_000.0);
        config["rope_scaling"] = scaling.clone();
        let file = written(&config, Kind::F32).expect("a sound file");
        assert_eq!(file.config().expect("a configuration")["rope_scaling"], scaling);
    }
}

#[test]
fn what_gguf_cannot_say_is_refused() {
    let refused = |change: &dyn Fn(&mut Value), kind, words: &str| {
        let mut config = config("llama");
        change(&mut config);
        let error = written(&config, kind).expect_err(words).to_string();
        assert!(error.contains(words), "{error}, not {words}");
    };
    refused(&|c| c["model_type"] = json!("gemma"), Kind::F32, "gemma");
    refused(&|c| c["sliding_window"] = json!(16), Kind::F32, "sliding_window");
    refused(&|c| c["rope_scaling"] = json!({"rope_type": "yarn"}), Kind::F32, "yarn");
    refused(&|c| c["vocab_size"] = json!(4), Kind::F32, "vocab_size");
    refused(&|c| c["hidden_size"] = json!(null), Kind::F32, "hidden_size");
    refused(&|c| c["eos_token_id"] = json!([1, 2, 3, 4]), Kind::F32, "eos_token_id");
    refused(&|_| (), Kind::Q5K, "Q5_K");
}
