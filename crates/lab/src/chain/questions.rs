//! The policies that decide once a question: the facts that they read, and their curves.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use anyhow::Result;
use tokenroute_core::{Continuation, LanguageModel, Llm, QuestionCurve, TokenId, same_answer};
use tokenroute_label::{Item, LabelConfig, Reference};
use tokenroute_runtime::Pair;
use tokenroute_store::{self as store, PolicyCurves};
use tokenroute_sweep::SweepCost;
use tokenroute_sweep::query::{Fact, QueryBaseline, QuestionFacts, SlmAnswer, Walked, slm_answers};
use tokenroute_train::{QueryExample, QueryHead, TrainError};

use super::sweep::ROUTER;
use super::{Asked, Chain};

/// The facts that heads give, and the files that keep the heads until the sweep is done.
pub(super) const HEADS: [(Fact, &str); 2] =
    [(Fact::Keep, "query-head.json"), (Fact::Agreement, "query-agreement.json")];

/// Questions that the head's examples are decoded from at a time.
const TOGETHER: usize = 64;

/// The heads that are named, in the order of [`HEADS`]. One whose examples are of one class is
/// left out.
#[derive(Debug, Default)]
pub(super) struct QueryHeads([Option<QueryHead>; 2]);

/// The targets of the heads for one question, in their order, and what they read.
struct HeadExample {
    hidden: Vec<f32>,
    keep: [bool; 2],
}

/// Facts by split.
pub(super) type Facts = BTreeMap<String, Vec<QuestionFacts>>;

