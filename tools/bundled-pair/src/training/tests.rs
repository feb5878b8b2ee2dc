//! The engines agree, training lowers the loss, and a resumed run equals an uninterrupted one.

use std::path::Path;

use super::*;
use crate::config::{CurriculumStage, ModelConfig, OptimizerKind};

struct Doubling;

impl ExampleSource for Doubling {
    fn example(&self, index: u64, max_steps: u32) -> Result<TrainingExample, PairError> {
        let length = 1 + index % u64::from(max_steps.min(5));
        let digits: Vec<u32> = (0..length).map(|i| 2 + ((index * 7 + i * 3) % 8) as u32).collect();
        let mut answer: Vec<u32> = digits.iter().map(|digit| 2 + (digit * 2) % 8).collect();
        answer.push(0);
        Ok(TrainingExample { prompt: [digits, vec![1]].concat(), answer })
    }
}

fn config() -> PairTrainConfig {
    PairTrainConfig {
        model: ModelConfig {
            vocab_size: 11,
            hidden_size: 16,
            intermediate_size: 24,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            max_position_embeddings: 24,
            ..ModelConfig::default()
        },
        steps: 12,
        batch_tokens: 120,
        pool_batches: 4,
        learning_rate: 1e-2,
        warmup: 3,
        checkpoint_every: 4,
        ..PairTrainConfig::default()
    }
}

fn device() -> Device {
    device::parse(device::AVAILABLE[0]).unwrap()
}

fn run(config: &PairTrainConfig, directory: &Path) -> Trained {
    train(config, &Doubling, &device(), directory, &mut |_| {}).unwrap()
}

#[test]
fn engines_agree() {
    let config = config();
    let pool = ExamplePool::draw(&config, &Doubling, 0, 0).unwrap();
    let model = Qwen2::new(&config.model, 7, &device().autodiff()).unwrap();
    let mut parameters = model.named_parameters();
    // Biases and norms start at 0 and 1. Other values reveal more mistakes.
    for (index, parameter) in parameters.iter_mut().enumerate() {
        for (place, x) in parameter.values.iter_mut().enumerate() {
            *x += 0.05 * ((index * 31 + place * 7) % 13) as f32 - 0.3;
        }
    }
    let mut values = parameters.iter().map(|parameter| parameter.values.clone());
    let model = Qwen2::from_values(&config.model, &device().autodiff(), &mut |_, _| {
        Ok(values.next().unwrap())
    })
    .unwrap();
    for threads in [1, 2] {
        let mut expected = parameters.clone();
        let mut found = parameters.clone();
        let reference = autodiff::gradient(&model, &mut expected, &pool.batches[0]);
        let mut engine = FusedEngine::new(&config.model, threads);
        let loss = engine.gradient(&mut found, &pool.batches[0]).unwrap();
        assert!((loss - reference).abs() < 1e-5, "loss {loss}, autodiff {reference}");
        for (expected, found) in expected.iter().zip(&found) {
            let largest = expected.values.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
            for (x, y) in expected.values.iter().zip(&found.values) {
                assert!((x - y).abs() < 1e-5 + 1e-4 * largest, "{}: {x} {y}", expected.name);
            }
        }
    }
}

#[test]
fn a_resumed_run_repeats_an_uninterrupted_one() {
    for optimizer in [OptimizerKind::AdamW, OptimizerKind::Muon] {
        let directory = tempfile::tempdir().unwrap();
        let config = PairTrainConfig { optimizer, ..config() };
        let whole = run(&config, &directory.path().join("whole"));
        assert!(whole.log[11].loss < whole.log[0].loss);
        // The second checkpoint is like that of a run that was killed after step 8.
        let killed = directory.path().join("killed");
        fs::create_dir_all(killed.join("checkpoints")).unwrap();
        let name = Path::new("checkpoints").join("step-00000008");
        fs::rename(directory.path().join("whole").join(&name), killed.join(&name)).unwrap();
        let resumed = run(&config, &killed);
        let losses = |run: &Trained| run.log.iter().map(|one| one.loss).collect::<Vec<_>>();
        assert_eq!(losses(&whole), losses(&resumed));
        for (a, b) in whole.model.named_parameters().iter().zip(resumed.model.named_parameters()) {
            assert_eq!(a.values, b.values, "{}", a.name);
        }
    }
}

#[test]
fn another_configuration_does_not_resume() {
    let directory = tempfile::tempdir().unwrap();
    run(&PairTrainConfig { steps: 1, ..config() }, directory.path());
    let other = PairTrainConfig { steps: 1, seed: 5, ..config() };
    let error = train(&other, &Doubling, &device(), directory.path(), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("another configuration"), "{error}");
}

#[test]
fn pools_are_even_and_complete() {
    let config = config();
    let pool = ExamplePool::draw(&config, &Doubling, 40, 0).unwrap();
    let sizes: Vec<usize> =
        pool.batches.iter().map(|batch| batch.iter().map(|one| one.inputs().len()).sum()).collect();
    assert!(sizes.iter().all(|size| size.abs_diff(config.batch_tokens) <= 24), "{sizes:?}");
    let count: usize = pool.batches.iter().map(Vec::len).sum();
    assert_eq!(count as u64, pool.end - 40);
}

#[test]
fn a_stage_keeps_its_share_of_the_first_lesson() {
    let stage = |until, max_steps, zero_steps| CurriculumStage { until, max_steps, zero_steps };
    let curriculum = vec![stage(0.5, 0, 0.0), stage(1.0, 3, 0.2)];
    let config = PairTrainConfig { steps: 10, curriculum, ..config() };
    config.validate().unwrap();
    assert!((0..100).all(|index| config.stage_at(4).max_steps_of(index) == 0));
    let limits: Vec<u32> = (0..1000).map(|index| config.stage_at(5).max_steps_of(index)).collect();
    let kept = limits.iter().filter(|&&limit| limit == 0).count();
    assert!((195..=205).contains(&kept), "{kept}");
    assert!(limits.iter().all(|&limit| limit == 0 || limit == 3));
    let wrong = PairTrainConfig { curriculum: vec![stage(1.0, 3, 1.5)], ..config };
    assert!(wrong.validate().unwrap_err().to_string().contains("zero_steps"));
}

#[test]
fn exporting_rounds_to_f16_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let model = Qwen2::new(&config().model, 3, &device()).unwrap();
    crate::export::export(&model, directory.path()).unwrap();
    let loaded = crate::export::load(directory.path(), &device()).unwrap();
    assert_eq!(loaded.config(), model.config());
    let rounded = model.named_parameters().into_iter().map(|one| {
        one.values.iter().map(|&x| burn::tensor::f16::from_f32(x).to_f32()).collect::<Vec<_>>()
    });
    let mut rounded = rounded.collect::<Vec<_>>().into_iter();
    let expected =
        Qwen2::from_values(model.config(), &device(), &mut |_, _| Ok(rounded.next().unwrap()))
            .unwrap();
    let logits = |model: &Qwen2| {
        let hidden = model.forward_hidden(model.ids(&[vec![1, 2, 3, 4], vec![5, 6, 7, 8]]));
        crate::model::values(model.logits(hidden.reshape([8, 16])))
    };
    assert_eq!(logits(&expected), logits(&loaded));
}
