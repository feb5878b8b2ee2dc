//! Training through the public interface, on a small synthetic table.

mod common;
mod plain;

use burn::tensor::{Device, Tensor, TensorData};
use common::{HIDDEN, rows, table};
use plain::logit;
use tokenroute_core::{Activation, Architecture, Features, LabelRow, Relation, Score, Silent};
use tokenroute_store::{RouterFile, RouterLayer};
use tokenroute_train::{
    ClassRule, ClassWeight, FeatureSet, HeadConfig, Provenance, RouterHead, Settings, TrainConfig,
    TrainError, TrainingData, fit, train,
};

fn cpu() -> Device {
    tokenroute_train::device("flex").expect("the default backend")
}

fn config() -> TrainConfig {
    TrainConfig {
        top_k: 3,
        architecture: mlp(Activation::Relu, 2),
        features: Some(FeatureSet::Both),
        dropout: Some(0.1),
        epochs: 12,
        batch_rows: 96,
        learning_rate: 1e-2,
        ..TrainConfig::default()
    }
}

fn run(config: &TrainConfig, rows: &[LabelRow]) -> Result<RouterFile, TrainError> {
    let provenance = Provenance { slm: "a".into(), llm: "b".into(), ..Provenance::default() };
    train(config, rows, &provenance, &cpu(), &Silent)
}

fn mlp(activation: Activation, rewards: usize) -> Option<HeadConfig> {
    Some(shape(activation, rewards).into())
}

fn shape(activation: Activation, rewards: usize) -> Architecture {
    Architecture::Mlp { widths: vec![12, 6], activation, rewards }
}

#[test]
fn it_learns_what_can_be_learnt_and_says_how_well() {
    let router = run(&config(), &table()).expect("trains");
    let record = &router.header.training;
    assert!(record.auroc > 0.95, "{record:?}");
    assert!(record.auprc > 0.8, "{record:?}");
    assert!(record.ece_after < record.ece_before, "balanced weights shift the scores: {record:?}");
    assert!(record.ece_after < 0.05, "{record:?}");
    assert_eq!(record.rows, [1440, 600]);
    assert_eq!((router.header.slm_hash.as_str(), router.header.llm_hash.as_str()), ("a", "b"));

    // The header is enough to score unseen rows: divergent rows get low scores.
    let unseen = rows("test", 60, 3);
    let mean = |relation: Relation| {
        let scores: Vec<f64> = unseen
            .iter()
            .filter(|r| r.relation == relation)
            .map(|r| score(&router, r).get())
            .collect();
        scores.iter().sum::<f64>() / scores.len() as f64
    };
    assert!(mean(Relation::Divergent) < 0.5 && mean(Relation::Identical) > 0.8);
    // Calibration: the τ for an offload of about 10% gives about that.
    let point = router.header.calibration.iter().find(|p| p.offload >= 0.1).expect("reaches 1");
    let below = unseen.iter().filter(|r| point.tau.offloads(score(&router, r))).count();
    assert!((below as f64 / unseen.len() as f64 - point.offload).abs() < 0.06);
}

fn score(router: &RouterFile, row: &LabelRow) -> Score {
    let features =
        Features::from_parts(&router.header.features, &row.hidden, &row.top, row.entropy).0;
    let platt = router.header.platt;
    platt.score(logit(router, &features) as f32).expect("a number")
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let bytes = |seed| {
        let config = TrainConfig { seed, epochs: 3, ..config() };
        run(&config, &table()).expect("trains").to_bytes().expect("fits its header")
    };
    let first = bytes(7);
    assert_eq!(first, bytes(7));
    assert_ne!(first, bytes(8));
}

