//! A recurrent head: trained along whole answers, and run by a device step by step.

mod common;

use common::table;
use tokenroute_core::{LabelRow, Operator, Relation, Silent};
use tokenroute_model::RouterScorer;
use tokenroute_store::RouterFile;
use tokenroute_train::{
    FeatureSet, Provenance, RouterHead, Settings, TrainConfig, TrainingData, device, fit, train,
};

fn config(head: &str) -> TrainConfig {
    TrainConfig {
        architecture: Some(serde_json::from_str(head).expect("a head")),
        features: Some(FeatureSet::Hidden),
        top_k: 0,
        dropout: Some(0.0),
        epochs: 25,
        patience: 25,
        batch_rows: 96,
        learning_rate: 2e-2,
        average: 0.9,
        ..TrainConfig::default()
    }
}

fn run(config: &TrainConfig, rows: &[LabelRow]) -> RouterFile {
    let cpu = device("flex").expect("the default backend");
    train(config, rows, &Provenance::default(), &cpu, &Silent).expect("trains")
}

/// Answers of different lengths. A row is divergent where the step before it has a high number.
fn remembered() -> Vec<LabelRow> {
    let mut rows = table();
    let number = |row: &LabelRow| row.question.rsplit('-').next().map(str::len).unwrap_or_default();
    rows.retain(|row| row.position < 9 + number(row) as u32);
    let before: Vec<f32> = std::iter::once(0.0).chain(rows.iter().map(|r| r.hidden[0])).collect();
    for (row, before) in rows.iter_mut().zip(before) {
        let divergent = row.position > 0 && before > 0.2;
        row.relation = if divergent { Relation::Divergent } else { Relation::Identical };
        row.target = f32::from(!divergent);
        row.keep_grade = row.target;
    }
    rows
}

#[test]
fn it_learns_from_the_steps_before() {
    let rows = remembered();
    let gru = run(&config(r#"{"kind": "gru", "width": 6}"#), &rows);
    let mlp = r#"{"kind": "mlp", "widths": [8], "activation": "relu", "rewards": 1}"#;
    let mlp = run(&config(mlp), &rows);
    let auroc = |file: &RouterFile| file.header.training.auroc;
    assert!(auroc(&gru) > 0.95 && auroc(&mlp) < 0.65, "{} {}", auroc(&gru), auroc(&mlp));
}

#[test]
fn a_ranking_learns_from_the_steps_before() {
    let mut rows = remembered();
    // Steps that are not judged are steps too.
    rows.iter_mut().filter(|row| row.position % 5 == 3).for_each(|row| row.weight = 0.0);
    let ranking = |head: &str| {
        let loss = Some(serde_json::from_str(r#"{"kind": "ranking"}"#).expect("a loss"));
        run(&TrainConfig { loss, ..config(head) }, &rows).header.training.auroc
    };
    let gru = ranking(r#"{"kind": "gru", "width": 6}"#);
    let mlp = ranking(r#"{"kind": "mlp", "widths": [8], "activation": "relu", "rewards": 1}"#);
    assert!(gru > 0.95 && mlp < 0.65, "{gru} {mlp}");
}

#[test]
fn questions_of_two_splits_may_have_one_id() {
    let rows = remembered();
    let config = TrainConfig { epochs: 3, ..config(r#"{"kind": "gru", "width": 5}"#) };
    let apart = TrainingData::new(&config, &rows).expect("both classes");
    // Validation questions have ids of training questions, in another order.
    let mut shared = rows.clone();
    for row in shared.iter_mut().filter(|row| row.split == "validation") {
        let number: usize = row.question["validation-".len()..].parse().expect("a number");
        row.question = format!("router-train-{}", 100 - 2 * number);
    }
    let together = TrainingData::new(&config, &shared).expect("both classes");
    assert_eq!(together, apart);
    assert_eq!(run(&config, &shared).layers, run(&config, &rows).layers);
}

#[test]
fn rows_without_steps_are_refused_by_name() {
    let gru = config(r#"{"kind": "gru", "width": 5}"#);
    let rows = remembered();
    let linear = config(r#"{"kind": "linear", "rewards": 1}"#);
    let data = TrainingData::new(&linear, &rows).expect("both classes");
    let settings = Settings::candidates(&gru, data.spec.hidden).expect("a head").remove(0);
    let cpu = device("flex").expect("the default backend");
    let error = fit(&gru, &settings, &data, &cpu, &Silent).expect_err("no steps").to_string();
    assert!(error.contains("GRU (width 5)") && error.contains("without their steps"), "{error}");
}

#[test]
fn the_edge_scores_answers_as_burn_does() {
    let mut rows = remembered();
    // Unjudged rows are steps too.
    rows.iter_mut().filter(|row| row.position % 4 == 2).for_each(|row| row.weight = 0.0);
    let config = TrainConfig { epochs: 3, ..config(r#"{"kind": "gru", "width": 5}"#) };
    let router = run(&config, &rows);
    assert_eq!(run(&config, &rows), router, "the same bytes again");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("router");
    router.write(&path).expect("writes");
    let edge = RouterScorer::open(&path).expect("reads");
    assert_eq!(edge.header(), &router.header);
    let (shape, width) = (&router.header.architecture, router.header.features.width());
    assert!(Operator::remembers(&shape.operators(width)));

    let cpu = device("flex").expect("the default backend");
    let head = RouterHead::new(shape, width, &router.layers, &cpu).expect("a head");
    let data = TrainingData::new(&config, &rows).expect("both classes");
    let burn = head.score_answers(&data.positions, &data.lengths).expect("scores");
    let validation: Vec<&LabelRow> = rows.iter().filter(|r| r.split == "validation").collect();
    let along = edge.logits_along(validation.iter().copied());
    assert_eq!(burn.len(), along.len());
    for (burn, edge) in burn.iter().zip(&along) {
        assert!((burn - edge).abs() < 1e-5, "{burn} {edge}");
    }
    let judged = |(row, &logit): (&&LabelRow, &f32)| (row.weight > 0.0).then_some(logit);
    let judged: Vec<f32> = validation.iter().zip(&burn).filter_map(judged).collect();
    assert_eq!(head.score_rows(&data.validation).expect("scores"), judged);
    let alone: Vec<f32> =
        validation.iter().flat_map(|row| edge.logits_along(std::iter::once(*row))).collect();
    assert_ne!(alone, along, "earlier steps count");
}
