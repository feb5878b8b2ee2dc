//! The bundled pair in two processes: the LLM behind `tokenroute cloud` gives the same tokens
//! as in process, and the SLM continues without it.
#![cfg(feature = "server")]

mod keys;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
#[cfg(feature = "lab")]
use support::Lab;
use support::{
    Server, copy, fail, model, root, succeed, swap_two_tokens, tokenroute, write_router,
};
use tempfile::TempDir;

const KEY: &str = "TOKENROUTE_CLOUD_KEY";

/// The LLM in a separate process.
fn cloud(model: &str, key: Option<&str>) -> Server {
    let mut command = tokenroute(&["cloud", "--model", model, "--bind", "127.0.0.1:0"]);
    command.env_remove(KEY);
    if let Some(key) = key {
        command.env(KEY, key);
    }
    let server = Server::start(command);
    assert!(server.name.starts_with("word-problems-llm@"), "{:?}", server.name);
    server
}

/// A folder with a router and a few test questions.
fn lab() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    write_router(&folder.path().join("router.safetensors"));
    let test = root().join("datasets/word-problems/test.jsonl");
    let test = std::fs::read_to_string(test).expect("questions");
    let few: Vec<&str> = test.lines().take(4).collect();
    std::fs::write(folder.path().join("questions.jsonl"), few.join("\n")).expect("a file");
    folder
}

/// The arguments of a routed generation.
fn arguments(lab: &TempDir, llm: &str, tau: &str, more: &[&str]) -> Vec<String> {
    let path = |name: &str| lab.path().join(name).display().to_string();
    let (slm, router) = (model("word-problems-slm"), path("router.safetensors"));
    let questions = path("questions.jsonl");
    let fixed = [
        "generate",
        "--slm",
        &slm,
        "--llm",
        llm,
        "--router",
        &router,
        "--tau",
        tau,
        "--questions",
        &questions,
        "--max-tokens",
        "40",
        "--json",
    ];
    fixed.iter().chain(more).map(|a| (*a).to_owned()).collect()
}

