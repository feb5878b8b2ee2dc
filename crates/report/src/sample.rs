//! A made-up report for tests: policies of stated skill on simulated questions,
//! and texts that try to break out of the page.

mod costs;

use std::collections::BTreeMap;

use tokenroute_core::{
    Bytes, Counts, Curve, Gap, Origin, Piece, QuestionCurve, Tau, TrainingRecord, apgr, apgr_to,
    cpt, unit_hash,
};

use tokenroute_sweep::diagnostics::{Diagnostics, HistogramBin, PolicyRanking, ReliabilityBin};
use tokenroute_sweep::errors::{CostlyMiss, ErrorCounts, ErrorGroup, Errors, MissedQuestions};
use tokenroute_sweep::examples::{AnswerToken, ExampleAnswer, ExampleQuestion};
use tokenroute_sweep::policies::PolicyKind;
use tokenroute_sweep::study::{
    BandPoint, Comparison, Difference, Point, PolicyResult, SMALL_BUDGETS, SplitResult,
};

use crate::cost::CostSummary;
use crate::data::{ClassCount, Fact, LabelCounts, ReportData, StageCost};
use costs::{answer_costs, latency};

/// A text that must stay text.
pub(super) const HOSTILE: &str = "</script><b>bold</b> <!-- & \"quoted\" {{ 7*7 }} | *star*";

/// A small report; the same on every call.
pub(super) fn report() -> ReportData {
    report_of(60)
}

/// A report on this number of questions.
pub(super) fn report_of(questions: usize) -> ReportData {
    let test = split("test", questions, 1);
    let tau = test.policies[0].points[3].tau;
    let answer_costs = answer_costs(&test, questions);
    ReportData {
        name: "word-problems".into(),
        ood: Some(split("test-ood", questions / 2, 9)),
        labels: vec![labels("router-train", 4), labels("validation", 1), labels("test", 1)],
        divergent_classes: [
            ("digit", 410),
            ("word", 260),
            ("operator", 190),
            ("answer letter", 77),
        ]
        .map(|(class, count)| ClassCount { class: class.into(), count })
        .to_vec(),
        diagnostics: Some(diagnostics()),
        errors: Some(errors()),
        cost: CostSummary {
            decoded_tokens: 261_311,
            slm_only_tokens: 51_234,
            cost_ratio: 5.1,
            llm_cost_ratio: 6.4,
            grid_cost_ratio: 103.4,
        },
        costs: BTreeMap::new(),
        answer_costs,
        latency: Some(latency(tau)),
        examples: (0..6).map(|i| example(i, tau)).collect(),
        notices: Vec::new(),
        stages: [("label", 312.4), ("train", 41.0), ("sweep", 900.2)]
            .map(|(stage, seconds)| StageCost {
                stage: stage.into(),
                seconds: Some(seconds),
                peak_bytes: Some(210_000_000),
                llm_positions: (stage != "train").then_some(1_234_567),
                bytes: (stage == "label").then_some(Bytes { up: 76_543, down: 98_765 }),
            })
            .to_vec(),
        provenance: [
            ("tokenroute", "0.1.0"),
            ("seed", "17"),
            (
                "SLM weights",
                "sha256:4b8a8191e425658e3ea8c8c1314b0fc679c861ee3a1af2b20c7b16ba50b5133d",
            ),
            (
                "LLM weights",
                "sha256:9f3d8191e425658e3ea8c8c1314b0fc679c861ee3a1af2b20c7b16ba50b5133d",
            ),
            ("router", "sha256:aa3d8191e425658e3ea8c8c1314b0fc679c861ee3a1af2b20c7b16ba50b51aaa"),
        ]
        .map(|(name, value)| Fact { name: name.into(), value: value.into() })
        .to_vec(),
        command: "tokenroute run experiments/word-problems/experiment.toml".into(),
        test,
    }
}

fn split(name: &str, questions: usize, seed: u64) -> SplitResult {
    let skills = [
        ("router", PolicyKind::Router, 9.0),
        ("router, seed 2", PolicyKind::Router, 8.7),
        ("router, seed 3", PolicyKind::Router, 9.4),
        ("random", PolicyKind::TrainingFree, 1.0),
        ("max-probability", PolicyKind::TrainingFree, 3.4),
        ("margin", PolicyKind::TrainingFree, 3.8),
        ("entropy", PolicyKind::TrainingFree, 3.1),
        ("sentence-entropy", PolicyKind::TrainingFree, 1.6),
        ("token-lookup", PolicyKind::Lookup, 4.6),
        ("position-lookup", PolicyKind::Lookup, 2.0),
        ("difference-oracle", PolicyKind::Oracle, 20.0),
    ];
    let curves: Vec<(Curve, _, _)> = skills
        .iter()
        .map(|&(policy, kind, k)| {
            let parts: Vec<QuestionCurve> =
                (0..questions).map(|q| question(policy, k, q, seed)).collect();
            (Curve::of(&parts), policy, kind)
        })
        .collect();
    let gap = Gap::of(&curves[0].0);
    let best = [1.0, SMALL_BUDGETS].map(|upto| apgr_to(&curves[0].0, gap, upto).unwrap_or(0.0));
    let spread = 1.0 / (questions as f64).sqrt();
    let policies = curves
        .into_iter()
        .map(|(curve, policy, kind)| policy_result(curve, policy, kind, gap, best, spread))
        .collect();
    SplitResult {
        split: name.into(),
        questions: questions as u64,
        calibration: "validation".into(),
        calibration_questions: 120,
        resamples: 10_000,
        resamples_without_gap: 0,
        gap,
        slm_interval: Some([gap.slm - spread, gap.slm + spread]),
        llm_interval: Some([gap.llm - spread / 2.0, (gap.llm + spread / 2.0).min(1.0)]),
        policies,
    }
}

