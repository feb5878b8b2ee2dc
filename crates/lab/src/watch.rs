//! What a running experiment has done so far: its stages, the label composition and the curves as
//! they grow. The stages tell it as they report progress; the rest is read from `run/`.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokenroute_core::{Counts, Curve, Progress, QuestionCurve};
use tokenroute_store::{self as store, Columns};

use crate::chain::sweep::PARTIAL;
use crate::chain::{labels, sweep};

/// Lines that are kept.
const LINES: usize = 40;
/// Budgets that a curve is read at: 0, 1/40, … 1.
const BUDGETS: u32 = 40;
/// The split whose curves are shown.
const TEST: &str = "test";

/// Policies with their curves on the questions of a chunk.
type Chunk = Vec<(String, Vec<QuestionCurve>)>;

/// Follows one run.
pub struct Watch {
    run: PathBuf,
    begun: Instant,
    told: Mutex<Told>,
    /// Label counts of shards that were read.
    shards: Mutex<BTreeMap<PathBuf, (u64, Counts)>>,
    swept: Mutex<Swept>,
}

/// The curves on test of the chunks that were read.
#[derive(Default)]
struct Swept {
    chunks: BTreeMap<PathBuf, Chunk>,
    /// What they make together.
    curves: Vec<CurveState>,
}

/// What the stages told.
#[derive(Default)]
struct Told {
    phases: Vec<Phase>,
    lines: VecDeque<String>,
    ended: Option<String>,
    /// When the state was last asked for.
    asked: Option<Instant>,
}

struct Phase {
    name: String,
    unit: String,
    total: u64,
    done: u64,
    begun: Instant,
    seconds: Option<f64>,
}

/// The state of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WatchState {
    /// Seconds since the run began.
    pub seconds: f64,
    /// How the run ended; `None` while it goes on.
    pub ended: Option<String>,
    /// The phases so far, the current one last.
    pub phases: Vec<PhaseState>,
    /// The last lines that the stages printed.
    pub lines: Vec<String>,
    /// Labelled questions.
    pub labelled: u64,
    /// Labelled positions by relation.
    pub labels: Counts,
    /// Curves on the test questions that are swept.
    pub curves: Vec<CurveState>,
}

/// A phase of a stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PhaseState {
    /// Its name.
    pub name: String,
    /// What it counts.
    pub unit: String,
    /// Units in all.
    pub total: u64,
    /// Finished units.
    pub done: u64,
    /// Seconds so far, or in all.
    pub seconds: f64,
    /// Units a second.
    pub rate: f64,
    /// Seconds left at this rate; `None` if it is over or not known.
    pub left: Option<f64>,
    /// Whether it is over.
    pub over: bool,
}

/// The curve of one policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CurveState {
    /// The policy.
    pub policy: String,
    /// Test questions that it is swept on.
    pub questions: u64,
    /// Offload ratio and accuracy at each budget.
    pub points: Vec<[f64; 2]>,
}

impl Watch {
    /// Follows the run of an experiment, whose artefacts lie in `run`.
    #[must_use]
    pub fn new(run: PathBuf) -> Self {
        let told = Mutex::default();
        let (shards, swept) = (Mutex::default(), Mutex::default());
        Watch { run, begun: Instant::now(), told, shards, swept }
    }

    /// Progress that is shown elsewhere too.
    #[must_use]
    pub fn progress<'w>(&'w self, shown: &'w dyn Progress) -> WatchedProgress<'w> {
        WatchedProgress { watch: self, shown }
    }

    /// The run is over.
    pub fn end(&self, how: &str) {
        if let Ok(mut told) = self.told.lock() {
            told.ended = Some(how.to_owned());
        }
    }

    /// Whether the state was asked for within this time.
    #[must_use]
    pub fn is_followed(&self, within: Duration) -> bool {
        let told = self.told.lock();
        told.is_ok_and(|told| told.asked.is_some_and(|asked| asked.elapsed() < within))
    }

