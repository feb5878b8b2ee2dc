//! `tiny.gguf` of `make_tiny.py`: every tensor type, names, order of rows, metadata.

use safetensors::SafeTensors;
use serde_json::json;
use tokenroute_model::Format;
use tokenroute_model::gguf::{Gguf, Kind, Value};

use crate::here;

#[test]
fn weights_are_llama_cpps_in_hugging_faces_names_and_order() {
    let file = Gguf::open(&here("tiny.gguf")).expect("a sound file");
    let bytes = std::fs::read(here("tiny.safetensors")).expect("tiny.safetensors");
    let expected = SafeTensors::deserialize(&bytes).expect("a sound file");
    let mut kinds = Vec::new();
    for (name, tensor) in expected.tensors() {
        let weight = file.weight(&name).expect("sound metadata").expect(&name);
        kinds.push(weight.kind());
        assert_eq!(weight.shape(), tensor.shape(), "{name}");
        let values =
            tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        for (i, (found, expected)) in weight.to_f32().into_iter().zip(values).enumerate() {
            let tolerance = 1e-6 * expected.abs().max(1e-3);
            assert!((found - expected).abs() <= tolerance, "{name}[{i}]: {found}, not {expected}");
        }
    }
    for kind in
        [Kind::F32, Kind::F16, Kind::BF16, Kind::Q8_0, Kind::Q4_0, Kind::Q4K, Kind::Q5K, Kind::Q6K]
    {
        assert!(kinds.contains(&kind), "{} is tested", kind.name());
    }
    let mut names = file.weight_names().expect("known tensors");
    names.sort();
    let mut all: Vec<String> = expected.names().iter().map(ToString::to_string).collect();
    all.sort();
    assert_eq!(names, all);
    assert!(file.weight("model.layers.0.self_attn.q_proj.bias").expect("sound").is_none());
}

#[test]
fn dequantisation_is_candles() {
    use candle_core::Device;
    use candle_core::quantized::gguf_file::Content;

    let file = Gguf::open(&here("tiny.gguf")).expect("a sound file");
    let mut reader = std::io::Cursor::new(crate::tiny());
    let content = Content::read(&mut reader).expect("candle reads it");
    for (name, tensor) in file.tensors() {
        let theirs = content.tensor(&mut reader, name, &Device::Cpu).expect("candle reads it");
        let theirs =
            theirs.dequantize(&Device::Cpu).and_then(|t| t.flatten_all()?.to_vec1::<f32>());
        let mut ours = vec![0.0; tensor.shape.iter().product()];
        tensor.kind.dequantise(file.bytes(tensor), &mut ours);
        assert_eq!(ours, theirs.expect("f32 values"), "{name} in {}", tensor.kind.name());
    }
}

#[test]
fn metadata_becomes_a_configuration() {
    let file = Gguf::parse(crate::tiny()).expect("a sound file");
    let config = file.config().expect("a supported model");
    for (field, value) in [
        ("model_type", json!("llama")),
        ("architectures", json!(["LlamaForCausalLM"])),
        ("hidden_size", json!(256)),
        ("intermediate_size", json!(256)),
        ("num_hidden_layers", json!(1)),
        ("num_attention_heads", json!(4)),
        ("num_key_value_heads", json!(2)),
        ("head_dim", json!(4)),
        ("max_position_embeddings", json!(128)),
        ("vocab_size", json!(6)),
        ("rope_theta", json!(500_000.0)),
        ("rms_norm_eps", json!(1e-5)),
        ("tie_word_embeddings", json!(false)),
        ("attention_bias", json!(false)),
        ("eos_token_id", json!([4])),
    ] {
        assert_eq!(config[field], value, "{field}");
    }
    assert_eq!(file.get("tokenizer.ggml.eos_token_id"), Some(Value::Unsigned(4)));
    assert_eq!(file.get("no.such.key"), None);
}

#[test]
fn its_tokenizer_runs() {
    let file = Gguf::parse(crate::tiny()).expect("a sound file");
    let json = file.tokenizer().expect("a known tokenizer");
    let tokenizer = tokenizers::Tokenizer::from_bytes(json.to_string()).expect("a tokenizer.json");
    let ids = |text: &str| tokenizer.encode(text, false).expect("ids").get_ids().to_vec();
    assert_eq!(ids("ab a<|end|>b"), [2, 3, 0, 4, 1]);
    assert_eq!(tokenizer.get_vocab_size(true), 5, "padding is no token");
}