impl Chain<'_> {
    /// The policies of the report that decide once a question.
    pub(super) fn query_policies(&self) -> Vec<QueryBaseline> {
        QueryBaseline::ALL.into_iter().filter(|p| !p.is_named() || self.names(*p)).collect()
    }

    /// Whether policies are named that read facts.
    pub(super) fn reads_facts(&self) -> bool {
        self.query_policies().into_iter().any(|policy| policy.fact().is_some())
    }

    /// The policy of the report that reads a fact.
    fn reader(&self, fact: Fact) -> Option<QueryBaseline> {
        self.query_policies().into_iter().find(|policy| policy.fact() == Some(fact))
    }

    fn names(&self, policy: QueryBaseline) -> bool {
        self.experiment.sweep.baselines.iter().any(|name| name == policy.name())
    }

    /// The curves of policies that decide once a question, on every split of the router. One
    /// whose facts are missing has none.
    pub(super) fn query_curves(
        &self,
        curves: &[PolicyCurves],
        facts: &Facts,
    ) -> Result<Vec<PolicyCurves>> {
        let mut made = Vec::new();
        for router in curves.iter().filter(|c| c.policy == ROUTER) {
            let facts: BTreeMap<&str, &QuestionFacts> = facts
                .get(&router.split)
                .map(|facts| facts.iter().map(|f| (f.question.as_str(), f)).collect())
                .unwrap_or_default();
            for policy in self.query_policies() {
                let of = |curve: &QuestionCurve| {
                    let facts = facts.get(curve.question.as_str()).copied();
                    policy.curve(self.experiment.seed, curve, facts).transpose()
                };
                let curves: Result<Vec<_>, _> = router.curves.iter().filter_map(of).collect();
                let curves = curves?;
                if curves.len() < router.curves.len() {
                    continue;
                }
                let (policy, split) = (policy.name().to_owned(), router.split.clone());
                made.push(PolicyCurves { policy, split, curves });
            }
        }
        Ok(made)
    }

    /// The heads of policies that the experiment names: found in a folder, or fitted on the
    /// answers of both models to the questions that train the router.
    pub(super) fn query_heads(&self, folder: &Path) -> Result<QueryHeads> {
        let mut heads = QueryHeads::default();
        let mut missing = Vec::new();
        for (i, (fact, file)) in HEADS.into_iter().enumerate() {
            let Some(policy) = self.reader(fact) else { continue };
            let path = folder.join(file);
            if store::exists(&path) {
                heads.0[i] = serde_json::from_slice(&store::read(&path)?)?;
            } else {
                missing.push((i, policy, path));
            }
        }
        if missing.is_empty() {
            return Ok(heads);
        }
        let splits = ["router-train", "validation"];
        let asked = splits.map(|split| self.questions(split));
        let [train, validation] = asked;
        let (train, validation) = (train?, validation?);
        let total = train.questions.len() + validation.questions.len();
        self.progress.begin("query head", total as u64, "questions");
        // Agreement needs no grades, and grading may be dear.
        let graded = missing.iter().any(|(_, policy, _)| policy.fact() == Some(Fact::Keep));
        let examples = |asked: &Asked| self.head_examples(asked, graded);
        let (train, validation) = (examples(&train)?, examples(&validation)?);
        for (i, policy, path) in missing {
            let of = |examples: &[HeadExample]| -> Vec<QueryExample> {
                let one =
                    |e: &HeadExample| QueryExample { hidden: e.hidden.clone(), keep: e.keep[i] };
                examples.iter().map(one).collect()
            };
            heads.0[i] = match QueryHead::fit(&of(&train), &of(&validation)) {
                Ok(head) => Some(head),
                Err(error @ TrainError::OneClass { .. }) => {
                    self.progress.note(&format!("{} is left out: {error}", policy.name()));
                    None
                }
                Err(error) => return Err(error.into()),
            };
            store::write(&path, &serde_json::to_vec(&heads.0[i])?)?;
        }
        Ok(heads)
    }

    fn head_examples(&self, asked: &Asked, graded: bool) -> Result<Vec<HeadExample>> {
        let slm = &self.pair()?.slm;
        let llm = self.cloud()?;
        let vocabulary = &self.slm().vocabulary;
        let tokens = self.experiment.data.max_tokens;
        let mut examples = Vec::with_capacity(asked.questions.len());
        for first in (0..asked.questions.len()).step_by(TOGETHER) {
            let range = first..asked.questions.len().min(first + TOGETHER);
            let requests = self.requests(asked, range.clone());
            let wanted: Vec<Continuation<'_>> = requests
                .iter()
                .map(|r| Continuation { context: r.prompt, tokens, sampling: None, resumed: false })
                .collect();
            let small = slm_answers(Pair::new(slm, &*llm, vocabulary), &requests)?;
            let large = llm.continuations(&wanted, vocabulary);
            for ((question, slm), llm) in asked.questions[range].iter().zip(small).zip(large) {
                let [small, large] =
                    [&slm.tokens, &llm?.tokens].map(|ids: &Vec<TokenId>| self.answer_text(ids));
                let grade =
                    |(text, ended): &(String, bool)| self.grading.grade(question, text, *ended);
                let loses_nothing = graded && grade(&small)? >= grade(&large)?;
                let texts = [&small, &large].map(|(text, ended)| (self.grading.read(text), *ended));
                let [small, large] = texts.each_ref().map(|(text, ended)| (&**text, *ended));
                let agree = same_answer(question, small, large);
                let keep = [loses_nothing, agree];
                examples.push(HeadExample { hidden: slm.hidden.to_vec(), keep });
            }
            requests.iter().for_each(|r| llm.forget(r.prompt));
            self.progress.advance(requests.len() as u64);
        }
        Ok(examples)
    }

    /// The facts of some questions, and the cost of the walks. `slm` may have kept its steps.
    pub(super) fn question_facts<S: LanguageModel>(
        &self,
        slm: &S,
        llm: &dyn Llm,
        asked: &Asked,
        range: Range<usize>,
        heads: &QueryHeads,
    ) -> Result<(Vec<QuestionFacts>, SweepCost)> {
        let pair = Pair::new(slm, llm, &self.slm().vocabulary);
        let answers = slm_answers(pair, &self.requests(asked, range.clone()))?;
        let questions = &asked.questions[range.clone()];
        let fact = |(question, answer): (&tokenroute_core::Question, _)| {
            let SlmAnswer { certainty, hidden, .. } = answer;
            let [keep, agreement] = [0, 1].map(|i| Some(heads.0[i].as_ref()?.keep(&hidden)));
            QuestionFacts {
                question: question.id.clone(),
                certainty: self.reader(Fact::Certainty).map(|_| certainty),
                keep,
                agreement,
                walked: None,
            }
        };
        let mut facts: Vec<QuestionFacts> = questions.iter().zip(answers).map(fact).collect();
        let mut cost = SweepCost::default();
        if self.reader(Fact::Walk).is_some() {
            let walks = self.walks(asked, range, &mut cost)?;
            for (facts, walked) in facts.iter_mut().zip(walks) {
                facts.walked = Some(walked);
            }
        }
        Ok((facts, cost))
    }

    /// The walks along the LLM's answers to some questions.
    fn walks(
        &self,
        asked: &Asked,
        range: Range<usize>,
        cost: &mut SweepCost,
    ) -> Result<Vec<Walked>> {
        let pair = self.pair()?;
        let (llm, decode) = (self.labelled_by(pair), |ids: &[TokenId]| self.text(ids));
        let grade = self.grade();
        let mut labeller = self.labeller(&pair.slm, &*llm, &decode, &grade);
        labeller.config = LabelConfig {
            reference: Reference::Walk,
            max_tokens: self.experiment.data.max_tokens,
            ..LabelConfig::default()
        };
        let items: Vec<Item<'_>> = asked.questions[range.clone()]
            .iter()
            .zip(&asked.prompts[range])
            .map(|(question, prompt)| Item {
                question,
                split: asked.split,
                prompt: prompt.clone(),
                gold: None,
                uncapped: true,
            })
            .collect();
        let walks = labeller.walk(&items)?;
        (cost.slm_positions, cost.llm_positions) = (walks.slm_positions, walks.llm_positions);
        (cost.new_slm_positions, cost.new_llm_positions) =
            (walks.slm_positions, walks.llm_positions);
        let walked = |walk: tokenroute_label::Walked| Walked {
            correct: walk.grade > 0.0,
            cut: !self.answer_text(&walk.answer).1,
            offloaded: walk.offloaded,
            generated: walk.answer.len() as u32,
        };
        Ok(walks.walked.into_iter().map(walked).collect())
    }
}
