//! Reads Hugging Face's `config.json` and `generation_config.json`. Every field that
//! changes the computation is honoured or refused by name. Absent fields take the defaults
//! of transformers' configuration classes.

use std::path::Path;

use serde_json::Value;

use super::{Config, Family, Gemma, Rope, RopeScaling};
use crate::LoadError;
use crate::json_fields::{Fields, read_json};
use crate::weights::gguf::is_gguf;

/// Fields that must be absent, null or one of these values in every family.
const ONLY: &[(&str, &[&str])] = &[
    ("quantization_config", &[]),
    ("use_qk_norm", &["false"]),
    ("attn_logit_softcapping", &[]),
    ("final_logit_softcapping", &[]),
    ("num_experts", &["0"]),
    ("num_local_experts", &["0"]),
    ("is_encoder_decoder", &["false"]),
    ("add_cross_attention", &["false"]),
];

/// The same in every family but Phi-3.
const NOT_PHI: &[(&str, &[&str])] = &[("partial_rotary_factor", &["1", "1.0"])];

/// The same in every family but SmolLM3.
const NOT_SMOLLM3: &[(&str, &[&str])] = &[("no_rope_layers", &[])];

/// The same in every family but Gemma.
const NOT_GEMMA: &[(&str, &[&str])] = &[
    ("hidden_act", &["\"silu\""]),
    ("hidden_activation", &["\"silu\""]),
    ("query_pre_attn_scalar", &[]),
];

/// The same for one family. Its code in transformers would ignore other values.
fn only_here(family: Family) -> &'static [(&'static str, &'static [&'static str])] {
    match family {
        Family::Qwen2 => &[("attention_bias", &["true"]), ("mlp_bias", &["false"])],
        Family::Qwen3 => &[("mlp_bias", &["false"])],
        Family::Llama => &[("sliding_window", &[]), ("use_sliding_window", &["false"])],
        Family::Mistral => &[
            ("attention_bias", &["false"]),
            ("mlp_bias", &["false"]),
            ("use_sliding_window", &["true"]),
        ],
        Family::SmolLm3 => &[("use_sliding_window", &["false"])],
        Family::Phi3 => &[
            ("attention_bias", &["false"]),
            ("mlp_bias", &["false"]),
            ("lm_head_bias", &["false"]),
        ],
        Family::Gemma3 => &[
            ("hidden_activation", &["\"gelu_pytorch_tanh\""]),
            ("attention_bias", &["false"]),
            ("mlp_bias", &["false"]),
        ],
    }
}

impl Config {
    /// Reads and checks `config.json`.
    ///
    /// # Errors
    /// A file that cannot be read or parsed; a field that this decoder cannot honour, by
    /// name.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        Self::parse(path, &read_json(path, "a Hugging Face config.json")?)
    }

    /// [`Config::read`] from parsed JSON. `path` only appears in errors.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn parse(path: &Path, json: &Value) -> Result<Self, LoadError> {
        let fields = Fields::new(path, json)?;
        let family = family(&fields, path)?;
        if family != Family::Gemma3 {
            fields.only(NOT_GEMMA)?;
        }
        if family != Family::Phi3 {
            fields.only(NOT_PHI)?;
        }
        if family != Family::SmolLm3 {
            fields.only(NOT_SMOLLM3)?;
        }
        fields.only(ONLY)?;
        fields.only(only_here(family))?;

        let hidden_size = fields.count("hidden_size")?;
        let heads = fields.count("num_attention_heads")?;
        let key_value_heads = match fields.optional_count("num_key_value_heads")? {
            Some(heads) => heads,
            // The first Llama and Phi-3 models leave it out; they have one for each head.
            None if matches!(family, Family::Llama | Family::Phi3)
                || fields.is_null("num_key_value_heads") =>
            {
                heads
            }
            None => return Err(fields.missing("num_key_value_heads")),
        };
        let bias = fields.flag("attention_bias")?.unwrap_or(false);
        let layers = fields.count("num_hidden_layers")?;
        let head_dim = head_dim(&fields, family, hidden_size, heads)?;
        let context = fields.count("max_position_embeddings")?;
        let (rope, longest) = rope(&fields, family, context)?;
        let eps = if family == Family::Phi3 { 1e-5 } else { 1e-6 };
        let config = Config {
            family,
            vocab_size: fields.count("vocab_size")?,
            hidden_size,
            intermediate_size: fields.count("intermediate_size")?,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: key_value_heads,
            head_dim,
            max_position_embeddings: longest,
            rms_norm_eps: fields.number("rms_norm_eps")?.unwrap_or(eps),
            rope,
            rotary_dim: rotary_dim(&fields, head_dim)?,
            rotates: rotates(&fields, family, layers)?,
            random_weights: fields.flag("random_weights")?.unwrap_or(false),
            tie_word_embeddings: fields
                .flag("tie_word_embeddings")?
                .unwrap_or(family == Family::SmolLm3),
            qkv_bias: family == Family::Qwen2 || bias,
            output_bias: family != Family::Qwen2 && bias,
            mlp_bias: fields.flag("mlp_bias")?.unwrap_or(false),
            qk_norm: matches!(family, Family::Qwen3 | Family::Gemma3),
            windows: windows(&fields, family, layers)?,
            gemma: (family == Family::Gemma3).then(|| gemma(&fields)).transpose()?,
        };
        config.check(path)?;
        Ok(config)
    }
}

