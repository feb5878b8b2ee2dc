//! Damaged shards of label tables, in processes of their own with little memory. An abort or a
//! refused allocation ends such a process, and no test could catch it otherwise.
#![allow(clippy::print_stdout, reason = "the parent reads which file came last")]

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};

use tokenroute_core::{LabelRow, Relation};
use tokenroute_store::{Columns, encode_labels, read_labels};

/// Set in the process that reads damaged shards, to the seed of its damage.
const CHILD: &str = "TOKENROUTE_DAMAGED_SHARDS";

/// Damaged files of one process.
const FILES: usize = 400;

/// Kibibytes of address space of such a process. Threads reserve much that they never use.
#[cfg(unix)]
const MEMORY: u32 = 8 << 20;

fn row(i: u32) -> LabelRow {
    let x = i as f32;
    LabelRow {
        question: format!("q{}", i / 3),
        split: "router-train".into(),
        round: 0,
        position: i % 3,
        prefix_hash: u64::from(i),
        previous: i,
        slm_token: i + 1,
        llm_token: i + 2,
        top: vec![(i + 1, 0.5), (i + 2, 0.25 + x / 1e4)],
        entropy: 0.1 * x,
        sentence_entropy: 0.2 * x,
        hidden: (0..5).map(|j| x / 7.0 - j as f32).collect(),
        relation: Relation::Divergent,
        keep_grade: 0.0,
        offload_grade: 1.0,
        target: 0.5,
        weight: 1.0,
        rollouts: i,
    }
}

fn read_all(mut seed: u64) {
    let mut draw = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below.max(1)
    };
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("hurt.parquet");
    let sound = encode_labels(&(0..60).map(row).collect::<Vec<_>>()).expect("good rows");
    for number in 0..FILES {
        let mut bytes = sound.clone();
        if draw(10) == 0 {
            bytes.truncate(draw(sound.len()));
        } else {
            for _ in 0..=draw(4) {
                // Half of the damage is in the footer, which says where everything lies.
                let footer = bytes.len().saturating_sub(2500);
                let place = if draw(2) == 0 { footer + draw(2500) } else { draw(bytes.len()) };
                let place = place.min(bytes.len() - 1);
                bytes[place] = if draw(2) == 0 { bytes[place] ^ (1 << draw(8)) } else { 0xff };
            }
        }
        fs::write(&path, &bytes).expect("a write");
        // The last line says which file ended the process.
        println!("file {number}");
        std::io::stdout().flush().expect("a pipe");
        for columns in [Columns::All, Columns::Scalars] {
            if let Err(error) = read_labels(&path, columns) {
                assert!(error.to_string().contains("hurt.parquet"), "{error}");
            }
        }
    }
}

/// This test program again, with the address space limited.
fn child(seed: u64) -> Child {
    let this = std::env::current_exe().expect("this program");
    let name = "damaged_shards_end_no_process";
    #[cfg(unix)]
    let mut command = {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -v {MEMORY} && exec \"$0\" \"$@\"")]).arg(this);
        shell
    };
    #[cfg(not(unix))]
    let mut command = Command::new(this);
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(CHILD, seed.to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a process")
}

#[test]
fn damaged_shards_end_no_process() {
    if let Ok(seed) = std::env::var(CHILD) {
        return read_all(seed.parse().expect("a number"));
    }
    let children: Vec<(u64, Child)> = (1..=2).map(|seed| (seed, child(seed))).collect();
    for (seed, child) in children {
        let output = child.wait_with_output().expect("an end");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = text.lines().rfind(|line| line.contains("file ")).unwrap_or_default();
        assert!(output.status.success(), "seed {seed}, {last}: {}", output.status);
        assert!(text.contains("1 passed"), "{text}");
    }
}
