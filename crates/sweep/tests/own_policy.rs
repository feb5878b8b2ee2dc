//! The example of the page "Add a policy" runs, and the docs list every policy with its score.

use tokenroute_sweep::policies::Baseline;

#[path = "../examples/own_policy.rs"]
mod own_policy;

#[test]
fn a_policy_of_ones_own_is_swept() {
    own_policy::main().expect("sweeps");
}

#[test]
fn the_docs_have_every_policy_with_its_score() {
    let page = include_str!("../../../docs/src/concepts/sweep.md");
    let rows: Vec<String> =
        Baseline::ALL.map(|b| format!("| `{}` | {} |\n", b.name(), b.score())).to_vec();
    for row in rows {
        assert!(page.contains(&row), "docs/src/concepts/sweep.md lacks the row\n{row}");
    }
}
