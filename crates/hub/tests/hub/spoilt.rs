//! A Hub that spoils each header, name and byte range. The file comes whole or there is an
//! error, and nothing is written outside the cache.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokenroute_core::Silent;
use tokenroute_hub::{HubError, Settings, fetch};

use super::server::{Hub, serve};
use super::{MODEL, files, parse, settings};

/// The weights alone.
const WEIGHTS: &str = "hf:owner/tiny-model:model.safetensors";

/// Headers that a reply of the Hub or of its store has.
const HEADERS: [&str; 8] = [
    "etag",
    "x-linked-etag",
    "x-linked-size",
    "x-repo-commit",
    "content-range",
    "content-length",
    "content-type",
    "location",
];

/// What a spoilt header says. `None` leaves it out.
const VALUES: [Option<&[u8]>; 22] = [
    None,
    Some(b""),
    Some(b"\"\""),
    Some(b"W/\"\""),
    Some(b".."),
    Some(b"\"../../../../x\""),
    Some(b"../../../../x"),
    Some(b"/x"),
    Some(b"a/b"),
    Some(b"C:x"),
    Some(b"a\\..\\x"),
    Some(b"0"),
    Some(b"-1"),
    Some(b"1e9"),
    Some(b"18446744073709551615"),
    Some(b"99999999999999999999"),
    Some(b"bytes 0-0/0"),
    Some(b"bytes 0-0/18446744073709551615"),
    Some(b"bytes 5-2/9000"),
    Some(b"bytes */*"),
    Some(b"\xff\xfe\xfd"),
    Some(b"\x1b[2J\t\x08"),
];

/// Every file below a folder that is no part of the cache's bookkeeping.
fn stored(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            stored(&path, found);
        } else {
            found.push((path.display().to_string(), fs::read(&path).unwrap_or_default()));
        }
    }
}

/// Fetches from this Hub. Whatever it replies, snapshots hold whole files, and nothing lies
/// outside the cache. Returns whether the files came.
fn exact_or_refused(reference: &str, hub: Hub, what: &str) -> bool {
    let outside = tempfile::tempdir().expect("a directory");
    let cache = outside.path().join("a/b/cache");
    let (endpoint, _hub) = serve(hub);
    let settings = Settings { timeout: Duration::from_secs(5), ..settings(&endpoint, &cache) };
    let fetched = fetch(&parse(reference), &settings, &Silent);
    let mut found = Vec::new();
    stored(outside.path(), &mut found);
    let root = cache.display().to_string();
    for (path, content) in found {
        assert!(path.starts_with(&root), "{what}: {path} is outside the cache");
        if path.contains("/snapshots/") {
            let name = path.rsplit('/').next().expect("a name").to_owned();
            let whole = &files()[&("owner/tiny-model".into(), name)];
            assert!(&content == whole, "{what}: {path} has {} bytes", content.len());
        }
    }
    assert!(!Path::new("/x").exists(), "{what}");
    match fetched {
        Ok(path) => assert!(path.starts_with(&cache), "{what}: {}", path.display()),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains(char::is_control), "{what}: {text:?}");
            // Words for a panic of the worker.
            assert!(!text.contains("its reply cannot be read"), "{what}: {text}");
            return false;
        }
    }
    true
}