/// Answers, one for each question.
fn generate(lab: &TempDir, llm: &str, tau: &str, more: &[&str]) -> Vec<Value> {
    let arguments = arguments(lab, llm, tau, more);
    let out = succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The tokens of an answer's trace, without the fields that depend on time.
fn decided(answer: &Value) -> Value {
    let mut tokens = answer["trace"]["tokens"].clone();
    for token in tokens.as_array_mut().expect("tokens") {
        token.as_object_mut().expect("a token").remove("speculated");
    }
    tokens
}

/// What a program says of a server before it asks for a token.
fn warnings(lab: &TempDir, llm: &str, key: Option<&str>) -> String {
    let arguments = arguments(lab, llm, "0", &["--llm-deadline", "300"]);
    let mut command = tokenroute(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    command.env_remove(KEY);
    if let Some(key) = key {
        command.env(KEY, key);
    }
    let output = command.output().expect("a process");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn two_processes_give_the_tokens_of_one() {
    let lab = lab();
    let llm = model("word-problems-llm");
    let cloud = cloud(&llm, None);
    let mut offloaded = Vec::new();
    for tau in ["0", "0.1", "0.25", "0.4", "0.5", "0.6", "0.8", "1"] {
        let here = generate(&lab, &llm, tau, &[]);
        let there = generate(&lab, &cloud.url, tau, &[]);
        assert_eq!(here.len(), 4);
        for (here, there) in here.iter().zip(&there) {
            assert_eq!(here["trace"]["tokens"], there["trace"]["tokens"], "τ = {tau}");
            assert_eq!(there["degraded"], 0);
            assert_eq!(here["llm_positions"].is_u64(), there["llm_positions"].is_u64());
            // A call has a body of at least tens of bytes in each direction. Without calls
            // there are none.
            let calls = there["llm_calls"].as_u64().expect("a count");
            for way in ["bytes_up", "bytes_down"] {
                assert_eq!(here.get(way), None, "nothing crosses a network here");
                let bytes = there[way].as_u64().expect("a count");
                assert!((40 * calls..4000 * calls + 1).contains(&bytes), "{bytes} for {calls}");
            }
        }
        let share: f64 = there.iter().filter_map(|a| a["offload"].as_f64()).sum();
        offloaded.push(share / there.len() as f64);
    }
    assert_eq!((offloaded[0], offloaded[7]), (0.0, 1.0));
    assert!(offloaded[1..7].iter().any(|&o| o > 0.02 && o < 0.98), "{offloaded:?}");

    // Speculation changes no token. A budget and a relay are reported.
    let here = generate(&lab, &llm, "0.5", &[]);
    let ahead = generate(&lab, &cloud.url, "0.5", &["--speculate", "3", "--max-ahead", "4"]);
    for (here, ahead) in here.iter().zip(&ahead) {
        assert_eq!(here["trace"]["tokens"], decided(ahead));
        let calls = |answer: &Value, name: &str| answer["trace"][name].as_u64().expect("a count");
        assert!(calls(ahead, "speculated") > 0 || calls(here, "llm_calls") == 0);
        assert_eq!(
            calls(ahead, "llm_calls") - calls(ahead, "wasted_calls"),
            calls(here, "llm_calls")
        );
        assert_eq!(ahead["llm_calls"], ahead["trace"]["llm_calls"]);
    }
    let (mut asked, mut made) = (0.0, 0.0);
    for answer in generate(&lab, &cloud.url, "1", &["--max-offload", "0.25"]) {
        let tokens = answer["tokens"].as_array().map_or(0, Vec::len) as f64;
        asked += answer["offload"].as_f64().expect("a share") * tokens;
        made += tokens;
    }
    assert!(asked > 0.0 && asked <= 1.0 + 0.25 * made + 1e-6, "{asked} of {made}");
    let relayed = generate(&lab, &cloud.url, "1", &["--relay", "4"]);
    for (relayed, llm) in relayed.iter().zip(generate(&lab, &llm, "1", &[])) {
        assert_eq!(relayed["tokens"], llm["tokens"], "the LLM alone, four tokens a call");
        let calls = relayed["llm_calls"].as_u64().expect("a count");
        let tokens = llm["tokens"].as_array().map_or(0, Vec::len) as u64;
        assert_eq!(calls, tokens.div_ceil(4));
    }

    // One HTTP/2 connection for all calls. The next answer uses the relayed tokens.
    let relays = lab.path().join("relays.redb").display().to_string();
    for positions in [1, 0] {
        let with_cache = ["--relay", "4", "--llm-http2", "--llm-cache", &relays];
        for (kept, relayed) in generate(&lab, &cloud.url, "1", &with_cache).iter().zip(&relayed) {
            assert_eq!(kept["tokens"], relayed["tokens"]);
            assert_eq!(kept["llm_calls"], relayed["llm_calls"]);
            assert_eq!(kept["llm_positions"].as_u64().map(|n| n.min(1)), Some(positions));
        }
    }

    // Without the cloud, cached answers are still there; others fail.
    let cache = lab.path().join("answers.redb").display().to_string();
    let with_cache = ["--llm-cache", &cache];
    let before = generate(&lab, &cloud.url, "0.5", &with_cache);
    let (name, url) = (cloud.name.clone(), cloud.url.clone());
    cloud.stop();
    let known = ["--llm-cache", &cache, "--llm-model", &name, "--llm-api", "tokenroute"];
    let after = generate(&lab, &url, "0.5", &known);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before["trace"]["tokens"], after["trace"]["tokens"]);
        assert_eq!(after["trace"]["llm_positions"], 0);
    }
    let alone = generate(&lab, &url, "1", &[]);
    for (alone, slm) in alone.iter().zip(generate(&lab, &llm, "0", &[])) {
        assert_eq!(alone["tokens"], slm["tokens"], "the SLM goes on alone");
        assert_eq!(alone["degraded"], alone["tokens"].as_array().map_or(0, Vec::len));
        assert_eq!(alone["trace"]["tokens"][0]["cause"], "unavailable");
        assert_eq!(alone["offload"], 0.0);
    }
}

#[test]
#[cfg(feature = "lab")]
fn an_experiment_may_have_its_llm_behind_a_url() {
    let (here, there) = (Lab::new(10, 8, 6), Lab::new(10, 8, 6));
    let cloud = cloud(&model("word-problems-llm"), None);
    let llm = format!(
        "llm = \"{}\"\nllm_model = \"{}\"\nllm_api = \"tokenroute\"",
        cloud.url, cloud.name
    );
    let file = "experiments/e/experiment.toml";
    there.replace(file, "llm = \"../../models/word-problems-llm\"", &llm);
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let labelled = json(&succeed(&["label", &there.experiment(), "--json"]));
    for lab in [&here, &there] {
        succeed(&["run", &lab.experiment()]);
    }
    // An answer is one request, not one per token, and the labels are the same.
    for shard in
        ["round0-router-train-00000", "round0-validation-00000", "round1-router-train-00000"]
    {
        let (round, _) = shard.split_once('-').expect("a round");
        let round = round.replace("round", "round-");
        let shard = format!("experiments/e/run/labels/{round}/{shard}.parquet");
        assert!(here.bytes(&shard) == there.bytes(&shard), "{shard}");
    }
    let count = |value: &Value| value.as_u64().expect("a count");
    let (rows, rollouts) = (count(&labelled["rows"]), count(&labelled["rollouts"]));
    let paid = &labelled["paid"];
    // A rollout has at least one token, most have tens.
    assert!(count(&paid["requests"]) * 3 < rows + rollouts, "{paid}: {rows} rows, {rollouts}");
    assert!(count(&paid["bytes"]["up"]) > 0 && count(&paid["positions"]) > 0);
    // Bytes over a network are reported, and none in process.
    let summary = |lab: &Lab| json(&String::from_utf8_lossy(&lab.bytes("reports/e/summary.json")));
    assert_eq!(summary(&there)["bytes"]["labels"], paid["bytes"]);
    assert!(count(&summary(&there)["bytes"]["sweep"]["down"]) > 0);
    assert_eq!(summary(&here)["bytes"], serde_json::json!({}));
    for stage in ["labels", "sweep"] {
        let positions = |lab: &Lab| count(&summary(lab)["llm_positions"][stage]);
        assert_eq!(positions(&here), positions(&there), "{stage}");
    }
    let curves = "experiments/e/run/sweep/curves.parquet";
    assert!(here.bytes(curves) == there.bytes(curves), "the same curves");
    // The LLM's answers are cached, so the sweep can be repeated without it.
    cloud.stop();
    std::fs::remove_dir_all(there.path("experiments/e/run/sweep")).expect("a folder");
    succeed(&["sweep", &there.experiment()]);
    assert!(here.bytes(curves) == there.bytes(curves), "the same curves again");
}

#[test]
fn a_server_with_a_shorter_context_is_named_at_the_start() {
    let lab = lab();
    for (length, warned) in [(100, true), (512, false), (4096, false)] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        std::thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                drop(std::io::Read::read(&mut client, &mut [0; 4096]));
                let body = format!(
                    r#"{{"data": [{{"id": "m", "owned_by": "vllm", "max_model_len": {length}}}]}}"#
                );
                let size = body.len();
                let head =
                    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {size}");
                let reply = format!("{head}\r\n\r\n{body}");
                drop(std::io::Write::write_all(&mut client, reply.as_bytes()));
            }
        });
        let text = warnings(&lab, &url, None);
        let words = format!("the LLM reads {length} tokens and the small model 512");
        assert_eq!(text.contains(&words), warned, "{text}");
    }
}

