//! The exact sweep against brute force: decoding at one τ after another.

mod cascade;
mod relay;
mod whole;

use std::collections::BTreeSet;

use tokenroute_core::{
    Ask, Curve, Handoff, LanguageModel, Llm, LlmError, Origin, Position, Reply, Score, ScoreError,
    Scored, Scorer, ScorerState, Silent, Tau, TokenId, Trace, stable_hash, unit_hash,
};
use tokenroute_llm::{InProcess, Metered, Scripted, ToyModel};
use tokenroute_runtime::{Pair, Request, decode};
use tokenroute_sweep::policies::{
    DifferenceOracle, GlimpRouter, MaxProbability, Random, SentenceEntropy, SpeculativeCascade,
};
use tokenroute_sweep::{
    Leaf, Restricted, SharedSteps, SweepCost, SweepError, SweepOptions, SweptQuestion, sweep,
};

const MAX_TOKENS: usize = 20;
const KEEP: SweepOptions = SweepOptions { max_leaves: 10_000, batch: 32, keep_leaves: true };

/// A stand-in for a router: reads the hidden state.
struct Hidden;

impl Scorer for Hidden {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::from_logit(6.0 * f64::from(position.step.hidden[0]) - 2.0)
    }
}

/// Few distinct scores, 0 and 1 among them, so that ties abound.
struct Coarse;

impl Scorer for Coarse {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(f64::from((position.step.hidden[1] * 5.0).floor() / 4.0))
    }
}

/// Remembers: every score depends on all steps so far, and a wrong one shows in all later scores.
struct Remembers;

impl Scorer for Remembers {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Ok(self.scored(position)?.score)
    }

    fn scored(&self, position: &Position<'_>) -> Result<Scored, ScoreError> {
        let before = position.state.and_then(ScorerState::get::<f64>).copied().unwrap_or_default();
        assert_eq!(position.state.is_none(), position.index == 0, "a state after the first step");
        let now = (5.3 * before + f64::from(position.step.hidden[0])).rem_euclid(1.0);
        Ok(Scored { score: Score::new(now)?, state: Some(ScorerState::new(now)) })
    }
}

fn prompts(count: u32) -> Vec<(String, Vec<TokenId>)> {
    (0..count).map(|i| (format!("q{i}"), vec![i % 13, (7 * i) % 11, i / 13, 2])).collect()
}

fn requests(prompts: &[(String, Vec<TokenId>)]) -> Vec<Request<'_>> {
    prompts
        .iter()
        .map(|(id, prompt)| Request { question: id, prompt, max_tokens: MAX_TOKENS })
        .collect()
}

/// Half of all answers are right.
fn grade(question: usize, tokens: &[TokenId]) -> bool {
    let bytes: Vec<u8> = tokens.iter().map(|&t| t as u8).chain([question as u8]).collect();
    stable_hash(&bytes).is_multiple_of(2)
}

/// 21 values of τ: 0, 1, seven scores that occur and their neighbours, the rest between.
fn taus(swept: &[SweptQuestion], seed: u64) -> Vec<Tau> {
    let scores: Vec<f64> =
        swept.iter().flat_map(|q| &q.leaves).flat_map(|l| l.scores.iter().copied()).collect();
    let pick = |i: usize| scores[(unit_hash(seed, "pick", i) * scores.len() as f64) as usize];
    let mut taus = vec![0.0, 1.0];
    for i in 0..7 {
        let score = pick(i);
        taus.extend([score, score.next_up()]);
        taus.push(if i < 3 { score.next_down() } else { unit_hash(seed, "between", i) });
    }
    taus.truncate(21);
    taus.into_iter().map(|t| Tau::new(t).expect("scores lie within (0, 1)")).collect()
}

fn leaf_at(leaves: &[Leaf], tau: Tau) -> &Leaf {
    let holds = |l: &&Leaf| tau.get() <= l.upto && (tau.get() > l.above || l.above == 0.0);
    leaves.iter().find(holds).expect("the leaves cover [0, 1]")
}

