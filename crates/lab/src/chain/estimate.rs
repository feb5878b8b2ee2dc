//! The expected cost of labelling: measured on a few questions, and kept in the user's cache, so
//! that the same pair is measured once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokenroute_core::{Bytes, TokenId};
use tokenroute_label::{Estimate, PairHashes, Round};
use tokenroute_model::cache_folder;
use tokenroute_store as store;

use super::Chain;

/// Most questions labelled for an estimate.
const SAMPLE: usize = 16;
/// Time after which fewer questions are enough.
const ENOUGH: Duration = Duration::from_secs(4);
/// File of the user's cache with earlier estimates, by [`Chain::estimate_key`].
const KNOWN: &str = "label-estimates.json";

/// The expected cost of the reference round.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct LabelEstimate {
    /// Positions and time.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// Bytes over the network; `None` for an LLM in process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Bytes>,
    /// Whether an earlier run measured it.
    #[serde(skip_deserializing)]
    pub earlier: bool,
}

impl Chain<'_> {
    /// The cost of the reference round. Cached answers of an LLM on a server cost nothing, so
    /// its cost is measured each time. For an LLM in process an earlier measurement of the
    /// same pair, files, prompts and settings is scaled to the questions, unless `anew` is set.
    pub fn estimate_labels(&self, anew: bool) -> Result<LabelEstimate> {
        let asked = self.label_questions()?;
        let items = self.items(&asked)?;
        let key = self.estimate_key()?;
        let known = known().filter(|_| !anew).and_then(|known| known.get(&key).copied());
        if let Some(known) = known {
            let estimate = known.estimate.scaled(items.len());
            return Ok(LabelEstimate { estimate, bytes: None, earlier: true });
        }
        let pair = self.pair()?;
        let (llm, decode) = (self.labelled_by(pair), |ids: &[TokenId]| self.text(ids));
        let before = pair.llm.usage();
        let grade = self.grade();
        let labeller = self.labeller(&pair.slm, &*llm, &decode, &grade);
        let estimate = labeller.estimate(&items, &Round::Reference, SAMPLE, ENOUGH)?;
        let factor = items.len() as f64 / estimate.sample.max(1) as f64;
        let scaled = |bytes: u64| (bytes as f64 * factor).round() as u64;
        let bytes = pair.llm.usage().zip(before).map(|(now, before)| {
            let Bytes { up, down } = now.since(before).bytes;
            Bytes { up: scaled(up), down: scaled(down) }
        });
        let found = LabelEstimate { estimate, bytes, earlier: false };
        if bytes.is_none() {
            // A cache that cannot be written costs a measurement the next time.
            let _ = keep(key, found);
        }
        Ok(found)
    }

    /// Identifies what an estimate holds for: pair, files, prompts and settings, but not the
    /// number of questions.
    fn estimate_key(&self) -> Result<String> {
        let PairHashes { slm, llm, tokenizer } = self.named.hashes();
        let data = &self.experiment.data;
        let of = serde_json::to_string(&(
            [slm, llm, tokenizer],
            self.label_config(0),
            (&data.dataset, &data.schema, &data.columns, &data.files, &data.prompt),
            std::path::absolute(self.experiment.folder())?,
        ))?;
        Ok(store::sha256(of.as_bytes()))
    }
}

fn file() -> Option<PathBuf> {
    cache_folder().map(|folder| folder.join(KNOWN))
}

/// Earlier estimates. `None` if there are none, or the file is damaged.
fn known() -> Option<BTreeMap<String, LabelEstimate>> {
    serde_json::from_str(&store::read_text(&file()?).ok()?).ok()
}

fn keep(key: String, found: LabelEstimate) -> Result<()> {
    let Some(file) = file() else { return Ok(()) };
    let mut all = known().unwrap_or_default();
    all.insert(key, found);
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(store::write(&file, &serde_json::to_vec(&all)?)?)
}
