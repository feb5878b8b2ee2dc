//! What is served: the pair, its limits, and the thread that decodes.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokenroute_core::{Bytes, LanguageModel, Llm, Scorer, Tau, Vocabulary};
use tokenroute_llm::ApiKey;
use tokenroute_llm::server::{Connections, Server, ServerError};
use tokenroute_model::{ChatTemplate, Tokenizer};
use tokenroute_runtime::{Calls, Policy};

use crate::metrics::Metrics;
use crate::routes;
use crate::worker::Worker;

/// Limits and defaults of a server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ServeConfig {
    /// How requests are decoded that do not say; what they may say is τ, the budget
    /// and how tokens are drawn, which is greedily unless they do. Without a large model τ is 0.
    pub policy: Policy,
    /// Most requests decoded at once; their SLM steps are batched.
    pub sessions: usize,
    /// Most requests waiting for a place; more are turned away.
    pub queue: usize,
    /// Most tokens of a prompt.
    pub prompt_tokens: usize,
    /// Most tokens of an answer.
    pub max_tokens: usize,
    /// Most bytes of a request.
    pub body: usize,
    /// Longest time for an answer, waiting included.
    pub time: Duration,
    /// Most positions of prompts read between two tokens of other answers.
    pub prefill: NonZeroUsize,
    /// Most positions of earlier answers kept for prompts that begin like them, as
    /// the next message of a conversation does.
    pub kept_positions: usize,
    /// What connections are held to.
    pub connections: Connections,
}

impl Default for ServeConfig {
    fn default() -> Self {
        ServeConfig {
            policy: Policy::new(Tau::SLM_ONLY),
            sessions: 32,
            queue: 64,
            prompt_tokens: 32768,
            max_tokens: 4096,
            body: 1 << 20,
            time: Duration::from_secs(300),
            prefill: const { NonZeroUsize::new(256).expect("positive") },
            kept_positions: 8192,
            connections: Connections::default(),
        }
    }
}

/// The small model with all that goes with it.
pub struct Served<M> {
    /// What clients call it.
    pub name: String,
    /// The small model.
    pub slm: M,
    /// Where answers and sentences end.
    pub vocabulary: Vocabulary,
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// Messages to a prompt; without it only `/v1/completions` answers.
    pub template: Option<ChatTemplate>,
    /// The large model; without it the small one answers alone.
    pub large: Option<Large>,
}

/// The large model and the router that asks it.
pub struct Large {
    /// The large model, wherever it is.
    pub llm: Box<dyn Llm + Send>,
    /// The router.
    pub scorer: Box<dyn Scorer + Send>,
    /// How it is called.
    pub calls: Calls,
    /// Bytes sent to the large model and received from it so far, if it is
    /// behind a network.
    pub traffic: Option<Traffic>,
}

/// Tells what has crossed the network so far.
pub type Traffic = Arc<dyn Fn() -> Bytes + Send + Sync>;

/// What a request is checked against and answered with.
pub(crate) struct Facts {
    pub(crate) name: String,
    pub(crate) policy: Policy,
    /// Whether there is a large model.
    pub(crate) routed: bool,
    /// Most positions of the small model.
    pub(crate) context: usize,
    pub(crate) vocabulary: usize,
    pub(crate) most_prompt: usize,
    pub(crate) most_tokens: usize,
    pub(crate) body: usize,
    pub(crate) time: Duration,
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) template: Option<ChatTemplate>,
    pub(crate) ends: Arc<Vocabulary>,
}

pub(crate) struct Inner {
    pub(crate) facts: Facts,
    pub(crate) key: Option<ApiKey>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) traffic: Option<Traffic>,
    pub(crate) worker: Worker,
    pub(crate) requests: AtomicU64,
}

/// A pair ready to be served.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
    connections: Connections,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.inner.facts.name).finish_non_exhaustive()
    }
}

impl Service {
    /// Starts the thread that decodes. With a key, everything but `/` and
    /// `/health` wants it; without one, only pages of this server may ask.
    pub fn new<M>(served: Served<M>, key: Option<ApiKey>, config: ServeConfig) -> Self
    where
        M: LanguageModel + Send + 'static,
        M::State: 'static,
    {
        let Served { name, slm, vocabulary, tokenizer, template, mut large } = served;
        let info = slm.info();
        let mut policy = config.policy;
        if large.is_none() {
            policy.tau = Tau::SLM_ONLY;
        }
        let facts = Facts {
            name,
            policy,
            routed: large.is_some(),
            context: info.context,
            vocabulary: info.vocabulary,
            most_prompt: config.prompt_tokens,
            most_tokens: config.max_tokens,
            body: config.body,
            time: config.time,
            tokenizer: Arc::new(tokenizer),
            template,
            ends: Arc::new(vocabulary.clone()),
        };
        let traffic = large.as_mut().and_then(|large| large.traffic.take());
        let metrics = Arc::new(Metrics::default());
        let worker =
            Worker::start(slm, large, vocabulary, config, Arc::clone(&metrics), traffic.is_some());
        let requests = AtomicU64::new(0);
        let inner = Inner { facts, key, metrics, traffic, worker, requests };
        Service { inner: Arc::new(inner), connections: config.connections }
    }

    /// Binds and serves. Plain HTTP: over open networks, put it behind a proxy
    /// that speaks TLS.
    ///
    /// # Errors
    /// An address beyond loopback without a key; a port that cannot be bound.
    pub fn start(&self, address: SocketAddr) -> Result<Server, ServerError> {
        let router = routes::router(Arc::clone(&self.inner));
        Server::open(address, self.inner.key.as_ref(), router, self.connections)
    }
}
