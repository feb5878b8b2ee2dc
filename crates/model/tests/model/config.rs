//! The fields of `config.json` that are honoured, and those that are refused by name.

use std::path::Path;

use serde_json::{Value, json};
use tokenroute_model::{Config, Family, RopeScaling};

use crate::fixture::Fixture;
use crate::support::{ModelFiles, alone, bits};

fn qwen2() -> Value {
    json!({
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 50,
        "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu",
        "max_position_embeddings": 96, "rms_norm_eps": 1e-6, "rope_theta": 10000.0
    })
}

fn of(family: Family) -> Value {
    let mut config = qwen2();
    config["model_type"] = json!(family.model_type());
    config["architectures"] = json!([family.architecture()]);
    config
}

fn parse(config: &Value) -> Result<Config, String> {
    Config::parse(Path::new("config.json"), config).map_err(|error| error.to_string())
}

/// Checks that `config` with `key` set fails with a message that names the file, the key and
/// all `words`.
fn refused(mut config: Value, key: &str, value: Value, words: &[&str]) {
    let field = key.split('.').next_back().expect("a key");
    config[key] = value;
    let message = parse(&config).expect_err("a configuration to refuse");
    for word in ["config.json", field].iter().chain(words) {
        assert!(message.contains(word), "{message:?} does not name {word:?}");
    }
}

fn accepted(mut config: Value, changes: &[(&str, Value)]) -> Config {
    for (key, value) in changes {
        config[*key] = value.clone();
    }
    parse(&config).expect("a sound configuration")
}

#[test]
fn other_architectures_are_refused_by_name() {
    for other in ["gemma3", "qwen2_moe", "phi", "lfm2", "mistral3", ""] {
        refused(qwen2(), "model_type", json!(other), &[other, "\"qwen3\"", "\"mistral\""]);
    }
    refused(qwen2(), "model_type", Value::Null, &["null"]);
    refused(qwen2(), "model_type", json!(["qwen2"]), &[]);
    refused(qwen2(), "architectures", json!(["Qwen3ForCausalLM"]), &["Qwen3", "Qwen2ForCausalLM"]);
    refused(qwen2(), "architectures", json!(["Qwen2ForSequenceClassification"]), &["Sequence"]);
    refused(qwen2(), "architectures", json!("Qwen2ForCausalLM"), &["[\"Qwen2ForCausalLM\"]"]);
    assert!(parse(&json!([1])).is_err_and(|e| e.contains("object")));
}

#[test]
fn unsupported_fields_are_refused_by_name() {
    for (key, value) in [
        ("hidden_act", json!("gelu")),
        ("quantization_config", json!({"quant_method": "gptq"})),
        ("partial_rotary_factor", json!(0.5)),
        ("final_logit_softcapping", json!(30.0)),
        ("num_experts", json!(8)),
        ("attention_bias", json!(false)),
        ("mlp_bias", json!(true)),
    ] {
        refused(qwen2(), key, value.clone(), &[&value.to_string()]);
    }
    refused(of(Family::Qwen3), "mlp_bias", json!(true), &["true"]);
    refused(of(Family::Llama), "sliding_window", json!(64), &["64"]);
    refused(of(Family::Mistral), "attention_bias", json!(true), &["true"]);
}

#[test]
fn numbers_that_do_not_fit_are_refused_by_name() {
    refused(qwen2(), "num_key_value_heads", json!(3), &["3", "4"]);
    refused(qwen2(), "hidden_size", json!(0), &["0"]);
    refused(qwen2(), "hidden_size", json!(50), &["50", "num_attention_heads"]);
    refused(qwen2(), "head_dim", json!(7), &["7", "even"]);
    refused(qwen2(), "vocab_size", json!(1u64 << 60), &["1152921504606846976", "16777216"]);
    refused(qwen2(), "num_hidden_layers", json!(1u64 << 40), &["1099511627776", "1024"]);
    refused(qwen2(), "num_hidden_layers", json!(-2), &["-2", "whole number"]);
    refused(qwen2(), "intermediate_size", json!("many"), &["many"]);
    refused(qwen2(), "rms_norm_eps", json!(0.0), &["positive"]);
    refused(qwen2(), "rope_theta", json!(-1.0), &["-1"]);
    refused(qwen2(), "max_position_embeddings", Value::Null, &["null"]);
    refused(qwen2(), "num_attention_heads", json!(0), &["0"]);
    let mut config = qwen2();
    config.as_object_mut().expect("an object").remove("hidden_size");
    assert!(parse(&config).is_err_and(|e| e.contains("hidden_size")));
    config = qwen2();
    config.as_object_mut().expect("an object").remove("num_key_value_heads");
    assert!(parse(&config).is_err_and(|e| e.contains("num_key_value_heads")));
}

