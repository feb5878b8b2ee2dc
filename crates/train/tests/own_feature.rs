//! The example of a feature on the page "Add a feature, a head or a loss" runs.

#[path = "../examples/own_feature.rs"]
mod own_feature;

#[test]
fn a_feature_of_ones_own_reaches_a_device() {
    own_feature::main().expect("trains, writes and scores");
}
