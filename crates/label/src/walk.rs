//! The walk along an answer (AutoJudge, arXiv 2504.20039, semi-greedy). It finds the SLM tokens
//! that do not change what the LLM answers.
//!
//! It begins with the LLM's own answer. At the first difference it puts the SLM's token in, and the
//! LLM continues. If the new answer commits to the same as the LLM's own, the SLM's token stays.
//! Else the LLM's token stays and the position is divergent. Then the walk moves right. So it finds
//! swaps that change the answer only together.

use tokenroute_core::{
    Detail, Feed, LabelRow, LanguageModel, Llm, Relation, Step, TokenId, same_answer,
};
use tokenroute_runtime::{advance_canonical, teacher_forcing};

use crate::asked::Opening;
use crate::judgement::{Judged, Judgement, Track};
use crate::labeller::Context;
use crate::reference::positions;
use crate::{Item, LabelError, Labeller};

/// The walk of one question.
#[derive(Debug, Clone, PartialEq)]
pub struct Walked {
    /// Id of the question.
    pub question: String,
    /// The walked answer, canonical, with the end token if there is one.
    pub answer: Vec<TokenId>,
    /// Number of its tokens that are the LLM's and not the SLM's.
    pub offloaded: u32,
    /// Grade of the walked answer.
    pub grade: f32,
    /// Grade of the LLM's own answer.
    pub llm_grade: f32,
    /// Number of rollouts.
    pub rollouts: u32,
}

/// Walks along the answers to some questions.
#[derive(Debug, Clone, PartialEq)]
pub struct Walks {
    /// The walks, in the order of the questions.
    pub walked: Vec<Walked>,
    /// Positions that the SLM processed for them.
    pub slm_positions: u64,
    /// Positions that the LLM processed for them.
    pub llm_positions: u64,
}

/// An unfinished walk.
struct Walk<S> {
    /// The LLM's own answer and its grade.
    own: Vec<TokenId>,
    own_grade: f32,
    /// The answer: committed tokens, then the LLM's.
    answer: Vec<TokenId>,
    grade: f32,
    /// The LLM's token at each committed position.
    llm: Vec<TokenId>,
    /// The SLM's step at each position of the answer.
    steps: Vec<Step>,
    state: S,
    judgements: Vec<Judgement>,
    rollouts: u32,
}

impl<S> Walk<S> {
    /// Judges identical positions and returns the next difference. `None` at the end.
    fn next(&mut self) -> Option<usize> {
        while let Some(&token) = self.answer.get(self.llm.len()) {
            if self.steps[self.llm.len()].token != token {
                return Some(self.llm.len());
            }
            self.llm.push(token);
            self.judgements.push(Judgement::walked(Relation::Identical, self.grade, self.grade, 0));
        }
        None
    }
}

impl<S: LanguageModel, L: Llm + ?Sized> Labeller<'_, S, L> {
    /// Walks along the LLM's answers to some questions.
    ///
    /// # Errors
    /// As [`Labeller::label`].
    pub fn walk(&self, items: &[Item<'_>]) -> Result<Walks, LabelError> {
        self.check(items, 0)?;
        let context = Context::new(self);
        let walks = walk(&context, items);
        items.iter().for_each(|item| self.llm.forget(&item.prompt));
        let made = |(item, walk): (&Item<'_>, Walk<S::State>)| Walked {
            question: item.question.id.clone(),
            offloaded: walk.answer.iter().zip(&walk.steps).filter(|(t, s)| **t != s.token).count()
                as u32,
            grade: walk.grade,
            llm_grade: walk.own_grade,
            rollouts: walk.rollouts,
            answer: walk.answer,
        };
        let walked = items.iter().zip(walks?).map(made).collect();
        let [slm_positions, llm_positions] = context.finish()?;
        Ok(Walks { walked, slm_positions, llm_positions })
    }
}

