//! The SLM of the label stage where an engine computed its hidden states: steps along the
//! answers of round 0 come from files, and sampled rows are checked against the SLM itself.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Result, bail};
use serde::Serialize;
use tokenroute_core::{
    CommonPrefix, Detail, Feed, LanguageModel, ModelError, ModelInfo, Part, Progress, Step,
    TokenId, prefix_hash,
};
use tokenroute_label::{Item, LabelConfig, Round, due, work};
use tokenroute_model::{Decoder, KvState};
use tokenroute_store::{self as store, EngineStates};

use super::Chain;

/// Greatest distance of a sampled row from the SLM's own state, as a share of its length. An
/// engine computes in half precision; another layer or model is far off.
const TOLERANCE: f32 = 0.1;
/// A row is checked in the first file and in one of this number.
const CHECK_EVERY: u64 = 32;

/// Where states were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Norm {
    Before,
    After,
}

impl Norm {
    fn name(self) -> &'static str {
        match self {
            Norm::Before => "before",
            Norm::After => "after",
        }
    }
}

/// An SLM that takes steps from files. Without files it is the SLM.
pub(super) struct GivenStates<'a> {
    slm: &'a CommonPrefix<Decoder>,
    files: Option<Files<'a>>,
}

struct Files<'a> {
    folder: &'a Path,
    /// The file of a path, by the hash of its tokens.
    of: HashMap<u64, PathBuf>,
    /// Known once a row is checked.
    norm: OnceLock<Norm>,
    progress: &'a dyn Progress,
}

/// A line of `label --paths`.
#[derive(Serialize)]
struct PathLine<'a> {
    split: &'a str,
    question: &'a str,
    token_ids: Vec<TokenId>,
}

impl<'a> GivenStates<'a> {
    /// The SLM itself.
    pub(super) fn none(slm: &'a CommonPrefix<Decoder>) -> Self {
        GivenStates { slm, files: None }
    }

    /// Reads which files there are and the tokens that they are of.
    pub(super) fn open(
        slm: &'a CommonPrefix<Decoder>,
        folder: &'a Path,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        let mut of = HashMap::new();
        for file in EngineStates::files(folder)? {
            let tokens = EngineStates::tokens(&file)?;
            // An engine may have read an answer's last token too.
            if let [known @ .., _] = &tokens[..] {
                of.entry(prefix_hash(known)).or_insert_with(|| file.clone());
            }
            of.insert(prefix_hash(&tokens), file);
        }
        Ok(GivenStates { slm, files: Some(Files { folder, of, norm: OnceLock::new(), progress }) })
    }

    fn fault(&self, message: String) -> ModelError {
        ModelError::Backend { model: self.slm.info().name.clone(), message }
    }

    /// The steps of a path that a file holds.
    fn given(&self, files: &Files<'_>, feed: &Feed<'_, KvState>) -> Result<Vec<Step>, ModelError> {
        let hash = prefix_hash(feed.tokens);
        let Some(path) = files.of.get(&hash) else {
            return Err(self.fault(format!(
                "no file in {} has the states of a path of {} tokens; write the paths with `tokenroute label --paths`, and compute all of them",
                files.folder.display(),
                feed.tokens.len()
            )));
        };
        let states = EngineStates::read(path).map_err(|error| self.fault(error.to_string()))?;
        let (file, hidden) = (path.display(), self.slm.info().hidden);
        if states.width != hidden {
            let width = states.width;
            let what = format!("{file}: its states have {width} numbers; the SLM's have {hidden}");
            return Err(self.fault(what));
        }
        if !states.tokens.starts_with(feed.tokens) {
            return Err(self.fault(format!("{file}: it was changed while it was read")));
        }
        let rows = &states.values[feed.from * hidden..feed.tokens.len() * hidden];
        let norm = match files.norm.get() {
            Some(&norm) if !hash.is_multiple_of(CHECK_EVERY) => norm,
            known => {
                let row = feed.from + (hash >> 32) as usize % (feed.tokens.len() - feed.from);
                let state = &states.values[row * hidden..][..hidden];
                let found = self.checked(path, &feed.tokens[..=row], state, known.copied())?;
                if files.norm.set(found).is_ok() {
                    let (folder, name) = (files.folder.display(), found.name());
                    files.progress.note(&format!("states in {folder}: {name} the final norm"));
                }
                found
            }
        };
        let decoder = self.slm.model();
        match norm {
            Norm::Before => decoder.steps_of(&decoder.final_norm(rows)?),
            Norm::After => decoder.steps_of(rows),
        }
    }

    /// Computes the last row of some tokens and compares a file's with it. Returns where the
    /// file's was taken.
    fn checked(
        &self,
        file: &Path,
        tokens: &[TokenId],
        state: &[f32],
        known: Option<Norm>,
    ) -> Result<Norm, ModelError> {
        let (mut own, row) = (self.slm.start(), tokens.len() - 1);
        let feed = Feed { state: &mut own, tokens, from: row };
        let steps = self.slm.advance(&mut [feed], Detail::Full)?;
        let hidden = steps.first().and_then(|steps| steps.first()).map(|step| &step.hidden);
        let own = hidden.ok_or_else(|| self.fault("it gave no step".to_owned()))?;
        let after = distance(state, own);
        let before = distance(&self.slm.model().final_norm(state)?, own);
        let nearer = if before < after { Norm::Before } else { Norm::After };
        let norm = known.unwrap_or(nearer);
        let off = if norm == Norm::Before { before } else { after };
        if off <= TOLERANCE {
            return Ok(norm);
        }
        let percent = |share: f32| (100.0 * share).round();
        let earlier = known.map_or(String::new(), |norm| {
            format!("; the files before it have states {} the norm", norm.name())
        });
        Err(self.fault(format!(
            "{}: row {row} is {}% off the SLM's own state if it is before the final norm, {}% if after it{earlier}; expected at most {}%: states of the last layer, of the same weights",
            file.display(),
            percent(before),
            percent(after),
            percent(TOLERANCE)
        )))
    }
}

