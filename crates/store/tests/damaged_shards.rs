//! Damaged shards of label tables, in processes of their own with little memory. An abort or a
//! refused allocation ends such a process, and no test could catch it otherwise.
#![allow(clippy::print_stdout, reason = "the parent reads which file came last")]

mod counting;

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use polars::prelude::{ParquetCompression, ParquetReader, ParquetWriter, SerReader};
use tokenroute_core::{LabelRow, Relation};
use tokenroute_store::{Columns, encode_labels, read_labels};

/// Set in the process that reads damaged shards, to the name of its damage.
const CHILD: &str = "TOKENROUTE_DAMAGED_SHARDS";

/// The damages: one process each.
const DAMAGES: [&str; 5] = ["found", "drawn 1", "drawn 2", "each byte", "each byte of plain pages"];

/// Files of a process that draws its damage.
const FILES: usize = 400;

/// Bytes that reading a damaged shard of a few kilobytes may take.
const MOST: usize = 40 << 20;

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
        llm_probability: None,
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

/// Reads a damaged shard: rows, or an error that names the file, within bounds.
fn read(path: &Path, bytes: &[u8], what: &str) {
    fs::write(path, bytes).expect("a write");
    // The last line says which file ended the process.
    println!("file: {what}");
    std::io::stdout().flush().expect("a pipe");
    let (read, [_, _, memory]) = counting::counted(|| read_labels(path, Columns::All));
    assert!(memory < MOST, "{what}: {memory} bytes");
    if let Err(error) = read {
        assert!(error.to_string().contains("hurt.parquet"), "{error}");
    }
}

/// What a fuzzer found: places and new bytes of the shard that its target `labels` spoils. polars
/// asked for 2^61 bytes.
fn found(path: &Path) {
    let rows = (0..20).map(|i| LabelRow {
        question: "q".into(),
        split: "train".into(),
        position: i,
        previous: 1,
        slm_token: 2,
        llm_token: 3,
        llm_probability: None,
        top: vec![(2, 0.75), (3, 0.25)],
        entropy: 0.5,
        sentence_entropy: 0.5,
        hidden: vec![0.5; 4],
        target: 0.0,
        rollouts: 1,
        ..row(i)
    });
    let mut bytes = encode_labels(&rows.collect::<Vec<_>>()).expect("good rows");
    let length = bytes.len();
    for (place, byte) in [(0x03_ad10, 0x03), (0x3a_1201, 0x81)] {
        bytes[place % length] = byte;
    }
    read(path, &bytes, "found");
}

fn drawn(path: &Path, mut seed: u64) {
    let mut draw = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below.max(1)
    };
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
        read(path, &bytes, &number.to_string());
    }
}

/// Changes one byte after the other: of the footer, of page headers, and, where pages are not
/// compressed, of levels, dictionaries and indices. Of compressed ones every third.
fn each_byte(path: &Path, plain: bool) {
    let mut sound = encode_labels(&(0..12).map(row).collect::<Vec<_>>()).expect("good rows");
    if plain {
        let mut frame = ParquetReader::new(Cursor::new(sound)).finish().expect("a sound shard");
        sound = Vec::new();
        let writer = ParquetWriter::new(&mut sound);
        let writer = writer.with_compression(ParquetCompression::Uncompressed);
        writer.finish(&mut frame).expect("a plain shard");
    }
    fs::write(path, &sound).expect("a write");
    assert_eq!(read_labels(path, Columns::All).expect("a sound shard").len(), 12);
    for place in (0..sound.len()).step_by(if plain { 1 } else { 3 }) {
        let changes = [sound[place] ^ (1 << (place % 8)), 0xff];
        for byte in &changes[..1 + usize::from(plain)] {
            let mut bytes = sound.clone();
            bytes[place] = *byte;
            read(path, &bytes, &format!("byte {place} of {} is {byte}", sound.len()));
        }
    }
}

fn read_all(damage: &str) {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("hurt.parquet");
    match damage {
        "found" => found(&path),
        "drawn 1" => drawn(&path, 1),
        "drawn 2" => drawn(&path, 2),
        "each byte" => each_byte(&path, false),
        "each byte of plain pages" => each_byte(&path, true),
        other => panic!("no damage {other}"),
    }
}

/// This test program again, with the address space limited.
fn child(damage: &str) -> Child {
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
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(CHILD, damage);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a process")
}

#[test]
fn damaged_shards_end_no_process() {
    if let Ok(damage) = std::env::var(CHILD) {
        return read_all(&damage);
    }
    let children: Vec<(&str, Child)> = DAMAGES.map(|damage| (damage, child(damage))).into();
    for (damage, child) in children {
        let output = child.wait_with_output().expect("an end");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = text.lines().rfind(|line| line.contains("file: ")).unwrap_or_default();
        assert!(output.status.success(), "{damage}, {last}: {}", output.status);
        assert!(text.contains("1 passed"), "{text}");
    }
}
