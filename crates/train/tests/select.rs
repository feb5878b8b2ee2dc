//! What training chooses, what it measures on which rows, and what it warns of.

mod common;

use std::sync::Mutex;

use common::{HIDDEN, rows, table};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokenroute_core::{Activation, Architecture, LabelRow, Progress, Relation};
use tokenroute_store::RouterFile;
use tokenroute_train::{
    FeatureSet, Provenance, Settings, TrainConfig, TrainError, device, train, train_seeds,
};

/// Keeps the notes.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn begin(&self, _: &str, _: u64, _: &str) {}
    fn advance(&self, _: u64) {}
    fn note(&self, line: &str) {
        self.0.lock().expect("no panic").push(line.to_owned());
    }
}

impl Notes {
    fn text(self) -> String {
        self.0.into_inner().expect("no panic").join("\n")
    }
}

fn config() -> TrainConfig {
    TrainConfig {
        top_k: 3,
        epochs: 6,
        batch_rows: 96,
        learning_rate: 2e-2,
        ..TrainConfig::default()
    }
}

/// Only the penalty and the features are open.
fn regression() -> TrainConfig {
    TrainConfig { architecture: Some(Architecture::Linear { rewards: 1 }.into()), ..config() }
}

fn run(config: &TrainConfig, rows: &[LabelRow]) -> Result<(RouterFile, String), TrainError> {
    let (cpu, notes) = (device("flex").expect("the default backend"), Notes::default());
    let router = train(config, rows, &Provenance::default(), &cpu, &notes)?;
    Ok((router, notes.text()))
}

/// Rows whose divergence is a noisy linear function of the hidden state, and of nothing else.
fn linear(split: &str, questions: usize, seed: u64) -> Vec<LabelRow> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = rows(split, questions, seed);
    for row in &mut rows {
        let noise: f32 = rng.random_range(-0.8..0.8);
        let divergent = row.hidden.iter().sum::<f32>() + noise > 1.6;
        set(row, divergent);
    }
    rows
}

/// Rows whose divergence follows the greatest probability alone.
fn uncertain(split: &str, questions: usize, seed: u64) -> Vec<LabelRow> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = rows(split, questions, seed);
    for row in &mut rows {
        let divergent = row.top[0].1 + rng.random_range(-0.02..0.02f32) < 0.28;
        set(row, divergent);
    }
    rows
}

fn set(row: &mut LabelRow, divergent: bool) {
    row.relation = if divergent { Relation::Divergent } else { Relation::Identical };
    row.target = f32::from(u8::from(!divergent));
}

fn both(of: fn(&str, usize, u64) -> Vec<LabelRow>) -> Vec<LabelRow> {
    [of("router-train", 60, 1), of("validation", 50, 2)].concat()
}

#[test]
fn the_head_and_the_features_follow_the_data() {
    let (router, notes) = run(&config(), &both(linear)).expect("trains");
    let header = &router.header;
    assert_eq!(header.architecture, Architecture::Linear { rewards: 1 }, "{notes}");
    assert_eq!(header.features.hidden, HIDDEN, "{notes}");

    // Two thresholds at once: no linear head distinguishes these rows.
    let (router, notes) = run(&config(), &table()).expect("trains");
    let record = &router.header.training;
    assert!(matches!(router.header.architecture, Architecture::Mlp { .. }), "{notes}");
    let selection = record.selection.as_ref().expect("settings were open");
    assert!(selection.tried.len() > 10 && notes.contains(&selection.reason), "{notes}");
    let least = selection.tried.iter().map(|t| t.validation_loss).fold(f64::INFINITY, f64::min);
    assert_eq!(selection.tried[selection.chosen].validation_loss, least);

    // Three log-probabilities of which one counts: the hidden state is left out, and the
    // model needs none to score.
    let (router, notes) = run(&config(), &both(uncertain)).expect("trains");
    assert_eq!(router.header.features.hidden, 0, "{notes}");
    assert!(router.header.training.auroc > 0.95, "{notes}");
}

