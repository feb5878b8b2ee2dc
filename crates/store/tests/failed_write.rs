//! A write that fails midway leaves earlier files unchanged and no temporary files.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::process::Command;

use tokenroute_store::{remove_leftovers, write, write_all};

const CHILD: &str = "TOKENROUTE_TEST_TARGET";

/// Runs this test again in a child process that may write about 4 KiB per file.
#[test]
fn a_full_disk_changes_nothing() {
    if let Ok(dir) = std::env::var(CHILD) {
        let dir = PathBuf::from(dir);
        let big = vec![b'x'; 1 << 20];
        let one = write(&dir.join("one"), &big).expect_err("over the limit").to_string();
        assert!(one.contains("one") && one.contains("unchanged"), "{one}");
        let error = write_all(&dir, &[("one", b"new"), ("two", &big)]);
        assert!(error.expect_err("over the limit").to_string().contains("two"));
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("one"), "old").expect("a write");
    let test = std::env::current_exe().expect("this test");
    let child = Command::new("sh")
        .args(["-c", "ulimit -f 8 && exec \"$0\" --exact a_full_disk_changes_nothing"])
        .arg(test)
        .env(CHILD, dir.path())
        .output()
        .expect("a shell");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    let names: Vec<_> = fs::read_dir(dir.path())
        .expect("a directory")
        .map(|e| e.expect("an entry").file_name())
        .collect();
    assert_eq!(names, ["one"], "no temporary file remains");
    assert_eq!(fs::read(dir.path().join("one")).expect("the file"), b"old");
}

/// A rename would put a file in the place of a device or a pipe.
#[test]
fn what_is_no_file_is_not_replaced() {
    let dir = tempfile::tempdir().expect("a directory");
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    for result in [write(&pipe, b"x"), write_all(dir.path(), &[("one", b"x"), ("pipe", b"x")])] {
        let error = result.expect_err("a pipe").to_string();
        assert!(error.contains("pipe") && error.contains("no regular file"), "{error}");
    }
    assert!(fs::metadata(&pipe).expect("the pipe").file_type().is_fifo());
    let names = fs::read_dir(dir.path()).expect("a directory");
    let names = names.map(|entry| entry.expect("an entry").file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().starts_with(".partial")));
}

#[test]
fn writes_replace_whole_files_and_make_directories() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("new/file");
    write(&path, b"a long first content").expect("a write");
    write(&path, b"short").expect("a write");
    assert_eq!(fs::read(&path).expect("the file"), b"short");
    let blocked = write(&path.join("below"), b"x").expect_err("a file is no directory");
    assert!(blocked.to_string().contains("file"), "{blocked}");

    let parent = dir.path().join("new");
    fs::write(parent.join(".partial-abc"), "cut").expect("a write");
    remove_leftovers(&parent).expect("a removal");
    assert!(!parent.join(".partial-abc").exists() && path.exists());
}