/// |a − b| / |b|
fn distance(a: &[f32], b: &[f32]) -> f32 {
    let length = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
    let apart = length(&mut a.iter().zip(b).map(|(a, b)| a - b));
    apart / length(&mut b.iter().copied()).max(f32::MIN_POSITIVE)
}

impl LanguageModel for GivenStates<'_> {
    type State = KvState;

    fn info(&self) -> &ModelInfo {
        self.slm.info()
    }

    fn start(&self) -> KvState {
        self.slm.start()
    }

    fn positions(&self, state: &KvState) -> usize {
        self.slm.positions(state)
    }

    fn position_bytes(&self) -> usize {
        self.slm.position_bytes()
    }

    fn truncate(&self, state: &mut KvState, len: usize) {
        self.slm.truncate(state, len);
    }

    /// States of files come without a KV cache: a state that such a path leaves is empty.
    fn advance(
        &self,
        feeds: &mut [Feed<'_, KvState>],
        detail: Detail,
    ) -> Result<Vec<Vec<Step>>, ModelError> {
        match &self.files {
            Some(files) => feeds.iter().map(|feed| self.given(files, feed)).collect(),
            None => self.slm.advance(feeds, detail),
        }
    }
}

impl Chain<'_> {
    /// The same experiment, whose first label round takes the SLM's states from an engine's
    /// files.
    ///
    /// # Errors
    /// A folder without files, and settings that need more of the SLM than states.
    pub fn with_states(self, states: Option<PathBuf>) -> Result<Self> {
        if let Some(folder) = &states {
            EngineStates::files(folder)?;
        }
        let chain = Chain { states, ..self };
        chain.label_config(0).check(0)?;
        Ok(chain)
    }

    /// Checks, before a model is loaded, that the first round can go on in `folder`: an unfinished
    /// run took the states from the same source, and where an engine gave them, every question
    /// that is not labelled yet has some. Paths are known only once the LLM has answered, so a
    /// file counts that begins with the question's prompt.
    ///
    /// # Errors
    /// States of another source, and questions without states.
    pub(super) fn check_states(
        &self,
        items: &[Item<'_>],
        part: Option<Part>,
        folder: &Path,
    ) -> Result<()> {
        let (pair, separator) = (self.named.hashes(), self.slm().vocabulary.separator());
        let config = self.label_config(0);
        let work = work(&config, pair, separator, items, &Round::Reference)?;
        let due = due(&work, config.questions_per_shard, items, 0, part, folder)?;
        let Some(states) = &self.states else { return Ok(()) };
        let files = EngineStates::files(states)?;
        let mut given: Vec<Vec<TokenId>> =
            files.iter().map(|file| EngineStates::tokens(file)).collect::<Result<_, _>>()?;
        given.sort_unstable();
        // Tokens that begin with a prompt stand together, and nothing between the prompt and them.
        let has = |prompt: &[TokenId]| {
            let first = given.partition_point(|tokens| tokens.as_slice() < prompt);
            given.get(first).is_some_and(|tokens| tokens.starts_with(prompt))
        };
        let lacking: Vec<&Item<'_>> = due.iter().copied().filter(|i| !has(&i.prompt)).collect();
        if let Some(first) = lacking.first() {
            bail!(
                "{} of {} questions have no states in {}, {:?} of {} first; write the paths with `tokenroute label --paths`, and compute all of them",
                lacking.len(),
                due.len(),
                states.display(),
                first.question.id,
                first.split
            );
        }
        Ok(())
    }

    /// The SLM of a label round.
    pub(super) fn labelled_slm<'s>(
        &'s self,
        slm: &'s CommonPrefix<Decoder>,
        round: u32,
    ) -> Result<GivenStates<'s>> {
        match &self.states {
            Some(folder) if round == 0 => GivenStates::open(slm, folder, self.progress),
            _ => Ok(GivenStates::none(slm)),
        }
    }

    /// Writes the token ids along which the first round needs the SLM's states, one line of JSON
    /// for each question. The LLM answers first, unless a rationale is the path. Returns their
    /// number.
    ///
    /// # Errors
    /// Settings that need more of the SLM than states, and what labelling fails at.
    pub fn write_paths(&self, file: &Path) -> Result<usize> {
        LabelConfig { states: true, ..self.label_config(0) }.check(0)?;
        let asked = self.label_questions()?;
        let items = self.items(&asked)?;
        self.lock()?;
        let pair = self.pair()?;
        let (llm, decode) = (self.labelled_by(pair), |ids: &[TokenId]| self.text(ids));
        let grade = self.grade();
        let slm = GivenStates::none(&pair.slm);
        let labeller = self.labeller(&slm, &*llm, &decode, &grade);
        let mut lines = Vec::new();
        self.progress.begin("paths", items.len() as u64, "questions");
        for items in items.chunks(self.experiment.label.questions_per_shard) {
            for (item, answer) in items.iter().zip(labeller.answers(items)?) {
                let known = &answer[..answer.len().saturating_sub(1)];
                let token_ids = [&item.prompt[..], known].concat();
                let line = PathLine { split: item.split, question: &item.question.id, token_ids };
                serde_json::to_writer(&mut lines, &line)?;
                lines.push(b'\n');
            }
            self.progress.advance(items.len() as u64);
        }
        store::write(file, &lines)?;
        self.progress.finish();
        Ok(items.len())
    }
}
