//! A made-up comparison on the policies of the made-up report.

use tokenroute_sweep::study::{ComparedRouter, MeanPoint, PolicyResult, RouterStudy};

use super::*;
use crate::sample::{self, HOSTILE};

fn trained(part_of: Option<usize>, share: f64, seeds: u64) -> TrainedFacts {
    TrainedFacts {
        changes: "features = \"hidden\"".to_owned(),
        settings: "logistic regression on the hidden state".to_owned(),
        part_of,
        share,
        rows: 1234,
        parameters: 5678,
        microseconds: 4.25,
        measured_on: "calibration".to_owned(),
        seeds: (1..=seeds)
            .map(|seed| SeedRecord { seed, auroc: Some(0.9), auprc: Some(0.4) })
            .collect(),
    }
}

fn router(name: &str, seeds: Vec<PolicyResult>) -> ComparedRouter {
    let first = &seeds[0];
    let point = |p: &tokenroute_sweep::study::Point| MeanPoint {
        target: p.target,
        offload: p.offload,
        accuracy: p.accuracy,
        interval: p.interval,
    };
    ComparedRouter {
        name: name.to_owned(),
        apgr20: first.apgr20,
        apgr20_interval: Some([0.2, 0.4]),
        apgr: first.apgr,
        apgr_interval: Some([0.3, 0.5]),
        points: first.points.iter().map(point).collect(),
        difference20: None,
        difference: None,
        seeds,
    }
}

/// A router of two seeds, one with a name that tries to break out, and a quarter of the first's
/// questions.
fn comparison() -> ComparisonData {
    let report = sample::report();
    let policies = &report.test.policies;
    let policy = |i: usize| policies[i].clone();
    let mut other = router(HOSTILE, vec![policy(1)]);
    let compared = policies.iter().find_map(|p| p.router_advantage20);
    other.difference20 = compared;
    let routers = vec![
        router("first", vec![policy(0), policy(1)]),
        other,
        router("first, 25% of the questions", vec![policy(1)]),
    ];
    let study = RouterStudy {
        split: "test".to_owned(),
        questions: 60,
        calibration: "calibration".to_owned(),
        calibration_questions: 40,
        resamples: 1000,
        resamples_without_gap: 0,
        gap: report.test.gap,
        slm_interval: None,
        llm_interval: None,
        routers,
    };
    let costs = report.answer_costs.policies[0].points.clone();
    let facts = [trained(None, 1.0, 2), trained(None, 1.0, 1), trained(Some(0), 0.25, 1)];
    ComparisonData {
        name: "A comparison".to_owned(),
        study,
        facts: facts
            .into_iter()
            .map(|facts| RouterFacts { trained: Some(facts), costs: costs.clone() })
            .collect(),
        costs: report.answer_costs,
        train_seconds: 12.0,
        sweep_seconds: 60.0,
        provenance: report.provenance,
        command: "tokenroute compare compare.toml".to_owned(),
    }
}

fn file(files: &[crate::ReportFile], name: &str) -> String {
    let found = files.iter().find(|file| file.name == name).unwrap_or_else(|| panic!("{name}"));
    String::from_utf8(found.bytes.clone()).expect("UTF-8")
}

#[test]
fn every_file_holds_its_part_and_names_stay_text() {
    let files = comparison_files(&comparison()).expect("a report");
    let (page, text) = (file(&files, "index.html"), file(&files, "README.md"));
    for shown in [&page, &text] {
        assert!(shown.contains("5,678") && shown.contains("4.2"), "{shown}");
        assert!(shown.contains("USD for 1000 answers") && shown.contains("range"));
        assert!(shown.contains("Learning curves") && shown.contains("25%"));
        assert!(!shown.contains("<b>bold</b>"), "a name was rendered");
    }
    assert_eq!(page.matches("<svg").count(), 3, "two grids of charts and the learning curves");
    assert!(text.contains("(curves-zoom.svg)") && text.contains("(learning.svg)"));
    let small = file(&files, "curves.svg");
    assert!(!small.contains("<b>") && small.contains("first"), "{small}");
    let summary: ComparisonSummary =
        serde_json::from_str(&file(&files, "summary.json")).expect("as written");
    assert_eq!(summary.routers[2].part_of.as_deref(), Some("first"));
    assert_eq!(summary.routers[0].seeds.len(), 2);
    assert_eq!((summary.routers[1].parameters, summary.questions), (Some(5678), 60));
}

#[test]
fn without_a_gap_and_learning_curves_nothing_is_made_up() {
    let mut data = comparison();
    data.study.routers.truncate(2);
    data.facts.truncate(2);
    for router in &mut data.study.routers {
        (router.apgr20, router.apgr, router.difference20) = (None, None, None);
        (router.apgr20_interval, router.apgr_interval) = (None, None);
    }
    let files = comparison_files(&data).expect("a report");
    let text = file(&files, "README.md");
    assert!(text.contains("no APGR") && !text.contains("NaN") && !text.contains("Learning"));
    assert!(files.iter().all(|file| file.name != "learning.svg"));
}
