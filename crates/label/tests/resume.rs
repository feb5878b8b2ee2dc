//! Runs that are stopped anywhere and started again leave the same files as
//! runs that were not.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use common::{Failing, Sure, config, items, labeller, models, questions};
use tokenroute_core::{LanguageModel, Progress, Relation, Silent, Tau, TokenId};
use tokenroute_label::{
    Item, LabelConfig, LabelError, Round, SHARDS, ShardRecord, inspect, keep_judgements,
};
use tokenroute_llm::{InProcess, ToyModel};
use tokenroute_store::{Columns, Manifest, read_labels_dir};

/// Every file below a directory.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let bytes = if path.is_dir() { Vec::new() } else { fs::read(&path).expect("a file") };
        found.insert(name, bytes);
    }
    found
}

fn run<M: LanguageModel>(
    llm: &M,
    items: &[Item<'_>],
    round: &Round<'_>,
    config: LabelConfig,
    dir: &Path,
    progress: &dyn Progress,
) -> Result<Manifest, LabelError> {
    let (slm, _) = models();
    labeller(&slm, &InProcess::new(llm), &ToyModel::vocabulary(), config)
        .run(items, round, dir, progress)
}

#[test]
fn a_run_stopped_anywhere_ends_in_the_same_bytes() {
    let (_, llm) = models();
    let questions = questions(20);
    let items = items(&questions);
    let tau = Tau::new(0.4).expect("in range");
    let on_policy = Round::OnPolicy { number: 1, scorer: &Sure, tau, router_hash: "r" };
    for round in [Round::Reference, on_policy] {
        let whole = tempfile::tempdir().expect("a directory");
        run(&llm, &items, &round, config(), whole.path(), &Silent).expect("good models");
        let expected = files(whole.path());
        for calls in [0, 1, 5, 40, 90, 150] {
            let dir = tempfile::tempdir().expect("a directory");
            let dir = dir.path();
            let mut stops = 0;
            // The plug is pulled again and again; each life gets a bit further.
            let mut budget = calls;
            loop {
                let model = Failing::after(&llm, budget);
                match run(&model, &items, &round, config(), dir, &Silent) {
                    Ok(_) => break,
                    Err(error) => assert!(error.to_string().contains("pulled plug"), "{error}"),
                }
                assert!(!dir.join(Manifest::NAME).exists());
                fs::write(dir.join("partial/.partial-cut"), "cut").expect("a write");
                stops += 1;
                budget = budget.max(60) + 10 * stops;
            }
            assert!(stops > 0, "{calls} calls stopped nothing");
            assert_eq!(files(dir), expected, "stopped first after {calls} calls");
        }
    }
}

#[test]
fn kept_judgements_make_the_same_bytes_without_the_llm() {
    let (slm, llm) = models();
    let questions = questions(20);
    let items = items(&questions);
    let tau = Tau::new(0.4).expect("in range");
    let on_policy = Round::OnPolicy { number: 1, scorer: &Sure, tau, router_hash: "r" };
    for round in [Round::Reference, on_policy] {
        let whole = tempfile::tempdir().expect("a directory");
        run(&llm, &items, &round, config(), whole.path(), &Silent).expect("good models");
        let kept = tempfile::tempdir().expect("a directory");
        let folder = kept.path().join(format!("round-{}", round.number()));
        let shards = keep_judgements(whole.path(), &folder).expect("a finished round");
        assert_eq!(shards, files(whole.path()).len() as u64 - 2, "all but two JSON files");
        let small: usize = files(&folder).values().map(Vec::len).sum();
        assert!(small < files(whole.path()).values().map(Vec::len).sum());

        let silent = Failing::after(&llm, 0);
        let (silent, vocabulary) = (InProcess::new(&silent), ToyModel::vocabulary());
        let again = |config: LabelConfig, dir: &Path| {
            let labeller = labeller(&slm, &silent, &vocabulary, config);
            let kept = Some(kept.path());
            tokenroute_label::Labeller { kept, ..labeller }.run(&items, &round, dir, &Silent)
        };
        let dir = tempfile::tempdir().expect("a directory");
        again(config(), dir.path()).expect("the LLM is not asked");
        assert_eq!(files(dir.path()), files(whole.path()));

        let other = tempfile::tempdir().expect("a directory");
        let config = LabelConfig { seed: 99, ..config() };
        again(config, other.path()).expect_err("judgements of other work do not serve");
    }
}

#[test]
fn no_row_is_lost_or_doubled_and_shards_stay_within_splits() {
    let (_, llm) = models();
    let questions = questions(20);
    let items = items(&questions);
    let dir = tempfile::tempdir().expect("a directory");
    let manifest =
        run(&llm, &items, &Round::Reference, config(), dir.path(), &Silent).expect("good models");
    let names: Vec<&str> = manifest.outputs.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "round0-train-00000.parquet",
            "round0-train-00001.parquet",
            "round0-train-00002.parquet",
            "round0-train-00003.parquet",
            "round0-validation-00000.parquet",
            "round0-validation-00001.parquet",
            SHARDS,
        ]
    );
    let vocabulary = ToyModel::vocabulary();
    let (slm, _) = models();
    let llm = InProcess::new(llm);
    let labeller = labeller(&slm, &llm, &vocabulary, config());
    let in_memory = labeller.label(&items, &Round::Reference).expect("good models");
    assert_eq!(read_labels_dir(dir.path(), Columns::All).expect("good shards"), in_memory);
}