#[test]
fn the_kept_weights_are_those_of_the_best_epoch() {
    // Few rows with shuffled labels and no regularisation: validation soon worsens.
    let mut noisy = table();
    for (i, row) in noisy.iter_mut().enumerate() {
        row.target = f32::from(i % 7 != 0);
    }
    let config = TrainConfig {
        epochs: 10,
        patience: 20,
        learning_rate: 2e-2,
        weight_decay: 0.0,
        dropout: Some(0.0),
        average: 0.0,
        architecture: mlp(Activation::Relu, 1),
        ..config()
    };
    let data = TrainingData::new(&config, &noisy).expect("both classes");
    let settings = Settings::candidates(&config, data.spec.hidden).expect("a head").remove(0);
    let architecture = settings.head.architecture(data.spec.width());
    let fitted = fit(&config, &settings, &data, &cpu(), &Silent).expect("trains");
    let losses: Vec<f64> = fitted.history.iter().filter_map(|e| e.validation_loss).collect();
    let best = losses[fitted.best_epoch as usize - 1];
    assert!(losses.iter().all(|&l| l >= best));
    assert!(*losses.last().expect("epochs ran") > best + 1e-3, "{losses:?}");
    // The loss of the rows that are trained on falls meanwhile.
    let learnt: Vec<f64> = fitted.history.iter().map(|e| e.train_loss).collect();
    assert!(learnt[9] < learnt[0], "{learnt:?}");

    let head =
        RouterHead::new(&architecture, data.spec.width(), &fitted.layers, &cpu()).expect("a head");
    let logits = head.score(&data.validation.features).expect("scores");
    let loss: f64 = logits
        .iter()
        .zip(&data.validation.targets)
        .map(|(&f, &y)| {
            let p = 1.0 / (1.0 + (-(f64::from(f) + fitted.shift)).exp());
            -(f64::from(y) * p.ln() + f64::from(1.0 - y) * (1.0 - p).ln())
        })
        .sum::<f64>()
        / logits.len() as f64;
    assert!((loss - best).abs() < 1e-6, "kept {loss}, best epoch had {best}");

    let stopped =
        fit(&TrainConfig { patience: 1, ..config.clone() }, &settings, &data, &cpu(), &Silent)
            .expect("trains");
    assert!(stopped.history.len() < fitted.history.len());
}

#[test]
fn logits_agree_with_a_plain_implementation() {
    for architecture in [
        Some(Architecture::Linear { rewards: 1 }.into()),
        mlp(Activation::Relu, 2),
        mlp(Activation::Gelu, 1),
        mlp(Activation::Silu, 2),
        Some(Architecture::Linear { rewards: 2 }.into()),
    ] {
        let config = TrainConfig { architecture, l2: Some(0.01), epochs: 2, ..config() };
        let router = run(&config, &table()).expect("trains");
        let header = &router.header;
        let head =
            RouterHead::new(&header.architecture, header.features.width(), &router.layers, &cpu())
                .expect("a head");
        for row in rows("test", 3, 9) {
            let raw = Features::from_parts(&header.features, &row.hidden, &row.top, row.entropy).0;
            let norm = &header.normalisation;
            let normalised: Vec<f32> =
                (0..raw.len()).map(|i| (raw[i] - norm.mean[i]) * norm.scale[i]).collect();
            let burn = f64::from(head.score(&normalised).expect("scores")[0]);
            let plain = logit(&router, &raw);
            assert!((burn - plain).abs() < 1e-5, "{:?}: {burn} {plain}", header.architecture);
        }
        assert_eq!(head.layers().expect("copies out"), router.layers);
    }
}

#[test]
fn two_rewards_are_one_logit_reparametrised() {
    let config = TrainConfig { architecture: mlp(Activation::Gelu, 2), epochs: 2, ..config() };
    let two = run(&config, &table()).expect("trains");
    let mut layers = two.layers.clone();
    let last = layers.pop().expect("three layers");
    let (keep, offload) = last.weight.split_at(6);
    layers.push(RouterLayer {
        weight: keep.iter().zip(offload).map(|(k, o)| k - o).collect(),
        bias: vec![last.bias[0] - last.bias[1]],
    });
    let width = two.header.features.width();
    let one = RouterHead::new(&shape(Activation::Gelu, 1), width, &layers, &cpu()).expect("a head");
    let two =
        RouterHead::new(&two.header.architecture, width, &two.layers, &cpu()).expect("a head");
    let features: Vec<f32> = (0..width * 50).map(|i| (i as f32 * 0.37).sin() * 2.0).collect();
    let (one, two) = (one.score(&features).expect("scores"), two.score(&features).expect("scores"));
    assert!(one.iter().zip(&two).all(|(a, b)| (a - b).abs() < 1e-5));

    // Trained separately, they reach the same quality.
    let quality = |rewards| {
        let config = TrainConfig { architecture: mlp(Activation::Gelu, rewards), ..self::config() };
        run(&config, &table()).expect("trains").header.training.auroc
    };
    assert!((quality(1) - quality(2)).abs() < 0.03);
}

#[test]
fn a_row_scores_the_same_alone_and_in_a_batch() {
    let config = TrainConfig { epochs: 1, ..config() };
    let router = run(&config, &table()).expect("trains");
    let width = router.header.features.width();
    let head = RouterHead::new(&router.header.architecture, width, &router.layers, &cpu())
        .expect("a head");
    let features: Vec<f32> = (0..width * 5000).map(|i| (i as f32 * 0.13).cos()).collect();
    let batch = head.score(&features).expect("scores"); // more than one chunk
    for row in [0, 1, 4095, 4096, 4999] {
        let row_features = features[row * width..(row + 1) * width].to_vec();
        let x = Tensor::from_data(TensorData::new(row_features, [1, width]), &cpu());
        let alone: f32 = head.logits(x, &[]).into_scalar();
        assert!((alone - batch[row]).abs() < 1e-5);
    }
}