    /// The state now. What cannot be read yet is left out.
    #[must_use]
    pub fn state(&self) -> WatchState {
        let (labelled, labels) = self.labels();
        let Ok(mut told) = self.told.lock() else {
            return WatchState {
                seconds: self.begun.elapsed().as_secs_f64(),
                ended: Some("its state is lost".to_owned()),
                phases: Vec::new(),
                lines: Vec::new(),
                labelled,
                labels,
                curves: Vec::new(),
            };
        };
        told.asked = Some(Instant::now());
        let phases: Vec<PhaseState> = told.phases.iter().map(Phase::state).collect();
        let (lines, ended) = (told.lines.iter().cloned().collect(), told.ended.clone());
        // Chunks are this run's once its sweep has begun, a finished sweep once it is over.
        let sweep = phases.iter().rfind(|phase| phase.name == "sweep");
        let unchanged = told.lines.iter().any(|line| line.starts_with("sweep: unchanged"));
        let (begun, over) = (sweep.is_some(), unchanged || sweep.is_some_and(|phase| phase.over));
        drop(told);
        let (seconds, curves) = (self.begun.elapsed().as_secs_f64(), self.curves(begun, over));
        WatchState { seconds, ended, phases, lines, labelled, labels, curves }
    }

    /// Questions and composition of the label shards that are there.
    fn labels(&self) -> (u64, Counts) {
        let Ok(mut known) = self.shards.lock() else { return Default::default() };
        // A shard that is made anew lies in `partial` beside the old one.
        let mut there: BTreeMap<OsString, PathBuf> = BTreeMap::new();
        for round in store::list(&self.run.join(labels::FOLDER)).unwrap_or_default() {
            for folder in [round.clone(), round.join(PARTIAL)] {
                let named = |path: PathBuf| Some((path.file_name()?.to_owned(), path));
                there.extend(parquet(&folder).into_iter().filter_map(named));
            }
        }
        known.retain(|path, _| there.values().any(|found| found == path));
        for path in there.into_values() {
            if !known.contains_key(&path)
                && let Ok(rows) = store::read_labels(&path, Columns::Scalars)
            {
                let mut counts = Counts::default();
                let mut questions: Vec<&str> = rows.iter().map(|row| &*row.question).collect();
                questions.dedup();
                rows.iter().for_each(|row| counts.add(row.relation));
                let questions = questions.len() as u64;
                known.insert(path, (questions, counts));
            }
        }
        let (mut questions, mut sum) = (0, Counts::default());
        for (count, counts) in known.values() {
            questions += count;
            sum += *counts;
        }
        (questions, sum)
    }

    /// The curves of this run's chunks, or of its finished sweep.
    fn curves(&self, begun: bool, over: bool) -> Vec<CurveState> {
        let Ok(mut swept) = self.swept.lock() else { return Vec::new() };
        let Swept { chunks, curves } = &mut *swept;
        let folder = self.run.join(sweep::FOLDER);
        let mut there = if begun { parquet(&folder.join(PARTIAL)) } else { Vec::new() };
        if there.is_empty() && over {
            there.extend(parquet(&folder));
        }
        let before = chunks.len();
        chunks.retain(|path, _| there.contains(path));
        let mut changed = chunks.len() < before;
        for path in there {
            if !chunks.contains_key(&path)
                && let Ok(read) = store::read_curves(&path)
            {
                let of_test = read.into_iter().filter(|found| found.split == TEST);
                chunks.insert(path, of_test.map(|found| (found.policy, found.curves)).collect());
                changed = true;
            }
        }
        if changed {
            *curves = together(chunks.values().flatten());
        }
        curves.clone()
    }
}

/// The curve of each policy over all chunks, in the order of the policies.
fn together<'c>(chunks: impl Iterator<Item = &'c (String, Vec<QuestionCurve>)>) -> Vec<CurveState> {
    let mut policies: Vec<(&str, Vec<QuestionCurve>)> = Vec::new();
    for (policy, curves) in chunks {
        match policies.iter_mut().find(|(known, _)| known == policy) {
            Some((_, all)) => all.extend(curves.iter().cloned()),
            None => policies.push((policy, curves.clone())),
        }
    }
    let state = |(policy, curves): (&str, Vec<QuestionCurve>)| {
        let curve = Curve::of(&curves);
        let point = |i| {
            let at = curve.at(curve.tau_at_offload(f64::from(i) / f64::from(BUDGETS)));
            [at.offload(), curve.accuracy(&at)]
        };
        let points = (0..=BUDGETS).map(point).collect();
        CurveState { policy: policy.to_owned(), questions: curve.questions, points }
    };
    policies.into_iter().map(state).collect()
}