#[test]
fn both_ways_of_writing_the_rotation_are_read() {
    let llama3 = json!({
        "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192
    });
    let expected = RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192.0,
    };
    let old = [("rope_scaling", llama3.clone()), ("rope_theta", json!(500_000.0))];
    let mut newer = llama3.clone();
    newer["rope_theta"] = json!(500_000.0);
    for config in [
        accepted(of(Family::Llama), &old),
        accepted(of(Family::Llama), &[("rope_parameters", newer)]),
    ] {
        assert_eq!((config.rope.theta, &config.rope.scaling), (500_000.0, &expected));
    }
    let linear = [("rope_scaling", json!({"type": "linear", "factor": 4}))];
    let scaling = accepted(of(Family::Llama), &linear).rope.scaling;
    assert_eq!(scaling, RopeScaling::Linear { factor: 4.0 });
    let plain = [("rope_parameters", json!({"rope_type": "default", "rope_theta": 500.0}))];
    assert_eq!(accepted(qwen2(), &plain).rope.theta, 500.0);
}

#[test]
fn rotations_that_are_not_implemented_are_refused_by_name() {
    let refused = |key: &str, value: Value, words: &[&str]| refused(qwen2(), key, value, words);
    for kind in ["yarn", "dynamic", "longrope", "su"] {
        refused("rope_scaling", json!({"type": kind, "factor": 2.0}), &["rope_scaling.type", kind]);
        refused(
            "rope_parameters",
            json!({"rope_type": kind}),
            &["rope_parameters.rope_type", kind],
        );
    }
    refused("rope_scaling", json!({"rope_type": "linear"}), &["rope_scaling.factor"]);
    refused("rope_scaling", json!({"rope_type": "linear", "factor": 0}), &["factor", "0"]);
    refused("rope_scaling", json!({"factor": 2.0}), &["rope_scaling.factor", "2"]);
    refused("rope_scaling", json!("linear"), &["linear", "object"]);
    let part = json!({"rope_type": "default", "partial_rotary_factor": 0.25});
    refused("rope_parameters", part, &["rope_parameters.partial_rotary_factor", "0.25"]);
    let by_layer = json!({"full_attention": {"rope_type": "default", "rope_theta": 1e6}});
    refused("rope_parameters", by_layer, &["rope_parameters.full_attention"]);
    let mut both = qwen2();
    both["rope_parameters"] = json!({"rope_type": "default"});
    both["rope_scaling"] = json!({"rope_type": "linear", "factor": 2.0});
    assert!(parse(&both).is_err_and(|e| e.contains("rope_scaling")));
}

#[test]
fn some_layers_of_smollm3_do_not_rotate() {
    let rotates = |changes: &[(&str, Value)]| accepted(of(Family::SmolLm3), changes).rotates;
    assert_eq!(rotates(&[]), [true, true, true, false]);
    assert_eq!(rotates(&[("no_rope_layer_interval", json!(2))]), [true, false, true, false]);
    assert_eq!(rotates(&[("no_rope_layers", json!([0, 1, 1, 0]))]), [false, true, true, false]);
    let config = accepted(of(Family::SmolLm3), &[("rope_theta", Value::Null)]);
    assert_eq!((config.rope.theta, config.tie_word_embeddings), (2e6, true));
    for listed in [json!([0, 1]), json!([0, 1, 1, 2]), json!("all")] {
        let words = [listed.to_string(), "4 layers".to_owned()];
        refused(of(Family::SmolLm3), "no_rope_layers", listed, &words.each_ref().map(|w| &**w));
    }
    refused(qwen2(), "no_rope_layers", json!([0, 1, 1, 1]), &["[0,1,1,1]"]);
    refused(of(Family::SmolLm3), "use_sliding_window", json!(true), &["true"]);
}

#[test]
fn a_part_of_a_head_rotates_in_phi3() {
    let long =
        json!({"type": "longrope", "short_factor": [1.0, 1.5, 2.0], "long_factor": [1, 2, 3]});
    let changes = |rope: &Value| {
        [
            ("rope_scaling", rope.clone()),
            ("partial_rotary_factor", json!(0.5)),
            ("original_max_position_embeddings", json!(24)),
            ("num_key_value_heads", Value::Null),
        ]
    };
    let config = accepted(of(Family::Phi3), &changes(&long));
    assert_eq!((config.head_dim, config.rotary_dim), (12, 6));
    // The context of the first training, of which the model's is four times.
    assert_eq!(config.max_position_embeddings, 24);
    assert_eq!(config.windows, [None; 4]);
    let attention_factor = (1.0 + 4f64.ln() / 24f64.ln()).sqrt();
    let expected = RopeScaling::LongRope { short_factor: vec![1.0, 1.5, 2.0], attention_factor };
    assert_eq!(config.rope.scaling, expected);
    let phi = |rope: Value| {
        let mut config = of(Family::Phi3);
        changes(&rope).into_iter().for_each(|(key, value)| config[key] = value);
        parse(&config).expect_err("a rotation to refuse")
    };
    let short = phi(json!({"type": "longrope", "short_factor": [1.0, 2.0]}));
    assert!(short.contains("short_factor") && short.contains('2'), "{short}");
    let zero = phi(json!({"type": "longrope", "short_factor": [1.0, 0.0, 2.0]}));
    assert!(zero.contains("short_factor") && zero.contains('0'), "{zero}");
    let none = phi(json!({"type": "longrope"}));
    assert!(none.contains("rope_scaling.short_factor"), "{none}");
    let words = phi(json!({"type": "longrope", "short_factor": "all"}));
    assert!(words.contains("a list of numbers"), "{words}");
    let mut odd = of(Family::Phi3);
    odd["partial_rotary_factor"] = json!(0.25);
    assert!(parse(&odd).is_err_and(|e| e.contains("partial_rotary_factor") && e.contains('3')));
}