/// Sweeps, then decodes at 21 τ, and compares token for token.
fn check_against_brute_force(seed: u64, scorer: &dyn Scorer, share: f32) -> SweepCost {
    let vocabulary = ToyModel::vocabulary();
    let small = || ToyModel::new(seed);
    let (slm, brute_slm) = (small(), small());
    let large = || InProcess::new(ToyModel::following(seed + 1000, &brute_slm, share));
    let (llm, brute_llm) = (large(), large());
    let prompts = prompts(8);
    let requests = requests(&prompts);
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let swept = sweep(pair, scorer, &requests, &grade, &KEEP, &Silent).expect("no errors");

    let sum: SweepCost = swept.iter().map(|q| q.cost).sum();
    assert_eq!(sum.slm_positions, slm.processed(), "no SLM work is left uncounted");
    assert_eq!(sum.llm_positions, llm.model().processed(), "no LLM work is left uncounted");

    let brute = Pair::new(&brute_slm, &brute_llm, &vocabulary);
    for tau in taus(&swept, seed) {
        let traces = decode(brute, scorer, tau, &requests, 8).expect("no errors");
        for (i, (question, trace)) in swept.iter().zip(&traces).enumerate() {
            let leaf = leaf_at(&question.leaves, tau);
            let decoded: Vec<TokenId> = trace.ids().collect();
            assert_eq!(leaf.tokens, decoded, "seed {seed}, question {i}, τ {tau}");
            let scores: Vec<f64> = trace.tokens.iter().map(|t| t.score).collect();
            assert_eq!(leaf.scores, scores, "seed {seed}, question {i}, τ {tau}");
            for token in &trace.tokens {
                assert_eq!(token.score < tau.get(), token.origin == Origin::Llm);
            }
            let piece = question.curve.at(tau);
            assert_eq!(piece.offloaded as usize, trace.offloaded(), "question {i}, τ {tau}");
            assert_eq!(piece.generated as usize, trace.tokens.len());
            if !scorer.needs_llm() {
                let read = u64::from(piece.llm_positions);
                assert_eq!(read, trace.llm_positions, "question {i}, τ {tau}");
            }
            assert_eq!(piece.correct, grade(i, &decoded));
            assert_eq!(piece.cut, !trace.ended, "question {i}, τ {tau}");
        }
    }
    sum
}

#[test]
fn restricted_to_a_few_taus_the_sweep_is_exact_there_and_has_few_leaves() {
    let vocabulary = ToyModel::vocabulary();
    let slm = ToyModel::new(3);
    // They agree on few tokens, so that an exact sweep splits again and again.
    let llm = InProcess::new(ToyModel::following(1003, &slm, 0.3));
    let prompts = prompts(8);
    let requests = requests(&prompts);
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let exact = sweep(pair, &Hidden, &requests, &grade, &KEEP, &Silent).expect("no errors");
    let taus: Vec<Tau> =
        [0.7, 0.1, 0.3, 0.2].iter().map(|&t| Tau::new(t).expect("within [0, 1]")).collect();
    let restricted = Restricted::new(&Hidden, &taus);
    let swept = sweep(pair, &restricted, &requests, &grade, &KEEP, &Silent).expect("no errors");
    assert!(exact.iter().any(|q| q.leaf_count > 5));
    for (exact, swept) in exact.iter().zip(&swept) {
        assert!(swept.leaf_count <= taus.len() + 1, "{}", swept.leaf_count);
        for &tau in taus.iter().chain(&[Tau::SLM_ONLY, Tau::LLM_ONLY]) {
            let (a, b) = (exact.curve.at(tau), swept.curve.at(tau));
            assert_eq!(
                (a.correct, a.offloaded, a.generated),
                (b.correct, b.offloaded, b.generated)
            );
        }
    }
}

#[test]
fn the_sweep_is_exact_for_every_kind_of_policy() {
    for seed in 0..6 {
        for share in [0.5, 0.9] {
            for scorer in [
                &Hidden as &dyn Scorer,
                &Coarse,
                &MaxProbability,
                &SentenceEntropy { vocabulary: 16 },
                &GlimpRouter { vocabulary: 16 },
                &Random { seed },
                &DifferenceOracle { seed },
                &SpeculativeCascade,
                &Handoff::by(Box::new(Hidden)),
                &Handoff::by(Box::new(Coarse)),
                &Remembers,
                &Handoff::by(Box::new(Remembers)),
            ] {
                check_against_brute_force(seed, scorer, share);
            }
        }
    }
}

