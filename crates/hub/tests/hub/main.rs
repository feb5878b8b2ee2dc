//! References, settings, and fetching from a local server that replies like the Hub.

mod server;
mod spoilt;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use server::{COMMIT, Hub, serve};
use tokenroute_core::{Progress, Silent};
use tokenroute_hub::{AccessToken, HubError, HubReference, RepoKind, Settings, fetch};

const MODEL: &str = "hf:owner/tiny-model";
const SECRET: &str = "hf_plantedsecret";

fn parse(text: &str) -> HubReference {
    text.parse().unwrap_or_else(|e| panic!("{e}"))
}

fn settings(endpoint: &str, cache: &Path) -> Settings {
    Settings {
        endpoint: endpoint.into(),
        cache: cache.into(),
        token: None,
        offline: false,
        timeout: Duration::from_secs(60),
    }
}

fn files() -> BTreeMap<(String, String), Vec<u8>> {
    let weights: Vec<u8> = (0..9000_u32).map(|i| (i % 251) as u8).collect();
    [
        ("owner/tiny-model", "config.json", b"{}".to_vec()),
        ("owner/tiny-model", "README.md", b"no".to_vec()),
        ("owner/tiny-model", "tokenizer.json", b"{ }".to_vec()),
        ("owner/tiny-model", "chat_template.jinja", b"hello".to_vec()),
        ("owner/tiny-model", "model.safetensors", weights),
        ("owner/tiny-model", "pytorch_model.bin", b"never".to_vec()),
        ("owner/gguf", "tiny-q8_0.gguf", b"GGUF".to_vec()),
        ("owner/gguf", "q4/m-00001-of-00002.gguf", b"first".to_vec()),
        ("owner/gguf", "q4/m-00002-of-00002.gguf", b"second".to_vec()),
        ("owner/gguf", "n-00001-of-00002.gguf", b"alone".to_vec()),
        ("datasets/owner/rows", "main/test-00000-of-00001.parquet", b"PAR1".to_vec()),
    ]
    .into_iter()
    .map(|(repository, file, content)| ((repository.into(), file.into()), content))
    .collect()
}

fn seen(hub: &Mutex<Hub>) -> Vec<String> {
    hub.lock().expect("no panic").seen.clone()
}

#[test]
fn references_name_repositories_revisions_and_files() {
    let reference = parse("hf:datasets/cais/mmlu@refs/convert/parquet:all/test/0000.parquet");
    assert_eq!(reference.kind, RepoKind::Dataset);
    assert_eq!(reference.repository, "cais/mmlu");
    assert_eq!(reference.revision, "refs/convert/parquet");
    assert_eq!(reference.file.as_deref(), Some("all/test/0000.parquet"));
    for text in ["hf:Qwen/Qwen2.5-0.5B-Instruct", "hf:o/n@v1.0", "hf:o/n:a b/x-q4_k.gguf"] {
        assert_eq!(parse(text).to_string(), text);
    }
    assert_eq!(parse("hf:o/n@main").to_string(), "hf:o/n");
    for (text, cause) in [
        ("Qwen/Qwen2.5", "does not start with hf:"),
        ("hf:", "not owner/name"),
        ("hf:gpt2", "not owner/name"),
        ("hf:a/b/c", "not owner/name"),
        ("hf:../b", "not owner/name"),
        ("hf:a/b@", "revision"),
        ("hf:a/b@../x", "revision"),
        ("hf:a/b@x?y", "revision"),
        ("hf:a/b:", "path inside"),
        ("hf:a/b:../../etc/passwd", "path inside"),
        ("hf:a/b:/etc/passwd", "path inside"),
        ("hf:a/b:x#y", "path inside"),
    ] {
        let error = text.parse::<HubReference>().expect_err(text).to_string();
        assert!(error.contains(cause) && error.contains("owner/name[@revision]"), "{error}");
    }
}