/// llama-quantize's fallback for rows that are not whole blocks of 256, as in Qwen2.5-0.5B:
/// ggml's `dequantize_row_q5_0` and `_q5_1`.
#[test]
fn five_bits_of_blocks_of_32() {
    let value = |j: usize| (j * 7 + 3) % 32;
    let mut quants = vec![0u8; 20];
    for j in 0..32 {
        quants[j / 8] |= ((value(j) >> 4) as u8) << (j % 8);
        quants[4 + j % 16] |= ((value(j) & 15) as u8) << (4 * (j / 16));
    }
    // 0.5 and, as the minimum, -2 in half precision.
    for (kind, head, expected) in [
        (Kind::Q5_0, vec![0x00, 0x38], (0.5, -8.0)),
        (Kind::Q5_1, vec![0x00, 0x38, 0x00, 0xc0], (0.5, -2.0)),
    ] {
        let mut out = [0.0; 32];
        let bytes = [head, quants.clone()].concat();
        kind.dequantise(&bytes, &mut out);
        for (j, found) in out.into_iter().enumerate() {
            assert_eq!(found, expected.0 * value(j) as f32 + expected.1, "{} {j}", kind.name());
        }
        let format = kind.held_in().expect("a format that holds five bits");
        let blocks = kind.packed(&bytes, format).expect("whole blocks");
        assert!(*blocks == *bytes, "{} is held as it is stored", kind.name());
        let mut held = [0.0; 32];
        format.dequantise(&blocks, &mut held);
        assert_eq!(held, out, "{} has the values of ggml's blocks", kind.name());
        // Beside parts in 8 bits it is held in 8 bits.
        if let Some(blocks) = kind.packed(&bytes, Format::Q8_0) {
            Format::Q8_0.dequantise(&blocks, &mut held);
            assert_eq!((held, kind), (out, Kind::Q5_0));
        }
    }
}

/// Scales of parts are products of an f16 and 6 bits, and are held as f16.
#[test]
fn k_quants_are_held_to_the_last_places_of_f16() {
    let file = Gguf::open(&here("tiny.gguf")).expect("a sound file");
    for wanted in [Kind::Q4K, Kind::Q5K] {
        let of_kind = file.tensors().find(|(_, tensor)| tensor.kind == wanted);
        let (name, tensor) = of_kind.expect("a tensor of every kind");
        let mut exact = vec![0.0; tensor.shape.iter().product()];
        let mut held = exact.clone();
        wanted.dequantise(file.bytes(tensor), &mut exact);
        let format = wanted.held_in().expect("a format of blocks");
        let blocks = wanted.packed(file.bytes(tensor), format).expect("whole blocks");
        format.dequantise(&blocks, &mut held);
        let most = exact.iter().fold(0.0f32, |most, w| most.max(w.abs()));
        for (i, (held, exact)) in held.into_iter().zip(exact).enumerate() {
            assert!((held - exact).abs() <= most / 1000.0, "{name}[{i}]: {held}, not {exact}");
        }
    }
}

/// Random blocks of 2 to 4 bits have the values of llama.cpp's code (`make_low_bits.py`), and
/// blocks whose weights are places in a table are held in 8 bits.
#[test]
fn low_bits_are_llama_cpps() {
    let file = Gguf::open(&here("low-bits.gguf")).expect("a sound file");
    let bytes = std::fs::read(here("low-bits.safetensors")).expect("the values");
    let expected = SafeTensors::deserialize(&bytes).expect("a sound file");
    for (name, wanted, held_within) in [
        ("Q2_K", Kind::Q2K, None),
        ("Q3_K", Kind::Q3K, None),
        ("IQ4_NL", Kind::Iq4Nl, Some(0.0)),
        // Its scales are rounded to the 11 bits of an f16.
        ("IQ4_XS", Kind::Iq4Xs, Some(1.0 / 2048.0)),
        ("MXFP4", Kind::Mxfp4, Some(0.0)),
    ] {
        let tensor = file.tensor(name).expect(name);
        assert_eq!((tensor.kind, tensor.kind.name()), (wanted, name));
        let mut found = vec![0.0; 1024];
        wanted.dequantise(file.bytes(tensor), &mut found);
        let values = expected.tensor(name).expect(name);
        let values = values.data().chunks_exact(4);
        let values: Vec<f32> =
            values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        assert_eq!(found, values, "{name}");
        let format = wanted.held_in().expect("a format of blocks");
        assert_eq!(format, Format::Q8_0);
        let packed = wanted.packed(file.bytes(tensor), format);
        assert_eq!(packed.is_some(), held_within.is_some(), "{name}");
        if let (Some(blocks), Some(within)) = (packed, held_within) {
            let mut held = vec![0.0; 1024];
            format.dequantise(&blocks, &mut held);
            for (held, exact) in held.iter().zip(&found) {
                assert!((held - exact).abs() <= within * exact.abs(), "{name}: {held}, {exact}");
            }
        }
    }
    // A power of two that no f16 holds: the block is quantised anew.
    let mut block = [0x21u8; 17];
    for (power, held) in [(90, false), (103, false), (104, true), (143, true), (144, false)] {
        block[0] = power;
        assert_eq!(Kind::Mxfp4.packed(&block, Format::Q8_0).is_some(), held, "2^{power}");
    }
}
