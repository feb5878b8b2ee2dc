//! A server under more than it can take: requests beyond the queue, a model that is slow, fails or
//! panics, an end while answers are made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokenroute_core::{Ask, Detail, Feed, LanguageModel, Llm, ModelError, ModelInfo, Step};
use tokenroute_llm::ToyModel;
use tokenroute_server::completions::BatchConfig;

use crate::support::{client, get, post, serve};

/// A toy that does something before each of its passes.
struct Before<F>(ToyModel, F);

impl<F: Fn() + Send + Sync> LanguageModel for Before<F> {
    type State = Vec<u64>;

    fn info(&self) -> &ModelInfo {
        self.0.info()
    }

    fn start(&self) -> Vec<u64> {
        self.0.start()
    }

    fn positions(&self, state: &Vec<u64>) -> usize {
        self.0.positions(state)
    }

    fn truncate(&self, state: &mut Vec<u64>, len: usize) {
        self.0.truncate(state, len);
    }

    fn advance(
        &self,
        feeds: &mut [Feed<'_, Vec<u64>>],
        detail: Detail,
    ) -> Result<Vec<Vec<Step>>, ModelError> {
        (self.1)();
        self.0.advance(feeds, detail)
    }
}

fn pause() {
    std::thread::sleep(Duration::from_millis(40));
}

#[test]
fn requests_share_batches_and_too_many_are_turned_away() {
    let config = BatchConfig { batch: 8, queue: 4, kept_positions: 0, memory: None };
    let server = serve(Before(ToyModel::new(1), pause), None, config);
    let outcomes: Vec<u16> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..24)
            .map(|i| {
                let server = &server;
                let body = json!({"prompt": [i % 12], "max_tokens": 1}).to_string();
                scope.spawn(move || post(server, None, &body).0)
            })
            .collect();
        workers.into_iter().map(|w| w.join().expect("no panic")).collect()
    });
    let done = outcomes.iter().filter(|&&status| status == 200).count();
    let busy = outcomes.iter().filter(|&&status| status == 429).count();
    assert_eq!(done + busy, 24, "{outcomes:?}");
    assert!(done >= 4 && busy >= 1, "{done} done, {busy} turned away");
}

#[test]
fn stopping_ends_what_is_under_way() {
    let begun = Arc::new(AtomicBool::new(false));
    let slow = {
        let begun = Arc::clone(&begun);
        Before(ToyModel::new(1), move || {
            begun.store(true, Ordering::SeqCst);
            pause();
        })
    };
    let server = serve(slow, None, BatchConfig::default());
    let address = server.address();
    let llm = client(&server);
    llm.server().expect("a server");
    let answer = std::thread::spawn(move || llm.ask(&[Ask::greedy(&[1, 2], 1)]).remove(0));
    while !begun.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(1));
    }
    server.stop().expect("an orderly end");
    answer.join().expect("no panic").expect("the answer under way was given");
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn a_prompt_at_which_the_model_fails_fails_alone() {
    let server = serve(ToyModel::new(4).breaking_at(7), None, BatchConfig::default());
    let sound = serve(ToyModel::new(4), None, BatchConfig::default());
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..36_u32)
            .map(|i| {
                let prompt = if i % 6 == 0 { vec![i % 5, 7] } else { vec![i % 5, i % 7, 3] };
                let body =
                    json!({"prompt": prompt, "max_tokens": 1, "logprobs": i % 3}).to_string();
                let (server, sound) = (&server, &sound);
                scope.spawn(move || (i, post(server, None, &body), post(sound, None, &body)))
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
    });
    for (i, (status, text), (_, expected)) in outcomes {
        if i % 6 == 0 {
            assert!(status == 500 && text.contains("not a finite number"), "{i}: {text}");
            continue;
        }
        let choices =
            |text: &str| serde_json::from_str::<Value>(text).expect("JSON")["choices"].clone();
        assert_eq!((status, choices(&text)), (200, choices(&expected)), "{i}");
    }
}

#[test]
fn a_server_whose_model_thread_is_gone_says_so() {
    let server = serve(
        Before(ToyModel::new(1), || panic!("the model breaks")),
        None,
        BatchConfig::default(),
    );
    assert!(server.is_alive());
    assert_eq!(get(&server, "/health").0, 200);
    for _ in 0..3 {
        let (status, text) = post(&server, None, r#"{"prompt": [1], "max_tokens": 1}"#);
        assert!(status == 503 && text.contains("restart the server"), "{status}: {text}");
    }
    // The thread is unwound a moment after its requests.
    while server.is_alive() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(get(&server, "/health").0, 503);
}

#[test]
fn a_long_prompt_is_refused_by_its_bytes_and_holds_nobody_up() {
    // Every letter is a token, so that more letters than the context cannot fit.
    let server = serve(ToyModel::new(1), None, BatchConfig::default());
    let context = ToyModel::new(1).info().context;
    let long = "a".repeat(context + 1);
    let (status, text) = post(&server, None, &json!({"prompt": long, "max_tokens": 1}).to_string());
    let error = &serde_json::from_str::<Value>(&text).expect("JSON")["error"];
    assert_eq!((status, &error["code"]), (400, &json!("context_length_exceeded")), "{text}");
    assert!(text.contains("bytes"), "{text}");
    let fits = json!({"prompt": "a".repeat(context), "max_tokens": 1}).to_string();
    assert_eq!(post(&server, None, &fits).0, 200);
    let many = json!({"prompt": vec!["a"; 257], "max_tokens": 1}).to_string();
    let (status, text) = post(&server, None, &many);
    assert!(status == 400 && text.contains("257 prompts"), "{text}");
}
