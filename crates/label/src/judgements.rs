//! Judgements without hidden states: the expensive part of a label table, small enough for
//! version control. One pass of the SLM restores the rows, so that a run can continue on
//! another machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tokenroute_core::{Detail, LabelRow, LanguageModel, Llm, TokenId, prefix_hash};
use tokenroute_runtime::{Path as TokenPath, teacher_forcing};
use tokenroute_store::{self as store, Columns, Manifest};

use crate::batch::Batch;
use crate::recorded::{Records, ShardRecord, begun, records_in, records_json};
use crate::{Item, LabelError, Labeller, SHARDS};

/// Copies the judgements of a round's finished shards from `dir` to `into`. Returns their
/// number. Shards that are in `into` already stay.
///
/// # Errors
/// A file that cannot be read or written.
pub fn keep_judgements(dir: &Path, into: &Path) -> Result<u64, LabelError> {
    let Some((work, records)) = begun(dir)? else { return Ok(0) };
    store::make_dir(into)?;
    let known = Kept::open(into, &work)?.map(|kept| kept.records).unwrap_or_default();
    let mut all: Records = BTreeMap::new();
    for (name, (path, record)) in records {
        if known.get(&name).is_none_or(|known| known.sha256 != record.sha256) {
            let rows = store::read_labels(&path, Columns::Scalars)?;
            store::write(&into.join(&name), &store::encode_judgements(&rows)?)?;
        }
        all.insert(name, record);
    }
    let kept = all.len() as u64;
    store::write_all(into, &[(SHARDS, &records_json(&all)?), (Manifest::NAME, &work.to_json()?)])?;
    Ok(kept)
}

/// A folder of judgements of the same work.
pub(crate) struct Kept {
    dir: PathBuf,
    records: Records,
}

impl Kept {
    /// The judgements in `dir`, if they belong to this work.
    pub fn open(dir: &Path, work: &Manifest) -> Result<Option<Self>, LabelError> {
        if !Manifest::load(dir)?.is_some_and(|found| found.matches(work)) {
            return Ok(None);
        }
        let records = records_in(dir)?;
        Ok(Some(Kept { dir: dir.to_owned(), records }))
    }

    /// A shard's record, and its rows without states.
    fn shard(&self, name: &str) -> Result<Option<(&ShardRecord, Vec<LabelRow>)>, LabelError> {
        let path = self.dir.join(name);
        match self.records.get(name) {
            Some(record) if store::exists(&path) => {
                Ok(Some((record, store::read_labels(&path, Columns::Scalars)?)))
            }
            _ => Ok(None),
        }
    }
}

impl<S: LanguageModel, L: Llm + ?Sized> Labeller<'_, S, L> {
    /// Restores a shard from kept judgements with one pass of the SLM. `None` if there are none,
    /// or if this SLM's tokens differ from the recorded ones.
    pub(crate) fn restored(
        &self,
        kept: &Kept,
        name: &str,
        items: &[Item<'_>],
    ) -> Result<Option<Batch>, LabelError> {
        let Some((record, mut rows)) = kept.shard(name)? else { return Ok(None) };
        let mut of_items: Vec<&mut [LabelRow]> =
            rows.chunk_by_mut(|a, b| a.question == b.question).collect();
        let same = of_items.len() == items.len()
            && of_items.iter().zip(items).all(|(rows, i)| rows[0].question == i.question.id);
        if !same {
            return Ok(None);
        }
        // A row's `previous` is the token taken before it. Nobody reads the last one taken.
        let answers: Vec<Vec<TokenId>> = of_items
            .iter()
            .map(|rows| rows[1..].iter().map(|r| r.previous).chain([0]).collect())
            .collect();
        let pairs: Vec<(&[TokenId], &[TokenId])> =
            items.iter().zip(&answers).map(|(i, a)| (i.prompt.as_slice(), a.as_slice())).collect();
        let forced = teacher_forcing(self.slm, self.vocabulary, &pairs, Detail::Full)?;
        for (((rows, forced), item), answer) in
            of_items.iter_mut().zip(forced).zip(items).zip(&answers)
        {
            let mut path = TokenPath::new(self.vocabulary, &item.prompt);
            for ((row, step), &taken) in rows.iter_mut().zip(forced.steps).zip(answer) {
                let hash = prefix_hash(path.tokens());
                if step.token != row.slm_token || hash != row.prefix_hash {
                    return Ok(None);
                }
                row.sentence_entropy =
                    path.position(&item.question.id, &step, None).sentence_entropy;
                row.entropy = step.entropy;
                row.hidden = step.hidden.to_vec();
                row.top.clone_from(&step.top);
                path.commit(taken, &step, None);
            }
        }
        let ShardRecord { slm_positions, llm_positions, .. } = *record;
        Ok(Some(Batch { rows, slm_positions, llm_positions }))
    }
}