#[test]
fn keys_that_are_set_are_fixed() {
    let linear = Some(Architecture::Linear { rewards: 2 }.into());
    let open = |config: &TrainConfig| Settings::candidates(config, HIDDEN).expect("known heads");
    let fixed = TrainConfig { architecture: linear, l2: Some(0.1), ..config() };
    assert!(open(&fixed).iter().all(|s| s.l2 == 0.1 && s.head.name() == "linear"));
    assert_eq!(open(&fixed).len(), 3, "the feature sets are open");
    let fixed = TrainConfig { features: Some(FeatureSet::Hidden), ..fixed };
    assert_eq!(open(&fixed).len(), 1);
    let (router, _) = run(&fixed, &table()).expect("trains");
    assert_eq!(router.header.training.selection, None);
    assert_eq!((router.header.features.hidden, router.header.features.top_k), (HIDDEN, 0));
    assert_eq!(router.layers[0].bias[0], -router.layers[0].bias[1], "two rewards, one logit");

    // What was chosen gives the same router when it is set.
    let (chosen, _) = run(&regression(), &both(self::linear)).expect("trains");
    let selection = chosen.header.training.selection.as_ref().expect("settings were open");
    let set = if chosen.header.features.top_k == 0 { FeatureSet::Hidden } else { FeatureSet::Both };
    let l2 = selection.tried[selection.chosen].l2;
    let set = TrainConfig { l2, features: Some(set), ..regression() };
    assert_eq!(run(&set, &both(self::linear)).expect("trains").0.layers, chosen.layers);
    let no_probabilities = TrainConfig { top_k: 0, ..config() };
    assert!(open(&no_probabilities).iter().all(|s| s.features.top_k == 0));
}

#[test]
fn calibration_rows_calibrate_and_measure_and_change_no_weight() {
    let rows = both(linear);
    let (before, _) = run(&regression(), &rows).expect("trains");
    assert_eq!(before.header.training.measured_on, "validation");
    let mut more = rows.clone();
    more.extend(linear("calibration", 40, 3));
    let (after, _) = run(&regression(), &more).expect("trains");
    assert_eq!(after.layers, before.layers);
    assert_eq!(after.header.training.selection, before.header.training.selection);
    assert_eq!(after.header.training.measured_on, "calibration");
    assert_ne!(after.header.platt, before.header.platt);
    assert_ne!(after.header.calibration, before.header.calibration);

    // Nobody reads test rows, not even damaged ones.
    let mut test = linear("test", 10, 4);
    test.iter_mut().for_each(|row| row.hidden[0] = f32::NAN);
    more.extend(test);
    assert_eq!(run(&regression(), &more).expect("trains").0, after);
}

#[test]
fn a_router_that_loses_to_maximum_probability_is_reported() {
    // Training labels that have nothing to do with the features; calibration labels that
    // follow maximum probability.
    let mut rows = both(linear);
    for (i, row) in rows.iter_mut().enumerate() {
        set(row, i % 7 == 0);
    }
    rows.extend(uncertain("calibration", 40, 3));
    let (router, notes) = run(&regression(), &rows).expect("trains");
    let record = &router.header.training;
    let other = record.max_probability.expect("the rows have probabilities");
    assert!(record.loses_to_max_probability && record.auroc < other.auroc, "{record:?}");
    assert!(notes.contains("warning: maximum probability finds divergent"), "{notes}");

    let (router, notes) = run(&regression(), &both(linear)).expect("trains");
    assert!(!router.header.training.loses_to_max_probability && !notes.contains("warning"));
}

#[test]
fn seeds_share_the_settings_and_a_linear_head_depends_on_none() {
    let cpu = device("flex").expect("the default backend");
    let of = |config: &TrainConfig| {
        let (rows, provenance) = (both(linear), Provenance::default());
        train_seeds(config, &[1, 2], &rows, &provenance, &cpu, &Notes::default()).expect("trains")
    };
    let routers = of(&regression());
    assert_eq!(routers[0].file.layers, routers[1].file.layers);
    let seeds: Vec<u64> = routers.iter().map(|r| r.file.header.training.seed).collect();
    assert_eq!(seeds, [1, 2]);
    let steps = &routers[0].history;
    assert_eq!(steps.len(), routers[0].file.header.training.epochs as usize);
    assert!(steps.is_sorted_by(|a, b| a.train_loss >= b.train_loss && a.epoch + 1 == b.epoch));
    let last = steps.last().expect("a step");
    assert_eq!(last.validation_loss, Some(routers[0].file.header.training.validation_loss));
    assert!(last.auroc.is_some() && steps[0].auroc.is_none() && last.learning_rate.is_none());
    let widths = vec![4];
    let mlp = Architecture::Mlp { widths, activation: Activation::Relu, rewards: 1 };
    let routers = of(&TrainConfig { architecture: Some(mlp.into()), epochs: 2, ..config() });
    assert_ne!(routers[0].file.layers, routers[1].file.layers);
    assert_eq!(routers[0].file.header.architecture, routers[1].file.header.architecture);
    for (router, seed) in routers.iter().zip([1, 2]) {
        let epochs: Vec<_> = router.history.iter().map(|e| (e.seed, e.epoch)).collect();
        assert_eq!(epochs, [(seed, 1), (seed, 2)]);
        let whole = |e: &tokenroute_train::Epoch| e.validation_loss.and(e.auroc).is_some();
        assert!(router.history.iter().all(|e| whole(e) && e.learning_rate > Some(0.0)));
    }
}
