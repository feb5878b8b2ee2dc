//! The example answers beside the curves. They are decoded if they are missing or their number
//! has changed.

use std::path::Path;

use anyhow::{Context, Result};
use tokenroute_core::{Curve, Tau};
use tokenroute_runtime::Pair;
use tokenroute_store::{self as store, Manifest};
use tokenroute_sweep::examples::{Examples, RandomWeights, Reading, decode_examples};
use tokenroute_sweep::study::HEADLINE_TARGET;

use super::grading::Graded;
use super::sweep::ROUTER;
use super::{Asked, Chain};

/// Name of the file in the sweep's folder.
pub(super) const FILE: &str = "examples.json";
/// The split with the shown questions.
const SPLIT: &str = "test";

impl Chain<'_> {
    /// The examples of a finished sweep. `None` if they are missing, of another version or of
    /// another number.
    pub(super) fn kept_examples(
        &self,
        swept: &Manifest,
        folder: &Path,
    ) -> Result<Option<Examples>> {
        if !swept.holds(folder, FILE, &self.hashes)? {
            return Ok(None);
        }
        let kept = Examples::from_json(&store::read(&folder.join(FILE))?).ok();
        Ok(kept.filter(|kept| kept.wanted == self.experiment.report.examples))
    }

    /// Decodes the examples and writes them beside the curves.
    pub(super) fn make_examples(&self, asked: &[Asked], folder: &Path) -> Result<()> {
        self.measure_own_answers(asked, folder)?;
        let wanted = self.experiment.report.examples;
        let pair = self.pair()?;
        let random =
            RandomWeights { slm: self.slm().config.random_weights, llm: pair.llm.is_random() };
        let part = asked.iter().find(|part| part.split == SPLIT);
        let part = part.context("the experiment has no test questions")?;
        let shown = wanted.min(part.questions.len());
        let thresholds = [
            ("SLM alone", Tau::SLM_ONLY),
            ("routed at 7% offload", self.headline_tau(folder)?),
            ("LLM alone", Tau::LLM_ONLY),
        ];
        let (scorer, _) = self.router()?;
        let cloud = pair.llm.called(0);
        let pair = Pair::new(&pair.slm, &*cloud, &self.slm().vocabulary);
        let graded = Graded::new(&self.grading);
        self.progress.begin("examples", thresholds.len() as u64, "values of τ");
        let questions = decode_examples(
            pair,
            &scorer,
            &part.questions[..shown],
            &self.requests(part, 0..shown),
            &thresholds,
            Reading {
                text: &|ids| self.text(ids),
                grade: &|question, text, ended| graded.grade(question, text, ended),
            },
            self.progress,
        )?;
        graded.check()?;
        let examples = Examples::new(wanted, random, questions);
        Ok(store::write(&folder.join(FILE), &examples.to_json()?)?)
    }

    /// The router's τ for the headline's target, chosen on the calibration questions.
    fn headline_tau(&self, folder: &Path) -> Result<Tau> {
        let curves = store::read_curves(&folder.join(super::sweep::CURVES))?;
        let split = self.experiment.data.calibration_split();
        let router = curves.iter().find(|c| c.policy == ROUTER && c.split == split);
        let router =
            router.with_context(|| format!("the curves have none of the router on {split}"))?;
        Ok(Curve::of(&router.curves).tau_at_offload(HEADLINE_TARGET))
    }
}
