//! Judgements along paths: which positions need rollouts, and the rows that follow from the
//! grades. All rounds share this.

use tokenroute_core::{
    LabelRow, Relation, Sampling, Step, TokenId, Vocabulary, prefix_hash, soft_target, unit_hash,
};
use tokenroute_runtime::Path;

use crate::{Item, LabelConfig, LabelError};

/// One answer with both models' tokens along it.
pub(crate) struct Track {
    /// The answer, canonical, with the end token if there is one.
    pub answer: Vec<TokenId>,
    /// The SLM's step at each position, `[answer]`.
    pub steps: Vec<Step>,
    /// The LLM's token at each position, `[answer]`.
    pub llm: Vec<TokenId>,
    /// Grade of the answer.
    pub grade: f32,
}

/// A continuation of a path's beginning with another token, or with the same one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rollout {
    /// Index of its track.
    pub track: usize,
    /// Position in the answer.
    pub position: usize,
    /// Its first token.
    pub token: TokenId,
    /// Its number among the rollouts of this token.
    pub sample: usize,
}

impl Rollout {
    /// The answer before its first token.
    pub(crate) fn before<'t>(&self, tracks: &'t [Track]) -> &'t [TokenId] {
        &tracks[self.track].answer[..self.position]
    }

    /// Whether its first token is the LLM's, not the SLM's.
    pub(crate) fn offloads(&self, tracks: &[Track]) -> bool {
        self.token != tracks[self.track].steps[self.position].token
    }

    /// How its tokens are drawn.
    pub(crate) fn sampling(
        &self,
        config: &LabelConfig,
        items: &[Item<'_>],
        tracks: &[Track],
    ) -> Result<Option<Sampling>, LabelError> {
        let question = &items[self.track].question.id;
        config.sampling(question, self.position, self.offloads(tracks), self.sample)
    }
}

/// Grades of keep and offload at one position. NaN if not known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judgement {
    relation: Relation,
    keep: f32,
    offload: f32,
    target: f32,
    weight: f32,
    /// The weight once all rollouts are graded.
    weight_if_judged: f32,
    rollouts: u32,
    /// Grades of finished rollouts: keep, offload.
    graded: [Graded; 2],
}

/// The sum of some grades.
#[derive(Debug, Clone, Copy, Default)]
struct Graded {
    sum: f32,
    count: usize,
}

impl Judgement {
    /// A judgement of the walk.
    pub(crate) fn walked(relation: Relation, keep: f32, offload: f32, rollouts: u32) -> Self {
        let target = soft_target(keep, offload);
        Judgement {
            relation,
            keep,
            offload,
            target,
            weight: 1.0,
            weight_if_judged: 1.0,
            rollouts,
            graded: Default::default(),
        }
    }
}

/// The judgements of all tracks. Some need rollouts.
pub(crate) struct Judged {
    judgements: Vec<Vec<Judgement>>,
    /// Number of rollouts per token.
    samples: usize,
}

impl Judged {
    /// Complete judgements.
    pub(crate) fn all(judgements: Vec<Vec<Judgement>>) -> Self {
        Judged { judgements, samples: 1 }
    }