#[test]
fn no_position_is_evaluated_twice_or_without_use() {
    let vocabulary = ToyModel::vocabulary();
    for seed in 0..10 {
        let slm = ToyModel::new(seed);
        let llm = InProcess::new(ToyModel::following(seed + 1000, &slm, 0.8));
        let pair = Pair::new(&slm, &llm, &vocabulary);
        let prompts = prompts(20);
        let swept = sweep(pair, &Hidden, &requests(&prompts), &grade, &KEEP, &Silent);
        for (question, (_, prompt)) in swept.expect("no errors").iter().zip(&prompts) {
            let prefixes: BTreeSet<&[TokenId]> = question
                .leaves
                .iter()
                .flat_map(|l| (0..l.tokens.len()).map(|i| &l.tokens[..i]))
                .collect();
            let cost = question.cost;
            assert_eq!(cost.decoded_tokens(), prefixes.len() as u64, "one step for each prefix");
            assert_eq!(cost.prompt_positions, prompt.len() as u64 - 1);
            assert!(cost.llm_positions <= cost.slm_positions, "{cost:?}");
            assert_eq!(cost.slm_only_tokens, question.leaves[0].tokens.len() as u64);
            assert_eq!(question.leaf_count, question.leaves.len());
        }
    }
}

#[test]
fn a_pair_that_agrees_costs_one_decode() {
    let vocabulary = ToyModel::vocabulary();
    let slm = ToyModel::new(5);
    let llm = InProcess::new(ToyModel::new(5));
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let prompts = prompts(10);
    let swept = sweep(pair, &Hidden, &requests(&prompts), &grade, &KEEP, &Silent);
    let swept = swept.expect("no errors");
    assert!(swept.iter().all(|q| q.leaf_count == 1));
    let cost: SweepCost = swept.iter().map(|q| q.cost).sum();
    assert_eq!((cost.cost_ratio(), cost.llm_cost_ratio()), (1.0, 1.0));
    let curves: Vec<_> = swept.into_iter().map(|q| q.curve).collect();
    let curve = Curve::of(&curves);
    assert_eq!(curve.at(Tau::SLM_ONLY).offloaded, 0);
    assert_eq!(curve.at(Tau::LLM_ONLY).offload(), 1.0);
}

#[test]
fn results_do_not_depend_on_batch_or_company() {
    let vocabulary = ToyModel::vocabulary();
    let slm = ToyModel::new(6);
    let llm = InProcess::new(ToyModel::following(7, &slm, 0.7));
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let prompts = prompts(12);
    let requests = requests(&prompts);
    let oracle = DifferenceOracle { seed: 1 };
    for scorer in [&Hidden as &dyn Scorer, &oracle, &Remembers] {
        let run = |batch, range: std::ops::Range<usize>| {
            let start = range.start;
            let grade = |i: usize, tokens: &[TokenId]| grade(start + i, tokens);
            let options = SweepOptions { batch, ..KEEP };
            sweep(pair, scorer, &requests[range], &grade, &options, &Silent).expect("no errors")
        };
        let whole = run(256, 0..12);
        for batch in [1, 3, 16] {
            assert_eq!(run(batch, 0..12), whole, "batch {batch}");
        }
        assert_eq!([run(5, 0..5), run(5, 5..12)].concat(), whole);
    }
}

#[test]
fn what_stops_a_sweep_is_named() {
    let vocabulary = ToyModel::vocabulary();
    let slm = ToyModel::new(8);
    let llm = InProcess::new(ToyModel::new(9));
    let prompts = prompts(3);
    let requests = requests(&prompts);
    let few = SweepOptions { max_leaves: 2, ..KEEP };
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let error = sweep(pair, &Hidden, &requests, &grade, &few, &Silent).expect_err("too many");
    assert!(matches!(error, SweepError::LeafLimit { limit: 2, .. }), "{error}");

    let down = Scripted::new(|_| Err(LlmError::Unavailable("down".into())));
    let pair = Pair::new(&slm, &down, &vocabulary);
    let error = sweep(pair, &Hidden, &requests, &grade, &KEEP, &Silent).expect_err("no LLM");
    assert!(error.to_string().contains("the LLM is unavailable: down"), "{error}");

    let empty = [Request { question: "q9", prompt: &[], max_tokens: 3 }];
    let error = sweep(pair, &Hidden, &empty, &grade, &KEEP, &Silent).expect_err("no prompt");
    assert_eq!(error, SweepError::EmptyPrompt { question: "q9".into() });
}

