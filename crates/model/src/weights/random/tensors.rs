//! Names, shapes and values of a random model's tensors.

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::weights::{EMBEDDING, HEAD};
use crate::{Config, Family};

/// Fills a row of a tensor with numbers that are uniform about its mean.
///
/// A matrix's weights have the variance 1 / inputs, so that it keeps its inputs' mean
/// square. The final norm gives rows of mean square 1, so logits have the variance 1.
/// Greedy tokens then win by a moderate margin, about 0.2 with 150,000 tokens. With
/// smaller margins, engines would differ by rounding alone; with larger ones, they would
/// never differ.
pub(super) fn fill(seed: u64, tensor: &str, row: usize, out: &mut [f16]) {
    let (mean, deviation) = if tensor.ends_with("norm.weight") {
        (1.0, 0.1)
    } else if tensor.ends_with(".bias") {
        (0.0, 0.1)
    } else {
        (0.0, (1.0 / out.len() as f32).sqrt())
    };
    // A uniform distribution reaches √3 times its standard deviation.
    let reach = deviation * 3f32.sqrt();
    let mut noise = Noise(seed ^ place(tensor, row));
    let values: Vec<f32> = out.iter().map(|_| mean + reach * noise.next()).collect();
    out.convert_from_f32_slice(&values);
}

/// Names and shapes of all tensors, as in Hugging Face's layout.
pub(super) fn tensors(config: &Config) -> Vec<(String, Vec<usize>)> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let (queries, key_value) = (config.query_size(), config.key_value_size());
    let mut tensors = vec![(EMBEDDING.to_owned(), vec![config.vocab_size, hidden])];
    for layer in 0..config.num_hidden_layers {
        let mut put = |name: &str, shape: &[usize]| {
            tensors.push((format!("model.layers.{layer}.{name}"), shape.to_vec()));
        };
        let apart = [
            ("self_attn.q_proj", queries, hidden, config.qkv_bias),
            ("self_attn.k_proj", key_value, hidden, config.qkv_bias),
            ("self_attn.v_proj", key_value, hidden, config.qkv_bias),
            ("mlp.gate_proj", inner, hidden, config.mlp_bias),
            ("mlp.up_proj", inner, hidden, config.mlp_bias),
        ];
        let stacked = [
            ("self_attn.qkv_proj", queries + 2 * key_value, hidden, config.qkv_bias),
            ("mlp.gate_up_proj", 2 * inner, hidden, config.mlp_bias),
        ];
        let first = if config.family == Family::Phi3 { &stacked[..] } else { &apart[..] };
        let last = [
            ("self_attn.o_proj", hidden, queries, config.output_bias),
            ("mlp.down_proj", hidden, inner, config.mlp_bias),
        ];
        for &(name, outputs, inputs, bias) in first.iter().chain(&last) {
            put(&format!("{name}.weight"), &[outputs, inputs]);
            if bias {
                put(&format!("{name}.bias"), &[outputs]);
            }
        }
        if config.qk_norm {
            put("self_attn.q_norm.weight", &[config.head_dim]);
            put("self_attn.k_norm.weight", &[config.head_dim]);
        }
        put("input_layernorm.weight", &[hidden]);
        put("post_attention_layernorm.weight", &[hidden]);
    }
    tensors.push(("model.norm.weight".to_owned(), vec![hidden]));
    if !config.tie_word_embeddings {
        tensors.push((HEAD.to_owned(), vec![config.vocab_size, hidden]));
    }
    tensors
}

/// A number for a row of a tensor: FNV-1a of the name, mixed with the row.
fn place(tensor: &str, row: usize) -> u64 {
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let name = tensor.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
    mixed(name ^ mixed(row as u64))
}

/// The last step of SplitMix64 (Steele, Lea and Flood 2014).
fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// SplitMix64 as numbers from −1 to 1.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mixed(self.0) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}
