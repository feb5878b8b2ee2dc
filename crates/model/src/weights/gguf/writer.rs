//! Writes a model in Hugging Face's terms as a GGUF file that llama.cpp runs.

use std::io::Write;

use serde_json::Value as Json;

use super::config::{COUNTS, PHI3, ROPE_FACTORS, SMOLLM3, gguf_architecture, llama3_divisor};
use super::container::{Entries, Part, header, matrix, padding};
use super::names::{permuted, stored_order, to_gguf};
use super::quants::stored_kind;
use super::tokenizer::{ENDS, WHOLE, pre_name, tokens};
use super::{GgufError, Kind};

/// A tensor to write.
pub struct NewTensor<'a> {
    /// The tensor's Hugging Face name.
    pub name: &'a str,
    /// `[rows, columns]` or `[columns]`.
    pub shape: &'a [usize],
    /// Fills a row; a vector is row 0.
    pub row: &'a dyn Fn(usize, &mut [f32]),
}

/// Writes configuration, tokenizer and tensors. `texts` are further metadata, such as
/// `general.name` or `tokenizer.chat_template`.
///
/// Matrices are stored as `kind`: F32, F16, Q8_0, Q4_0 or Q4_K. Vectors are F32. With Q4_0
/// and Q4_K, embedding and LM head are Q8_0. Rows that are not whole Q4_K blocks are Q4_1.
///
/// The file also holds the whole `tokenizer.json`, so that this workspace reads back exactly
/// the same tokenizer.
///
/// # Errors
/// A value that GGUF or llama.cpp cannot represent, by name; a writer that fails.
pub fn export(
    out: &mut impl Write,
    config: &Json,
    tokenizer: &Json,
    kind: Kind,
    texts: &[(&str, &str)],
    tensors: &[NewTensor<'_>],
) -> Result<(), GgufError> {
    let model_type = config.get("model_type").and_then(Json::as_str).unwrap_or("");
    let architecture = gguf_architecture(model_type)?;
    check_written(architecture, config)?;
    let (heads, kv_heads) = heads(config)?;
    let factors = rope_factors(config)?;
    let fill = |_: usize, row: &mut [f32]| row.copy_from_slice(&factors);
    let factor_shape = [factors.len()];
    let mut sources: Vec<(String, &NewTensor<'_>)> = Vec::new();
    for source in tensors {
        let name = to_gguf(source.name).ok_or_else(|| {
            let expected = "a tensor of Llama, Mistral, Qwen2, Qwen3 or SmolLM3";
            GgufError::value("tensor", source.name, expected)
        })?;
        sources.push((name, source));
    }
    let rope = NewTensor { name: ROPE_FACTORS, shape: &factor_shape, row: &fill };
    if !factors.is_empty() {
        sources.push((ROPE_FACTORS.to_owned(), &rope));
    }

    let mut entries = Entries::default();
    entries.text("general.architecture", architecture);
    texts.iter().for_each(|(key, text)| entries.text(key, text));
    let file_type = match kind {
        Kind::F32 => 0,
        Kind::F16 => 1,
        Kind::Q4_0 => 2,
        Kind::Q8_0 => 7,
        // llama.cpp's number for Q4_K without larger types in some layers.
        Kind::Q4K => 14,
        other => {
            let expected = "F32, F16, Q8_0, Q4_0 or Q4_K";
            return Err(GgufError::value("kind", other.name(), expected));
        }
    };
    entries.number("general.file_type", file_type);
    configuration(&mut entries, architecture, config)?;
    vocabulary(&mut entries, config, tokenizer)?;

    let parts: Vec<Part<'_>> = sources
        .iter()
        .map(|(name, source)| {
            let kind = stored_kind(source.name, source.shape, kind);
            Part { name, shape: source.shape, kind }
        })
        .collect();
    out.write_all(&header(&entries, &parts)?)?;
    for (part, (_, source)) in parts.iter().zip(&sources) {
        let permuted = permuted(architecture, source.name, heads, kv_heads);
        let (rows, columns) = matrix(source.shape);
        let vector = source.shape.len() == 1;
        let order = stored_order(source.name, if vector { columns } else { rows }, permuted)?;
        let (mut values, mut bytes, mut written) = (vec![0.0; columns], Vec::new(), 0);
        for row in 0..rows {
            (source.row)(if vector { 0 } else { order[row] }, &mut values);
            if vector && permuted.is_some() {
                values = order.iter().map(|&i| values[i]).collect();
            }
            bytes.clear();
            part.kind.encode(&values, &mut bytes);
            out.write_all(&bytes)?;
            written += bytes.len();
        }
        out.write_all(padding(written))?;
    }
    Ok(())
}

/// Refuses what a file cannot say, or what is not written yet.
fn check_written(architecture: &str, config: &Json) -> Result<(), GgufError> {
    if architecture == PHI3 {
        let expected = "llama, mistral, qwen2, qwen3 or smollm3; Phi-3 is read, not written";
        return Err(GgufError::value("model_type", architecture, expected));
    }
    // llama.cpp takes every fourth layer of SmolLM3 for one without a rotation.
    let listed = config.get("no_rope_layers").and_then(Json::as_array);
    let fourth = |list: &Vec<Json>| (1..).zip(list).all(|(i, flag)| (i % 4 != 0) == (flag == 1));
    match listed {
        Some(list) if architecture == SMOLLM3 && !fourth(list) => {
            let expected = "0 in every fourth layer alone, as llama.cpp has it";
            Err(GgufError::value("no_rope_layers", Json::from(list.clone()), expected))
        }
        _ => Ok(()),
    }
}

fn count(config: &Json, field: &str) -> Result<u32, GgufError> {
    let value = config.get(field).unwrap_or(&Json::Null);
    let count = value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|&n| n > 0);
    count.ok_or_else(|| GgufError::value(field, value, "a positive number in config.json"))
}

fn heads(config: &Json) -> Result<(usize, usize), GgufError> {
    let heads = count(config, "num_attention_heads")?;
    let key_value = config.get("num_key_value_heads").filter(|v| !v.is_null());
    let key_value = key_value.map_or(Ok(heads), |_| count(config, "num_key_value_heads"))?;
    Ok((heads as usize, key_value as usize))
}

fn head_dim(config: &Json) -> Result<u32, GgufError> {
    match config.get("head_dim").filter(|v| !v.is_null()) {
        Some(_) => count(config, "head_dim"),
        None => Ok(count(config, "hidden_size")? / count(config, "num_attention_heads")?),
    }
}

/// A rotary constant. Newer files nest it in an object.
fn rope<'a>(config: &'a Json, field: &str) -> Option<&'a Json> {
    let nested = ["rope_scaling", "rope_parameters"].into_iter().filter_map(|at| config.get(at));
    nested.chain([config]).find_map(|place| place.get(field)).filter(|value| !value.is_null())
}