#[test]
fn nothing_to_generate_is_a_leaf_without_tokens() {
    let vocabulary = ToyModel::vocabulary();
    let slm = ToyModel::new(8);
    let llm = InProcess::new(ToyModel::new(9));
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let request = [Request { question: "q", prompt: &[1], max_tokens: 0 }];
    let swept = sweep(pair, &Hidden, &request, &|_, _| false, &KEEP, &Silent).expect("a leaf");
    assert_eq!((swept[0].leaf_count, swept[0].curve.pieces.len()), (1, 1));
    assert_eq!(slm.info().vocabulary, vocabulary.len());
}

/// An LLM that keeps what it has read for the next policy.
struct Lasting<'l>(&'l InProcess<ToyModel>);

impl Llm for Lasting<'_> {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        self.0.ask(asks)
    }

    fn forget(&self, _: &[TokenId]) {}
}

#[test]
fn policies_that_share_steps_have_the_sweeps_they_have_alone() {
    let model = ToyModel::new(3);
    let large = || InProcess::new(ToyModel::following(103, &model, 0.6));
    let llm = large();
    let vocabulary = ToyModel::vocabulary();
    let prompts = prompts(8);
    let requests = requests(&prompts);
    let policies: [&dyn Scorer; 7] = [
        &Hidden,
        &Coarse,
        &MaxProbability,
        &SentenceEntropy { vocabulary: 14 },
        &DifferenceOracle { seed: 1 },
        &Hidden,
        &SpeculativeCascade,
    ];
    let shared_model = ToyModel::new(3);
    let shared = SharedSteps::new(&shared_model);
    let shared_llm = large();
    let (mut read, mut read_alone) = (Vec::new(), 0);
    for scorer in policies {
        let alone = Pair::new(&model, &llm, &vocabulary);
        let alone = sweep(alone, scorer, &requests, &grade, &KEEP, &Silent).expect("no errors");
        let before = shared.processed();
        let as_if_alone = Metered::new(Lasting(&shared_llm), 1024);
        let together = Pair::new(&shared, &as_if_alone, &vocabulary);
        let together =
            sweep(together, scorer, &requests, &grade, &KEEP, &Silent).expect("no errors");
        assert_eq!(together, alone);
        assert_eq!(shared.processed(), shared_model.processed(), "no work is left uncounted");
        read.push(shared.processed() - before);
        read_alone += alone.iter().map(|q| q.cost.slm_positions).sum::<u64>();
        assert!(read[read.len() - 1] <= alone.iter().map(|q| q.cost.slm_positions).sum());
    }
    assert_eq!(read[5], 0, "the same policy again finds all of it: {read:?}");
    assert!(shared_llm.model().processed() < llm.model().processed() / 2);
    let all: u64 = read.iter().sum();
    assert!(3 * all < 2 * read_alone, "{all} of {read_alone}: {read:?}");
}

#[test]
fn an_answer_that_is_handed_over_stays_with_the_llm() {
    let vocabulary = ToyModel::vocabulary();
    let slm = ToyModel::new(5);
    let llm = InProcess::new(ToyModel::following(1005, &slm, 0.6));
    let prompts = prompts(20);
    let requests = requests(&prompts);
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let handoff = Handoff::by(Box::new(Hidden));
    let mut mixed = 0;
    for tau in [0.2, 0.5, 0.8] {
        let tau = Tau::new(tau).expect("within [0, 1]");
        let plain = decode(pair, &Hidden, tau, &requests, 4).expect("no errors");
        let handed = decode(pair, &handoff, tau, &requests, 4).expect("no errors");
        for (plain, handed) in plain.iter().zip(&handed) {
            let first = |trace: &Trace| trace.tokens.iter().position(|t| t.origin == Origin::Llm);
            let at = first(handed).unwrap_or(handed.tokens.len());
            assert_eq!(first(plain), first(handed), "the router decides when");
            assert!(handed.tokens[at..].iter().all(|t| t.origin == Origin::Llm));
            mixed += usize::from(at > 0 && at < handed.tokens.len());
        }
    }
    assert!(mixed > 5, "{mixed} answers of both models");
}
