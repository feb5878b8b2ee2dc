//! The Burn model and `tokenroute-model` give the same hidden states and logits for the same
//! exported weights.

use burn::tensor::Device;
use tokenroute_bundled_pair::config::ModelConfig;
use tokenroute_bundled_pair::export::{export, load};
use tokenroute_bundled_pair::model::Qwen2;
use tokenroute_bundled_pair::task::{Generator, TaskSplit};
use tokenroute_bundled_pair::tokenizer::{PairTokenizer, TokenizerConfig};
use tokenroute_bundled_pair::training::device;
use tokenroute_core::{Detail, Feed, LanguageModel};
use tokenroute_model::{LoadOptions, load_model};

fn values(tensor: burn::tensor::Tensor<2>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_to_vec().expect("f32")
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn burn_and_edge_agree() {
    let folder = tempfile::tempdir().expect("a folder");
    let generator = Generator::new(5);
    let settings = TokenizerConfig { questions: 300, ..TokenizerConfig::default() };
    let tokenizer = PairTokenizer::train(&generator, &settings).expect("a tokenizer");
    tokenizer.save(folder.path()).expect("a file");
    let config = ModelConfig {
        vocab_size: tokenizer.vocab_size(),
        eos_token_id: tokenizer.eos(),
        hidden_size: 48,
        intermediate_size: 128,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        initializer_range: 0.3,
        ..ModelConfig::default()
    };
    let device: Device = device::parse("flex").expect("a device");
    let random = Qwen2::new(&config, 7, &device).expect("a model");
    export(&random, folder.path()).expect("an export");

    // Both sides start from the same f16 file.
    let burn = load(folder.path(), &device).expect("the export");
    let edge = load_model(folder.path(), &LoadOptions::default()).expect("the export");
    for index in 0..4 {
        let question = generator.sample(TaskSplit::PairTrain, index, 4);
        let ids = tokenizer.encode(&question.prompt()).expect("tokens");
        assert_eq!(ids, edge.tokenizer.encode(&question.prompt()).expect("tokens"));
        let hidden = burn.forward_hidden(burn.ids(std::slice::from_ref(&ids))); // [1, seq, width]
        let rows = hidden.reshape([ids.len(), config.hidden_size]);
        let logits = values(burn.logits(rows.clone()));
        let hidden = values(rows);
        let mut state = edge.decoder.start();
        let mut feeds = [Feed { state: &mut state, tokens: &ids, from: 0 }];
        let steps = edge.decoder.advance(&mut feeds, Detail::Logits).expect("steps");
        let ours: Vec<f32> = steps[0].iter().flat_map(|s| s.hidden.iter().copied()).collect();
        assert!(largest_difference(&hidden, &ours) < 1e-4);
        let ours: Vec<f32> =
            steps[0].iter().flat_map(|s| s.logits.iter().flatten().copied()).collect();
        assert!(largest_difference(&logits, &ours) < 1e-4);
    }
}
