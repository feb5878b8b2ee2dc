//! Parts of the label and sweep stages, made by several processes or machines, and their merge.
//!
//! Part i of n works in `run/parts/i-of-n/`, under a lock of its own, and only reads the rest of
//! `run/`. It leaves what an unfinished stage leaves: shards or chunks, and the manifest of the
//! whole work. A merge checks the parts against the experiment, moves their files into the
//! stage's folder, and ends the stage as one process does.

mod labels;
mod sweep;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tokenroute_core::Part;
use tokenroute_store as store;

use super::sweep::PARTIAL;
use super::{Chain, timing};

pub use labels::Merged;

/// Where the parts work, under `run/`.
const FOLDER: &str = "parts";

/// A part and its folder of a stage.
type Found = (Part, PathBuf);

impl Chain<'_> {
    /// Where this chain writes: `run/`, or the folder of its part.
    pub fn workplace(&self) -> PathBuf {
        match self.part {
            None => self.experiment.run(""),
            Some(part) => self.experiment.run(FOLDER).join(part.folder()),
        }
    }

    /// All parts that have begun a stage, whose folder is `within` that of each: every part from
    /// 1 to n. `command` makes them.
    fn parts(&self, command: &str, within: &Path) -> Result<Vec<Found>> {
        let home = self.experiment.run(FOLDER);
        let mut found: Vec<Found> = Vec::new();
        for path in store::list(&home)? {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let Some(part) = name.as_deref().and_then(Part::of_folder) else { continue };
            let folder = path.join(within);
            if store::exists(&folder.join(PARTIAL)) {
                found.push((part, folder));
            }
        }
        found.sort();
        let (home, within) = (home.display(), within.display());
        let Some((first, _)) = found.first() else {
            bail!(
                "{home} has no part with {within}; run `tokenroute {command} --part i/n` for every i from 1 to n"
            );
        };
        let of = first.of();
        if let Some((other, _)) = found.iter().find(|(part, _)| part.of() != of) {
            bail!(
                "{home} has parts of {of} and of {} with {within}; delete the folders of one",
                other.of()
            );
        }
        for part in Part::all(of) {
            ensure!(
                found.iter().any(|(there, _)| *there == part),
                "part {part} is missing: {home} has no {}/{within}; run `tokenroute {command} --part {part}`",
                part.folder()
            );
        }
        Ok(found)
    }

    /// Adds what the parts cost to the cost of the stage in `folder`.
    fn take_over_costs(&self, parts: &[PathBuf], folder: &Path) -> Result<()> {
        let mut sum = timing::took(folder);
        for part in parts {
            let more = timing::took(part);
            sum.seconds += more.seconds;
            sum.peak_bytes = sum.peak_bytes.max(more.peak_bytes);
            sum.usage = match (sum.usage, more.usage) {
                (Some(sum), Some(more)) => Some(sum.with(more)),
                (sum, more) => sum.or(more),
            };
        }
        timing::record(folder, sum).context("cannot record the cost of the stage")?;
        parts.iter().try_for_each(|part| timing::forget(part))
    }
}