#[test]
fn finished_work_is_skipped_and_changed_work_replaces_it() {
    let (_, llm) = models();
    let questions = questions(12);
    let items = items(&questions);
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let first = run(&llm, &items, &Round::Reference, config(), dir, &Silent).expect("good");
    let dead = Failing::after(&llm, 0);
    let again = run(&dead, &items, &Round::Reference, config(), dir, &Silent);
    assert_eq!(again.expect("nothing is run"), first);

    // Other work that fails leaves the finished table whole.
    let before = files(dir);
    let other = LabelConfig { questions_per_shard: 50, ..config() };
    let stopped = Failing::after(&llm, 30);
    run(&stopped, &items, &Round::Reference, other.clone(), dir, &Silent).expect_err("it stops");
    let mut after = files(dir);
    assert!(after.remove("partial").is_some());
    assert_eq!(after, before);

    // A shard that was cut is made anew, and only it.
    fs::write(dir.join("round0-train-00001.parquet"), "cut").expect("a write");
    let processed = llm.processed();
    run(&llm, &items, &Round::Reference, config(), dir, &Silent).expect("good");
    assert_eq!(files(dir), before);
    let shards: BTreeMap<String, ShardRecord> =
        serde_json::from_slice(&before[SHARDS]).expect("JSON");
    let paid = shards["round0-train-00001.parquet"].llm_positions;
    assert_eq!(llm.processed() - processed, paid);

    run(&llm, &items, &Round::Reference, other, dir, &Silent).expect("good");
    let names: Vec<_> = files(dir).into_keys().collect();
    assert_eq!(
        names,
        ["manifest.json", "round0-train-00000.parquet", "round0-validation-00000.parquet", SHARDS]
    );
}

/// The notes of a run.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn begin(&self, _: &str, _: u64, _: &str) {}
    fn advance(&self, _: u64) {}
    fn note(&self, text: &str) {
        self.0.lock().expect("not poisoned").push(text.to_owned());
    }
}

#[test]
fn shards_of_an_unfinished_run_are_not_replaced_in_silence() {
    let (_, llm) = models();
    let questions = questions(20);
    let items = items(&questions);
    for given in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path();
        let begun = LabelConfig { states: given, ..config() };
        let stopped = Failing::after(&llm, 150);
        let run = |config: &LabelConfig, progress: &dyn Progress| {
            run(&llm, &items, &Round::Reference, config.clone(), dir, progress)
        };
        crate::run(&stopped, &items, &Round::Reference, begun.clone(), dir, &Silent)
            .expect_err("it stops");
        let shards = || {
            let mut found = files(&dir.join("partial"));
            found.retain(|name, _| name.ends_with(".parquet"));
            found
        };
        let before = shards();
        assert!(!before.is_empty() && before.len() < 6, "{}", before.len());

        // The same work, but for the source of the hidden states.
        let other = LabelConfig { states: !given, ..begun.clone() };
        let error = run(&other, &Silent).expect_err("they would be lost").to_string();
        let made = if given { "made with `--states`" } else { "made without `--states`" };
        let count = format!("{} finished shards", before.len());
        assert!(error.contains(made) && error.contains(&count), "{error}");
        assert_eq!(shards(), before);

        // Other work replaces them, and says so.
        let notes = Notes::default();
        run(&LabelConfig { seed: 99, ..begun.clone() }, &notes).expect("good models");
        let notes = notes.0.into_inner().expect("not poisoned");
        let [note] = &notes[..] else { panic!("{notes:?}") };
        assert!(note.contains(&count) && note.contains("the setting `seed` is 0"), "{note}");
    }
}

