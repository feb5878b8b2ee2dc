//! The label stage: the reference round, then on-policy rounds, each with the
//! router trained on the rounds before it.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tokenroute_core::{LabelRow, Llm, Question, Tau, TokenId};
use tokenroute_label::{Item, LabelConfig, Labeller, PairHashes, Reference, Round, work};
use tokenroute_model::RouterScorer;
use tokenroute_store::{self as store, Columns, Manifest};
use tokenroute_train::{Provenance, TrainConfig};

use super::sweep::PARTIAL;
use super::{Asked, Chain, LoadedPair, timing};
use crate::experiment::Experiment;

/// Where the label rounds lie, under `run/`.
pub const FOLDER: &str = "labels";

/// Splits that every round labels.
const LABELLED: [&str; 3] = ["router-train", "validation", "calibration"];

/// The split that round 0 alone labels, where the experiment asks for it.
const TEST: &str = "test";

impl Chain<'_> {
    /// Makes the label table, or finds it made. Returns whether it was skipped. A chain of a
    /// part labels its share of the first round that is not finished.
    pub fn label(&self, device: &str) -> Result<bool> {
        let asked = self.label_questions()?;
        let folder = self.experiment.run(FOLDER);
        if self.labelled(&asked)?.is_some() {
            return Ok(true);
        }
        if let Some(part) = self.part {
            self.label_part(part, &asked)?;
            return Ok(false);
        }
        self.lock()?;
        let items = self.items(&asked)?;
        if self.first_round(&items)?.is_none() {
            self.check_states(&items, None, &self.round_folder(0))?;
        }
        if !self.round_folder(0).join(Manifest::NAME).exists()
            && !self.round_folder(0).join(PARTIAL).exists()
        {
            timing::forget(&folder)?;
        }
        let pair = self.pair()?;
        self.timed(&folder, || {
            let trained: Vec<Item<'_>> = trained(&items);
            let (llm, decode) = (self.labelled_by(pair), |ids: &[TokenId]| self.text(ids));
            let grade = self.grade();
            for number in 0..=self.experiment.label.rounds {
                // An engine may have given the states of the first round of an earlier run.
                if number == 0 && self.first_round(&items)?.is_some() {
                    continue;
                }
                let slm = self.labelled_slm(&pair.slm, number)?;
                let mut labeller = self.labeller(&slm, &*llm, &decode, &grade);
                labeller.config = self.label_config(number);
                let folder = self.round_folder(number);
                let items = if number == 0 { &items } else { &trained };
                self.with_round(number, Some(device), |round| {
                    Ok(labeller.run(items, round, &folder, self.progress)?)
                })?;
            }
            Ok(())
        })?;
        self.progress.finish();
        Ok(false)
    }

    /// Keeps the judgements of all shards that are finished, in the experiment's folder for
    /// them. Returns the folder and the number of shards.
    pub fn keep_judgements(&self) -> Result<(PathBuf, u64)> {
        let into = self.judgements.clone().context(
            "the experiment names no folder for judgements; set label.judgements, for example to \"judgements\"",
        )?;
        let mut shards = 0;
        for number in 0..=self.experiment.label.rounds {
            let kept = into.join(format!("round-{number}"));
            shards += tokenroute_label::keep_judgements(&self.round_folder(number), &kept)?;
        }
        Ok((into, shards))
    }

    /// Positions the LLM processed for all finished rounds.
    pub fn label_positions(&self) -> Result<u64> {
        let mut positions = 0;
        for folder in self.label_folders() {
            let records = tokenroute_label::shard_records(&folder)?;
            positions += records.iter().map(|record| record.llm_positions).sum::<u64>();
        }
        Ok(positions)
    }

    /// The finished rounds' manifests, if all are finished for this experiment.
    pub fn labelled(&self, asked: &[Asked]) -> Result<Option<Vec<Manifest>>> {
        let items = self.items(asked)?;
        let (pair, separator) = (self.named.hashes(), self.slm().vocabulary.separator());
        let mut found = Vec::new();
        for number in 0..=self.experiment.label.rounds {
            let config = self.label_config(number);
            let done = if number == 0 {
                self.first_round(&items)?
            } else {
                let path = self.interim_path(number);
                if !store::exists(&path) {
                    return Ok(None);
                }
                let scorer = RouterScorer::open(&path)?;
                let tau = self.interim_tau(&scorer);
                let hash = self.hashes.sha256(&path)?;
                let round = Round::OnPolicy { number, scorer: &scorer, tau, router_hash: &hash };
                let due = work(&config, pair, separator, &trained(&items), &round)?;
                due.finished(&self.round_folder(number), &self.hashes)?
            };
            match done {
                Some(manifest) => found.push(manifest),
                None => return Ok(None),
            }
        }
        Ok(Some(found))
    }

    /// The manifest of the first round, if it is finished, with or without an engine's states.
    pub(super) fn first_round(&self, items: &[Item<'_>]) -> Result<Option<Manifest>> {
        let (pair, separator) = (self.named.hashes(), self.slm().vocabulary.separator());
        for states in [false, true] {
            let config = LabelConfig { states, ..self.label_config(0) };
            let due = work(&config, pair, separator, items, &Round::Reference)?;
            let done = due.finished(&self.round_folder(0), &self.hashes)?;
            if done.is_some() {
                return Ok(done);
            }
        }
        Ok(None)
    }

    /// The finished label table: its hash and its rows.
    pub fn label_rows(&self, columns: Columns) -> Result<(String, Vec<LabelRow>)> {
        let asked = self.label_questions()?;
        let manifests = self.labelled(&asked)?.context(
            "the label table is missing or stale; run `tokenroute label` on the experiment first",
        )?;
        self.read_rounds(&manifests, columns)
    }

    /// Folders of all rounds.
    pub fn label_folders(&self) -> Vec<PathBuf> {
        (0..=self.experiment.label.rounds).map(|n| self.round_folder(n)).collect()
    }

    fn read_rounds(
        &self,
        manifests: &[Manifest],
        columns: Columns,
    ) -> Result<(String, Vec<LabelRow>)> {
        let hashes: Vec<String> = manifests.iter().map(Manifest::outputs_hash).collect();
        let mut rows = Vec::new();
        for (number, manifest) in (0..).zip(manifests) {
            let folder = self.round_folder(number);
            rows.extend(store::read_recorded_labels(&folder, manifest, columns)?);
        }
        Ok((store::sha256(hashes.join("\n").as_bytes()), rows))
    }

    /// Calls `of` with the round of that number. Its router is trained on a device if need be;
    /// without a device it must be there.
    pub(super) fn with_round<T>(
        &self,
        number: u32,
        device: Option<&str>,
        of: impl FnOnce(&Round<'_>) -> Result<T>,
    ) -> Result<T> {
        if number == 0 {
            return of(&Round::Reference);
        }
        let (scorer, tau, hash) = self.interim_router(number, device)?;
        of(&Round::OnPolicy { number, scorer: &scorer, tau, router_hash: &hash })
    }

    /// The router of the rounds before `number`, trained if need be.
    pub(super) fn interim_router(
        &self,
        number: u32,
        device: Option<&str>,
    ) -> Result<(RouterScorer, Tau, String)> {
        let path = self.interim_path(number);
        let mut manifests = Vec::new();
        for before in 0..number {
            let folder = self.round_folder(before);
            let manifest = Manifest::load(&folder)?.context("an earlier label round is missing")?;
            manifests.push(manifest);
        }
        let (labels, rows) = self.read_rounds(&manifests, Columns::All)?;
        let known = RouterScorer::open(&path).ok();
        if known.is_none_or(|router| router.header().labels_hash != labels) {
            let device = device.with_context(|| {
                format!(
                    "the router of round {number} is missing or stale; run `tokenroute label --merge`, which trains it"
                )
            })?;
            let file = tokenroute_train::train(
                &self.train_config(),
                &rows,
                &self.provenance(labels),
                &tokenroute_train::device(device)?,
                self.progress,
            )?;
            file.write(&path)?;
        }
        let scorer = RouterScorer::open(&path)?;
        let tau = self.interim_tau(&scorer);
        Ok((scorer, tau, store::sha256_file(&path)?))
    }

    /// The τ that offloads about the wished share of validation positions.
    fn interim_tau(&self, scorer: &RouterScorer) -> Tau {
        let wished = self.experiment.label.on_policy_offload;
        scorer.header().tau_at_offload(wished).unwrap_or(Tau::SLM_ONLY)
    }

    fn interim_path(&self, number: u32) -> PathBuf {
        self.experiment.run(FOLDER).join(format!("router-before-round-{number}.safetensors"))
    }

    pub(super) fn round_folder(&self, number: u32) -> PathBuf {
        self.experiment.run(FOLDER).join(format!("round-{number}"))
    }

    /// The training section with the experiment's seed.
    pub fn train_config(&self) -> TrainConfig {
        TrainConfig { seed: self.experiment.seed, ..self.experiment.train.clone() }
    }

    /// What a router is bound to.
    pub fn provenance(&self, labels: String) -> Provenance {
        let PairHashes { slm, llm, tokenizer } = self.named.hashes();
        let [slm, llm, tokenizer] = [slm, llm, tokenizer].map(str::to_owned);
        Provenance { slm, llm, tokenizer, labels }
    }

    /// The questions of round 0, by split.
    pub(super) fn label_questions(&self) -> Result<Vec<Asked>> {
        let mut asked = Vec::new();
        for split in LABELLED {
            let part = self.questions(split)?;
            if !part.questions.is_empty() {
                asked.push(part);
            }
        }
        if self.experiment.label.test {
            asked.push(self.questions(TEST)?);
        }
        Ok(asked)
    }

    /// The LLM, which keeps the prompts of a shard.
    pub(super) fn labelled_by<'p>(&self, pair: &'p LoadedPair) -> Box<dyn Llm + 'p> {
        pair.llm.called(self.experiment.label.questions_per_shard)
    }

    pub(super) fn labeller<'c, S>(
        &'c self,
        slm: &'c S,
        llm: &'c (dyn Llm + 'c),
        decode: &'c dyn Fn(&[TokenId]) -> String,
        grade: &'c dyn Fn(&Question, &str, bool) -> Result<bool, String>,
    ) -> Labeller<'c, S, dyn Llm + 'c> {
        let (llm_hash, config) = (self.named.hashes().llm, self.label_config(0));
        let (vocabulary, kept) = (&self.slm().vocabulary, self.judgements.as_deref());
        Labeller { slm, llm, llm_hash, vocabulary, decode, grade, config, kept }
    }

    pub(super) fn label_config(&self, round: u32) -> LabelConfig {
        let Experiment { label, data, pair, seed, .. } = &self.experiment;
        let states = round == 0 && self.states.is_some();
        let [slm_device, llm_device] = pair.other_devices().map(|name| name.map(str::to_owned));
        let config = label.config(round, data.max_tokens, *seed);
        LabelConfig { states, slm_device, llm_device, ..config }
    }

    pub(super) fn items<'q>(&self, asked: &'q [Asked]) -> Result<Vec<Item<'q>>> {
        let gold = self.experiment.label.reference == Reference::Gold;
        let mut items = Vec::new();
        for part in asked {
            for (question, prompt) in part.questions.iter().zip(&part.prompts) {
                let gold = match (&question.cot, gold) {
                    (Some(text), true) => {
                        let mut ids = self.slm().tokenizer.encode(text)?;
                        ids.push(self.slm().vocabulary.end());
                        Some(ids)
                    }
                    (None, true) => {
                        ensure!(
                            !gold,
                            "question {:?} has no rationale `cot`; use label.reference = \"llm\"",
                            question.id
                        );
                        None
                    }
                    (_, false) => None,
                };
                let (split, prompt) = (part.split, prompt.clone());
                items.push(Item { question, split, prompt, gold, uncapped: split == TEST });
            }
        }
        Ok(items)
    }
}

/// The items of on-policy rounds.
pub(super) fn trained<'q>(items: &[Item<'q>]) -> Vec<Item<'q>> {
    items.iter().filter(|item| item.split != TEST).cloned().collect()
}
