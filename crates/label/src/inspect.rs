//! Summaries of label tables: counts, sizes, classes of divergent tokens, and sample rows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokenroute_core::{Counts, LabelRow, Relation, Shares, Tally, TokenClass, TokenId};
use tokenroute_store::{self as store, Columns};

use crate::{LabelError, shard_records};

/// One split in one round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Name of the split.
    pub split: String,
    /// The round; 0 is the reference path.
    pub round: u32,
    /// Number of questions.
    pub questions: u64,
    /// Number of positions of each relation.
    pub counts: Counts,
    /// Weighted shares. The weights of judged rows include the unjudged ones.
    pub shares: Shares,
}

/// One row as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampledRow {
    /// Id of the question.
    pub question: String,
    /// Number of answer tokens before this one.
    pub position: u32,
    /// Text of the token before.
    pub previous: String,
    /// Text of the SLM's token.
    pub slm: String,
    /// Text of the LLM's token.
    pub llm: String,
    /// Relation of the two tokens.
    pub relation: Relation,
    /// Soft preference for keep.
    pub target: f32,
    /// Number of rollouts.
    pub rollouts: u32,
}

/// Summary of one or more label directories.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// The groups, by round, then by split.
    pub groups: Vec<Group>,
    /// Counts of all groups together.
    pub counts: Counts,
    /// Weighted shares. The weights of judged rows include the unjudged ones.
    pub shares: Shares,
    /// Number of rows.
    pub rows: u64,
    /// Number of shards.
    pub shards: u64,
    /// Size of all shards in bytes.
    pub bytes: u64,
    /// Number of rollouts.
    pub rollouts: u64,
    /// Positions the SLM processed, where the rounds are finished and tell.
    #[serde(default)]
    pub slm_positions: u64,
    /// The same for the LLM, as if it had been asked for nothing before.
    #[serde(default)]
    pub llm_positions: u64,
    /// Divergent positions by the class of the LLM's token.
    pub divergent_by_llm: BTreeMap<TokenClass, u64>,
    /// Divergent positions by the class of the SLM's token.
    pub divergent_by_slm: BTreeMap<TokenClass, u64>,
    /// Differing rows spread evenly over the table.
    pub sample: Vec<SampledRow>,
}

/// Summarises label directories. Hidden states are not read. `text` gives a token's text;
/// `sample` is the number of sample rows.
///
/// # Errors
/// A directory without shards, or a shard that cannot be read.
pub fn inspect(
    dirs: &[PathBuf],
    text: &dyn Fn(TokenId) -> String,
    sample: usize,
) -> Result<Inspection, LabelError> {
    let mut found = Inspection::default();
    let mut groups: BTreeMap<(u32, String), (BTreeSet<String>, Tally)> = BTreeMap::new();
    let mut all = Tally::default();
    let mut differing = Vec::new();
    for dir in dirs {
        for record in shard_records(dir)? {
            found.slm_positions += record.slm_positions;
            found.llm_positions += record.llm_positions;
        }
        for shard in store::label_shards(dir)? {
            found.shards += 1;
            found.bytes += store::file_len(&shard)?;
            for row in store::read_labels(&shard, Columns::Scalars)? {
                found.rows += 1;
                found.rollouts += u64::from(row.rollouts);
                all.add(&row);
                let (questions, tally) = groups.entry((row.round, row.split.clone())).or_default();
                tally.add(&row);
                if !questions.contains(&row.question) {
                    questions.insert(row.question.clone());
                }
                if row.relation == Relation::Divergent {
                    let class = |token| TokenClass::of(&text(token));
                    *found.divergent_by_llm.entry(class(row.llm_token)).or_default() += 1;
                    *found.divergent_by_slm.entry(class(row.slm_token)).or_default() += 1;
                }
                if row.relation != Relation::Identical {
                    differing.push(row);
                }
            }
        }
    }
    found.counts = all.counts;
    found.shares = all.weighted().shares();
    found.groups = groups
        .into_iter()
        .map(|((round, split), (questions, tally))| Group {
            split,
            round,
            questions: questions.len() as u64,
            counts: tally.counts,
            shares: tally.weighted().shares(),
        })
        .collect();
    let taken = sample.min(differing.len());
    found.sample =
        (0..taken).map(|i| in_words(&differing[i * differing.len() / taken], text)).collect();
    Ok(found)
}

fn in_words(row: &LabelRow, text: &dyn Fn(TokenId) -> String) -> SampledRow {
    SampledRow {
        question: row.question.clone(),
        position: row.position,
        previous: text(row.previous),
        slm: text(row.slm_token),
        llm: text(row.llm_token),
        relation: row.relation,
        target: row.target,
        rollouts: row.rollouts,
    }
}
