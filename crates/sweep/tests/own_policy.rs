//! The example of the page "Add a policy" runs, and the docs list every policy with its score.

use tokenroute_sweep::policies::Baseline;
use tokenroute_sweep::query::QueryBaseline;

#[path = "../examples/own_policy.rs"]
mod own_policy;

#[test]
fn a_policy_of_ones_own_is_swept() {
    own_policy::main().expect("sweeps");
}

#[test]
fn the_docs_have_every_policy_with_its_score() {
    let page = include_str!("../../../docs/src/concepts/sweep.md");
    let row = |name: &str, line: &str| format!("| `{name}` | {line} |\n");
    let by_token = Baseline::ALL.map(|policy| row(policy.name(), policy.score()));
    let by_question = QueryBaseline::ALL.map(|policy| row(policy.name(), policy.takes()));
    for row in by_token.into_iter().chain(by_question) {
        assert!(page.contains(&row), "docs/src/concepts/sweep.md lacks the row\n{row}");
    }
}
