//! Parts of the sweep: each takes its share of the chunks.

use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use tokenroute_core::Part;
use tokenroute_store::{self as store, Manifest};

use super::super::chunks::{ChunkFiles, chunks};
use super::super::questions::HEADS;
use super::super::sweep::FOLDER;
use super::super::{Asked, Chain};
use super::{Found, PARTIAL};

impl Chain<'_> {
    /// Sweeps this part's chunks. Returns whether the whole sweep was there already.
    pub(in super::super) fn sweep_share(&self, part: Part) -> Result<bool> {
        let asked = self.swept_questions()?;
        let work = self.sweep_work(&asked)?;
        if self.kept_curves(&work, &self.experiment.run(FOLDER))?.is_some() {
            return Ok(true);
        }
        self.lock()?;
        let folder = self.workplace().join(FOLDER);
        let partial = self.begin_sweep(&work, &folder)?;
        self.pair()?;
        self.timed(&folder, || self.sweep_chunks(&asked, &partial, Some(part)))?;
        self.progress.finish();
        Ok(false)
    }

    /// Joins the parts of the sweep and decodes the examples.
    ///
    /// # Errors
    /// A part that is missing, unfinished or of other work.
    pub fn merge_sweep(&self) -> Result<()> {
        let asked = self.swept_questions()?;
        let work = self.sweep_work(&asked)?;
        let folder = self.experiment.run(FOLDER);
        if self.kept_curves(&work, &folder)?.is_none() {
            self.lock()?;
            let parts = self.parts("sweep", FOLDER.as_ref())?;
            self.gather_chunks(&asked, &work, &parts)?;
            let homes: Vec<PathBuf> = parts.iter().map(|(_, folder)| folder.clone()).collect();
            self.take_over_costs(&homes, &folder)?;
            parts.iter().try_for_each(|(_, folder)| store::remove(folder))?;
        }
        // All chunks are there, so this joins them.
        self.sweep()?;
        Ok(())
    }

    /// Checks all parts, then moves their chunks to where one process keeps its own.
    fn gather_chunks(&self, asked: &[Asked], work: &Manifest, parts: &[Found]) -> Result<()> {
        let partial = self.begin_sweep(work, &self.experiment.run(FOLDER))?;
        let mut moves: Vec<(PathBuf, PathBuf)> = Vec::new();
        let mut heads: [Vec<(Part, Vec<u8>)>; 2] = Default::default();
        for (part, folder) in parts {
            let theirs = folder.join(PARTIAL);
            let told = || format!("part {part} in {}", folder.display());
            let found = Manifest::load(&theirs)?
                .with_context(|| format!("it has not begun; run `tokenroute sweep --part {part}`"))
                .with_context(told)?;
            if let Some(difference) = found.difference(work) {
                bail!("{}: it belongs to other work: {difference}", told());
            }
            for (heads, (_, file)) in heads.iter_mut().zip(HEADS) {
                if store::exists(&theirs.join(file)) {
                    heads.push((*part, store::read(&theirs.join(file))?));
                }
            }
            let (mut own, mut lacking) = (0, Vec::new());
            for (_, asked, range) in self.shares(asked).filter(|(i, ..)| part.takes(*i)) {
                own += 1;
                let from = ChunkFiles::new(&theirs, asked.split, &range);
                let to = ChunkFiles::new(&partial, asked.split, &range);
                let pairs = from.needed(self.reads_facts()).zip(to.needed(self.reads_facts()));
                for (from, to) in pairs {
                    if store::exists(from) {
                        moves.push((from.clone(), to.clone()));
                    } else if !store::exists(to) {
                        lacking.push(from.clone());
                    }
                }
                if store::exists(&from.curves) {
                    // A copy that was cut is found before anything is moved.
                    store::read_curves(&from.curves).with_context(told)?;
                }
            }
            if let Some(first) = lacking.first() {
                bail!(
                    "{}: it lacks files of its {own} chunks, {} first; run `tokenroute sweep --part {part}` again, with the same sweep.chunk",
                    told(),
                    first.display()
                );
            }
        }
        for (heads, (_, file)) in heads.iter().zip(HEADS) {
            let Some((first, head)) = heads.first() else { continue };
            if let Some((other, _)) = heads.iter().find(|(_, other)| other != head) {
                bail!(
                    "parts {first} and {other} fitted different heads in {file}; sweep all parts on processors of one kind"
                );
            }
            store::write(&partial.join(file), head)?;
        }
        moves.iter().try_for_each(|(from, to)| store::move_file(from, to))?;
        Ok(())
    }

    /// All chunks with their numbers, in the order in which parts take them.
    pub(in super::super) fn shares<'q>(
        &self,
        asked: &'q [Asked],
    ) -> impl Iterator<Item = (usize, &'q Asked, Range<usize>)> + use<'q> {
        let size = self.experiment.sweep.chunk;
        let all = asked
            .iter()
            .flat_map(move |part| chunks(part.questions.len(), size).map(move |r| (part, r)));
        all.enumerate().map(|(i, (part, range))| (i, part, range))
    }
}