#[test]
fn settings_follow_the_shared_variables() {
    let home = tempfile::tempdir().expect("a directory");
    let home_text = home.path().display().to_string();
    let read = |variables: &[(&str, &str)]| {
        Settings::read(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    };
    let plain = read(&[("HOME", &home_text)]);
    assert_eq!(plain.endpoint, "https://huggingface.co");
    assert_eq!(plain.cache, home.path().join(".cache/huggingface/hub"));
    assert!(plain.token.is_none() && !plain.offline);
    assert_eq!(plain.timeout, Duration::from_secs(30));
    for (text, seconds) in [("2.5", 2.5), ("0", 30.0), ("-1", 30.0), ("inf", 30.0), ("soon", 30.0)]
    {
        let timeout = read(&[("HF_HUB_DOWNLOAD_TIMEOUT", text)]).timeout;
        assert_eq!(timeout.as_secs_f64(), seconds, "{text}");
    }

    fs::write(home.path().join("token"), format!("{SECRET}\n")).expect("a write");
    let set = read(&[
        ("HF_HOME", &home_text),
        ("HF_HUB_OFFLINE", "True"),
        ("HF_ENDPOINT", "http://localhost:1/"),
        ("HF_TOKEN", ""),
    ]);
    assert_eq!(set.endpoint, "http://localhost:1");
    assert_eq!(set.cache, home.path().join("hub"));
    assert!(set.offline && set.token.is_some());
    assert!(!format!("{set:?}").contains(SECRET), "{set:?}");
    let own = read(&[("HF_HOME", &home_text), ("HF_HUB_CACHE", "/elsewhere")]);
    assert_eq!(own.cache, Path::new("/elsewhere"));
    assert!(own.token.is_some(), "the token stays in HF_HOME");
}

#[derive(Default)]
struct Counted(Mutex<(Vec<String>, u64)>);

impl Progress for Counted {
    fn begin(&self, phase: &str, total: u64, unit: &str) {
        self.0.lock().expect("no panic").0.push(format!("{phase} {total} {unit}"));
    }
    fn advance(&self, units: u64) {
        self.0.lock().expect("no panic").1 += units;
    }
    fn note(&self, _: &str) {}
}

#[test]
fn a_model_comes_whole_and_once_even_when_the_line_breaks() {
    let cache = tempfile::tempdir().expect("a directory");
    let (endpoint, hub) = serve(Hub { files: files(), breaks_after: Some(4000), ..Hub::default() });
    let settings = settings(&endpoint, cache.path());
    let progress = Counted::default();
    let folder = fetch(&parse(MODEL), &settings, &progress).expect("a model");
    assert!(folder.ends_with(format!("models--owner--tiny-model/snapshots/{COMMIT}")));
    let mut names: Vec<_> = fs::read_dir(&folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    let wanted = ["chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json"];
    assert_eq!(names, wanted);
    let weights = &files()[&("owner/tiny-model".into(), "model.safetensors".into())];
    assert_eq!(&fs::read(folder.join("model.safetensors")).expect("the weights"), weights);
    assert!(seen(&hub).iter().any(|line| line.contains("safetensors 4000-")), "{:?}", seen(&hub));
    let (phases, bytes) = progress.0.into_inner().expect("no panic");
    assert!(phases.contains(&"fetch model.safetensors 9000 bytes".to_owned()), "{phases:?}");
    assert_eq!(bytes, 9000 + 2 + 3 + 5);

    // Now everything is in the cache: no request is sent, also in offline mode.
    let before = seen(&hub).len();
    let offline = Settings { offline: true, ..settings.clone() };
    for settings in [&settings, &offline] {
        assert_eq!(fetch(&parse(MODEL), settings, &Silent).expect("the cached model"), folder);
        let commit = parse(&format!("{MODEL}@{COMMIT}"));
        assert_eq!(fetch(&commit, settings, &Silent).expect("the cached commit"), folder);
    }
    assert_eq!(seen(&hub).len(), before);
    fs::remove_file(folder.join("model.safetensors")).expect("a removal");
    let error = fetch(&parse(MODEL), &offline, &Silent).expect_err("no weights").to_string();
    assert!(error.contains("HF_HUB_OFFLINE"), "{error}");
}

#[test]
fn one_file_of_a_model_or_a_data_set() {
    let cache = tempfile::tempdir().expect("a directory");
    let (endpoint, _hub) = serve(Hub { files: files(), ..Hub::default() });
    let settings = settings(&endpoint, cache.path());
    let rows = parse("hf:datasets/owner/rows:main/test-00000-of-00001.parquet");
    let path = fetch(&rows, &settings, &Silent).expect("a file");
    assert_eq!(fs::read(&path).expect("the rows"), b"PAR1");
    assert!(path.ends_with(format!(
        "datasets--owner--rows/snapshots/{COMMIT}/main/test-00000-of-00001.parquet"
    )));
    let gguf = fetch(&parse("hf:owner/gguf:tiny-q8_0.gguf"), &settings, &Silent).expect("a file");
    assert_eq!(fs::read(gguf).expect("the weights"), b"GGUF");
    // The first part of a model brings the others, whose absence is named.
    let first = fetch(&parse("hf:owner/gguf:q4/m-00001-of-00002.gguf"), &settings, &Silent);
    let first = first.expect("all parts");
    assert_eq!(fs::read(&first).expect("a part"), b"first");
    let second = first.with_file_name("m-00002-of-00002.gguf");
    assert_eq!(fs::read(second).expect("a part"), b"second");
    let alone = fetch(&parse("hf:owner/gguf:n-00001-of-00002.gguf"), &settings, &Silent);
    let error = alone.expect_err("a missing part").to_string();
    assert!(error.contains("has no file n-00002-of-00002.gguf"), "{error}");
    for (text, causes) in [
        ("hf:datasets/owner/rows", ["names no file", "main/test-00000-of-00001.parquet"]),
        ("hf:owner/gguf", ["has no config.json", "tiny-q8_0.gguf"]),
        ("hf:owner/gguf:other.gguf", ["does not exist", "has no file other.gguf"]),
        ("hf:owner/nothing", ["does not exist", "has no repository with a revision main"]),
        ("hf:owner/tiny-model@v9", ["does not exist", "revision v9"]),
    ] {
        let error = fetch(&parse(text), &settings, &Silent).expect_err(text).to_string();
        assert!(causes.iter().all(|cause| error.contains(cause)), "{error}");
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn refusals_say_what_is_missing() {
    let cases = [
        (401, false, "set HF_TOKEN"),
        (401, true, "refuses the token"),
        (403, true, "accept its terms at"),
        (429, false, "wait a while"),
        (503, false, "HTTP status 503; try again later"),
    ];
    for (status, token, cause) in cases {
        for text in [MODEL, "hf:owner/tiny-model:config.json"] {
            let cache = tempfile::tempdir().expect("a directory");
            let (endpoint, hub) = serve(Hub { status: Some(status), ..Hub::default() });
            let token = token.then(|| AccessToken::new(SECRET));
            let sent = token.is_some();
            let settings = Settings { token, ..settings(&endpoint, cache.path()) };
            let error = fetch(&parse(text), &settings, &Silent).expect_err("refused");
            let words = format!("{error} {error:?}");
            assert!(words.contains(cause) && words.contains("owner/tiny-model"), "{words}");
            assert!(!words.contains(SECRET), "{words}");
            assert_eq!(seen(&hub).iter().all(|line| line.contains(SECRET)), sent);
        }
    }
}

#[test]
fn no_network_and_no_cache_are_told_apart() {
    let cache = tempfile::tempdir().expect("a directory");
    // Bound and dropped: nothing listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", port.local_addr().expect("an address"));
    drop(port);
    let online = settings(&endpoint, cache.path());
    let error = fetch(&parse(MODEL), &online, &Silent).expect_err("nobody");
    assert!(matches!(error, HubError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("check the network"), "{error}");
    let offline = Settings { offline: true, ..online };
    let error = fetch(&parse(MODEL), &offline, &Silent).expect_err("an empty cache");
    assert!(matches!(error, HubError::Offline { .. }), "{error:?}");
}

#[test]
fn a_network_that_falls_silent_is_given_up() {
    let cache = tempfile::tempdir().expect("a directory");
    // The port accepts connections but never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", silent.local_addr().expect("an address"));
    let short = Duration::from_millis(200);
    for text in [MODEL, "hf:owner/gguf:tiny-q8_0.gguf"] {
        let settings = Settings { timeout: short, ..settings(&endpoint, cache.path()) };
        let error = fetch(&parse(text), &settings, &Silent).expect_err("silence").to_string();
        let words = ["no data for 0.2 s", "HF_HUB_DOWNLOAD_TIMEOUT", "check the network"];
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }

    // Stops sending in the middle of the weights.
    let (endpoint, _hub) =
        serve(Hub { files: files(), stalls_after: Some(4000), ..Hub::default() });
    let stalled = Settings { timeout: short, ..settings(&endpoint, cache.path()) };
    let error = fetch(&parse(MODEL), &stalled, &Silent).expect_err("silence").to_string();
    assert!(error.contains("no data for"), "{error}");
}

/// Names below a folder, relative to it.
fn below(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

#[test]
fn no_reply_writes_outside_the_cache() {
    let config = "hf:owner/tiny-model:config.json";
    let paths = ["../../../../x", "..", "/x", "a/../../../../../x", "C:x", "a\\..\\x", ""];
    for path in paths {
        let spoilt = [
            (config, Hub { etag: Some(path.to_owned()), ..Hub::default() }),
            (config, Hub { commit: Some((COMMIT.into(), path.into())), ..Hub::default() }),
            (MODEL, Hub { commit: Some((path.into(), COMMIT.into())), ..Hub::default() }),
        ];
        for (text, hub) in spoilt {
            let outside = tempfile::tempdir().expect("a directory");
            let cache = outside.path().join("a/b/cache");
            let (endpoint, hub) = serve(Hub { files: files(), ..hub });
            // JSON needs its backslashes escaped.
            if let Some((sha, _)) = &mut hub.lock().expect("no panic").commit {
                *sha = sha.replace('\\', "\\\\");
            }
            let error = fetch(&parse(text), &settings(&endpoint, &cache), &Silent);
            let error = error.expect_err(path);
            assert!(matches!(error, HubError::Reply { .. }), "{path:?}: {error:?}");
            assert!(error.to_string().contains("was not stored"), "{error}");
            for (folder, only) in [("", vec!["a"]), ("a", vec!["b"]), ("a/b", vec!["cache"])] {
                let folder = outside.path().join(folder);
                let found = if folder.exists() { below(&folder) } else { vec![] };
                assert!(found.is_empty() || found == only, "{path:?}: {found:?}");
            }
            assert!(!Path::new("/x").exists());
        }
    }
    for name in ["model/../../../../../x.safetensors", "model\\\\..\\\\x.safetensors"] {
        let outside = tempfile::tempdir().expect("a directory");
        let mut files = files();
        files.insert(("owner/tiny-model".into(), name.into()), b"x".to_vec());
        let (endpoint, _hub) = serve(Hub { files, ..Hub::default() });
        let settings = settings(&endpoint, &outside.path().join("a/b/cache"));
        let error = fetch(&parse(MODEL), &settings, &Silent).expect_err(name);
        assert!(matches!(error, HubError::Reply { .. }), "{name:?}: {error:?}");
        assert_eq!(below(outside.path()), ["a"]);
    }
}

#[test]
fn a_resumed_download_is_whole_or_an_error() {
    let weights = &files()[&("owner/tiny-model".into(), "model.safetensors".into())];
    let broken = || Hub { files: files(), breaks_after: Some(4000), ..Hub::default() };
    for hub in [
        Hub { refuses_resume: Some(503), ..broken() },
        Hub { ignores_range: true, ..broken() },
        Hub { files: files(), ends_after: Some(4000), ..Hub::default() },
        Hub { ends_after: Some(4000), ignores_range: true, ..broken() },
    ] {
        let cache = tempfile::tempdir().expect("a directory");
        let (endpoint, _hub) = serve(hub);
        let settings = settings(&endpoint, cache.path());
        let folder = fetch(&parse(MODEL), &settings, &Silent).expect("a model");
        let found = fs::read(folder.join("model.safetensors")).expect("the weights");
        assert!(&found == weights, "{} of {} bytes", found.len(), weights.len());
    }
}

#[test]
fn content_is_held_to_a_sha_256_etag_and_repaired() {
    let config = parse("hf:owner/tiny-model:config.json");
    // SHA-256 of "{}".
    let right = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let cache = tempfile::tempdir().expect("a directory");
    let (endpoint, hub) = serve(Hub { files: files(), etag: Some(right.into()), ..Hub::default() });
    let settings = settings(&endpoint, cache.path());
    let blobs = cache.path().join("models--owner--tiny-model/blobs");
    fs::create_dir_all(&blobs).expect("a folder");
    // A partial file of other content, and then a damaged blob.
    fs::write(blobs.join(format!("{right}.sync.part")), "[").expect("a write");
    let path = fetch(&config, &settings, &Silent).expect("a file");
    assert_eq!(fs::read(&path).expect("the file"), b"{}");
    fs::write(blobs.join(right), "[]").expect("a write");
    fs::remove_file(&path).expect("a removal");
    assert_eq!(fs::read(fetch(&config, &settings, &Silent).expect("a file")).expect("it"), b"{}");

    hub.lock().expect("no panic").etag = Some("0".repeat(64));
    fs::remove_file(&path).expect("a removal");
    let error = fetch(&config, &settings, &Silent).expect_err("other content");
    assert!(matches!(error, HubError::Reply { .. }), "{error:?}");
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    for moved in [false, true] {
        let cache = tempfile::tempdir().expect("a directory");
        // Another port of the same host.
        let (elsewhere, other) = serve(Hub { files: files(), ..Hub::default() });
        let mut hub = Hub { files: files(), cdn: Some(elsewhere.clone()), ..Hub::default() };
        hub.moved = moved.then_some(elsewhere);
        let (endpoint, hub) = serve(hub);
        let token = Some(AccessToken::new(SECRET));
        let settings = Settings { token, ..settings(&endpoint, cache.path()) };
        fetch(&parse(MODEL), &settings, &Silent).expect("a model");
        let (here, there) = (seen(&hub), seen(&other));
        assert!(!here.is_empty() && here.iter().all(|line| line.contains(SECRET)), "{here:?}");
        assert!(!there.is_empty() && !there.iter().any(|l| l.contains(SECRET)), "{there:?}");
    }
}

#[test]
fn redirects_end() {
    let cache = tempfile::tempdir().expect("a directory");
    let (endpoint, hub) = serve(Hub::default());
    for to in [endpoint.as_str(), "ftp://127.0.0.1", "nowhere"] {
        hub.lock().expect("no panic").moved = Some(to.to_owned());
        let error = fetch(&parse(MODEL), &settings(&endpoint, cache.path()), &Silent);
        let error = error.expect_err("no model");
        assert!(matches!(error, HubError::Reply { .. }), "{error:?}");
        assert!(error.to_string().contains("redirect"), "{error}");
    }
}
