//! The cost of what others send, counted by an allocator: each reader of a file, a request or a
//! reply takes work and memory in proportion to its input, and a server stays within its
//! memory. `just cost` compares times as well.
#![cfg(all(feature = "lab", feature = "server"))]
#![allow(clippy::print_stdout, reason = "a recipe reads what is measured")]

mod client;
mod counting;
mod files;
mod growth;
mod servers;
mod texts;

use growth::Measure;

/// Fails with the lines of everything that grows too fast.
fn none(lines: &[String]) {
    assert!(lines.is_empty(), "these grow too fast:\n{}", lines.join("\n"));
}

#[test]
fn files_take_work_in_proportion() {
    none(&files::grow(Measure::Counts));
}

#[test]
fn templates_and_texts_take_work_in_proportion() {
    none(&texts::grow(Measure::Counts));
}

#[test]
fn requests_take_work_in_proportion() {
    none(&servers::grow(Measure::Counts));
}

#[test]
fn replies_take_work_in_proportion() {
    none(&client::grow(Measure::Counts));
}

#[test]
fn requests_and_replies_take_memory_in_a_bounded_proportion() {
    servers::amplification();
    client::amplification();
    texts::amplification();
}

#[test]
fn a_server_stays_within_its_memory() {
    servers::within_memory();
}

#[test]
#[ignore = "compares times: `just cost`"]
fn time_is_in_proportion() {
    let all = [files::grow, texts::grow, servers::grow, client::grow];
    none(&all.map(|grow| grow(Measure::Time)).concat());
}

#[test]
#[ignore = "compares times: `just cost`"]
fn health_answers_while_hostile_requests_are_read() {
    servers::health_meanwhile();
}
