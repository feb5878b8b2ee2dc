//! `metrics` on the shipped example and on tables that do not fit.

mod support;

use serde_json::Value;
use support::{fail, root, succeed};
use tempfile::TempDir;

/// What `docs/examples/metrics/figures.py` prints: APGR, APGR up to 20%, the mean of PGR at ten
/// offload ratios, CPT(.5), CPT(.8), and at a fifth of the questions the offload reached, the
/// accuracy and the cost of a question.
const EXPECTED: [(&str, [f64; 8]); 4] = [
    ("score_length", [0.5426, 0.0941, 0.5927, 0.4350, 0.7400, 0.1550, 0.6350, 0.0052]),
    ("score_trained", [0.6517, 0.1732, 0.7091, 0.2850, 0.5900, 0.2000, 0.6750, 0.0062]),
    ("threshold_winrate", [0.6430, 0.1155, 0.7000, 0.2900, 0.5650, 0.2000, 0.6500, 0.0071]),
    ("optimal", [0.9940, 0.3545, 1.0382, 0.1400, 0.2200, 0.2000, 0.7700, 0.0055]),
];

fn example() -> String {
    root().join("docs/examples/metrics/routers.csv").display().to_string()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn study(path: &str, more: &[&str]) -> Value {
    let few = ["metrics", path, "--json", "--offload", "0.2", "--resamples", "300"];
    serde_json::from_str(&succeed(&[&few[..], more].concat())).expect("JSON")
}

#[test]
fn the_example_has_the_figures_of_an_independent_computation() {
    let study = study(&example(), &[]);
    assert_eq!((number(&study["weak"]["value"]), number(&study["strong"]["value"])), (0.57, 0.845));
    for (name, expected) in EXPECTED {
        let routers = study["routers"].as_array().expect("a list");
        let policy = routers.iter().find(|router| router["name"] == name);
        let policy = policy.unwrap_or(&study[name]);
        let point = &policy["points"][0];
        let found = [
            &policy["apgr"]["value"],
            &policy["apgr20"]["value"],
            &policy["apgr_of_tenths"],
            &policy["cpt"][0]["offload"],
            &policy["cpt"][1]["offload"],
            &point["offload"],
            &point["accuracy"]["value"],
            &point["cost"],
        ];
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((number(found) - expected).abs() <= 5e-5, "{name}: {found}, {expected}");
        }
        let interval = &policy["apgr"]["interval"];
        let apgr = number(&policy["apgr"]["value"]);
        assert!(number(&interval[0]) < apgr && apgr < number(&interval[1]), "{name}: {interval}");
        assert_eq!(policy["curve"].as_array().map(Vec::len), Some(101));
    }
    assert_eq!(number(&study["random"]["apgr"]["value"]), 0.5);
    let pairs = study["comparisons"].as_array().expect("a list");
    assert_eq!(pairs.len(), 3);
    for pair in pairs {
        let compared = &pair["apgr"];
        assert!(number(&compared["holm_p"]) >= number(&compared["p"]), "{pair}");
    }
    let printed = succeed(&["metrics", &example(), "--resamples", "50"]);
    for part in ["200 questions", "score_trained", "0.6517 [", "CPT(0.8)", "corrected"] {
        assert!(printed.contains(part), "{part:?} is not in: {printed}");
    }
}

#[test]
fn json_lines_are_the_same_table() {
    let text = std::fs::read_to_string(example()).expect("the example");
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let names = lines.next().expect("a header");
    let mut json = String::new();
    for values in lines {
        let fields = names.iter().zip(values).map(|(name, value)| {
            let quoted = format!("{value:?}");
            let value = match *name {
                "id" => quoted.as_str(),
                "weak" => {
                    if value == "1" {
                        "true"
                    } else {
                        "false"
                    }
                }
                _ => value,
            };
            format!("{name:?}: {value}")
        });
        json += &format!("{{{}}}\n", fields.collect::<Vec<_>>().join(", "));
    }
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("routers.jsonl");
    std::fs::write(&path, json).expect("a file");
    assert_eq!(study(&path.display().to_string(), &[]), study(&example(), &[]));
    let named = ["--score", "score_trained", "--threshold", "threshold_winrate"];
    let named = study(&example(), &named);
    assert_eq!(named["routers"].as_array().map(Vec::len), Some(2));
}

/// A table with a hundred columns of this name and a number.
fn wide(name: &str) -> String {
    let columns: String = (0..100).map(|i| format!(",{name}{i}")).collect();
    format!("id,weak,strong{columns}\na,0,1{}\n", ",0.5".repeat(100))
}

#[test]
fn tables_that_do_not_fit_are_refused_by_name() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("routers.csv");
    let path = path.to_str().expect("UTF-8");
    for (text, parts) in [
        (
            "id,weak,score\na,1,0.5\n",
            &["routers.csv", "line 2", "`strong` is missing", "id, score, weak"][..],
        ),
        ("id,weak,strong\na,1,0\n", &["line 2", "`score` or `threshold`"]),
        ("id,weak,strong,score\na,0,1,0.5\n,1,1,0.2\n", &["line 3", "`id` is empty"]),
        ("id,weak,strong,score\na,0,1,0.5\na,1,1,0.2\n", &["line 3", "`id` \"a\"", "at 2 before"]),
        ("id,weak,strong,score\na,0,1,0.5\nb,1,1,high\n", &["line 3", "`score` is \"high\""]),
        ("id,weak,strong,score\na,0,1,NaN\n", &["line 2", "`score` is \"NaN\"", "finite"]),
        (
            "id,weak,strong,score\na,2,1,0.5\n",
            &["line 2", "`weak` is \"2\"", "0, 1, true or false"],
        ),
        (
            "id,weak,strong,score\na,0,1,0.5\nb,1,1,0.5\n",
            &["routers.csv", "`score` is the same in every row"],
        ),
        ("id,weak,strong,score\na,0,1\n", &["line 2", "3 values; expected 4"]),
        ("id,weak,strong,score,score\na,0,1,1,1\n", &["named \"score\""]),
        ("id,weak,strong,score,cost\na,0,1,1,-3\n", &["line 2", "`cost` is -3"]),
        ("id,weak,strong,score\n", &["routers.csv", "no rows"]),
        (&wide("score"), &["line 2", "100 columns are scores of routers; expected at most 64"]),
        (&wide("column"), &["line 2", "`score` or `threshold`", "and 63 more"]),
        ("{\"id\": 1, \"weak\": 0, \"strong\": 1, \"score\": []}\n", &["line 1", "`score` is []"]),
    ] {
        std::fs::write(path, text).expect("a file");
        fail(&["metrics", path], parts);
    }
    fail(&["metrics", path, "--cpt", "0"], &["--cpt is 0"]);
    fail(&["metrics", path, "--offload", "1.5"], &["--offload is 1.5"]);
    fail(&["metrics", "nowhere.csv"], &["nowhere.csv"]);
}