/// Remembers what it was told.
#[derive(Default)]
struct Told(Mutex<(u64, u64)>);

impl Progress for Told {
    fn begin(&self, _: &str, total: u64, unit: &str) {
        assert_eq!(unit, "questions");
        self.0.lock().expect("not poisoned").0 += total;
    }
    fn advance(&self, units: u64) {
        self.0.lock().expect("not poisoned").1 += units;
    }
    fn note(&self, _: &str) {}
}

#[test]
fn estimates_and_inspections_agree_with_the_run() {
    let (slm, llm) = models();
    let vocabulary = ToyModel::vocabulary();
    let questions = questions(30);
    let items = items(&questions);
    let dir = tempfile::tempdir().expect("a directory");
    let told = Told::default();
    run(&llm, &items, &Round::Reference, config(), dir.path(), &told).expect("good models");
    assert_eq!(*told.0.lock().expect("not poisoned"), (30, 30));
    let shards: BTreeMap<String, ShardRecord> =
        serde_json::from_slice(&fs::read(dir.path().join(SHARDS)).expect("a file")).expect("JSON");

    let llm = InProcess::new(llm);
    let labeller = labeller(&slm, &llm, &vocabulary, config());
    let estimate =
        labeller.estimate(&items, &Round::Reference, 30, Duration::MAX).expect("good models");
    assert_eq!((estimate.questions, estimate.sample), (30, 30));
    assert_eq!(estimate.llm_positions, shards.values().map(|s| s.llm_positions).sum::<u64>());
    assert_eq!(estimate.slm_positions, shards.values().map(|s| s.slm_positions).sum::<u64>());
    let short = labeller.estimate(&items, &Round::Reference, 30, Duration::ZERO);
    let short = short.expect("good models");
    assert_eq!((short.questions, short.sample), (30, 2), "two questions are enough at once");
    let rough = labeller.estimate(&items, &Round::Reference, 8, Duration::MAX);
    let rough = rough.expect("good models");
    let ratio = rough.llm_positions as f64 / estimate.llm_positions as f64;
    assert!((0.5..2.0).contains(&ratio), "8 questions tell {ratio} of the truth");

    let text = |token: TokenId| if token < 8 { token.to_string() } else { "word".to_owned() };
    let rows = read_labels_dir(dir.path(), Columns::All).expect("good shards");
    let found = inspect(&[dir.path().to_owned()], &text, 5).expect("good shards");
    assert_eq!(found.rows as usize, rows.len());
    assert_eq!(found.counts.total(), found.rows);
    assert_eq!(found.shards as usize, shards.len());
    assert_eq!(
        found.groups.iter().map(|g| (g.split.as_str(), g.questions)).collect::<Vec<_>>(),
        [("train", 20), ("validation", 10)]
    );
    let divergent = rows.iter().filter(|r| r.relation == Relation::Divergent);
    let digits = divergent.clone().filter(|r| r.llm_token < 8).count() as u64;
    let by_llm = &found.divergent_by_llm;
    assert_eq!(by_llm.values().sum::<u64>() as usize, divergent.count());
    assert_eq!(by_llm[&tokenroute_core::TokenClass::Digit], digits);
    assert_eq!(found.sample.len(), 5);
    assert!(found.bytes > 0 && found.shares.divergent > 0.0);
    assert!(found.sample.iter().all(|s| s.relation != Relation::Identical));
}
