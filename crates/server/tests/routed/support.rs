//! Toy pairs behind the server, and a client for its replies.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};
use tokenroute_core::{
    Detail, Feed, LanguageModel, ModelError, ModelInfo, Position, Score, ScoreError, Scorer, Step,
    TokenId,
};
use tokenroute_llm::{ApiKey, InProcess, ToyModel};
use tokenroute_model::{ChatTemplate, Tokenizer};
use tokenroute_runtime::Calls;
use tokenroute_server::net::Server;
use tokenroute_server::routed::{LlmMemory, RoutedService, ServeConfig, ServerLlm, ServerPair};

/// Token 12 and 13 are the halves of "é"; 14 and 15 end an answer.
const WORDS: [&str; 16] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "hello", "Ġwor", "ld", "Ċ", "Ã", "©", "<end>", "<END>",
];

/// A tokenizer for the vocabulary of every toy.
pub fn tokenizer() -> Tokenizer {
    let vocabulary: BTreeMap<&str, usize> = WORDS.into_iter().zip(0..).collect();
    let special = |id: usize| {
        json!({ "id": id, "content": WORDS[id], "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true })
    };
    let json = json!({
        "version": "1.0", "added_tokens": [special(14), special(15)],
        "normalizer": null, "pre_tokenizer": null, "post_processor": null,
        "decoder": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                     "use_regex": true },
        "model": { "type": "BPE", "vocab": vocabulary, "merges": [] },
    });
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, json.to_string()).expect("a file");
    Tokenizer::read(&path).expect("a tokenizer")
}

/// A template that puts all messages one after the other.
pub fn template() -> ChatTemplate {
    let source = "{% for m in messages %}{{ m.content }}{% endfor %}";
    ChatTemplate::new(Path::new("toy"), source, BTreeMap::new()).expect("a template")
}

/// A toy router: the first number of the hidden state.
pub struct FirstNumber;

impl Scorer for FirstNumber {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(position.step.hidden[0].into())
    }
}

/// Two toys that agree at 70% of the positions.
pub fn pair() -> (ToyModel, ToyModel) {
    let llm = ToyModel::new(2);
    (ToyModel::following(1, &llm, 0.7), llm)
}

/// A pair to serve, with this small model.
pub fn served<M>(slm: M, large: Option<ServerLlm>) -> ServerPair<M> {
    ServerPair {
        name: "toy".to_owned(),
        slm,
        vocabulary: ToyModel::vocabulary(),
        tokenizer: tokenizer(),
        template: Some(template()),
        llm: large,
        announce: None,
    }
}

pub fn large() -> ServerLlm {
    let llm = Box::new(InProcess::new(pair().1));
    let calls = Calls { threads: 2, together: 1 };
    let memory = LlmMemory::in_process(pair().1.info(), pair().1.position_bytes());
    ServerLlm { llm, scorer: Box::new(FirstNumber), calls, bytes: None, memory }
}

/// A server without cached prefixes.
pub fn forgetful() -> ServeConfig {
    ServeConfig { kept_positions: 0, ..ServeConfig::default() }
}

pub fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A server for a small model alone.
pub fn alone<M>(slm: M, config: ServeConfig) -> Client
where
    M: LanguageModel + Send + 'static,
    M::State: 'static,
{
    Client::of(&RoutedService::new(served(slm, None), None, config))
}

/// A server for the pair of toys.
pub fn routed(config: ServeConfig) -> Client {
    Client::of(&RoutedService::new(served(pair().0, Some(large())), None, config))
}

/// A server, and its key if it has one.
pub struct Client {
    pub server: Server,
    pub key: Option<&'static str>,
}