#[test]
fn what_names_no_server_and_leaves_no_time_is_refused() {
    let lab = lab();
    let refused = |llm: &str, more: &[&str], parts: &[&str]| {
        let arguments = arguments(&lab, llm, "1", more);
        fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), parts);
    };
    for llm in ["127.0.0.1:18433", "localhost:80/v1", "ftp://127.0.0.1/v1"] {
        refused(llm, &[], &[llm, "begins with http:// or https://", "cannot read"]);
    }
    for option in ["--deadline", "--llm-deadline"] {
        refused("http://127.0.0.1:9", &[option, "0"], &[option, "0 is not in 1.."]);
    }
}

#[test]
fn a_cloud_with_another_tokenizer_is_asked_by_text() {
    let lab = lab();
    let other = lab.path().join("word-problems-llm");
    copy(Path::new(&model("word-problems-llm")), &other);
    swap_two_tokens(&other.join("tokenizer.json"));
    let other = other.display().to_string();
    let cloud = cloud(&other, None);
    let named = arguments(&lab, &cloud.url, "1", &["--llm-api", "tokenroute"]);
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    fail(&named, &["word-problems-llm", "they are no pair", "--llm-api text"]);
    // A quiet command does not show what was found.
    let found = arguments(&lab, &cloud.url, "0", &[]);
    let found = Command::new(env!("CARGO_BIN_EXE_tokenroute")).args(found).env_remove(KEY).output();
    let found = String::from_utf8(found.expect("a process").stderr).expect("UTF-8");
    assert!(found.contains("takes text alone (API text); name it with --llm-api"), "{found}");
    let by_name = generate(&lab, &cloud.url, "1", &["--llm-api", "text"]);
    for (found, named) in generate(&lab, &cloud.url, "1", &[]).iter().zip(&by_name) {
        assert_eq!(decided(found), decided(named));
        assert_eq!(found["degraded"], 0);
    }
}