    /// Judges the positions that need no rollout, and lists the rollouts of the others by
    /// track, position, token and sample. If rollouts continue as the path does, its grade
    /// serves for the token that it takes. With `shortcut` the path is a gold rationale, and a
    /// token equal to its own decides the position (CITER §3).
    pub(crate) fn plan(
        config: &LabelConfig,
        items: &[Item<'_>],
        tracks: &[Track],
        shortcut: bool,
    ) -> (Judged, Vec<Rollout>) {
        let mut rollouts = Vec::new();
        let mut judgements = Vec::with_capacity(tracks.len());
        for (t, (track, item)) in tracks.iter().zip(items).enumerate() {
            let mut of_track = Vec::with_capacity(track.answer.len());
            let mut open = Vec::new();
            for (i, &taken) in track.answer.iter().enumerate() {
                let (slm, llm) = (track.steps[i].token, track.llm[i]);
                let serves = |token| token == taken && config.path_serves();
                let known = |token| if token == taken { track.grade } else { f32::NAN };
                let settled = |relation, target| Judgement {
                    relation,
                    keep: known(slm),
                    offload: known(llm),
                    target,
                    weight: 1.0,
                    weight_if_judged: 1.0,
                    rollouts: 0,
                    graded: Default::default(),
                };
                of_track.push(if slm == llm {
                    let (keep, offload) = (track.grade, track.grade);
                    Judgement { keep, offload, ..settled(Relation::Identical, 1.0) }
                } else if shortcut && slm == taken {
                    settled(Relation::from_grades(track.grade, track.grade), 1.0)
                } else if shortcut && llm == taken {
                    settled(Relation::Divergent, 0.0)
                } else {
                    let ways = [slm, llm].into_iter().filter(|&token| !serves(token));
                    open.push((i, ways.collect::<Vec<_>>()));
                    let [keep, offload] =
                        [slm, llm].map(|token| if serves(token) { track.grade } else { f32::NAN });
                    Judgement { keep, offload, weight: 0.0, ..settled(Relation::Unjudged, 0.5) }
                });
            }
            let differences = open.len();
            let cap = if item.uncapped { 0 } else { config.max_rollouts_per_question };
            let chosen = choose(cap, config.seed, &item.question.id, open);
            let weight = differences as f32 / chosen.len().max(1) as f32;
            for (position, ways) in chosen {
                of_track[position].weight_if_judged = weight;
                of_track[position].rollouts = (ways.len() * config.samples) as u32;
                for token in ways {
                    let leave = |sample| Rollout { track: t, position, token, sample };
                    rollouts.extend((0..config.samples).map(leave));
                }
            }
            judgements.push(of_track);
        }
        (Judged { judgements, samples: config.samples }, rollouts)
    }

    /// Adds the grade of one rollout. The grade of a token is the mean of its rollouts.
    pub(crate) fn grade(&mut self, tracks: &[Track], rollout: &Rollout, grade: f32) {
        let offloads = rollout.offloads(tracks);
        let judgement = &mut self.judgements[rollout.track][rollout.position];
        let graded = &mut judgement.graded[usize::from(offloads)];
        graded.sum += grade;
        graded.count += 1;
        if graded.count < self.samples {
            return;
        }
        let mean = graded.sum / graded.count as f32;
        if offloads {
            judgement.offload = mean;
        } else {
            judgement.keep = mean;
        }
        if !judgement.keep.is_nan() && !judgement.offload.is_nan() {
            judgement.relation = Relation::from_grades(judgement.keep, judgement.offload);
            judgement.target = soft_target(judgement.keep, judgement.offload);
            judgement.weight = judgement.weight_if_judged;
        }
    }

    /// The rows of all tracks, by track and position.
    pub(crate) fn rows(
        self,
        vocabulary: &Vocabulary,
        items: &[Item<'_>],
        round: u32,
        tracks: Vec<Track>,
    ) -> Vec<LabelRow> {
        let mut rows = Vec::new();
        for ((judgements, track), item) in self.judgements.into_iter().zip(tracks).zip(items) {
            let mut path = Path::new(vocabulary, &item.prompt);
            for (i, (judgement, step)) in judgements.into_iter().zip(track.steps).enumerate() {
                let position = path.position(&item.question.id, &step, None);
                rows.push(LabelRow {
                    question: item.question.id.clone(),
                    split: item.split.to_owned(),
                    round,
                    position: i as u32,
                    prefix_hash: prefix_hash(path.tokens()),
                    previous: position.previous,
                    slm_token: step.token,
                    llm_token: track.llm[i],
                    llm_probability: None,
                    entropy: step.entropy,
                    sentence_entropy: position.sentence_entropy,
                    hidden: step.hidden.to_vec(),
                    relation: judgement.relation,
                    keep_grade: judgement.keep,
                    offload_grade: judgement.offload,
                    target: judgement.target,
                    weight: judgement.weight,
                    rollouts: judgement.rollouts,
                    top: step.top.clone(),
                });
                path.commit(track.answer[i], &step, None);
            }
        }
        rows
    }
}

/// The open positions within the cap, by position: the first ones in hashed order, each with
/// all its tokens.
fn choose(
    cap: usize,
    seed: u64,
    question: &str,
    mut open: Vec<(usize, Vec<TokenId>)>,
) -> Vec<(usize, Vec<TokenId>)> {
    if cap == 0 {
        return open;
    }
    let order = |position| unit_hash(seed, question, position);
    open.sort_by(|a, b| order(a.0).total_cmp(&order(b.0)).then(a.0.cmp(&b.0)));
    open.truncate(cap);
    open.sort_by_key(|o| o.0);
    open
}
