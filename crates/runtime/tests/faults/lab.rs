//! A toy pair whose LLM is behind the proxy. Answers are decoded through it, checked and
//! counted.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokenroute_core::{
    Ask, Cause, Llm, Origin, Position, Score, ScoreError, Scorer, Tau, TokenId, Trace,
};
use tokenroute_llm::http::{Http, HttpConfig};
use tokenroute_llm::{InProcess, ToyModel};
use tokenroute_runtime::{Calls, Pair, Policy, Request, RoutedDecoding, Wait};
use tokenroute_server::completions::{BatchConfig, CompletionService, Texts};
use tokenroute_server::net::Server;

use crate::proxy::{Fault, Proxy, When};

pub const MAX_TOKENS: usize = 12;
/// Longest time of one call, retries included.
const CALL: Duration = Duration::from_millis(200);
/// Deadline of one token.
const DEADLINE: Duration = Duration::from_millis(300);
/// Allowance for a busy machine. A hang is longer.
const SLACK: Duration = Duration::from_secs(3);
const RECOVERY: Duration = Duration::from_secs(5);
/// Concurrent answers.
const BATCH: usize = 24;

/// A toy router: the score is a number of the hidden state.
struct Hidden;

impl Scorer for Hidden {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(position.step.hidden[0].into())
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

    fn longest_token(&self) -> usize {
        usize::MAX
    }

    fn token(&self, id: TokenId) -> Result<String, String> {
        Ok(format!("<{id}>"))
    }
}

/// The three ways to wait for the LLM.
pub const WAITS: [(&str, Wait); 3] = [
    ("blocking", Wait::Block),
    ("speculative", Wait::Speculate { branches: NonZeroUsize::new(2).unwrap(), max_ahead: 3 }),
    ("relay", Wait::Relay { tokens: NonZeroUsize::new(3).unwrap() }),
];

/// Counts and times over some generations.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub generations: usize,
    pub tokens: usize,
    pub offloaded: usize,
    pub degraded: BTreeMap<Cause, usize>,
    /// Longest gap between two tokens of one answer, or before its first.
    pub longest: Duration,
    /// Time until the LLM made most tokens of an answer again.
    pub recovery: Duration,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.generations += other.generations;
        self.tokens += other.tokens;
        self.offloaded += other.offloaded;
        for (cause, count) in &other.degraded {
            *self.degraded.entry(*cause).or_default() += count;
        }
        self.longest = self.longest.max(other.longest);
        self.recovery = self.recovery.max(other.recovery);
    }

    pub fn found(&self, cause: Cause) -> bool {
        self.degraded.contains_key(&cause)
    }
}

/// One row of a table. Truncated answers, hangs and wrong tokens end the test instead.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { generations, tokens, offloaded, degraded, longest, recovery } = self;
        let all: usize = degraded.values().sum();
        let causes: Vec<String> = degraded.iter().map(|(c, n)| format!("{c:?} {n}")).collect();
        let (causes, longest, recovery) =
            (causes.join(", "), longest.as_millis(), recovery.as_millis());
        write!(
            f,
            "{generations} | {tokens} | {offloaded} | {all} | {causes} | 0 | 0 | 0 | {longest} | {recovery}"
        )
    }
}

/// Time for which a busy machine did not run this process.
struct Stolen(Arc<AtomicU64>);

impl Stolen {
    fn watch() -> Stolen {
        let stolen = Stolen(Arc::default());
        let sum = Arc::downgrade(&stolen.0);
        std::thread::spawn(move || {
            let beat = Duration::from_millis(20);
            while let Some(sum) = sum.upgrade() {
                let start = Instant::now();
                std::thread::sleep(beat);
                let lost = start.elapsed().saturating_sub(beat);
                sum.fetch_add(lost.as_micros() as u64, Ordering::Relaxed);
            }
        });
        stolen
    }