fn gemma(fields: &Fields<'_>) -> Result<Gemma, LoadError> {
    Ok(Gemma {
        local_rope: Rope {
            theta: fields.number("rope_local_base_freq")?.unwrap_or(10_000.0),
            scaling: RopeScaling::Default,
        },
        query_pre_attn_scalar: fields.number("query_pre_attn_scalar")?.unwrap_or(256.0),
    })
}

/// The family that `model_type` names. Gemma 3 is read from GGUF files alone: there its norms'
/// weights include the 1 that is added to those of a folder.
fn family(fields: &Fields<'_>, path: &Path) -> Result<Family, LoadError> {
    let known = || {
        let names: Vec<_> = Family::ALL.iter().map(|f| format!("\"{}\"", f.model_type())).collect();
        format!("one of {}", names.join(", "))
    };
    let model_type = fields.get("model_type").unwrap_or(&Value::Null);
    let is = |f: &Family| model_type.as_str() == Some(f.model_type());
    let of_file = Some(Family::Gemma3).filter(is);
    if of_file.is_some() && !is_gguf(path) {
        let expected = format!("{}; Gemma 3 is read from GGUF files alone", known());
        return Err(fields.bad("model_type", model_type, expected));
    }
    let family = Family::ALL.into_iter().find(is).or(of_file);
    let family = family.ok_or_else(|| fields.bad("model_type", model_type, known()))?;
    if let Some(architectures) = fields.get("architectures") {
        let expected = family.architecture();
        let names = architectures.as_array().map_or(&[][..], Vec::as_slice);
        if names.is_empty() || names.iter().any(|name| name.as_str() != Some(expected)) {
            return Err(fields.bad("architectures", architectures, format!("[\"{expected}\"]")));
        }
    }
    Ok(family)
}

fn head_dim(
    fields: &Fields<'_>,
    family: Family,
    hidden: usize,
    heads: usize,
) -> Result<usize, LoadError> {
    if let Some(head_dim) = fields.optional_count("head_dim")? {
        return Ok(head_dim);
    }
    if family == Family::Qwen3 && !fields.is_null("head_dim") {
        return Ok(128); // Qwen3Config's own default
    }
    if heads == 0 || !hidden.is_multiple_of(heads) {
        let expected = format!("a multiple of num_attention_heads = {heads}, or a head_dim");
        return Err(fields.bad("hidden_size", &Value::from(hidden), expected));
    }
    Ok(hidden / heads)
}

/// Dimensions of a head that are rotated, rounded down.
fn rotary_dim(fields: &Fields<'_>, head_dim: usize) -> Result<usize, LoadError> {
    let nested = fields.object("rope_parameters")?;
    let nested = nested.map(|rope| rope.number("partial_rotary_factor")).transpose()?.flatten();
    let share = nested.or(fields.number("partial_rotary_factor")?).unwrap_or(1.0);
    // The little more is for shares such as 20/24, whose product may end below the number.
    Ok((share * head_dim as f64 + 1e-9) as usize)
}