fn policy_result(
    curve: Curve,
    name: &str,
    kind: PolicyKind,
    gap: Gap,
    best: [f64; 2],
    spread: f64,
) -> PolicyResult {
    let interval = |accuracy: f64| [(accuracy - spread).max(0.0), (accuracy + spread).min(1.0)];
    let area = apgr(&curve, gap);
    let small = apgr_to(&curve, gap, SMALL_BUDGETS);
    let points = [0.01, 0.02, 0.05, 0.07, 0.10, 0.20]
        .map(|target| {
            let tau = curve.tau_at_offload(target);
            let at = curve.at(tau);
            let accuracy = curve.accuracy(&at);
            Point {
                target,
                tau,
                offload: at.offload(),
                mean_offload: at.offload(),
                accuracy,
                cut: curve.cut_share(&at),
                interval: interval(accuracy),
                pgr: gap.pgr(accuracy),
                offloaded_per_question: at.offloaded as f64 / curve.questions as f64,
                llm_positions_per_question: at.llm_positions as f64 / curve.questions as f64,
            }
        })
        .to_vec();
    let band = (0..=100)
        .map(|i| {
            let offload = f64::from(i) / 100.0;
            let at = curve.at(curve.tau_at_offload(offload));
            let [lower, upper] = interval(curve.accuracy(&at));
            BandPoint { offload, lower, upper }
        })
        .collect();
    PolicyResult {
        name: name.into(),
        kind,
        seed: name.strip_prefix("router, seed ").and_then(|seed| seed.parse().ok()),
        band: if name == "router" { band } else { Vec::new() },
        points,
        apgr: area,
        apgr_interval: area.map(|a| [a - spread / 2.0, a + spread / 2.0]),
        apgr20: small,
        apgr20_interval: small.map(|a| [a - spread, a + spread]),
        cpt50: cpt(&curve, gap, 0.5),
        cpt50_interval: cpt(&curve, gap, 0.5).map(|x| [0.9 * x, 1.2 * x]),
        cpt80: cpt(&curve, gap, 0.8),
        cpt80_interval: None,
        router_advantage: (kind != PolicyKind::Router).then(|| {
            let value = best[0] - area.unwrap_or(0.0);
            Difference { value, interval: [value - spread / 3.0, value + spread / 3.0] }
        }),
        router_advantage20: (kind != PolicyKind::Router).then(|| {
            let value = best[1] - small.unwrap_or(0.0);
            let interval = [value - spread / 2.0, value + spread / 2.0];
            let tested = kind == PolicyKind::TrainingFree;
            Comparison {
                difference: Difference { value, interval },
                standard_error: spread / 4.0,
                detectable: 0.7 * spread,
                p: tested.then_some(0.0012),
                holm_p: tested.then_some(0.006),
            }
        }),
        curve,
    }
}

/// 40 tokens, of which 0 to 5 lose the answer unless the LLM makes them; the
/// higher `k`, the lower a policy scores those.
fn question(policy: &str, k: f64, q: usize, seed: u64) -> QuestionCurve {
    let id = format!("q{q}");
    let draw = |what: &str, t: usize| unit_hash(seed, &format!("{what}{id}"), t);
    let noise = |t: usize| unit_hash(seed + 1, &format!("{policy}{id}"), t);
    let lost = if draw("slm", 0) < 0.42 { 0 } else { 1 + (draw("lost", 0) * 5.0) as usize };
    let hopeless = draw("llm", 0) > 0.93;
    let mut scores: Vec<(f64, bool)> = (0..40)
        .map(|t| {
            // AUROC = k² / (1 + k²).
            let critical = t < lost;
            let exponent = if critical { k } else { 1.0 / k };
            (noise(t).powf(exponent), critical)
        })
        .collect();
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    let made = |end, correct: bool, offloaded| {
        let llm_positions = if offloaded == 0 { 0 } else { 60 + offloaded };
        // Some wrong answers run on to the limit.
        let cut = !correct && draw("cut", 0) < 0.25;
        Piece { end, correct, cut, offloaded, generated: 40, llm_positions }
    };
    let mut pieces = Vec::new();
    let mut left = lost;
    for (offloaded, (score, critical)) in scores.iter().enumerate() {
        let correct = left == 0 && !hopeless;
        pieces.push(made(*score, correct, offloaded as u32));
        left -= usize::from(*critical);
    }
    pieces.push(made(1.0, !hopeless, 40));
    pieces.dedup_by(|b, a| a.end == b.end);
    QuestionCurve { question: id, pieces }
}

