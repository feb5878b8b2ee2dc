//! Damaged answer caches, in processes of their own with little memory. An abort or a refused
//! allocation ends such a process, and no test could catch it otherwise.
#![allow(clippy::print_stdout, reason = "the parent reads which file came last")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokenroute_core::{Ask, Llm};
use tokenroute_llm::http::Answers;
use tokenroute_llm::{Scripted, ToyModel};

/// Set in the process that opens damaged caches, to the seed of its damage.
const CHILD: &str = "TOKENROUTE_DAMAGED_CACHES";

/// Damaged files of one process.
const FILES: usize = 150;

/// Kibibytes of address space of such a process.
#[cfg(unix)]
const MEMORY: u32 = 4 << 20;

/// Opens a cache, asks it and adds to it. Every token that comes back is in the vocabulary.
fn use_cache(path: &Path) {
    let llm = Scripted::new(|_| Ok(3));
    let Ok(kept) = Answers::open(path, "m", &ToyModel::vocabulary(), llm) else { return };
    for last in 0..40 {
        for reply in kept.ask(&[Ask::greedy(&[1, last, 2, last, 4], 1)]).into_iter().flatten() {
            assert!(reply.tokens.iter().all(|&t| t < 16), "{reply:?}");
        }
    }
    kept.forget(&[1]);
}

/// Bytes of a sound cache with some flipped, or cut short.
fn damaged(sound: &[u8], used: usize, draw: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    if draw(8) == 0 {
        bytes.truncate(draw(sound.len()));
        return bytes;
    }
    for _ in 0..=draw(4) {
        // Half of the damage is in the header and the first pages.
        let place = if draw(2) == 0 { draw(used.min(4096)) } else { draw(used) };
        bytes[place] = match draw(3) {
            0 => bytes[place] ^ (1 << draw(8)),
            1 => 0xff,
            _ => draw(256) as u8,
        };
    }
    bytes
}

fn open_all(mut seed: u64) {
    let mut draw = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below.max(1)
    };
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("answers.redb");
    use_cache(&path);
    let sound = fs::read(&path).expect("a cache");
    let used = 1 + sound.iter().rposition(|&byte| byte != 0).expect("content");
    let hurt = folder.path().join("hurt.redb");
    for number in 0..FILES {
        fs::write(&hurt, damaged(&sound, used, &mut draw)).expect("a file");
        // The last line says which file ended the process.
        println!("file {number}");
        std::io::stdout().flush().expect("a pipe");
        use_cache(&hurt);
    }
}

/// This test program again, with the address space limited.
fn child(seed: u64) -> Child {
    let this = std::env::current_exe().expect("this program");
    let name = "damaged::damaged_caches_end_no_process";
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
fn damaged_caches_end_no_process() {
    if let Ok(seed) = std::env::var(CHILD) {
        return open_all(seed.parse().expect("a number"));
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