fn theta(config: &Json) -> f64 {
    rope(config, "rope_theta").and_then(Json::as_f64).unwrap_or(10_000.0)
}

fn rope_type(config: &Json) -> &str {
    let kind = rope(config, "rope_type").or_else(|| rope(config, "type"));
    kind.and_then(Json::as_str).unwrap_or("default")
}

/// Llama 3's divisors; empty for other scalings.
fn rope_factors(config: &Json) -> Result<Vec<f32>, GgufError> {
    if rope_type(config) != "llama3" {
        return Ok(Vec::new());
    }
    let number = |field: &str| {
        let value = rope(config, field).and_then(Json::as_f64).filter(|v| *v > 0.0);
        value.ok_or_else(|| GgufError::missing(field, "a positive number in rope_scaling"))
    };
    let (factor, low) = (number("factor")?, number("low_freq_factor")?);
    let (high, original) =
        (number("high_freq_factor")?, number("original_max_position_embeddings")?);
    let width = head_dim(config)? as usize;
    let divisor = |i| llama3_divisor(i, width, theta(config), factor, low, high, original) as f32;
    Ok((0..width / 2).map(divisor).collect())
}

fn configuration(
    entries: &mut Entries,
    architecture: &str,
    config: &Json,
) -> Result<(), GgufError> {
    let key = |name: &str| format!("{architecture}.{name}");
    for (field, name) in COUNTS {
        let value = match field {
            "num_key_value_heads" => heads(config)?.1 as u32,
            field => count(config, field)?,
        };
        entries.number(&key(name), value);
    }
    entries.number(&key("vocab_size"), count(config, "vocab_size")?);
    let width = head_dim(config)?;
    for name in ["attention.key_length", "attention.value_length", "rope.dimension_count"] {
        entries.number(&key(name), width);
    }
    let eps = config.get("rms_norm_eps").and_then(Json::as_f64).unwrap_or(1e-6);
    entries.float(&key("attention.layer_norm_rms_epsilon"), eps);
    entries.float(&key("rope.freq_base"), theta(config));
    let window = config.get("sliding_window").filter(|w| !w.is_null());
    if let Some(window) = window.filter(|_| architecture == "llama") {
        return Err(GgufError::value("sliding_window", window, "none: llama.cpp would ignore it"));
    }
    match rope_type(config) {
        "default" | "llama3" => Ok(()),
        "linear" => {
            let factor = rope(config, "factor").and_then(Json::as_f64);
            let factor = factor.ok_or_else(|| GgufError::missing("factor", "a number"))?;
            entries.text(&key("rope.scaling.type"), "linear");
            entries.float(&key("rope.scaling.factor"), factor);
            Ok(())
        }
        other => Err(GgufError::value("rope_type", other, "default, linear or llama3")),
    }
}