/// Labels along walked answers.
pub(crate) fn label<S: LanguageModel, L: Llm + ?Sized>(
    context: &Context<'_, '_, S, L>,
    items: &[Item<'_>],
) -> Result<Vec<LabelRow>, LabelError> {
    let (mut tracks, mut judgements) = (Vec::new(), Vec::new());
    for walk in walk(context, items)? {
        judgements.push(walk.judgements);
        let Walk { answer, steps, llm, grade, .. } = walk;
        tracks.push(Track { answer, steps, llm, grade });
    }
    Ok(Judged::all(judgements).rows(context.labeller.vocabulary, items, 0, tracks))
}

fn walk<S: LanguageModel, L: Llm + ?Sized>(
    context: &Context<'_, '_, S, L>,
    items: &[Item<'_>],
) -> Result<Vec<Walk<S::State>>, LabelError> {
    let mut walks = begin(context, items)?;
    loop {
        let due: Vec<(usize, usize)> =
            walks.iter_mut().enumerate().filter_map(|(w, walk)| Some((w, walk.next()?))).collect();
        if due.is_empty() {
            return Ok(walks);
        }
        swap(context, items, &mut walks, &due)?;
    }
}

/// The LLM's own answers with the SLM along them.
fn begin<S: LanguageModel, L: Llm + ?Sized>(
    context: &Context<'_, '_, S, L>,
    items: &[Item<'_>],
) -> Result<Vec<Walk<S::State>>, LabelError> {
    let labeller = context.labeller;
    let most = labeller.config.max_tokens;
    let opening = |item| Opening::greedy(item, item.prompt.clone(), most, true);
    let answers = context.continued(&items.iter().map(opening).collect::<Vec<_>>())?;
    let pairs: Vec<(&[TokenId], &[TokenId])> =
        items.iter().zip(&answers).map(|(i, a)| (i.prompt.as_slice(), a.as_slice())).collect();
    let forced = teacher_forcing(labeller.slm, labeller.vocabulary, &pairs, Detail::Full)?;
    context.metered.slm(pairs.iter().map(|(prompt, answer)| positions(prompt, answer)).sum());
    let walk = |((item, own), forced): ((&Item<'_>, Vec<TokenId>), _)| {
        let tokenroute_runtime::TeacherForced { steps, state } = forced;
        let grade = context.grade(item, &own);
        Walk {
            answer: own.clone(),
            grade,
            own_grade: grade,
            own,
            llm: Vec::new(),
            steps,
            state,
            judgements: Vec::new(),
            rollouts: 0,
        }
    };
    Ok(items.iter().zip(answers).zip(forced).map(walk).collect())
}

/// Tries the SLM's token at one position of some walks. It stays if the answer stays the same.
fn swap<S: LanguageModel, L: Llm + ?Sized>(
    context: &Context<'_, '_, S, L>,
    items: &[Item<'_>],
    walks: &mut [Walk<S::State>],
    due: &[(usize, usize)],
) -> Result<(), LabelError> {
    let labeller = context.labeller;
    let openings: Vec<Opening<'_>> = due
        .iter()
        .map(|&(w, at)| {
            let (item, walk) = (&items[w], &walks[w]);
            let token = walk.steps[at].token;
            let left = labeller.config.max_tokens.saturating_sub(at + 1);
            let tokens = [&item.prompt, &walk.answer[..at], &[token]].concat();
            Opening::greedy(item, tokens, left, true)
        })
        .collect();
    let ways = context.continued(&openings)?;
    let mut kept: Vec<(usize, usize)> = Vec::new();
    for (&(w, at), way) in due.iter().zip(ways) {
        let (item, walk) = (&items[w], &mut walks[w]);
        let answer = [&walk.answer[..at], &[walk.steps[at].token], &way].concat();
        let grade = context.grade(item, &answer);
        let (own, new) = (context.text(&walk.own), context.text(&answer));
        let same = same_answer(item.question, (&own.0, own.1), (&new.0, new.1));
        let relation = Relation::from_grades(grade, walk.grade);
        walk.judgements.push(Judgement::walked(relation, grade, walk.grade, 1));
        walk.llm.push(walk.answer[at]);
        walk.rollouts += 1;
        if same {
            walk.answer = answer;
            walk.grade = grade;
            kept.push((w, at));
        }
    }
    follow(context, items, walks, &kept)
}

/// Runs the SLM along answers that changed after a position.
fn follow<S: LanguageModel, L: Llm + ?Sized>(
    context: &Context<'_, '_, S, L>,
    items: &[Item<'_>],
    walks: &mut [Walk<S::State>],
    changed: &[(usize, usize)],
) -> Result<(), LabelError> {
    let labeller = context.labeller;
    let mut feeds = Vec::new();
    let mut fed = Vec::new();
    for (w, walk) in walks.iter_mut().enumerate() {
        let Some(&(_, at)) = changed.iter().find(|(changed, _)| *changed == w) else { continue };
        walk.steps.truncate(at + 1);
        let Walk { answer, state, steps, .. } = walk;
        let tokens = &answer[at..answer.len() - 1];
        if tokens.is_empty() {
            continue;
        }
        labeller.slm.truncate(state, items[w].prompt.len() + at);
        context.metered.slm(tokens.len() as u64);
        feeds.push(Feed { state, tokens, from: 0 });
        fed.push(steps);
    }
    if feeds.is_empty() {
        return Ok(());
    }
    let said = advance_canonical(labeller.slm, labeller.vocabulary, &mut feeds, Detail::Full)?;
    for (steps, said) in fed.into_iter().zip(said) {
        steps.extend(said);
    }
    Ok(())
}