#[test]
fn windows_follow_each_family() {
    let on = ("use_sliding_window", json!(true));
    let window = ("sliding_window", json!(8));
    let types = ["full_attention", "sliding_attention", "full_attention", "full_attention"];
    let check = |family, changes: &[(&str, Value)], expected: [Option<usize>; 4]| {
        assert_eq!(accepted(of(family), changes).windows, expected, "{family:?} {changes:?}");
    };
    let some = Some(8);
    check(Family::Qwen2, std::slice::from_ref(&window), [None; 4]);
    let upper = ("max_window_layers", json!(3));
    check(Family::Qwen2, &[on.clone(), window.clone(), upper], [None, None, None, some]);
    let listed = [on.clone(), window.clone(), ("layer_types", json!(types))];
    check(Family::Qwen3, &listed, [None, some, None, None]);
    check(Family::Mistral, std::slice::from_ref(&window), [some; 4]);
    check(Family::Mistral, &[("sliding_window", Value::Null)], [None; 4]);
    // An absent field takes transformers' default.
    check(Family::Mistral, &[], [Some(4096); 4]);
    check(Family::Llama, &[("layer_types", json!(vec!["full_attention"; 4]))], [None; 4]);

    refused(qwen2(), "layer_types", json!(types), &["sliding_attention", "sliding_window"]);
    refused(qwen2(), "layer_types", json!(["full_attention"]), &["4"]);
    refused(qwen2(), "layer_types", json!(vec!["chunked_attention"; 4]), &["chunked"]);
    let mut mistral = of(Family::Mistral);
    mistral["sliding_window"] = json!(8);
    refused(mistral, "layer_types", json!(types), &["full_attention"]);
    let mut zero = of(Family::Mistral);
    zero["sliding_window"] = json!(0);
    assert!(parse(&zero).is_err_and(|e| e.contains("sliding_window")));
}

#[test]
fn defaults_are_those_of_transformers() {
    assert_eq!(accepted(of(Family::Qwen3), &[]).head_dim, 128);
    let null = [("head_dim", Value::Null), ("num_key_value_heads", Value::Null)];
    let config = accepted(of(Family::Llama), &null);
    assert_eq!((config.head_dim, config.num_key_value_heads), (12, 4));
    assert!(!config.tie_word_embeddings && !config.qkv_bias && !config.qk_norm);
    let config = accepted(of(Family::Llama), &[("attention_bias", json!(true))]);
    assert!(config.qkv_bias && config.output_bias && !config.mlp_bias);
    let config = accepted(qwen2(), &[("attention_bias", json!(true))]);
    assert!(config.qkv_bias && !config.output_bias);
}

#[test]
fn a_configuration_in_the_older_layout_gives_the_same_bits() {
    for name in ["llama3", "llama-linear", "mistral-window", "qwen2-windows"] {
        let mut fixture = Fixture::named(name);
        let tokens = fixture.expected.prompt.clone();
        let newer = alone(&fixture.load(), &tokens, 40);
        let config = fixture.config.as_object_mut().expect("an object");
        config.remove("layer_types");
        let mut rope = config.remove("rope_parameters").expect("what transformers 5 writes");
        let rope = rope.as_object_mut().expect("an object");
        config.insert("rope_theta".to_owned(), rope.remove("rope_theta").expect("a base"));
        if rope["rope_type"] != "default" {
            config.insert("rope_scaling".to_owned(), json!(rope));
        }
        let older = alone(&fixture.load(), &tokens, 40);
        assert!(newer.iter().map(bits).eq(older.iter().map(bits)), "{name}");
    }
}

#[test]
fn loading_names_what_config_and_tokenizer_disagree_on() {
    let check = |key: &str, value: Value, words: &[&str]| {
        let mut files = ModelFiles::new(1);
        files.config[key] = value;
        let message = files.load().expect_err("a spoilt model").to_string();
        for word in words {
            assert!(message.contains(word), "{message:?} does not name {word:?}");
        }
    };
    check("vocab_size", json!(10), &["vocab_size", "10", "46"]);
    check("head_dim", json!(16), &["q_proj.weight", "[48, 48]", "[64, 48]"]);
    check("eos_token_id", json!(null), &["eos_token_id", "null"]);
    check("eos_token_id", json!(46), &["46", "eos_token_id", "tokenizer.json"]);
}
