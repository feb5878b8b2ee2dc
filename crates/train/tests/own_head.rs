//! The example of a head and a loss on the page "Add a feature, a head or a loss" runs.

#[path = "../examples/own_head.rs"]
mod own_head;

#[test]
fn a_head_and_a_loss_of_ones_own_reach_a_device() {
    own_head::main().expect("trains, writes and scores");
}
