//! The example of the page "Add a label rule" runs.

#[path = "../examples/own_rule.rs"]
mod own_rule;

#[test]
fn a_label_rule_of_ones_own_trains_a_router() {
    own_rule::main().expect("trains by both rules");
}
