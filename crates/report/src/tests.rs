//! Requirements on rendered reports, checked on a made-up one.

use tokenroute_sweep::policies::PolicyKind;

use super::sample::{self, HOSTILE};
use super::*;

/// The text between two marks, the first after `from`.
fn between<'a>(text: &'a str, open: &str, close: &str) -> &'a str {
    let start = text.find(open).expect(open) + open.len();
    &text[start..start + text[start..].find(close).expect(close)]
}

/// The page's chart data.
fn charts(page: &str) -> serde_json::Value {
    let json = between(page, r#"<script type="application/json" id="data">"#, "</script>");
    serde_json::from_str(json).expect("the data are JSON")
}

/// A report with nothing but a router and its curve.
fn bare() -> ReportData {
    let mut data = sample::report();
    data.test.policies.truncate(1);
    data.test.policies[0].band.clear();
    data.ood = None;
    data.labels.clear();
    data.divergent_classes.clear();
    data.diagnostics = None;
    data.errors = None;
    data.latency = None;
    data.examples.clear();
    data
}

#[test]
fn the_page_is_self_contained_and_small() {
    let page = html(&sample::report()).expect("a page");
    assert!(page.len() < 1_500_000, "{} bytes", page.len());
    for outside in ["src=", "<link", "@import", "url(", "fetch(", "XMLHttpRequest"] {
        assert!(!page.contains(outside), "{outside}");
    }
    for part in ["<!doctype html>", "uPlot", "prefers-color-scheme: dark", "id=\"ood\""] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(page.matches("<script").count(), 3);
    assert_eq!(page.matches("</script").count(), 3);
}

#[test]
fn the_same_data_give_the_same_bytes() {
    let (a, b) = (sample::report(), sample::report());
    assert_eq!(html(&a).expect("a page"), html(&b).expect("a page"));
    assert_eq!(markdown(&a).expect("text"), markdown(&b).expect("text"));
    assert_eq!(figures(&a).expect("figures"), figures(&b).expect("figures"));
}

#[test]
fn hostile_text_stays_text() {
    let mut data = sample::report();
    data.name = HOSTILE.into();
    data.test.policies[3].name = HOSTILE.into();
    data.examples[0].answers[0].tokens[0].text = HOSTILE.into();
    data.examples[0].answers[0].tokens[0].slm_text = "\" onclick=\"alert(1)".into();
    data.provenance[0].value = HOSTILE.into();
    let page = html(&data).expect("a page");
    assert!(!page.contains("<b>bold"));
    assert!(!page.contains("\" onclick"));
    assert!(page.contains("&lt;b&gt;bold"), "escaped, not dropped");
    assert!(!page.contains(" 49 "), "not evaluated as a template");
    assert_eq!(page.matches("</script").count(), 3);
    assert_eq!(charts(&page)["splits"][0]["policies"][3]["name"], HOSTILE);

    let text = markdown(&data).expect("text");
    assert!(!text.contains("<b>bold") && !text.contains("*star*") && !text.contains("</script"));
    let svg = svg_curve(&data.test, &CurveFigure::default()).expect("a figure");
    assert!(!svg.contains("<b>bold") && svg.contains("&lt;b&gt;bold"));
}

#[test]
fn the_charts_hold_every_policy_on_the_common_grid() {
    let data = sample::report();
    let charts = charts(&html(&data).expect("a page"));
    let budgets = charts["rho"].as_array().expect("a list").len();
    for (split, shown) in [(&data.test, 0), (data.ood.as_ref().expect("a split"), 1)] {
        let lines = charts["splits"][shown]["policies"].as_array().expect("a list");
        assert_eq!(lines.len(), split.policies.len());
        for (line, policy) in lines.iter().zip(&split.policies) {
            for column in ["tau", "offload", "accuracy"] {
                assert_eq!(line[column].as_array().expect(column).len(), budgets);
            }
            assert_eq!(line["accuracy"][budgets - 1], (split.gap.llm * 1e5).round() / 1e5);
            assert_eq!(line["lower"].is_null(), policy.name != "router");
            assert_eq!(line["router"], policy.name == "router", "one line leads");
        }
        let points = charts["splits"][shown]["points"].as_array().expect("a list");
        let tau = split.policies[0].points[0].tau;
        assert_eq!(points[0]["tau"].as_f64(), Some(tau.get()));
    }
}

#[test]
fn cut_answers_are_shown_for_both_models_and_every_policy() {
    let mut data = sample::report();
    let [slm, llm] = data.test.cut_alone().map(number::percent);
    let alone = [
        format!("SLM alone {slm}, LLM alone {llm}"),
        format!("{slm} of the SLM’s alone, {llm} of the LLM’s"),
    ];
    let none = "No answer was cut at the limit of tokens.";
    let shown = [html(&data).expect("a page"), markdown(&data).expect("text")];
    for (text, alone) in shown.iter().zip(&alone) {
        assert!(text.contains(alone), "{alone}");
    }
    let other = data.test.policies.iter().find(|p| p.kind != PolicyKind::Router);
    let shares: Vec<String> =
        other.expect("a policy").points.iter().map(|p| number::percent(p.cut)).collect();
    assert!(shares[0] != shares[5], "{shares:?}");
    assert!(shown[1].contains(&format!("| {} |", shares.join(" | "))), "{shares:?}");
    data.ood = None;
    for policy in &mut data.test.policies {
        policy.curve.points.iter_mut().for_each(|point| point.cut = 0);
    }
    for text in [html(&data).expect("a page"), markdown(&data).expect("text")] {
        assert!(text.contains(none));
    }
}

#[test]
fn page_and_markdown_state_the_same_figures() {
    let data = sample::report();
    // The template engine writes a slash as a character reference.
    let page = html(&data).expect("a page").replace("&#x2f;", "/");
    let text = markdown(&data).expect("text");
    let router = data.test.router().expect("a router");
    for point in &router.points {
        for shown in [number::percent(point.accuracy), number::tau(point.tau)] {
            assert!(page.contains(&shown) && text.contains(&shown), "{shown}");
        }
    }
    for policy in &data.test.policies {
        let shown = number::decimal(policy.apgr, 3);
        assert!(page.contains(&shown) && text.contains(&shown), "{}", policy.name);
    }
    for policy in data.test.policies.iter().filter(|p| p.kind != PolicyKind::Router) {
        let small = policy.router_advantage20.expect("a difference");
        let lead = number::signed_interval(small.difference.interval, 3);
        assert!(page.contains(&lead) && text.contains(&lead), "{}", policy.name);
    }
    for shown in [
        "0.0012",
        "0.0060",
        "5 tests",
        "B = 10,000",
        "range of 3 seeds",
        "120 validation questions",
    ] {
        assert!(page.contains(shown) && text.contains(shown), "{shown}");
    }
    for fact in &data.provenance {
        assert!(page.contains(&fact.value) && text.contains(&fact.value), "{}", fact.name);
    }
    assert!(page.contains(&data.command) && text.contains(&data.command));
}

#[test]
fn tokens_show_their_origin() {
    let data = sample::report();
    let page = html(&data).expect("a page");
    let count = |origin| {
        let tokens = data.examples.iter().flat_map(|e| &e.answers).flat_map(|r| &r.tokens);
        tokens.filter(|t| t.origin == origin).count()
    };
    // The key shows one of each.
    let llm = page.matches("<span class=\"t llm\"").count();
    assert_eq!(llm, count(tokenroute_core::Origin::Llm) + 1);
    let slm = page.matches("<span class=\"t slm\"").count();
    assert_eq!(slm, count(tokenroute_core::Origin::Slm) + 1);
    let right = data.examples.iter().flat_map(|e| &e.answers).filter(|r| r.correct).count();
    assert_eq!(page.matches("✓ right").count(), right);
}

#[test]
fn markdown_shows_every_figure_and_its_tables_are_whole() {
    let data = sample::report();
    let text = markdown(&data).expect("text");
    for figure in figures(&data).expect("figures") {
        assert!(text.contains(&format!("]({})", figure.name)), "{}", figure.name);
        assert!(figure.svg.starts_with("<svg") && figure.svg.trim_end().ends_with("</svg>"));
        assert!(figure.svg.len() < 150_000, "{} has {} bytes", figure.name, figure.svg.len());
    }
    let mut width = None;
    for line in text.lines() {
        let cells = line.starts_with('|').then(|| line.matches('|').count());
        if let (Some(before), Some(cells)) = (width, cells) {
            assert_eq!(before, cells, "{line}");
        }
        width = cells;
    }
}

#[test]
fn the_network_study_stands_beside_the_curve() {
    let mut data = sample::report();
    let (page, text) = (html(&data).expect("a page"), markdown(&data).expect("text"));
    for text_shown in ["100 ms, 10 Mbit", "2.50 × (2.25–2.75)", "routed, speculative"] {
        assert!(page.contains(text_shown) && text.contains(text_shown), "{text_shown}");
    }
    // Accuracy over offload and over three costs, and the network study.
    assert_eq!(page.matches("<svg").count(), 5, "the figures are in the page itself");
    let study = data.latency.as_mut().expect("a study");
    assert!(latency_markdown(study).expect("text").contains("gave the tokens of blocking"));
    study.identical = false;
    assert!(latency_markdown(study).expect("text").contains("did not give the tokens"));
    study.networks.clear();
    assert!(!markdown(&data).expect("text").contains("latency.svg"), "nothing to draw");
}

#[test]
fn missing_measurements_are_left_out() {
    let data = bare();
    let page = html(&data).expect("a page");
    for section in ["labels", "router", "latency", "ood", "examples"] {
        assert!(!page.contains(&format!("<section id=\"{section}\"")), "{section}");
    }
    let text = markdown(&data).expect("text");
    assert!(!text.contains("labels.svg") && !text.contains("Out of distribution"));
    // Two curves, and three over the cost of an answer.
    assert_eq!(figures(&data).expect("figures").len(), 5);
}

#[test]
fn no_gap_no_figure_rather_than_a_false_one() {
    let mut data = bare();
    let router = &mut data.test.policies[0];
    (router.apgr, router.cpt50, router.cpt80) = (None, None, None);
    (router.apgr20, router.apgr20_interval, router.cpt50_interval) = (None, None, None);
    router.points.iter_mut().for_each(|p| p.pgr = None);
    let page = html(&data).expect("a page");
    assert!(!markdown(&data).expect("text").contains("NaN"));
    assert!(page.contains("<td>–</td>"));
}

/// Writes the made-up report to `REPORT_DIR`, for a look at it.
#[test]
#[ignore = "for looking at the page"]
#[allow(clippy::disallowed_methods, reason = "a person asked for the files")]
fn write_the_sample() {
    let Ok(dir) = std::env::var("REPORT_DIR") else { return };
    let data = sample::report_of(1000);
    let write = |name: &str, text: &str| {
        std::fs::write(std::path::Path::new(&dir).join(name), text).expect("the folder exists");
    };
    write("index.html", &html(&data).expect("a page"));
    write("report.md", &markdown(&data).expect("text"));
    for figure in figures(&data).expect("figures") {
        write(figure.name, &figure.svg);
    }
}

#[test]
fn what_an_answer_costs_is_said_where_another_way_takes_less() {
    let data = sample::report();
    let (page, text) = (html(&data).expect("a page"), markdown(&data).expect("a text"));
    for shown in [&page, &text] {
        assert!(shown.contains("At the 7% target LLM alone, streamed answers"), "{text}");
        assert!(shown.contains("serial waits 1.0, router"));
        assert!(shown.contains("speculative decoding, drafts of 8"));
        assert!(shown.contains("USD for 1000 answers") && shown.contains("round trip 100 ms"));
    }
    // Without prices and a network neither column is there.
    let mut bare = data;
    (bare.answer_costs.prices, bare.answer_costs.network) = (None, None);
    let text = markdown(&bare).expect("a text");
    assert!(!text.contains("for 1000 answers") && text.contains("positions.svg"));
}
