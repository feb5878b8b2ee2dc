//! Training rows per second with the bundled pair's shape: hidden width 64, eight
//! log-probabilities, CITER's MLP.

use divan::Bencher;
use divan::counter::ItemsCount;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokenroute_core::{Activation, Architecture, LabelRow, Relation, Silent};
use tokenroute_train::{HeadConfig, Settings, TrainConfig, TrainingData, backends, device, fit};

const HIDDEN: usize = 64;
const QUESTIONS: usize = 400;
const POSITIONS: u32 = 50;

fn main() {
    divan::main();
}

fn rows() -> Vec<LabelRow> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut rows = Vec::new();
    for question in 0..QUESTIONS {
        for position in 0..POSITIONS {
            let hidden: Vec<f32> = (0..HIDDEN).map(|_| rng.random_range(-2.0..2.0)).collect();
            let divergent = hidden[0] > 1.3 && hidden[1] > 0.5;
            rows.push(LabelRow {
                question: format!("q{question}"),
                split: "router-train".to_owned(),
                round: 0,
                position,
                prefix_hash: 0,
                previous: 0,
                slm_token: 0,
                llm_token: 0,
                llm_probability: None,
                top: (0..8u8).map(|k| (u32::from(k), 0.5f32.powi(i32::from(k) + 1))).collect(),
                entropy: rng.random_range(0.0..2.0),
                sentence_entropy: 0.0,
                hidden,
                relation: if divergent { Relation::Divergent } else { Relation::Identical },
                keep_grade: f32::from(!divergent),
                offload_grade: 1.0,
                target: f32::from(!divergent),
                weight: 1.0,
                rollouts: 0,
            });
        }
    }
    rows
}

/// Two epochs with validation. Items are training rows.
#[divan::bench(args = backends(), sample_count = 5, sample_size = 1)]
fn training_rows(bencher: Bencher<'_, '_>, backend: &str) {
    let config = TrainConfig { epochs: 2, ..TrainConfig::default() };
    let data = TrainingData::new(&config, &rows()).expect("both classes");
    let widths = vec![2 * HIDDEN, HIDDEN];
    let head = Architecture::Mlp { widths, activation: Activation::Relu, rewards: 2 };
    let head = HeadConfig::from(head).head().expect("a head");
    let settings =
        Settings { head: head.into(), features: data.spec.clone(), l2: 0.0, dropout: 0.1 };
    let device = device(backend).expect("compiled in");
    bencher
        .counter(ItemsCount::new(2 * data.train.len()))
        .bench_local(|| fit(&config, &settings, &data, &device, &Silent).expect("trains"));
}
