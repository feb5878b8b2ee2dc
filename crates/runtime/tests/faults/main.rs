//! The matrix of faults: whatever happens on the way to the LLM, every answer
//! is completed in time, no wrong token is taken, and what is missing is marked.

mod proxy;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use proxy::{Fault, Proxy};
use tokenroute_cloud::http::{Http, HttpConfig};
use tokenroute_cloud::server::{EngineConfig, Server, Service, Texts};
use tokenroute_cloud::{InProcess, ToyModel};
use tokenroute_core::{
    Ask, Cause, Llm, LlmError, Origin, Position, Reply, Score, ScoreError, Scorer, Tau, TokenId,
    Trace,
};
use tokenroute_runtime::{Pair, Request, decode};

const MAX_TOKENS: usize = 12;
const DEADLINE: Duration = Duration::from_millis(200);
/// What a busy machine may add to the deadline; a hang is longer.
const SLACK: Duration = Duration::from_secs(3);
const RECOVERY: Duration = Duration::from_secs(5);

struct Hidden;

impl Scorer for Hidden {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(position.step.hidden[0])
    }
}

/// The toys' tokens have no text.
struct NoTexts;

impl Texts for NoTexts {
    fn encode(&self, text: &str) -> Result<Vec<TokenId>, String> {
        Err(format!("{text:?} has no tokens"))
    }

    fn decode(&self, _: &[TokenId]) -> Result<String, String> {
        Ok(String::new())
    }

    fn token(&self, id: TokenId) -> Result<String, String> {
        Ok(format!("<{id}>"))
    }
}

/// Remembers how long the longest call took.
struct Timed<'a> {
    llm: &'a Http,
    longest: Mutex<Duration>,
}

impl Llm for Timed<'_> {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        let start = Instant::now();
        let replies = self.llm.ask(asks);
        let mut longest = self.longest.lock().expect("no panic");
        *longest = longest.max(start.elapsed());
        replies
    }

    fn forget(&self, prompt: &[TokenId]) {
        self.llm.forget(prompt);
    }
}

/// The pair, its LLM behind the proxy and, to compare, in process.
struct Lab {
    slm: ToyModel,
    truth: InProcess<ToyModel>,
    _server: Server,
    proxy: Proxy,
}

fn llm(slm: &ToyModel) -> ToyModel {
    ToyModel::following(77, slm, 0.5)
}

fn client(url: &str) -> Http {
    let mut config = HttpConfig::new(url);
    config.connect = Duration::from_millis(100);
    config.first_byte = Duration::from_millis(100);
    config.connections = 24;
    config.total = DEADLINE;
    config.attempts = 2;
    config.breaker.pause = Duration::from_millis(20);
    config.breaker.longest = Duration::from_millis(60);
    Http::new(config, ToyModel::vocabulary(), None).expect("a good URL")
}

impl Lab {
    fn new() -> Lab {
        let slm = ToyModel::new(5);
        let texts = Box::new(NoTexts);
        let config = EngineConfig::default();
        let vocabulary = ToyModel::vocabulary();
        let service = Service::new("toy".into(), llm(&slm), vocabulary, texts, None, config);
        let loopback: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let server = Server::start(loopback, &service).expect("a server");
        let proxy = Proxy::start(server.address());
        let truth = InProcess::new(llm(&slm));
        Lab { slm, truth, _server: server, proxy }
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.proxy.address)
    }

    /// Decodes prompts through the client and checks what must hold whatever
    /// happened; returns the traces.
    fn generate(&self, llm: &Http, tau: Tau, prompts: &[Vec<TokenId>]) -> Vec<Trace> {
        let vocabulary = ToyModel::vocabulary();
        let timed = Timed { llm, longest: Mutex::default() };
        let requests: Vec<Request<'_>> = prompts
            .iter()
            .map(|prompt| Request { question: "q", prompt, max_tokens: MAX_TOKENS })
            .collect();
        let pair = Pair::new(&self.slm, &timed, &vocabulary);
        let traces = decode(pair, &Hidden, tau, &requests, 24).expect("no error stops decoding");
        let longest = timed.longest.into_inner().expect("no panic");
        assert!(longest < DEADLINE + SLACK, "a call took {longest:?}");
        for (prompt, trace) in prompts.iter().zip(&traces) {
            assert!(trace.ended || trace.tokens.len() == MAX_TOKENS, "a truncated answer");
            let mut context = prompt.clone();
            for token in &trace.tokens {
                let offload = token.score < tau.get();
                match token.origin {
                    Origin::Slm => assert!(!offload && token.token == token.slm_token),
                    Origin::Degraded => assert!(offload && token.token == token.slm_token),
                    Origin::Llm => {
                        let ask = Ask { context: &context, from: context.len() };
                        let truth = self.truth.ask(&[ask]).remove(0).expect("a toy's answer");
                        let truth = vocabulary.canonical(truth.tokens[0]);
                        assert!(offload && token.token == truth, "a wrong token was taken");
                    }
                }
                assert_eq!(token.cause.is_some(), token.origin == Origin::Degraded);
                context.push(token.token);
            }
            let marked = trace.tokens.iter().filter(|t| t.cause.is_some()).count();
            assert_eq!(trace.degraded(), marked, "counted apart from offload");
        }
        traces
    }

    /// Waits until the LLM makes most tokens of an answer again.
    fn recovers(&self, fault: Fault, llm: &Http, prompt: &[Vec<TokenId>]) {
        let start = Instant::now();
        self.proxy.spoil(Fault::None, 1);
        loop {
            let traces = self.generate(llm, Tau::LLM_ONLY, prompt);
            if traces.iter().all(|t| 2 * t.degraded() < t.tokens.len()) {
                return;
            }
            // Degraded answers cost no time; the probe needs some.
            std::thread::sleep(Duration::from_millis(20));
            let found = causes(&traces);
            assert!(start.elapsed() < RECOVERY, "no recovery from {fault:?}: {found:?}");
        }
    }
}

