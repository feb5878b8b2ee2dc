//! What a running experiment has done so far: its stages, the label composition and the curves as
//! they grow. The stages tell it as they report progress; the rest is read from `run/`.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokenroute_core::{Counts, Curve, Progress, QuestionCurve};
use tokenroute_store::{self as store, Columns};

use crate::chain::{labels, sweep};

/// Lines that are kept.
const LINES: usize = 40;
/// Budgets that a curve is read at: 0, 1/40, … 1.
const BUDGETS: u32 = 40;
/// Where a stage keeps what it has of unfinished work.
const PARTIAL: &str = "partial";
/// The split whose curves are shown.
const TEST: &str = "test";

/// Policies with their curves on the questions of a chunk.
type Chunk = Vec<(String, Vec<QuestionCurve>)>;

/// Follows one run.
pub struct Watch {
    run: PathBuf,
    begun: Instant,
    told: Mutex<Told>,
    /// Label counts of shards that were read, by file name.
    shards: Mutex<BTreeMap<String, (u64, Counts)>>,
    /// Curves on test of chunks that were read, by file name and policy.
    chunks: Mutex<BTreeMap<String, Chunk>>,
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
    pub labels: LabelState,
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

/// Label composition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct LabelState {
    /// The same token.
    pub identical: u64,
    /// Different tokens, nothing is lost.
    pub neutral: u64,
    /// Different tokens, both answers are wrong.
    pub both_wrong: u64,
    /// Keeping loses the answer.
    pub divergent: u64,
    /// Not judged.
    pub unjudged: u64,
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
        let (shards, chunks) = (Mutex::default(), Mutex::default());
        Watch { run, begun: Instant::now(), told, shards, chunks }
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
        // A finished sweep is this run's once its stage has passed.
        let swept = phases.iter().any(|phase| phase.name == "sweep" && phase.over)
            || told.lines.iter().any(|line| line.starts_with("sweep: unchanged"));
        drop(told);
        let seconds = self.begun.elapsed().as_secs_f64();
        WatchState { seconds, ended, phases, lines, labelled, labels, curves: self.curves(swept) }
    }

    /// Questions and composition of the label shards that are there.
    fn labels(&self) -> (u64, LabelState) {
        let Ok(mut known) = self.shards.lock() else { return Default::default() };
        let mut there = Vec::new();
        for round in store::list(&self.run.join(labels::FOLDER)).unwrap_or_default() {
            for folder in [round.clone(), round.join(PARTIAL)] {
                there.extend(parquet(&folder));
            }
        }
        for path in &there {
            let name = file_name(path);
            if !known.contains_key(&name)
                && let Ok(rows) = store::read_labels(path, Columns::Scalars)
            {
                let mut counts = Counts::default();
                let mut questions: Vec<&str> = rows.iter().map(|row| &*row.question).collect();
                questions.dedup();
                rows.iter().for_each(|row| counts.add(row.relation));
                known.insert(name, (questions.len() as u64, counts));
            }
        }
        known.retain(|name, _| there.iter().any(|path| file_name(path) == *name));
        let (mut questions, mut sum) = (0, Counts::default());
        for (count, counts) in known.values() {
            questions += count;
            sum += *counts;
        }
        let Counts { identical, neutral, both_wrong, divergent, unjudged } = sum;
        (questions, LabelState { identical, neutral, both_wrong, divergent, unjudged })
    }

    /// The curves of the chunks that are there, or of the finished sweep.
    fn curves(&self, swept: bool) -> Vec<CurveState> {
        let Ok(mut known) = self.chunks.lock() else { return Vec::new() };
        let folder = self.run.join(sweep::FOLDER);
        let mut there = parquet(&folder.join(PARTIAL));
        if there.is_empty() && swept {
            there.extend(parquet(&folder));
        }
        for path in &there {
            let name = file_name(path);
            if !known.contains_key(&name)
                && let Ok(curves) = store::read_curves(path)
            {
                let of_test = curves.into_iter().filter(|found| found.split == TEST);
                known.insert(name, of_test.map(|found| (found.policy, found.curves)).collect());
            }
        }
        known.retain(|name, _| there.iter().any(|path| file_name(path) == *name));
        let mut order: Vec<&str> = Vec::new();
        let mut policies: BTreeMap<&str, Vec<QuestionCurve>> = BTreeMap::new();
        for (policy, curves) in known.values().flatten() {
            if !policies.contains_key(policy.as_str()) {
                order.push(policy);
            }
            policies.entry(policy).or_default().extend(curves.iter().cloned());
        }
        let state = |policy: &str| {
            let curve = Curve::of(policies.get(policy)?);
            let point = |i| {
                let at = curve.at(curve.tau_at_offload(f64::from(i) / f64::from(BUDGETS)));
                [at.offload(), curve.accuracy(&at)]
            };
            let points = (0..=BUDGETS).map(point).collect();
            Some(CurveState { policy: policy.to_owned(), questions: curve.questions, points })
        };
        order.into_iter().filter_map(state).collect()
    }
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

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
