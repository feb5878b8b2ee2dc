//! A run over all questions, shard by shard. It can be killed at any time.
//!
//! Until the run is complete, all files are in `partial/`: the finished shards, and
//! `progress.json` with their hashes. Then the shards move up. `shards.json` and the manifest
//! are written last. Earlier files stay whole until then.

use std::collections::BTreeSet;
use std::path::Path;

use tokenroute_core::{LanguageModel, Llm, Part, Progress};
use tokenroute_store::{self as store, Manifest, ReadAnew};

use crate::judgements::Kept;
use crate::recorded::{
    PARTIAL, Records, SHARDS, ShardRecord, json, records_json, replaced, resume, save_progress,
};
use crate::{Item, LabelConfig, LabelError, Labeller, Round};

/// One shard to make.
struct Planned<'i, 'q> {
    name: String,
    items: Vec<&'i Item<'q>>,
}

/// A pair's identity in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairHashes<'a> {
    /// Hash of the SLM's weights.
    pub slm: &'a str,
    /// Hash of the LLM's weights, or of its name on a server.
    pub llm: &'a str,
    /// Hash of the shared tokenizer.
    pub tokenizer: &'a str,
}

/// The manifest of labelling before it is done. No model is loaded for it.
/// [`Manifest::finished`] then tells whether the work can be skipped. Inputs are the questions
/// with their prompts, the models, the tokenizer and, after round 0, the router. `separator` is
/// the text that ends an answer besides the end tokens, if there is one.
///
/// # Errors
/// A configuration that JSON cannot hold.
pub fn work(
    config: &LabelConfig,
    pair: PairHashes<'_>,
    separator: Option<&str>,
    items: &[Item<'_>],
    round: &Round<'_>,
) -> Result<Manifest, LabelError> {
    let seed = config.seed;
    let mut config = json(serde_json::to_value(config))?;
    config["round"] = round.number().into();
    if let Some(separator) = separator {
        config["separator"] = separator.into();
    }
    let mut questions = String::new();
    for item in items {
        let question = json(serde_json::to_string(item.question))?;
        let (prompt, gold) = (&item.prompt, &item.gold);
        questions.push_str(&format!("{} {question} {prompt:?} {gold:?}\n", item.split));
    }
    if let Round::OnPolicy { tau, .. } = round {
        config["tau"] = json(serde_json::to_value(tau))?;
    }
    let work = Manifest::new("label", config, seed)
        .with_input("questions", &store::sha256(questions.as_bytes()))
        .with_input("slm", pair.slm)
        .with_input("llm", pair.llm)
        .with_input("tokenizer", pair.tokenizer);
    Ok(match round {
        Round::Reference => work,
        Round::OnPolicy { router_hash, .. } => work.with_input("router", router_hash),
    })
}

/// The items that [`Labeller::run`], or [`Labeller::run_part`] of a part, has yet to label in
/// `dir`: those of shards of `size` questions that are not finished there. `work` is the round's.
///
/// # Errors
/// A file that cannot be read, and finished shards that [`LabelError::States`] keeps from being
/// made anew.
pub fn due<'i, 'q>(
    work: &Manifest,
    size: usize,
    items: &'i [Item<'q>],
    round: u32,
    part: Option<Part>,
    dir: &Path,
) -> Result<Vec<&'i Item<'q>>, LabelError> {
    let done = resume(work, dir)?;
    let shards = planned(size, items, round, part).into_iter();
    Ok(shards.filter(|shard| !done.contains_key(&shard.name)).flat_map(|s| s.items).collect())
}