impl Phase {
    fn state(&self) -> PhaseState {
        let seconds = self.seconds.unwrap_or_else(|| self.begun.elapsed().as_secs_f64());
        let rate = self.done as f64 / seconds.max(1e-9);
        let over = self.seconds.is_some();
        let left = self.total.saturating_sub(self.done) as f64 / rate;
        PhaseState {
            name: self.name.clone(),
            unit: self.unit.clone(),
            total: self.total,
            done: self.done,
            seconds,
            rate,
            left: Some(left).filter(|left| !over && left.is_finite()),
            over,
        }
    }
}

/// Progress that a [`Watch`] follows.
pub struct WatchedProgress<'w> {
    watch: &'w Watch,
    shown: &'w dyn Progress,
}

impl Progress for WatchedProgress<'_> {
    fn begin(&self, phase: &str, total: u64, unit: &str) {
        if let Ok(mut told) = self.watch.told.lock() {
            told.end_phase();
            told.phases.push(Phase {
                name: phase.to_owned(),
                unit: unit.to_owned(),
                total,
                done: 0,
                begun: Instant::now(),
                seconds: None,
            });
        }
        self.shown.begin(phase, total, unit);
    }

    fn advance(&self, units: u64) {
        if let Ok(mut told) = self.watch.told.lock()
            && let Some(phase) = told.phases.last_mut()
        {
            phase.done += units;
        }
        self.shown.advance(units);
    }

    fn note(&self, line: &str) {
        if let Ok(mut told) = self.watch.told.lock() {
            told.lines.push_back(line.to_owned());
            if told.lines.len() > LINES {
                told.lines.pop_front();
            }
        }
        self.shown.note(line);
    }

    fn finish(&self) {
        if let Ok(mut told) = self.watch.told.lock() {
            told.end_phase();
        }
        self.shown.finish();
    }
}

impl Told {
    /// The current phase is over, if there is one.
    fn end_phase(&mut self) {
        if let Some(phase) = self.phases.last_mut()
            && phase.seconds.is_none()
        {
            phase.seconds = Some(phase.begun.elapsed().as_secs_f64());
        }
    }
}

/// The Parquet files of a folder.
fn parquet(folder: &Path) -> Vec<PathBuf> {
    let mut files = store::list(folder).unwrap_or_default();
    files.retain(|path| path.extension().is_some_and(|end| end == "parquet"));
    files
}

#[cfg(test)]
mod tests {
    use tokenroute_core::{LabelRow, Relation};

    use super::*;

    fn row(relation: Relation) -> LabelRow {
        LabelRow {
            question: "q".into(),
            split: "router-train".into(),
            round: 0,
            position: 0,
            prefix_hash: 0,
            previous: 1,
            slm_token: 2,
            llm_token: 2,
            llm_probability: None,
            top: vec![(2, 1.0)],
            entropy: 0.0,
            sentence_entropy: 0.0,
            hidden: vec![0.0],
            relation,
            keep_grade: 1.0,
            offload_grade: 1.0,
            target: 1.0,
            weight: 1.0,
            rollouts: 0,
        }
    }

    #[test]
    fn a_shard_that_is_made_anew_counts_in_the_old_one_s_place() {
        let run = tempfile::tempdir().expect("a folder");
        let round = run.path().join(labels::FOLDER).join("round-0");
        let partial = round.join(PARTIAL);
        store::make_dir(&partial).expect("a folder");
        let watch = Watch::new(run.path().to_owned());
        let write = |folder: &Path, relation| {
            store::write_labels(&folder.join("a.parquet"), &[row(relation)]).expect("a shard");
        };
        write(&round, Relation::Identical);
        assert_eq!((watch.state().labels.identical, watch.state().labelled), (1, 1));
        write(&partial, Relation::Divergent);
        let state = watch.state();
        assert_eq!((state.labels.identical, state.labels.divergent, state.labelled), (0, 1, 1));
        // Finished, the new one lies where the old one did.
        std::fs::rename(partial.join("a.parquet"), round.join("a.parquet")).expect("a move");
        let state = watch.state();
        assert_eq!((state.labels.identical, state.labels.divergent), (0, 1));
    }
}
