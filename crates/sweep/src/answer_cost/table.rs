//! The costs of a split's policies: at the points of the study, and along their curves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokenroute_core::{Curve, QuestionCurve, Tau};

use super::{AnswerCost, AssumedNetwork, Decoding, Prices, prompt_tokens, speculative_decoding};
use crate::policies::PolicyKind;
use crate::study::SplitResult;

/// Draft lengths of speculative decoding.
pub const DRAFTS: [usize; 2] = [4, 8];

/// Costs of answers to the questions of a split, each a mean over the questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnswerCosts {
    /// Each model alone, and speculative decoding where the SLM's tokens along the LLM's
    /// answers are known.
    pub ways: Vec<PricedWay>,
    /// The policies that have a price of their own, the router first.
    pub policies: Vec<PricedPolicy>,
    /// Prices of the LLM, if stated.
    pub prices: Option<Prices>,
    /// The network and the models' pace, if stated.
    pub network: Option<AssumedNetwork>,
}

/// A way of decoding without a threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PricedWay {
    /// Its name, as in "LLM alone, streamed".
    pub name: String,
    /// Share of right answers.
    pub accuracy: f64,
    /// Mean cost of an answer.
    pub cost: AnswerCost,
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PricedPolicy {
    /// Its name.
    pub name: String,
    /// Its sort.
    pub kind: PolicyKind,
    /// At the offload targets, τ chosen on other questions.
    pub points: Vec<PricedPoint>,
    /// Along its curve, at rising τ.
    pub curve: Vec<PricedPoint>,
}

/// A policy at one τ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PricedPoint {
    /// Offload ratio aimed at.
    pub target: f64,
    /// Offload ratio measured here.
    pub offload: f64,
    /// Accuracy measured here.
    pub accuracy: f64,
    /// Mean cost of an answer.
    pub cost: AnswerCost,
}

impl AnswerCosts {
    /// The costs of a study's policies. `curves` holds the questions' curves by policy;
    /// `agrees` tells by question where the SLM's token is the LLM's along the LLM's answer,
    /// and may lack questions.
    #[must_use]
    pub fn of(
        split: &SplitResult,
        curves: &BTreeMap<String, &[QuestionCurve]>,
        agrees: &BTreeMap<String, Vec<bool>>,
    ) -> Self {
        let main = split.router().and_then(|router| curves.get(&router.name).copied());
        let main = main.unwrap_or_default();
        let prompts: Vec<u32> = main.iter().map(prompt_tokens).collect();
        let mut costs = AnswerCosts {
            ways: ways(split, main, &prompts, agrees),
            policies: Vec::new(),
            prices: None,
            network: None,
        };
        let mut routers = 0;
        for policy in &split.policies {
            // Routers of other seeds cost the same, up to chance.
            routers += usize::from(policy.kind == PolicyKind::Router);
            if policy.kind == PolicyKind::Router && routers > 1 {
                continue;
            }
            let Some(decoding) = Decoding::of(&policy.name, policy.kind, curves) else { continue };
            let Some(curves) = curves.get(&policy.name) else { continue };
            let sum = Curve::of(curves);
            let priced = |target: f64, tau: Tau| {
                let point = sum.at(tau);
                PricedPoint {
                    target,
                    offload: point.offload(),
                    accuracy: sum.accuracy(&point),
                    cost: AnswerCost::mean(curves, &prompts, tau, decoding),
                }
            };
            costs.policies.push(PricedPolicy {
                name: policy.name.clone(),
                kind: policy.kind,
                points: policy.points.iter().map(|p| priced(p.target, p.tau)).collect(),
                curve: budgets().map(|rho| priced(rho, sum.tau_at_offload(rho))).collect(),
            });
        }
        costs
    }
}

/// Budgets along a curve: steps of ½% up to 20%, then of 2%.
fn budgets() -> impl Iterator<Item = f64> {
    let fine = (0..40u32).map(|i| f64::from(i) / 200.0);
    fine.chain((10..=50u32).map(|i| f64::from(i) / 50.0))
}

fn ways(
    split: &SplitResult,
    main: &[QuestionCurve],
    prompts: &[u32],
    agrees: &BTreeMap<String, Vec<bool>>,
) -> Vec<PricedWay> {
    let mean = |tau, decoding| AnswerCost::mean(main, prompts, tau, decoding);
    let way = |name: &str, accuracy, cost| PricedWay { name: name.to_owned(), accuracy, cost };
    let mut ways = vec![
        way("SLM alone", split.gap.slm, mean(Tau::SLM_ONLY, Decoding::Blocking)),
        way("LLM alone, streamed", split.gap.llm, mean(Tau::LLM_ONLY, Decoding::Whole)),
    ];
    let known: Option<Vec<&Vec<bool>>> =
        main.iter().map(|curve| agrees.get(&curve.question)).collect();
    if let Some(known) = known.filter(|known| !known.is_empty()) {
        for draft in DRAFTS {
            let each = known.iter().zip(prompts);
            let cost = AnswerCost::mean_of(
                each.map(|(agrees, &prompt)| speculative_decoding(prompt, agrees, draft)),
            );
            let name = format!("speculative decoding, drafts of {draft}");
            ways.push(way(&name, split.gap.llm, cost));
        }
    }
    ways
}