impl<S: LanguageModel, L: Llm + ?Sized> Labeller<'_, S, L> {
    /// [`work`] of this labeller.
    fn work(&self, items: &[Item<'_>], round: &Round<'_>) -> Result<Manifest, LabelError> {
        let slm = &self.slm.info().weights_hash;
        let pair = PairHashes { slm, llm: self.llm_hash, tokenizer: self.vocabulary.hash() };
        work(&self.config, pair, self.vocabulary.separator(), items, round)
    }

    /// Labels all items into `dir` and returns the manifest. No other run may use `dir`.
    /// Finished work is skipped. Unfinished work with the same manifest resumes. The files do
    /// not depend on where or how often the run was stopped.
    ///
    /// # Errors
    /// As [`Labeller::label`], or a file that cannot be read or written.
    pub fn run(
        &self,
        items: &[Item<'_>],
        round: &Round<'_>,
        dir: &Path,
        progress: &dyn Progress,
    ) -> Result<Manifest, LabelError> {
        self.check(items, round.number())?;
        let work = self.work(items, round)?;
        if let Some(done) = work.finished(dir, &ReadAnew)? {
            // A run killed between its manifest and its end leaves this behind.
            store::remove(&dir.join(PARTIAL))?;
            return Ok(done);
        }
        let shards = plan(self.config.questions_per_shard, items, round.number());
        let records = self.make(&work, &shards, round, dir, progress)?;
        let names: Vec<String> = shards.into_iter().map(|shard| shard.name).collect();
        finish(work, &names, &records, dir)
    }

    /// Labels a part of the items into `dir`, for [`merge`](crate::merge()): the shards that the
    /// part takes. No other run may use `dir`. A part that was stopped resumes. Returns the
    /// number of its shards.
    ///
    /// # Errors
    /// As [`Labeller::run`].
    pub fn run_part(
        &self,
        items: &[Item<'_>],
        round: &Round<'_>,
        part: Part,
        dir: &Path,
        progress: &dyn Progress,
    ) -> Result<u64, LabelError> {
        self.check(items, round.number())?;
        let work = self.work(items, round)?;
        let own = planned(self.config.questions_per_shard, items, round.number(), Some(part));
        let records = self.make(&work, &own, round, dir, progress)?;
        // A part without shards is one as well.
        save_progress(&work, &records, &dir.join(PARTIAL))?;
        Ok(own.len() as u64)
    }

    /// Makes the shards that are not there, under `partial/`. Returns the records of all that
    /// are.
    fn make(
        &self,
        work: &Manifest,
        shards: &[Planned<'_, '_>],
        round: &Round<'_>,
        dir: &Path,
        progress: &dyn Progress,
    ) -> Result<Records, LabelError> {
        let partial = dir.join(PARTIAL);
        store::make_dir(&partial)?;
        store::remove_leftovers(dir)?;
        store::remove_leftovers(&partial)?;
        let mut records = resume(work, dir)?;
        if let Some(note) = replaced(work, dir)? {
            progress.note(&note);
        }
        let kept = self.kept.map(|kept| kept.join(format!("round-{}", round.number())));
        let kept = match &kept {
            Some(kept) => Kept::open(kept, work)?,
            None => None,
        };

        progress.begin(
            &format!("label, round {}", round.number()),
            shards.iter().map(|shard| shard.items.len() as u64).sum(),
            "questions",
        );
        for shard in shards {
            let questions = shard.items.len() as u64;
            if !records.contains_key(&shard.name) {
                let items: Vec<Item<'_>> = shard.items.iter().map(|&i| i.clone()).collect();
                let restored = match &kept {
                    Some(kept) => self.restored(kept, &shard.name, &items)?,
                    None => None,
                };
                let batch = match restored {
                    Some(batch) => batch,
                    None => self.batch(&items, round)?,
                };
                let bytes = store::encode_labels(&batch.rows)?;
                store::write(&partial.join(&shard.name), &bytes)?;
                let record = ShardRecord {
                    sha256: store::sha256(&bytes),
                    questions,
                    rows: batch.rows.len() as u64,
                    slm_positions: batch.slm_positions,
                    llm_positions: batch.llm_positions,
                };
                records.insert(shard.name.clone(), record);
                save_progress(work, &records, &partial)?;
            }
            progress.advance(questions);
        }
        Ok(records)
    }
}

/// Shards of equal size within each split, splits in order of appearance.
fn plan<'i, 'q>(size: usize, items: &'i [Item<'q>], round: u32) -> Vec<Planned<'i, 'q>> {
    let mut splits: Vec<&str> = Vec::new();
    for item in items {
        if !splits.contains(&item.split) {
            splits.push(item.split);
        }
    }
    let mut shards = Vec::new();
    for split in splits {
        let of_split: Vec<&Item<'_>> = items.iter().filter(|i| i.split == split).collect();
        for (i, chunk) in of_split.chunks(size.max(1)).enumerate() {
            let name = format!("round{round}-{split}-{i:05}.parquet");
            shards.push(Planned { name, items: chunk.to_vec() });
        }
    }
    shards
}

/// The shards of a round, or those that a part takes.
fn planned<'i, 'q>(
    size: usize,
    items: &'i [Item<'q>],
    round: u32,
    part: Option<Part>,
) -> Vec<Planned<'i, 'q>> {
    let shards = plan(size, items, round).into_iter().enumerate();
    shards.filter(|(i, _)| part.is_none_or(|part| part.takes(*i))).map(|(_, shard)| shard).collect()
}

/// The names of all shards of a round, in the order in which parts take them.
pub(crate) fn shard_names(size: usize, items: &[Item<'_>], round: u32) -> Vec<String> {
    plan(size, items, round).into_iter().map(|shard| shard.name).collect()
}

/// Moves the shards of these names up and writes the manifest.
pub(crate) fn finish(
    mut work: Manifest,
    names: &[String],
    records: &Records,
    dir: &Path,
) -> Result<Manifest, LabelError> {
    let partial = dir.join(PARTIAL);
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        if store::exists(&partial.join(name)) {
            store::move_file(&partial.join(name), &dir.join(name))?;
        }
    }
    for path in store::list(dir)? {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.ends_with(".parquet") && !names.contains(name.as_str()) {
            store::remove(&path)?;
        }
    }
    let table = records_json(records)?;
    for (name, record) in records {
        work.outputs.insert(name.clone(), record.sha256.clone());
    }
    work.outputs.insert(SHARDS.to_owned(), store::sha256(&table));
    store::write_all(dir, &[(SHARDS, &table), (Manifest::NAME, &work.to_json()?)])?;
    store::remove(&partial)?;
    Ok(work)
}