#[test]
fn every_option_of_the_loss_learns() {
    for (class_weight, focal_gamma) in [
        (ClassWeight::Rule(ClassRule::None), 0.0),
        (ClassWeight::Factor(3.0), 0.0),
        (ClassWeight::Rule(ClassRule::Balanced), 2.0),
    ] {
        let config = TrainConfig { class_weight, focal_gamma, ..config() };
        let record = run(&config, &table()).expect("trains").header.training;
        assert!(record.auroc > 0.93, "{class_weight:?} {focal_gamma}: {record:?}");
    }
}

#[test]
fn configurations_read_from_toml_shaped_json_and_refuse_unknown_keys() {
    let read = |json: &str| serde_json::from_str::<TrainConfig>(json);
    let config =
        read(r#"{"class_weight": 4, "seed": 3, "architecture": {"kind": "linear", "rewards": 1}}"#)
            .expect("known keys");
    assert_eq!(config.class_weight, ClassWeight::Factor(4.0));
    let linear = HeadConfig::from(Architecture::Linear { rewards: 1 });
    assert_eq!(config.architecture, Some(linear));
    assert_eq!(config.epochs, TrainConfig::default().epochs);
    let none = read(r#"{"class_weight": "none"}"#).expect("a rule");
    assert_eq!(none.class_weight, ClassWeight::Rule(ClassRule::None));
    for (json, says) in [
        (r#"{"epoch": 3}"#, "unknown field `epoch`"),
        (r#"{"class_weight": "heavy"}"#, "\"balanced\", \"none\" or a number"),
        (r#"{"features": "all"}"#, "features `all`: expected `probabilities`"),
        (r#"{"features": []}"#, "features []: expected"),
        (r#"{"features": ["place"]}"#, "feature `place`: expected one of `position`, `mean`"),
        (r#"{"features": ["mean"]}"#, "feature `mean`: missing field `of`"),
        (r#"{"features": ["position", "position"]}"#, "is named twice"),
        (r#"{"features": ["hidden", 3]}"#, "features: 3: expected a name"),
    ] {
        let error = read(json).expect_err("not a configuration").to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn the_edge_scores_the_file_as_burn_does() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, architecture) in [
        ("relu", mlp(Activation::Relu, 2)),
        ("linear", Some(Architecture::Linear { rewards: 1 }.into())),
        ("gelu", mlp(Activation::Gelu, 2)),
        ("silu", mlp(Activation::Silu, 1)),
        ("citer", Some(head(r#"{"kind": "citer", "widths": [9, 5]}"#))),
        ("r2r", Some(head(r#"{"kind": "r2r", "width": 8, "blocks": 3, "expansion": 2}"#))),
    ] {
        // CITER's head reads the hidden state alone.
        let features = if name == "citer" { None } else { config().features };
        let top_k = if name == "citer" { 0 } else { 3 };
        let config =
            TrainConfig { architecture, features, top_k, l2: Some(0.01), epochs: 2, ..config() };
        let router = run(&config, &table()).expect("trains");
        let path = folder.path().join(name);
        router.write(&path).expect("writes");
        let edge = tokenroute_model::RouterScorer::open(&path).expect("reads");
        assert_eq!(edge.header(), &router.header);
        let head = RouterHead::new(
            &router.header.architecture,
            router.header.features.width(),
            &router.layers,
            &cpu(),
        )
        .expect("a head");
        let data = TrainingData::new(&config, &table()).expect("both classes");
        let burn = head.score(&data.validation.features).expect("scores");
        let rows = rows("validation", 50, 2); // as in the table
        for (row, burn) in rows.iter().zip(burn) {
            let spec = &router.header.features;
            let raw = Features::from_parts(spec, &row.hidden, &row.top, row.entropy).0;
            let edge = edge.logit(&raw);
            assert!((burn - edge).abs() < 1e-5, "{name}: {burn} {edge}");
        }
    }
}

#[test]
fn features_of_earlier_steps_are_those_of_the_edge() {
    let folder = tempfile::tempdir().expect("a folder");
    let features = r#"["probabilities", "position", {"kind": "mean", "of": "entropy", "steps": 4},
        {"kind": "mean", "of": "hidden", "steps": 3}]"#;
    let features: FeatureSet = serde_json::from_str(features).expect("features");
    for architecture in [Some(Architecture::Linear { rewards: 1 }.into()), mlp(Activation::Relu, 1)]
    {
        let features = Some(features.clone());
        let config = TrainConfig { architecture, features, l2: Some(0.01), epochs: 2, ..config() };
        // Unjudged rows count as earlier steps.
        let mut table = table();
        table.iter_mut().filter(|row| row.position % 5 == 1).for_each(|row| row.weight = 0.0);
        let router = run(&config, &table).expect("trains");
        let spec = &router.header.features;
        assert_eq!((spec.hidden, spec.top_k, spec.width()), (0, 3, 5 + 1 + 1 + HIDDEN));
        let path = folder.path().join("router");
        router.write(&path).expect("writes");
        let edge = tokenroute_model::RouterScorer::open(&path).expect("reads");
        assert_eq!(edge.header(), &router.header);

        let data = TrainingData::new(&config, &table).expect("both classes");
        let data = data.reading(spec);
        let shape = &router.header.architecture;
        let head = RouterHead::new(shape, spec.width(), &router.layers, &cpu()).expect("a head");
        let burn = head.score(&data.positions).expect("scores");
        let rows: Vec<_> = table.iter().filter(|row| row.split == "validation").collect();
        let along = edge.logits_along(rows.iter().copied());
        assert_eq!(burn.len(), along.len());
        for (burn, edge) in burn.iter().zip(&along) {
            assert!((burn - edge).abs() < 1e-5, "{burn} {edge}");
        }
        let alone: Vec<f32> =
            rows.iter().flat_map(|row| edge.logits_along(std::iter::once(*row))).collect();
        assert_ne!(alone, along, "earlier steps count");
    }
}

fn head(json: &str) -> HeadConfig {
    serde_json::from_str(json).expect("a table")
}

#[test]
fn every_loss_finds_the_divergent_rows_with_either_head() {
    let mut table = table();
    for row in &mut table {
        let differs = row.slm_token != row.llm_token;
        row.llm_probability = Some(if differs { 0.9 } else { 0.9 * row.top[0].1 });
    }
    for loss in [
        r#"{"kind": "preference"}"#,
        r#"{"kind": "focal", "gamma": 2}"#,
        r#"{"kind": "pos-weight"}"#,
        r#"{"kind": "regression"}"#,
        r#"{"kind": "ranking"}"#,
        r#"{"kind": "co-llm"}"#,
    ] {
        let loss = Some(serde_json::from_str(loss).expect("a table"));
        let mlp = TrainConfig { loss: loss.clone(), ..config() };
        let linear = TrainConfig {
            architecture: Some(Architecture::Linear { rewards: 1 }.into()),
            l2: Some(0.01),
            loss,
            ..config()
        };
        for (config, least) in [(mlp, 0.93), (linear, 0.85)] {
            let record = run(&config, &table).expect("trains").header.training;
            assert!(record.auroc > least, "{:?}: {}", config.loss, record.auroc);
            assert!(record.ece_after < 0.08, "{:?}: {record:?}", config.loss);
        }
    }
}

#[test]
fn a_named_loss_is_the_one_that_its_key_means() {
    let focal = TrainConfig { focal_gamma: 2.0, epochs: 2, ..config() };
    let loss = Some(serde_json::from_str(r#"{"kind": "focal", "gamma": 2.0}"#).expect("a table"));
    let named = TrainConfig { loss, epochs: 2, ..config() };
    let of = |config: &TrainConfig| run(config, &table()).expect("trains").layers;
    assert_eq!(of(&focal), of(&named));
}

#[test]
fn a_share_takes_whole_questions_and_a_smaller_one_is_a_part_of_it() {
    let of = |share: f64| {
        let config = TrainConfig { share, ..config() };
        TrainingData::new(&config, &table()).expect("both classes")
    };
    let (all, half, tenth) = (of(1.0), of(0.5), of(0.1));
    // 120 questions of 12 rows.
    assert_eq!([&all, &half, &tenth].map(|data| data.train.len()), [1440, 720, 144]);
    assert_eq!(tenth.validation.targets, all.validation.targets, "validation stays whole");
    // Numbers that no two rows share.
    let rows = |data: &TrainingData| -> Vec<[f32; 2]> { data.train.uncertainty.clone() };
    let (all, half, tenth) = (rows(&all), rows(&half), rows(&tenth));
    assert!(tenth.iter().all(|row| half.contains(row)));
    assert!(half.iter().all(|row| all.contains(row)));
}