fn prompts(count: u32) -> Vec<Vec<TokenId>> {
    (0..count)
        .map(|i| (0..=i % 6).map(|j| (i + 3 * j) % 14).chain([i % 13, i / 13]).collect())
        .collect()
}

fn causes(traces: &[Trace]) -> BTreeSet<Cause> {
    traces.iter().flat_map(|t| &t.tokens).filter_map(|t| t.cause).collect()
}

#[test]
fn every_answer_is_completed_and_no_wrong_token_taken() {
    let lab = Lab::new();
    let prompts = prompts(24);
    let half = Tau::new(0.5).expect("in range");
    let mut generations = 0;
    for (fault, cause) in [
        (Fault::None, None),
        (Fault::Delay(5), None),
        (Fault::Jitter(20), None),
        (Fault::Delay(200), Some(Cause::Late)),
        (Fault::Dribble, Some(Cause::Late)),
        (Fault::Silence, Some(Cause::Late)),
        (Fault::NeverRead, Some(Cause::Late)),
        (Fault::CloseAtOnce, Some(Cause::Unavailable)),
        (Fault::CloseMidReply, Some(Cause::Unavailable)),
        (Fault::Status(429), Some(Cause::Refused)),
        (Fault::Status(503), Some(Cause::Unavailable)),
        (Fault::Garbage, Some(Cause::BadReply)),
        (Fault::BrokenOff, Some(Cause::BadReply)),
        (Fault::ForeignToken, Some(Cause::BadReply)),
        (Fault::OtherPrefix, Some(Cause::BadReply)),
    ] {
        for (every, tau) in [(1, half), (1, Tau::LLM_ONLY), (3, half)] {
            lab.proxy.spoil(Fault::None, 1);
            let llm = client(&lab.url("http"));
            // What the server is must be known to tell one fault from another.
            while llm.server().is_err() {}
            lab.proxy.spoil(fault, every);
            let traces = lab.generate(&llm, tau, &prompts);
            generations += traces.len();
            let found = causes(&traces);
            if let (Some(cause), 1) = (cause, every) {
                assert!(found.contains(&cause), "{fault:?}: {found:?}");
            }
            // Late and unavailable may come from a busy machine and an open circuit.
            let also = [Some(Cause::Late), Some(Cause::Unavailable)];
            assert!(
                found.iter().all(|c| cause == Some(*c) || also.contains(&Some(*c))),
                "{fault:?}: {found:?}"
            );
            lab.recovers(fault, &llm, &prompts[..1]);
        }
    }
    assert!(generations >= 1000, "{generations} generations");
}

#[test]
fn a_cloud_that_speaks_no_tls_is_unavailable() {
    let lab = Lab::new();
    let traces = lab.generate(&client(&lab.url("https")), Tau::LLM_ONLY, &prompts(4));
    assert!(traces.iter().all(|t| t.degraded() == t.tokens.len()));
    assert!(causes(&traces).is_subset(&BTreeSet::from([Cause::Unavailable, Cause::Late])));
}
