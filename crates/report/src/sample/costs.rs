//! Made-up costs: a network study, and the prices of answers.

use std::collections::BTreeMap;

use tokenroute_core::{QuestionCurve, Tau};
use tokenroute_sweep::answer_cost::{AnswerCosts, AssumedNetwork, Prices};
use tokenroute_sweep::latency::{
    Figures, LatencyRow, LatencyStudy, Mean, Network, NetworkRows, Quantiles, Setting, Way,
};
use tokenroute_sweep::study::SplitResult;

use super::question;

/// A study of two round trips at one bandwidth.
pub(super) fn latency(tau: Tau) -> LatencyStudy {
    let ways = [Way::Slm, Way::Llm, Way::Blocking, Way::Speculative, Way::Relay];
    let mean = |value: f64| Mean { value, interval: [0.9 * value, 1.1 * value] };
    let row = |way: Way, round: f64| {
        let waits = [0.0, 1.0, 4.0, 1.4, 2.5][ways.iter().position(|&w| w == way).unwrap_or(0)];
        let gaps = Quantiles { median: 0.0002, p95: 0.0004 };
        LatencyRow {
            way,
            modelled: (way != Way::Llm).then_some(0.006 + waits * (round + 0.001)),
            figures: Figures {
                first: mean(0.001),
                total: mean(0.007 + waits * (round + 0.0012)),
                gaps,
                slm_gaps: gaps,
                tokens: mean(54.5),
                offload: mean(if way == Way::Slm { 0.0 } else { 0.07 }),
                accuracy: Mean { value: 0.75, interval: [0.62, 0.88] },
                waits: mean(waits),
                calls: mean(3.0 * waits),
                wasted_calls: mean(waits),
                llm_positions: mean(140.0 * waits),
                bytes_up: mean(700.0 * waits),
                bytes_down: mean(650.0 * waits),
                degraded: 0,
            },
        }
    };
    let networks = [0.0, 100.0].map(|round_trip_ms| NetworkRows {
        network: Network { round_trip_ms, megabits: Some(10.0) },
        rows: ways.map(|way| row(way, round_trip_ms / 1e3)).to_vec(),
        speedup: mean(2.5),
        kept_slowdown: mean(1.02),
        slowdown: mean(1.4),
        token_seconds: 0.00011,
        call_seconds: 0.0012,
    });
    let setting = Setting {
        split: "test".into(),
        questions: 20,
        max_tokens: 128,
        tau,
        branches: 4,
        max_ahead: 32,
        max_extra: Some(100),
        lookahead: 4,
        relay: 8,
        step_ms: 0.0,
        own_processor: true,
    };
    LatencyStudy { setting, identical: true, networks: networks.to_vec() }
}

/// Costs of the router and of a policy a question, under prices and a network.
pub(super) fn answer_costs(test: &SplitResult, questions: usize) -> AnswerCosts {
    let parts: Vec<QuestionCurve> = (0..questions).map(|q| question("router", 9.0, q, 1)).collect();
    let curves = BTreeMap::from([("router".to_owned(), parts.as_slice())]);
    let agrees = |q: &QuestionCurve| (q.question.clone(), vec![true, true, true, false, true]);
    let agrees: BTreeMap<String, Vec<bool>> = parts.iter().map(agrees).collect();
    let prices = Prices { input: 0.5, cached_input: 0.05, output: 1.5, currency: "USD".into() };
    let network = AssumedNetwork {
        round_trip_ms: 100.0,
        megabits: Some(10.0),
        slm_ms_per_token: 20.0,
        llm_ms_per_token: 15.0,
    };
    AnswerCosts {
        prices: Some(prices),
        network: Some(network),
        ..AnswerCosts::of(test, &curves, &agrees)
    }
}