/// Does the cases on several threads: some wait before they try again. Returns how many came.
fn count(cases: Vec<(String, &'static str, Hub)>) -> usize {
    let came = AtomicUsize::new(0);
    let cases = std::sync::Mutex::new(cases);
    thread::scope(|scope| {
        for _ in 0..48 {
            scope.spawn(|| {
                loop {
                    let next = cases.lock().expect("no panic").pop();
                    let Some((what, reference, hub)) = next else { return };
                    if exact_or_refused(reference, hub, &what) {
                        came.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    came.into_inner()
}

#[test]
fn a_spoilt_header_gives_the_file_or_an_error() {
    let mut cases = Vec::new();
    for name in HEADERS {
        for value in VALUES {
            for reference in [MODEL, WEIGHTS] {
                let spoilt = Some((name.to_owned(), value.map(<[u8]>::to_vec)));
                let shown = value.map(|v| String::from_utf8_lossy(v).into_owned());
                let what = format!("{name}: {shown:?} of {reference}");
                cases.push((
                    what,
                    reference,
                    Hub { files: files(), hashed: true, spoilt, ..Hub::default() },
                ));
            }
        }
    }
    let all = cases.len();
    let came = count(cases);
    // A header that is not needed, or not spoilt enough, stops nothing; many others do.
    assert!((all / 8..all * 7 / 8).contains(&came), "{came} of {all} came");
}

#[test]
fn a_spoilt_range_gives_the_file_or_an_error() {
    let mut cases = Vec::new();
    for breaks_after in [0, 1, 63, 4000, 8999] {
        for range in [None, Some("bytes 0-8999/9000"), Some("bytes 4000-8999/*"), Some("x")] {
            for shifted in [0, 1, 4000] {
                let spoilt = range
                    .map(|range| ("content-range".to_owned(), Some(range.as_bytes().to_vec())));
                let hub = Hub {
                    files: files(),
                    hashed: true,
                    breaks_after: Some(breaks_after),
                    spoilt,
                    shifted,
                    ..Hub::default()
                };
                let what = format!("{range:?} after {breaks_after}, {shifted} bytes too early");
                cases.push((what, WEIGHTS, hub));
            }
        }
    }
    let all = cases.len();
    let came = count(cases);
    assert!(came >= all / 8, "{came} of {all} came");
}

#[test]
fn a_spoilt_name_gives_no_file_elsewhere() {
    let long = format!("model{}.safetensors", "x".repeat(5000));
    let names = [
        "model/../../../../../x.safetensors",
        "model/./x.safetensors",
        "model//x.safetensors",
        "model/..",
        "model\\\\..\\\\x.safetensors",
        "model\\u0000.safetensors",
        "model\\n\\u001b[2J.safetensors",
        "model:x.safetensors",
        "model/C:/x.safetensors",
        "model?x.safetensors",
        "model#x.safetensors",
        "model%2e%2e%2fx.safetensors",
        long.as_str(),
        "../model.safetensors",
        "/model.safetensors",
        "",
    ];
    for name in names {
        let mut files = files();
        files.insert(("owner/tiny-model".into(), name.into()), b"x".to_vec());
        let hub = Hub { files, ..Hub::default() };
        let outside = tempfile::tempdir().expect("a directory");
        let (endpoint, _hub) = serve(hub);
        let settings = settings(&endpoint, &outside.path().join("a/b/cache"));
        let fetched = fetch(&parse(MODEL), &settings, &Silent);
        if let Err(error) = &fetched {
            let text = error.to_string();
            assert!(!text.contains(char::is_control), "{name:?}: {text:?}");
        }
        let mut found = Vec::new();
        stored(outside.path(), &mut found);
        let root = outside.path().join("a/b/cache").display().to_string();
        assert!(found.iter().all(|(path, _)| path.starts_with(&root)), "{name:?}: {found:?}");
    }
}

/// One etag for two contents, as a careless mirror may send it: no file replaces the other's.
#[test]
fn an_etag_of_two_contents_is_refused() {
    let cache = tempfile::tempdir().expect("a directory");
    let etag = Some("a".repeat(40));
    let (endpoint, _hub) = serve(Hub { files: files(), etag, ..Hub::default() });
    let settings = settings(&endpoint, cache.path());
    let error = fetch(&parse(MODEL), &settings, &Silent).expect_err("two contents");
    assert!(matches!(error, HubError::Reply { .. }), "{error:?}");
    let mut found = Vec::new();
    stored(&cache.path().join("models--owner--tiny-model/snapshots"), &mut found);
    assert!(!found.is_empty());
    for (path, content) in found {
        let name = path.rsplit('/').next().expect("a name").to_owned();
        assert!(content == files()[&("owner/tiny-model".into(), name)], "{path}");
    }
}

/// An error that lists names shows none of their control characters, and no name at length.
#[test]
fn listed_names_are_short_and_printable() {
    let mut files = files();
    files.insert(("datasets/owner/rows".into(), "a\\u001b[2J\\n.json".into()), b"x".to_vec());
    let long = format!("b{}.json", "x".repeat(100_000));
    files.insert(("datasets/owner/rows".into(), long), b"x".to_vec());
    let cache = tempfile::tempdir().expect("a directory");
    let (endpoint, _hub) = serve(Hub { files, ..Hub::default() });
    let settings = settings(&endpoint, cache.path());
    let error = fetch(&parse("hf:datasets/owner/rows"), &settings, &Silent).expect_err("no file");
    let text = error.to_string();
    assert!(matches!(error, HubError::NoFile { .. }), "{error:?}");
    assert!(!text.contains(char::is_control) && text.len() < 2000, "{text:?}");
}