fn vocabulary(entries: &mut Entries, config: &Json, tokenizer: &Json) -> Result<(), GgufError> {
    let kind = tokenizer.pointer("/model/type").and_then(Json::as_str).unwrap_or("");
    if kind != "BPE" {
        return Err(GgufError::value("model.type of tokenizer.json", kind, "BPE"));
    }
    let pre = pre_name(tokenizer.get("pre_tokenizer").unwrap_or(&Json::Null)).ok_or_else(|| {
        let expected = "that of Qwen2, Llama 3, GPT-2 or SmolLM, which llama.cpp knows";
        GgufError::value("pre_tokenizer of tokenizer.json", "another", expected)
    })?;
    entries.text("tokenizer.ggml.model", "gpt2");
    entries.text("tokenizer.ggml.pre", pre);
    let (tokens, kinds) = tokens(tokenizer, count(config, "vocab_size")? as usize)?;
    entries.array("tokenizer.ggml.tokens", 8, tokens.len());
    tokens.iter().for_each(|token| entries.element(token));
    entries.array("tokenizer.ggml.token_type", 5, kinds.len());
    entries.elements(&kinds);
    let merges = tokenizer.pointer("/model/merges").and_then(Json::as_array);
    let merges = merges.map_or(&[][..], Vec::as_slice);
    entries.array("tokenizer.ggml.merges", 8, merges.len());
    for merge in merges {
        let pair: Option<Vec<&str>> =
            merge.as_array().and_then(|pair| pair.iter().map(Json::as_str).collect());
        let merge = pair.map(|pair| pair.join(" ")).or(merge.as_str().map(str::to_owned));
        let merge = merge.ok_or_else(|| GgufError::missing("merges", "pairs of tokens"))?;
        entries.element(&merge);
    }
    for (key, field) in [("bos", "bos_token_id"), ("padding", "pad_token_id")] {
        if let Some(id) = config.get(field).and_then(Json::as_u64) {
            entries.number(&format!("tokenizer.ggml.{key}_token_id"), id as u32);
        }
    }
    let ends = match config.get("eos_token_id").unwrap_or(&Json::Null) {
        Json::Null => Vec::new(),
        Json::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    if ends.len() > ENDS.len() {
        let expected = format!("at most {}, which GGUF has names for", ENDS.len());
        return Err(GgufError::value("eos_token_id", format!("{} long", ends.len()), expected));
    }
    for (key, id) in ENDS.iter().zip(&ends) {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| GgufError::missing("eos_token_id", "token ids"))?;
        entries.number(key, id);
    }
    entries.boolean("tokenizer.ggml.add_bos_token", false);
    entries.text(WHOLE, &tokenizer.to_string());
    Ok(())
}
