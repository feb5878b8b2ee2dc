//! Parts of a label round. The rounds come one after the other: the router of the next is
//! trained when all parts of a round are merged.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokenroute_core::{Part, TokenId};
use tokenroute_label::{Item, merge, work};
use tokenroute_store as store;

use super::super::labels::{FOLDER, trained};
use super::super::{Asked, Chain, timing};

/// What is left to do after a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    /// The label table is finished.
    Finished,
    /// The parts of this round come next.
    NextRound(u32),
}

impl Chain<'_> {
    /// Labels this part of the first round that is not finished.
    pub(in super::super) fn label_part(&self, part: Part, asked: &[Asked]) -> Result<()> {
        self.lock()?;
        let items = self.items(asked)?;
        let number = self.unfinished_round(&items, None)?.context("all rounds are finished")?;
        let items = if number == 0 { items } else { trained(&items) };
        let folder = self.workplace().join(FOLDER);
        let into = self.workplace().join(round_of_part(number));
        if number == 0 {
            self.check_states(&items, Some(part), &into)?;
        }
        self.with_round(number, None, |round| {
            let pair = self.pair()?;
            self.timed(&folder, || {
                let (llm, decode) = (self.labelled_by(pair), |ids: &[TokenId]| self.text(ids));
                let grade = self.grade();
                let slm = self.labelled_slm(&pair.slm, number)?;
                let mut labeller = self.labeller(&slm, &*llm, &decode, &grade);
                labeller.config = self.label_config(number);
                labeller.run_part(&items, round, part, &into, self.progress)?;
                Ok(())
            })
        })?;
        self.progress.finish();
        Ok(())
    }

    /// Joins the parts of the first round that is not finished, and trains the router of the
    /// next round.
    ///
    /// # Errors
    /// A part that is missing, unfinished or of other work.
    pub fn merge_labels(&self, device: &str) -> Result<Merged> {
        let asked = self.label_questions()?;
        let items = self.items(&asked)?;
        self.lock()?;
        let Some(number) = self.unfinished_round(&items, Some(device))? else {
            return Ok(Merged::Finished);
        };
        let parts = self.parts("label", &round_of_part(number))?;
        let items = if number == 0 { items } else { trained(&items) };
        let (pair, separator) = (self.named.hashes(), self.slm().vocabulary.separator());
        let config = self.label_config(number);
        self.with_round(number, Some(device), |round| {
            let folder = self.round_folder(number);
            Ok(merge(&config, pair, separator, &items, round, &parts, &folder)?)
        })?;
        let home = self.experiment.run(FOLDER);
        if number == 0 {
            timing::forget(&home)?;
        }
        let homes: Vec<PathBuf> =
            parts.iter().filter_map(|(_, round)| Some(round.parent()?.to_owned())).collect();
        self.take_over_costs(&homes, &home)?;
        parts.iter().try_for_each(|(_, round)| store::remove(round))?;
        if number == self.experiment.label.rounds {
            return Ok(Merged::Finished);
        }
        self.interim_router(number + 1, Some(device))?;
        self.progress.finish();
        Ok(Merged::NextRound(number + 1))
    }

    /// The first round that is not finished.
    fn unfinished_round(&self, items: &[Item<'_>], device: Option<&str>) -> Result<Option<u32>> {
        let (pair, separator) = (self.named.hashes(), self.slm().vocabulary.separator());
        let trained = trained(items);
        for number in 0..=self.experiment.label.rounds {
            let items = if number == 0 { items } else { &trained };
            if number == 0 && self.first_round(items)?.is_some() {
                continue;
            }
            let done = self.with_round(number, device, |round| {
                let due = work(&self.label_config(number), pair, separator, items, round)?;
                Ok(due.finished(&self.round_folder(number), &self.hashes)?.is_some())
            })?;
            if !done {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }
}

/// A round's folder within that of a part.
fn round_of_part(number: u32) -> PathBuf {
    Path::new(FOLDER).join(format!("round-{number}"))
}