/// Which layers rotate: in SmolLM3 those with a 1 in `no_rope_layers`, or all but every fourth.
fn rotates(fields: &Fields<'_>, family: Family, layers: usize) -> Result<Vec<bool>, LoadError> {
    // The check that follows refuses a count beyond the limit.
    let layers = layers.min(1 << 12);
    if family != Family::SmolLm3 {
        return Ok(vec![true; layers]);
    }
    let Some(listed) = fields.get("no_rope_layers") else {
        let interval = fields.optional_count("no_rope_layer_interval")?.unwrap_or(4);
        return Ok((1..=layers).map(|i| interval == 0 || i % interval != 0).collect());
    };
    let flags: Option<Vec<bool>> = listed.as_array().and_then(|list| {
        let flag = |one: &Value| one.as_u64().filter(|n| *n < 2).map(|n| n == 1);
        list.iter().take(layers).map(flag).collect()
    });
    flags.filter(|flags| flags.len() == layers).ok_or_else(|| {
        fields.bad("no_rope_layers", listed, format!("a 0 or 1 for each of {layers} layers"))
    })
}

/// The rotation and the longest sequence. `rope_parameters` (transformers 5), or `rope_theta` with
/// `rope_scaling` (before 5).
fn rope(fields: &Fields<'_>, family: Family, context: usize) -> Result<(Rope, usize), LoadError> {
    let base = if family == Family::SmolLm3 { 2_000_000.0 } else { 10_000.0 };
    let (newer, older) = (fields.object("rope_parameters")?, fields.object("rope_scaling")?);
    let nested = match (newer, older) {
        (Some(_), Some(_)) => {
            let older = fields.get("rope_scaling").unwrap_or(&Value::Null);
            let expected = "no rope_scaling beside rope_parameters".to_owned();
            return Err(fields.bad("rope_scaling", older, expected));
        }
        (newer, older) => newer.or(older),
    };
    let theta = fields.number("rope_theta")?;
    let Some(nested) = nested else {
        let rope = Rope { theta: theta.unwrap_or(base), scaling: RopeScaling::Default };
        return Ok((rope, context));
    };
    if family != Family::Phi3 {
        nested.only(NOT_PHI)?;
    }
    let mut longest = context;
    let kind = ["rope_type", "type"].into_iter().find(|key| nested.get(key).is_some());
    let (key, kind) = match kind {
        Some(key) => (key, nested.get(key).unwrap_or(&Value::Null)),
        None => ("rope_type", &Value::Null),
    };
    let scaling = match kind.as_str() {
        // Rotations per layer type are objects here, without a type of their own.
        None if kind.is_null() => {
            if let Some((field, value)) = nested.entries().find(|(_, value)| value.is_object()) {
                let expected = "the same rotation in every layer".to_owned();
                return Err(nested.bad(field, value, expected));
            }
            nested.only(&[("factor", &[])])?;
            RopeScaling::Default
        }
        Some("default") => RopeScaling::Default,
        Some("linear") => RopeScaling::Linear { factor: nested.positive("factor")? },
        Some("llama3") => RopeScaling::Llama3 {
            factor: nested.positive("factor")?,
            low_freq_factor: nested.positive("low_freq_factor")?,
            high_freq_factor: nested.positive("high_freq_factor")?,
            original_max_position_embeddings: nested
                .positive("original_max_position_embeddings")?,
        },
        Some("longrope" | "su") if family == Family::Phi3 => {
            let original = "original_max_position_embeddings";
            let first = match nested.optional_count(original)? {
                Some(first) => first,
                None => fields.count(original)?,
            };
            longest = context.min(first);
            long_rope(&nested, context as f64 / first as f64, first as f64)?
        }
        _ => {
            let expected = "\"default\", \"linear\" or \"llama3\"; in Phi-3 \"longrope\" too";
            return Err(nested.bad(key, kind, expected.to_owned()));
        }
    };
    let theta = nested.number("rope_theta")?.or(theta).unwrap_or(base);
    Ok((Rope { theta, scaling }, longest))
}