    fn so_far(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// The pair, with its LLM behind the proxy and, for comparison, in process.
pub struct Lab {
    slm: ToyModel,
    truth: InProcess<ToyModel>,
    _server: Server,
    pub proxy: Proxy,
    stolen: Stolen,
}

fn llm(slm: &ToyModel) -> ToyModel {
    ToyModel::following(77, slm, 0.5)
}

impl Lab {
    pub fn new() -> Lab {
        let slm = ToyModel::new(5);
        let texts = Box::new(NoTexts);
        let config = BatchConfig::default();
        let vocabulary = ToyModel::vocabulary();
        let service =
            CompletionService::new("toy".into(), llm(&slm), vocabulary, texts, None, config);
        let loopback: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let server = service.start(loopback).expect("a server");
        let proxy = Proxy::start(server.address());
        let truth = InProcess::new(llm(&slm));
        Lab { slm, truth, _server: server, proxy, stolen: Stolen::watch() }
    }

    /// A client with short waits.
    pub fn client(&self, scheme: &str) -> Http {
        let mut config = HttpConfig::new(&format!("{scheme}://{}", self.proxy.address));
        config.connect = Duration::from_millis(100);
        config.first_byte = Duration::from_millis(100);
        config.connections = BATCH;
        config.total = CALL;
        config.attempts = 2;
        config.breaker.pause = Duration::from_millis(20);
        config.breaker.longest = Duration::from_millis(60);
        Http::new(config, ToyModel::vocabulary(), None).expect("a good URL")
    }

    /// Decodes prompts through the client and checks every answer.
    pub fn generate(&self, llm: &Http, tau: Tau, wait: Wait, prompts: &[Vec<TokenId>]) -> Tally {
        let vocabulary = ToyModel::vocabulary();
        let requests: Vec<Request<'_>> = prompts
            .iter()
            .map(|prompt| Request { question: "q", prompt, max_tokens: MAX_TOKENS })
            .collect();
        let pair = Pair::new(&self.slm, llm, &vocabulary);
        let policy = Policy { wait, deadline: Some(DEADLINE), ..Policy::new(tau) };
        let calls = Some(Calls { threads: BATCH, together: 1 });
        let (mut longest, stolen) = (Duration::ZERO, self.stolen.so_far());
        let mut traces = Vec::new();
        for requests in requests.chunks(BATCH) {
            // All of them begin at once.
            let mut last = vec![Instant::now(); requests.len()];
            let mut hear = |i: usize, _: &_| {
                longest = longest.max(last[i].elapsed());
                last[i] = Instant::now();
            };
            let decoding = RoutedDecoding::new(pair, &Hidden, policy);
            let decoding = RoutedDecoding { calls, batch: BATCH, ..decoding };
            let done = decoding.run_with(requests, &mut hear);
            traces.extend(done.expect("no error stops decoding"));
        }
        let stolen = self.stolen.so_far() - stolen;
        assert!(longest < DEADLINE + SLACK + stolen, "a token took {longest:?}");
        let mut tally = Tally { generations: traces.len(), longest, ..Tally::default() };
        for (prompt, trace) in prompts.iter().zip(&traces) {
            self.check(prompt, trace, tau, matches!(wait, Wait::Relay { .. }));
            tally.tokens += trace.tokens.len();
            tally.offloaded += trace.offloaded();
            for cause in trace.tokens.iter().filter_map(|t| t.cause) {
                *tally.degraded.entry(cause).or_default() += 1;
            }
        }
        tally
    }

    /// Checks that the answer is complete, that every token is its model's, and that degraded
    /// tokens are marked.
    fn check(&self, prompt: &[TokenId], trace: &Trace, tau: Tau, relays: bool) {
        let vocabulary = ToyModel::vocabulary();
        assert!(trace.ended || trace.tokens.len() == MAX_TOKENS, "a truncated answer");
        let slm = InProcess::new(ToyModel::new(5));
        let says = |llm: &InProcess<ToyModel>, context: &[TokenId]| {
            let ask = Ask::greedy(context, context.len());
            let said = llm.ask(&[ask]).remove(0).expect("a toy's answer");
            vocabulary.canonical(said.tokens[0])
        };
        let mut context = prompt.to_vec();
        for token in &trace.tokens {
            let offload = token.score < tau.get();
            let slm_token = says(&slm, &context);
            assert_eq!(vocabulary.canonical(token.slm_token), slm_token);
            let right = match token.origin {
                Origin::Slm => !offload && token.token == slm_token,
                Origin::Degraded => offload && token.token == slm_token,
                Origin::Llm => (offload || relays) && token.token == says(&self.truth, &context),
            };
            assert!(right, "a wrong token was taken: {token:?}");
            assert_eq!(token.cause.is_some(), token.origin == Origin::Degraded);
            context.push(token.token);
        }
        let marked = trace.tokens.iter().filter(|t| t.cause.is_some()).count();
        assert_eq!(trace.degraded(), marked, "counted apart from offload");
        let made = trace.tokens.iter().filter(|t| t.origin == Origin::Llm).count();
        assert_eq!(trace.offloaded(), made);
    }

    /// Waits until the LLM makes most tokens of an answer again. Returns the time.
    pub fn recovers(&self, llm: &Http, wait: Wait, prompt: &[Vec<TokenId>]) -> Duration {
        let (start, stolen) = (Instant::now(), self.stolen.so_far());
        self.proxy.spoil(Fault::None, When::Always);
        loop {
            let found = self.generate(llm, Tau::LLM_ONLY, wait, prompt);
            if 2 * found.offloaded > found.tokens {
                return start.elapsed();
            }
            // Degraded answers take no time, but the probe needs some.
            std::thread::sleep(Duration::from_millis(20));
            let stolen = self.stolen.so_far() - stolen;
            assert!(start.elapsed() < RECOVERY + stolen, "no recovery: {found:?}");
        }
    }
}

pub fn prompts(count: u32) -> Vec<Vec<TokenId>> {
    (0..count)
        .map(|i| (0..=i % 6).map(|j| (i + 3 * j) % 14).chain([i % 13, i / 13 % 14]).collect())
        .collect()
}
