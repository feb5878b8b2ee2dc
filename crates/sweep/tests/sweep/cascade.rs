//! The speculative cascade against the rule of its paper.

use std::collections::BTreeSet;

use tokenroute_core::{Detail, Feed, LanguageModel, Silent, Tau, TokenId};
use tokenroute_llm::{InProcess, Scripted, ToyModel};
use tokenroute_runtime::Pair;
use tokenroute_sweep::policies::SpeculativeCascade;
use tokenroute_sweep::sweep;

use crate::{KEEP, MAX_TOKENS, grade, leaf_at, prompts, requests};

/// The logits of a toy after a prefix.
fn logits(model: &ToyModel, prefix: &[TokenId]) -> Vec<f64> {
    let mut state = model.start();
    let mut feeds = [Feed { state: &mut state, tokens: prefix, from: prefix.len() - 1 }];
    let steps = model.advance(&mut feeds, Detail::Logits).expect("a good feed");
    steps[0][0].logits.iter().flatten().map(|&x| f64::from(x)).collect()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|x| x.exp()).sum();
    logits.iter().map(|x| x.exp() / sum).collect()
}

fn argmax(p: &[f64]) -> usize {
    (0..p.len()).rev().max_by(|&a, &b| p[a].total_cmp(&p[b])).expect("tokens")
}

#[test]
fn a_speculative_cascade_is_the_rule_of_its_paper_at_every_alpha() {
    let vocabulary = ToyModel::vocabulary();
    let slm = ToyModel::new(4);
    let large = ToyModel::following(1004, &slm, 0.5);
    let llm = InProcess::new(ToyModel::following(1004, &slm, 0.5));
    let prompts = prompts(8);
    let requests = requests(&prompts);
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let swept = sweep(pair, &SpeculativeCascade, &requests, &grade, &KEEP, &Silent);
    let swept = swept.expect("no errors");
    let mut answers = BTreeSet::new();
    for alpha in [1.0, 0.9, 0.6, 0.3, 0.1, 0.0, -0.2, -0.999] {
        let tau = Tau::new((1.0 - alpha) / 2.0).expect("in range");
        for (question, (_, prompt)) in swept.iter().zip(&prompts) {
            let (mut prefix, mut rejected) = (prompt.clone(), 0);
            while prefix.len() < prompt.len() + MAX_TOKENS {
                let (q, p) = (softmax(&logits(&slm, &prefix)), softmax(&logits(&large, &prefix)));
                let (small, big) = (argmax(&q), argmax(&p));
                // Of the greedy distributions, which are one-hot.
                let distance = f64::from(u8::from(small != big));
                let defers = q[small] < p[big] - alpha * distance;
                let token = if defers { big } else { small };
                let end = |t: usize| vocabulary.is_end(t as TokenId);
                rejected += u32::from(defers && small != big && !(end(small) && end(big)));
                prefix.push(vocabulary.canonical(token as TokenId));
                if end(token) {
                    break;
                }
            }
            let leaf = leaf_at(&question.leaves, tau);
            assert_eq!(leaf.tokens, prefix[prompt.len()..], "α {alpha}");
            assert_eq!(question.curve.at(tau).offloaded, rejected, "α {alpha}");
            answers.insert(leaf.tokens.clone());
        }
    }
    assert!(answers.len() > 16, "α matters: {}", answers.len());
}

#[test]
fn a_cascade_needs_an_llm_that_lists_probabilities() {
    let vocabulary = ToyModel::vocabulary();
    let slm = ToyModel::new(4);
    let llm = Scripted::new(|_: &[TokenId]| Ok(3));
    let prompts = prompts(1);
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let requests = requests(&prompts);
    let error = sweep(pair, &SpeculativeCascade, &requests, &grade, &KEEP, &Silent);
    let error = error.expect_err("it lists none").to_string();
    assert!(error.contains("without probabilities"), "{error}");
}