/// The rotation of sequences up to the context of the first training, `first`, of a model whose
/// context is `factor` times that.
fn long_rope(nested: &Fields<'_>, factor: f64, first: f64) -> Result<RopeScaling, LoadError> {
    let field = "short_factor";
    let listed = nested.get(field).ok_or_else(|| nested.missing(field))?;
    let numbers: Option<Vec<f64>> =
        listed.as_array().and_then(|list| list.iter().map(Value::as_f64).collect());
    let short_factor =
        numbers.ok_or_else(|| nested.bad(field, listed, "a list of numbers".to_owned()))?;
    let factor = nested.number("factor")?.unwrap_or(factor);
    let attention_factor = match nested.number("attention_factor")? {
        Some(given) => given,
        None if factor <= 1.0 => 1.0,
        None => (1.0 + factor.ln() / first.ln()).sqrt(),
    };
    Ok(RopeScaling::LongRope { short_factor, attention_factor })
}

/// The window of every layer. With `use_sliding_window`, Qwen gives one to its upper layers
/// or to those named in `layer_types`. Mistral gives one to all layers.
fn windows(
    fields: &Fields<'_>,
    family: Family,
    layers: usize,
) -> Result<Vec<Option<usize>>, LoadError> {
    // The check that follows refuses a count beyond the limit.
    let layers = layers.min(1 << 12);
    let written = fields.optional_count("sliding_window")?;
    // An absent field is transformers' default; null is no window.
    let default = (family != Family::Phi3).then_some(4096);
    let window = if fields.is_null("sliding_window") { None } else { written.or(default) };
    let in_use = fields.flag("use_sliding_window")? == Some(true);
    let window = match family {
        Family::Llama | Family::SmolLm3 => None,
        Family::Mistral | Family::Phi3 | Family::Gemma3 => window,
        Family::Qwen2 | Family::Qwen3 => window.filter(|_| in_use),
    };
    let qwen = matches!(family, Family::Qwen2 | Family::Qwen3 | Family::Gemma3);
    let Some(types) = fields.get("layer_types") else {
        let full = match (qwen, window) {
            (true, Some(_)) => fields.optional_count("max_window_layers")?.unwrap_or(28),
            _ => 0,
        };
        return Ok((0..layers).map(|i| window.filter(|_| i >= full)).collect());
    };
    let list = types.as_array().filter(|list| list.len() == layers);
    let list = list.ok_or_else(|| {
        fields.bad("layer_types", types, format!("a list of {layers} layers' types"))
    })?;
    let of = |kind: &Value| match kind.as_str() {
        // Mistral's code windows every layer and ignores this list.
        Some("full_attention") if qwen || window.is_none() => Ok(None),
        Some("sliding_attention") if window.is_some() => Ok(window),
        _ => {
            let expected = match (qwen, window) {
                (_, None) => "\"full_attention\", since no sliding_window is in use",
                (true, _) => "\"full_attention\" or \"sliding_attention\"",
                (false, _) => "\"sliding_attention\", as sliding_window says for every layer",
            };
            Err(fields.bad("layer_types", kind, expected.to_owned()))
        }
    };
    list.iter().map(of).collect()
}

/// End tokens of a model directory: `eos_token_id` (an id or a list) of
/// `generation_config.json` if present there, else of `config.json`.
///
/// # Errors
/// No end token in either file, or an end token that is not an id.
pub(crate) fn end_tokens(dir: &Path, config: &Value) -> Result<Vec<u32>, LoadError> {
    let path = dir.join("generation_config.json");
    let generation = if path.exists() { read_json(&path, "a JSON object")? } else { Value::Null };
    let (path, value) = match generation.get("eos_token_id").filter(|v| !v.is_null()) {
        Some(value) => (path, value.clone()),
        None => {
            (dir.join("config.json"), config.get("eos_token_id").cloned().unwrap_or(Value::Null))
        }
    };
    let id = |v: &Value| v.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids: Option<Vec<u32>> = match &value {
        Value::Array(list) => list.iter().map(id).collect(),
        one => id(one).map(|id| vec![id]),
    };
    ids.filter(|ids| !ids.is_empty()).ok_or_else(|| LoadError::Config {
        path,
        field: "eos_token_id".to_owned(),
        value: value.to_string(),
        expected: "a token id or a list of them, in generation_config.json or config.json"
            .to_owned(),
    })
}