#[test]
fn a_server_of_text_gives_the_tokens_of_ids() {
    let lab = lab();
    let llm = model("word-problems-llm");
    let cloud = cloud(&llm, None);
    for tau in ["0.5", "1"] {
        let ids = generate(&lab, &cloud.url, tau, &[]);
        let ways =
            [(cloud.url.as_str(), ["--llm-api", "text"].as_slice()), (&llm, &["--through-text"])];
        for (llm, how) in ways {
            let texts = generate(&lab, llm, tau, how);
            for (ids, text) in ids.iter().zip(&texts) {
                assert_eq!(text["degraded"], 0);
                assert_eq!(decided(ids), decided(text), "τ = {tau}, {how:?}");
            }
        }
    }
    // A server of text may have another tokenizer, and it takes no prompt of ids.
    let other = lab.path().join("word-problems-llm");
    copy(Path::new(&llm), &other);
    swap_two_tokens(&other.join("tokenizer.json"));
    let other = self::cloud(&other.display().to_string(), None);
    let texts = generate(&lab, &other.url, "1", &["--llm-api", "text"]);
    assert!(texts.iter().all(|answer| answer["degraded"] == 0));
    let arguments = arguments(&lab, &cloud.url, "1", &["--llm-api", "chat-continue"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    fail(&arguments, &["chat-continue", "takes chats"]);
    let ids = arguments.iter().map(|&a| match a {
        "--questions" => "--ids",
        "chat-continue" => "text",
        other if other.ends_with(".jsonl") => "1,2,3",
        other => other,
    });
    fail(&ids.collect::<Vec<_>>(), &["share text alone", "token ids"]);
}

#[test]
fn two_processes_draw_the_tokens_of_one() {
    let lab = lab();
    let llm = model("word-problems-llm");
    let cloud = cloud(&llm, None);
    let warm = ["--temperature", "1.2", "--top-p", "0.95", "--seed", "5"];
    let here = generate(&lab, &llm, "0.5", &warm);
    for more in [&[][..], &["--speculate", "3"], &["--lookahead", "4"]] {
        let there = generate(&lab, &cloud.url, "0.5", &[&warm[..], more].concat());
        for (here, there) in here.iter().zip(&there) {
            assert_eq!(decided(here), decided(there), "{more:?}");
            assert_eq!(here["sampling"]["seed"], 5);
            assert!(here["note"].as_str().is_some_and(|note| note.contains("greedy")));
        }
    }
    let tokens =
        |answers: &[Value]| answers.iter().map(|a| a["tokens"].clone()).collect::<Vec<_>>();
    let greedy = generate(&lab, &llm, "0.5", &[]);
    assert!(greedy[0].get("sampling").is_none() && greedy[0].get("note").is_none());
    assert_ne!(tokens(&here), tokens(&greedy));
    let other = generate(&lab, &llm, "0.5", &["--temperature", "1.2", "--seed", "6"]);
    assert_ne!(tokens(&here), tokens(&other));
    for (drawing, part) in [
        (["--temperature", "3", "--top-p", "1"], "temperature is 3; expected 0 (greedy) to 2"),
        (["--temperature", "1", "--top-p", "0"], "top_p is 0; expected a number above 0"),
    ] {
        let arguments = arguments(&lab, &llm, "0.5", &drawing);
        fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[part]);
    }
    // The small model alone draws too, and its answer is streamed.
    let alone = ["generate", "--model", &model("word-problems-slm"), "--text", "Mia has", "--seed"];
    let said = |seed| succeed(&[&alone[..], &[seed, "--temperature", "1.5"]].concat());
    assert_eq!(said("1"), said("1"));
    assert_ne!(said("1"), said("2"));
}

/// Every variable that names a proxy. A server on this machine is never asked through one, since
/// the proxy would read prompts and key.
#[test]
fn a_server_on_this_machine_is_asked_without_a_proxy() {
    let lab = lab();
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", proxy.local_addr().expect("an address"));
    let cloud = cloud(&model("word-problems-llm"), None);
    let named = cloud.url.replace("127.0.0.1", "localhost");
    for url in [&cloud.url, &named] {
        let arguments = arguments(&lab, url, "1", &[]);
        let mut command = tokenroute(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        for variable in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env(variable, &address).env(variable.to_uppercase(), &address);
        }
        // Where a CGI server runs this, HTTP_PROXY is a header of the request.
        for variable in ["NO_PROXY", "no_proxy", "REQUEST_METHOD"] {
            command.env_remove(variable);
        }
        let output = command.output().expect("a process");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let answers = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        let answers: Vec<Value> = answers.collect();
        assert_eq!(answers.len(), 4, "{}", String::from_utf8_lossy(&output.stderr));
        assert!(answers.iter().all(|answer| answer["degraded"] == 0), "{url}");
    }
    proxy.set_nonblocking(true).expect("an option");
    assert!(proxy.accept().is_err(), "nobody asked the proxy");
}
