//! Joins the parts of a round that several processes labelled. A part's folder is that of an
//! unfinished run: `partial/` with its shards and their hashes.

use std::path::{Path, PathBuf};

use tokenroute_core::Part;
use tokenroute_store::{self as store, Manifest, ReadAnew};

use crate::recorded::{FoundShards, PARTIAL, begun, resume, save_progress};
use crate::shards::{finish, shard_names, work};
use crate::{Item, LabelConfig, LabelError, PairHashes, Round};

/// A part and the folder of its round.
pub type PartFolder = (Part, PathBuf);

/// Joins all parts of a round into `dir`: the files are those of one run over all items.
/// `config`, `pair`, `separator`, `items` and `round` are as in [`work`]. The shards are moved,
/// so that a merge that was killed goes on where it was. No other run may use `dir`.
///
/// # Errors
/// A part of other work, with the first difference; a part that lacks shards; a file that cannot
/// be read or written.
pub fn merge(
    config: &LabelConfig,
    pair: PairHashes<'_>,
    separator: Option<&str>,
    items: &[Item<'_>],
    round: &Round<'_>,
    parts: &[PartFolder],
    dir: &Path,
) -> Result<Manifest, LabelError> {
    let work = work(config, pair, separator, items, round)?;
    if let Some(done) = work.finished(dir, &ReadAnew)? {
        store::remove(&dir.join(PARTIAL))?;
        return Ok(done);
    }
    let names = shard_names(config.questions_per_shard, items, round.number());
    let mut records = resume(&work, dir)?;
    let mut moved = FoundShards::new();
    for (part, folder) in parts {
        let bad = |what| LabelError::Part { part: *part, folder: folder.clone(), what };
        let Some((theirs, mut found)) = begun(folder)? else {
            return Err(bad("it is missing".to_owned()));
        };
        if let Some(difference) = theirs.difference(&work) {
            return Err(bad(format!("it belongs to other work: {difference}")));
        }
        let own: Vec<&String> = names
            .iter()
            .enumerate()
            .filter(|(i, _)| part.takes(*i))
            .map(|(_, name)| name)
            .collect();
        let mut lacking: Vec<&str> = Vec::new();
        for name in &own {
            match found.remove(*name) {
                Some(shard) => drop(moved.insert((*name).clone(), shard)),
                None if records.contains_key(*name) => {}
                None => lacking.push(name),
            }
        }
        if let Some(first) = lacking.first() {
            let (count, all) = (lacking.len(), own.len());
            return Err(bad(format!(
                "it lacks {count} of its {all} shards, {first} first; run `tokenroute label --part {part}` again"
            )));
        }
    }
    let partial = dir.join(PARTIAL);
    store::make_dir(&partial)?;
    records.extend(moved.iter().map(|(name, (_, record))| (name.clone(), record.clone())));
    save_progress(&work, &records, &partial)?;
    for (name, (path, _)) in moved {
        store::move_file(&path, &partial.join(name))?;
    }
    finish(work, &names, &records, dir)
}