/// A reply.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl Client {
    pub fn of(service: &RoutedService) -> Client {
        Client { server: service.start(loopback()).expect("a server"), key: None }
    }

    pub fn with_key(service: &RoutedService, key: &'static str) -> Client {
        Client { key: Some(key), ..Client::of(service) }
    }

    fn send(&self, method: &str, path: &str, more: &[(&str, &str)], body: Option<&str>) -> Reply {
        // A reply that never comes fails the test.
        let late = Some(std::time::Duration::from_secs(60));
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent: ureq::Agent = config.timeout_global(late).build().into();
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.server.address()));
        if let Some(key) = self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        let request = request.body(body.unwrap_or_default().to_owned()).expect("a request");
        let mut response = agent.run(request).expect("a reply");
        let headers = response.headers().iter();
        let headers = headers
            .map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
            .collect();
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().expect("text");
        Reply { status, headers, text }
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], None)
    }

    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send("GET", path, headers, None)
    }

    pub fn post(&self, path: &str, body: &str) -> Reply {
        self.send("POST", path, &[], Some(body))
    }

    /// The answer to an accepted request.
    pub fn answer(&self, path: &str, body: &Value) -> Value {
        let reply = self.post(path, &body.to_string());
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()
    }

    /// The chunks of a complete stream.
    pub fn chunks(&self, path: &str, body: &Value) -> Vec<Value> {
        let mut body = body.clone();
        body["stream"] = json!(true);
        let reply = self.post(path, &body.to_string());
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(reply.header("content-type"), Some("text/event-stream"));
        let mut data: Vec<&str> =
            reply.text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(data.pop(), Some("[DONE]"));
        data.into_iter().map(|data| serde_json::from_str(data).expect("JSON")).collect()
    }

    /// A number of `/metrics`.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
    }
}

/// A model whose token is a function of the tokens before.
pub struct Script<F> {
    info: ModelInfo,
    says: F,
}

impl<F: Fn(&[TokenId]) -> TokenId + Sync> Script<F> {
    pub fn new(says: F) -> Self {
        Script { info: ToyModel::new(0).info().clone(), says }
    }
}

/// Answers a prompt of one token with these tokens, and repeats the last.
pub fn saying(answer: &'static [TokenId]) -> Script<impl Fn(&[TokenId]) -> TokenId + Send + Sync> {
    Script::new(move |tokens| answer[(tokens.len() - 1).min(answer.len() - 1)])
}

impl<F: Fn(&[TokenId]) -> TokenId + Sync> LanguageModel for Script<F> {
    type State = Vec<TokenId>;

    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn start(&self) -> Vec<TokenId> {
        Vec::new()
    }

    fn positions(&self, state: &Vec<TokenId>) -> usize {
        state.len()
    }

    fn truncate(&self, state: &mut Vec<TokenId>, len: usize) {
        state.truncate(len);
    }

    fn advance(
        &self,
        feeds: &mut [Feed<'_, Vec<TokenId>>],
        _: Detail,
    ) -> Result<Vec<Vec<Step>>, ModelError> {
        let step = |tokens: &[TokenId]| Step {
            token: (self.says)(tokens),
            top: Vec::new(),
            top_logits: Vec::new(),
            entropy: 0.0,
            rest: 0.0,
            hidden: Arc::new([0.5]),
            logits: None,
        };
        let feeds = feeds.iter_mut().map(|feed| {
            if let Some(&token) = feed.tokens.iter().find(|&&token| token as usize >= WORDS.len()) {
                let (vocabulary, model) = (WORDS.len(), self.info.name.clone());
                return Err(ModelError::TokenOutOfRange { token, vocabulary, model });
            }
            let held = feed.state.len();
            feed.state.extend_from_slice(feed.tokens);
            let ends = held + feed.from + 1..=feed.state.len();
            Ok(ends.map(|end| step(&feed.state[..end])).collect())
        });
        feeds.collect()
    }
}

/// A gate that models wait at.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().expect("a lock") = true;
        self.0.1.notify_all();
    }

    pub fn pass(&self) {
        let closed = self.0.0.lock().expect("a lock");
        drop(self.0.1.wait_while(closed, |open| !*open).expect("a lock"));
    }
}

/// Waits until a condition holds; panics after 10 s.
pub fn until(what: &str, so: impl Fn() -> bool) {
    for _ in 0..2000 {
        if so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("{what} did not come about in 10 s");
}

/// A service that requires this key.
pub fn guarded(key: &str) -> RoutedService {
    let key = ApiKey::new(key).expect("a key");
    RoutedService::new(served(pair().0, Some(large())), Some(key), ServeConfig::default())
}
