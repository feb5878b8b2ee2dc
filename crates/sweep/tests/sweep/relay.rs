//! Relays of the router's length against the rule as it is stated.

use tokenroute_core::{
    Detail, Feed, LanguageModel, Position, Score, ScoreError, Scorer, Silent, Step, Tau, TokenId,
};
use tokenroute_llm::{InProcess, ToyModel};
use tokenroute_runtime::{Pair, Path};
use tokenroute_sweep::policies::RouterRelay;
use tokenroute_sweep::sweep;

use crate::{KEEP, MAX_TOKENS, grade, leaf_at, prompts, requests};

/// Scores from 2⁻⁵ up, so that runs have one to five tokens.
struct Doubt;

impl Scorer for Doubt {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new((-5.0 * f64::from(position.step.hidden[0]).abs().min(1.0)).exp2())
    }
}

/// The step of a toy after a prefix.
fn step(model: &ToyModel, prefix: &[TokenId]) -> Step {
    let mut state = model.start();
    let mut feeds = [Feed { state: &mut state, tokens: prefix, from: prefix.len() - 1 }];
    let steps = model.advance(&mut feeds, Detail::Full).expect("a good feed");
    steps[0][0].clone()
}

#[test]
fn a_relay_goes_on_for_as_long_as_its_first_score_says() {
    let vocabulary = ToyModel::vocabulary();
    let slm = ToyModel::new(4);
    let large = ToyModel::following(1004, &slm, 0.5);
    let llm = InProcess::new(ToyModel::following(1004, &slm, 0.5));
    let prompts = prompts(8);
    let requests = requests(&prompts);
    let relay = RouterRelay::by(Box::new(Doubt));
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let swept = sweep(pair, &relay, &requests, &grade, &KEEP, &Silent).expect("no errors");
    let mut longest = 0;
    for tau in [0.0, 0.04, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0] {
        let tau = Tau::new(tau).expect("in range");
        for (question, (id, prompt)) in swept.iter().zip(&prompts) {
            let (mut prefix, mut offloaded) = (prompt.clone(), 0);
            // The score that began the run, and the tokens that are left of it.
            let mut run: Option<(Score, u32)> = None;
            let mut length = 0;
            while prefix.len() < prompt.len() + MAX_TOKENS {
                let said = step(&slm, &prefix);
                let position = Path::new(&vocabulary, &prefix);
                let here = Doubt.score(&position.position(id, &said, None)).expect("a number");
                run = match run {
                    Some((score, left)) if left > 0 && score <= here => Some((score, left - 1)),
                    _ if tau.offloads(here) => Some((here, RouterRelay::length(here) - 1)),
                    _ => None,
                };
                length = if run.is_some() { length + 1 } else { 0 };
                longest = longest.max(length);
                offloaded += u32::from(run.is_some());
                let token = if run.is_some() { step(&large, &prefix).token } else { said.token };
                prefix.push(vocabulary.canonical(token));
                if vocabulary.is_end(token) {
                    break;
                }
            }
            let leaf = leaf_at(&question.leaves, tau);
            assert_eq!(leaf.tokens, prefix[prompt.len()..], "{id} at {tau}");
            assert_eq!(question.curve.at(tau).offloaded, offloaded, "{id} at {tau}");
        }
    }
    assert!(longest > 3, "{longest}");
}
