//! Inputs that training refuses, and the error texts.

mod common;
mod plain;

use common::{rows, table};
use plain::logit;
use tokenroute_core::{Activation, Architecture, LabelRow, Relation, Silent};
use tokenroute_train::{
    FeatureSet, HeadConfig, LossConfig, Provenance, RuleConfig, Seeds, TrainConfig, TrainingData,
    device, train,
};

fn config() -> TrainConfig {
    let widths = vec![12, 6];
    TrainConfig {
        architecture: Some(
            Architecture::Mlp { widths, activation: Activation::Relu, rewards: 2 }.into(),
        ),
        features: Some(FeatureSet::Both),
        dropout: Some(0.1),
        top_k: 3,
        epochs: 1,
        ..TrainConfig::default()
    }
}

fn check(config: &TrainConfig, rows: &[LabelRow], says: &[&str]) {
    let cpu = device("flex").expect("the default backend");
    let error = train(config, rows, &Provenance::default(), &cpu, &Silent)
        .err()
        .map_or("trained".to_owned(), |e| e.to_string());
    for part in says {
        assert!(error.contains(part), "{error:?} lacks {part:?}");
    }
}

#[test]
fn rows_that_cannot_be_trained_on() {
    check(&config(), &[], &["\"router-train\"", "found: none", "label"]);
    check(&config(), &rows("test", 3, 0), &["\"router-train\"", "found: test"]);

    let mut agreeing = table();
    agreeing.iter_mut().for_each(|r| r.target = 1.0);
    check(&config(), &agreeing, &["all 1440 training rows should be kept", "label more questions"]);

    let spoil = |change: &dyn Fn(&mut LabelRow)| {
        let mut rows = table();
        change(&mut rows[30]);
        rows
    };
    let place = "question \"router-train-2\", position 6";
    check(&config(), &spoil(&|r| r.hidden[4] = f32::NAN), &[place, "feature 4 is NaN"]);
    check(&config(), &spoil(&|r| r.entropy = f32::INFINITY), &[place, "feature 10 is inf"]);
    check(&config(), &spoil(&|r| r.hidden.truncate(5)), &[place, "5 values", "first row has 6"]);
    check(&config(), &spoil(&|r| r.target = 1.5), &[place, "target is 1.5"]);
    check(&config(), &spoil(&|r| r.weight = -1.0), &[place, "weight is -1"]);
    let wide = TrainConfig { top_k: 8, ..config() };
    check(&wide, &table(), &["router-train-0", "3 top probabilities", "train.top_k = 8"]);
    let features = r#"["hidden", {"kind": "mean", "of": "margin", "steps": 2}]"#;
    let features = Some(serde_json::from_str(features).expect("features"));
    let earlier = TrainConfig { features, top_k: 0, ..config() };
    let gap = spoil(&|r| r.position = 40);
    check(&earlier, &gap, &["question \"router-train-2\", position 40", "the row before it"]);
    let architecture =
        Some(serde_json::from_str(r#"{"kind": "gru", "width": 3}"#).expect("a head"));
    let recurrent = TrainConfig { architecture, dropout: None, ..config() };
    check(&recurrent, &gap, &["question \"router-train-2\", position 40", "the row before it"]);
    // An answer in two places of the table is two answers to a ranking or to a recurrent head.
    let mut apart = table();
    apart[20..1440].rotate_left(1);
    check(&config(), &apart, &["question \"router-train-1\", position 8", "several places"]);
    let few = spoil(&|r| r.top.truncate(1));
    check(&earlier, &few, &[place, "1 top probabilities", "at least 2, which train.features"]);
}

#[test]
fn configurations_out_of_range() {
    let of = |change: &dyn Fn(&mut TrainConfig)| {
        let mut config = config();
        change(&mut config);
        config
    };
    check(&of(&|c| c.epochs = 0), &table(), &["train.epochs = 0", "at least 1"]);
    check(&of(&|c| c.batch_rows = 0), &table(), &["train.batch_rows = 0"]);
    check(&of(&|c| c.learning_rate = f64::NAN), &table(), &["train.learning_rate = NaN"]);
    check(&of(&|c| c.dropout = Some(1.0)), &table(), &["train.dropout = 1"]);
    check(&of(&|c| c.validation_share = 0.0), &table(), &["train.validation_share = 0"]);
    check(&of(&|c| c.l2 = Some(-1.0)), &table(), &["train.l2 = -1", "at least 0"]);
    check(&of(&|c| c.top_k = 0), &table(), &["train.top_k = 0", "train.features"]);
    check(&of(&|c| c.seeds = Seeds::Count(0)), &table(), &["train.seeds = 0"]);
    check(&of(&|c| c.seeds = Seeds::List(vec![4, 4])), &table(), &["[4, 4]", "each seed once"]);
    let three = Some(Architecture::Linear { rewards: 3 }.into());
    check(&of(&|c| c.architecture.clone_from(&three)), &table(), &["rewards = 3", "1 (a logit)"]);
    let head = |json: &str| Some(serde_json::from_str(json).expect("a table"));
    for (json, parts) in [
        (r#"{"kind": "forest"}"#, ["head `forest`", "`linear`, `mlp`, `citer`, `gru`, `r2r`"]),
        (r#"{"kind": "gru"}"#, ["head `gru`", "missing field `width`"]),
        (r#"{"widths": [4]}"#, ["head without `kind`", "`mlp`"]),
        (r#"{"kind": "citer", "rewards": 2}"#, ["head `citer`", "unknown field `rewards`"]),
    ] {
        let error = serde_json::from_str::<HeadConfig>(json).expect_err("no head").to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    let error = serde_json::from_str::<LossConfig>(r#"{"kind": "hinge"}"#).expect_err("no loss");
    assert!(error.to_string().contains("loss `hinge`: expected one of `preference`"), "{error}");
    for (json, parts) in [
        (r#"{"kind": "citer", "widths": [0]}"#, ["architecture.widths = [0]", "above 0"]),
        (r#"{"kind": "r2r", "blocks": 0}"#, ["architecture.blocks = 0", "at least 1"]),
        (r#"{"kind": "gru", "width": 0}"#, ["architecture.width = 0", "above 0"]),
        (r#"{"kind": "citer"}"#, ["train.features = \"both\"", "reads \"hidden\" alone"]),
    ] {
        let set = |c: &mut TrainConfig| {
            (c.architecture, c.features) = (head(json), Some(FeatureSet::Both));
        };
        check(&of(&set), &table(), &parts);
    }
    let loss = |json: &str| Some(serde_json::from_str(json).expect("a table"));
    for (json, parts) in [
        (r#"{"kind": "focal", "gamma": -1}"#, ["train.loss.gamma = -1", "at least 0"]),
        (r#"{"kind": "pos-weight", "pos_weight": 0}"#, ["loss.pos_weight = 0", "above 0"]),
    ] {
        check(&of(&|c| c.loss = loss(json)), &table(), &parts);
    }
    let rule = |json: &str| Some(serde_json::from_str(json).expect("a table"));
    for (json, parts) in [
        (r#"{"kind": "cost-aware", "lambda": -1}"#, ["train.rule.lambda = -1", "from 0 up"]),
        (
            r#"{"kind": "cost-aware", "lambda": 0, "per_position": -2}"#,
            ["train.rule.per_position = -2", "from 0 up"],
        ),
    ] {
        check(&of(&|c| c.rule = rule(json)), &table(), &parts);
    }
    for (json, parts) in [
        (r#"{"kind": "majority"}"#, ["rule `majority`: expected one of", "`cost-aware`"]),
        (r#"{"kind": "cost-aware"}"#, ["rule `cost-aware`", "missing field `lambda`"]),
        (r#"{"kind": "difference", "lambda": 1}"#, ["rule `difference`", "unknown field"]),
    ] {
        let error = serde_json::from_str::<RuleConfig>(json).expect_err("no rule").to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    let dear = |c: &mut TrainConfig| c.rule = rule(r#"{"kind": "cost-aware", "lambda": 1}"#);
    check(&of(&dear), &table(), &["all 1440 training rows should be kept"]);
    let lacks = of(&|c| c.loss = loss(r#"{"kind": "co-llm"}"#));
    check(&lacks, &table(), &["1440 of 1440 training rows lack", "label.llm_probabilities"]);
    let both = |c: &mut TrainConfig| {
        (c.loss, c.focal_gamma) = (loss(r#"{"kind": "ranking"}"#), 1.0);
    };
    check(&of(&both), &table(), &["focal_gamma = 1", "beside train.loss"]);
    check(&of(&|c| c.share = 1.5), &table(), &["train.share = 1.5"]);
    check(&of(&|c| c.learning_rate = 1e30), &table(), &["lower train.learning_rate (now 1"]);
}

#[test]
fn one_table_serves_every_rule() {
    let mut rows = table();
    // A judged row stands for two that are not: a rule without grades counts all three.
    for pair in rows.chunks_exact_mut(2) {
        pair[0].weight = 2.0;
        pair[1].weight = 0.0;
        pair[1].relation = Relation::Unjudged;
    }
    let data = |json: &str| {
        let rule = Some(serde_json::from_str(json).expect("a rule"));
        TrainingData::new(&TrainConfig { rule, ..config() }, &rows).expect("both classes")
    };
    let plain = TrainingData::new(&config(), &rows).expect("both classes");
    assert_eq!(data(r#"{"kind": "preference"}"#), plain);
    assert_eq!(plain.train.len(), 720);
    let all = data(r#"{"kind": "difference"}"#);
    assert_eq!(all.train.len(), 1440);
    assert!(all.train.weights.iter().all(|&weight| weight == 1.0));
    // τ ↔ offload is measured on the same positions by every rule.
    assert_eq!(all.positions.len(), plain.positions.len());
}

#[test]
fn neutral_rows_weigh_otherwise_where_the_rule_keeps_them() {
    let mut rows = table();
    // Of every three rows that need not be offloaded, one is neutral with equal grades, one with
    // unequal ones.
    let kept = rows.iter_mut().filter(|row| row.relation == Relation::Identical);
    for (i, row) in kept.enumerate() {
        row.relation = [Relation::Identical, Relation::BothWrong, Relation::Neutral][i % 3];
        let won = f32::from(u8::from(i % 3 == 2));
        (row.keep_grade, row.offload_grade) = (won, 0.0);
    }
    let [plain, light] = [1.0, 0.25].map(|neutral_weight| {
        move |json: &str, rows: &[LabelRow]| {
            let rule = Some(serde_json::from_str(json).expect("a rule"));
            let config = TrainConfig { neutral_weight, rule, ..config() };
            TrainingData::new(&config, rows).expect("both classes").train
        }
    });
    let of_train: Vec<&LabelRow> = rows.iter().filter(|r| r.split == "router-train").collect();
    for (rule, lighter) in [
        (r#"{"kind": "preference"}"#, &[Relation::BothWrong, Relation::Neutral][..]),
        (r#"{"kind": "cost-aware", "lambda": 0.2}"#, &[Relation::BothWrong, Relation::Neutral]),
        (r#"{"kind": "agreement"}"#, &[Relation::BothWrong]),
        (r#"{"kind": "difference"}"#, &[]),
    ] {
        let (plain, light) = (plain(rule, &rows), light(rule, &rows));
        assert_eq!((&plain.targets, plain.len()), (&light.targets, of_train.len()));
        for ((before, after), row) in plain.weights.iter().zip(&light.weights).zip(&of_train) {
            let expected = if lighter.contains(&row.relation) { 0.25 } else { 1.0 };
            assert_eq!(after / before, expected, "{rule}: {:?}", row.relation);
        }
    }
}

#[test]
fn devices_this_build_lacks() {
    let error = device("abacus").expect_err("no backend").to_string();
    assert!(error.contains("\"abacus\"") && error.contains("this build has flex"), "{error}");
}

#[test]
fn splits_never_share_a_question() {
    // Without a validation split, a share of the training questions is used: whole
    // questions, the same ones for every seed.
    let rows = rows("router-train", 80, 5);
    let data = TrainingData::new(&config(), &rows).expect("both classes");
    assert_eq!(data.train.len() + data.validation.len(), rows.len());
    assert!(data.validation.len().is_multiple_of(12) && data.validation.len() < rows.len() / 2);
    let reseeded = TrainConfig { seed: 9, ..config() };
    assert_eq!(
        TrainingData::new(&reseeded, &rows).expect("both classes").validation,
        data.validation
    );

    // Rows of other splits change nothing. Unjudged rows change only the positions on which
    // τ ↔ offload is measured.
    let mut more = table();
    let before = TrainingData::new(&config(), &more).expect("both classes");
    more.extend(common::rows("test", 10, 6));
    assert_eq!(TrainingData::new(&config(), &more).expect("both classes"), before);
    let mut unjudged = common::rows("validation", 1, 7);
    for row in &mut unjudged {
        (row.weight, row.question) = (0.0, "validation-unjudged".into());
    }
    more.extend(unjudged);
    let after = TrainingData::new(&config(), &more).expect("both classes");
    assert_eq!((&after.train, &after.validation), (&before.train, &before.validation));
    assert_eq!(after.positions.len(), before.positions.len() + 12 * before.spec.width());
}

#[test]
fn normalisation_is_of_the_training_rows_alone() {
    let mut rows = table();
    for row in &mut rows {
        row.hidden[5] = 4.0; // a constant feature does no harm
        if row.split == "validation" {
            row.hidden[2] += 100.0;
        }
    }
    let data = TrainingData::new(&config(), &rows).expect("both classes");
    let width = data.spec.width();
    for column in 0..width {
        let values: Vec<f32> =
            data.train.features.iter().skip(column).step_by(width).copied().collect();
        let n = values.len() as f32;
        let mean = values.iter().sum::<f32>() / n;
        let std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt();
        assert!(mean.abs() < 1e-4, "column {column}: mean {mean}");
        let expected = if column == 5 { 0.0 } else { 1.0 };
        assert!((std - expected).abs() < 1e-3, "column {column}: {std}");
    }
    let trained = train(
        &config(),
        &rows,
        &Provenance::default(),
        &device("flex").expect("the default backend"),
        &Silent,
    )
    .expect("trains");
    assert_eq!(trained.header.normalisation, data.normalisation);
    assert!(logit(&trained, &vec![4.0; width]).is_finite());
}