fn labels(split: &str, times: u64) -> LabelCounts {
    let counts = Counts {
        identical: 35_712 * times,
        neutral: 2_011 * times,
        both_wrong: 402 * times,
        divergent: 1_730 * times,
        unjudged: 0,
    };
    LabelCounts { split: split.into(), counts }
}

fn errors() -> Errors {
    let counts = |positions, divergent, misses, false_alarms| ErrorCounts {
        positions,
        divergent,
        misses,
        false_alarms,
    };
    let group = |name: &str, counts| ErrorGroup { name: name.to_owned(), counts };
    Errors {
        split: "test".to_owned(),
        budget: 0.07,
        tau: Tau::new(0.31).expect("in range"),
        total: counts(4000.0, 170.0, 34.0, 120.5),
        by_class: vec![
            group("digit", counts(1000.0, 120.0, 20.0, 60.5)),
            group("word", counts(3000.0, 50.0, 14.0, 60.0)),
        ],
        by_step: vec![group("0 to 4", counts(4000.0, 170.0, 34.0, 120.5))],
        by_question: vec![
            MissedQuestions { misses: 0, questions: 90, false_alarms: 1.25 },
            MissedQuestions { misses: 3, questions: 10, false_alarms: 0.8 },
        ],
        costliest: vec![CostlyMiss {
            question: "q1".to_owned(),
            position: 7,
            context: format!("12 + 5 = {HOSTILE}"),
            slm: "16".to_owned(),
            llm: "17".to_owned(),
            score: 0.987,
            loss: 1.0,
        }],
    }
}

fn diagnostics() -> Diagnostics {
    let bins = |bend: f64| {
        (0..10u64)
            .map(|i| {
                let predicted = (i as f64 + 3.1) / 10.0;
                ReliabilityBin { predicted, observed: predicted.powf(bend), count: 10 + i * i }
            })
            .collect()
    };
    Diagnostics {
        split: "test".to_owned(),
        ranking: vec![PolicyRanking {
            policy: "router".to_owned(),
            auroc: 0.981,
            auprc: 0.77,
            positive_rate_at_recall_95: 0.12,
            calibration_error: 0.004,
        }],
        training: TrainingRecord {
            seed: 17,
            epochs: 14,
            best_epoch: 9,
            rows: [160_000, 40_000],
            validation_loss: 0.08,
            auroc: 0.981,
            auprc: 0.77,
            ece_before: 0.0312,
            ece_after: 0.0041,
            positive_rate_at_recall_95: 0.084,
            ..TrainingRecord::default()
        },
        reliability_before: bins(1.6),
        reliability_after: bins(1.05),
        histogram: (0..20u64)
            .map(|i| HistogramBin {
                keep: (20 + i.pow(4)) as f64,
                divergent: (20 - i).pow(3) as f64,
            })
            .collect(),
    }
}

fn example(i: usize, tau: Tau) -> ExampleQuestion {
    let words = "Tom buys 3 bags of 8 sweets , so he has 3 × 8 = 24 sweets . He gives away 5 . \
                 24 − 5 = 19 . So the answer is 19 (B) .";
    let run = |label: &str, tau: Tau, correct: bool| ExampleAnswer {
        label: label.into(),
        tau,
        correct,
        tokens: words
            .split(' ')
            .enumerate()
            .map(|(t, word)| {
                let score = unit_hash(i as u64, label, t);
                let llm = correct && score < 0.1;
                AnswerToken {
                    text: if t == 0 { word.into() } else { format!(" {word}") },
                    origin: if llm { Origin::Llm } else { Origin::Slm },
                    slm_text: if llm { " 18".into() } else { format!(" {word}") },
                    score,
                }
            })
            .collect(),
    };
    let question = if i == 1 {
        HOSTILE.to_owned()
    } else {
        "Tom buys 3 bags of sweets with 8 sweets in each bag, and then gives 5 of them to his \
         sister Ann. How many sweets has he left?"
            .to_owned()
    };
    ExampleQuestion {
        id: format!("test-{i:04}"),
        question,
        choices: [("A", "18"), ("B", "19"), ("C", "24"), ("D", "29"), ("E", "16")]
            .map(|(label, text)| (label.to_owned(), text.to_owned()))
            .to_vec(),
        answer_key: "B".into(),
        answers: vec![run("SLM alone", Tau::SLM_ONLY, i == 2), run("7% point", tau, i != 4)],
    }
}
