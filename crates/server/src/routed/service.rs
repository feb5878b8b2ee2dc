//! A routed pair ready to be served.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokenroute_core::{LanguageModel, Tau};
use tokenroute_llm::ApiKey;
use tokenroute_runtime::PolicyError;

use crate::net::long_work::LongWork;
use crate::net::memory::{ONE_REQUEST, ServiceMemory, kept_bytes, said_bytes, step_bytes};
use crate::net::{ConnectionLimits, Server, ServerError};
use crate::routed::config::ServeConfig;
use crate::routed::metrics::Metrics;
use crate::routed::pair::ServerPair;
use crate::routed::routes::router;
use crate::routed::served::ServedPair;
use crate::routed::shared::Shared;
use crate::routed::worker::Worker;

/// Longest time for an answer, whatever the configuration says: a week.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A pair ready to be served.
#[derive(Clone)]
pub struct RoutedService {
    shared: Arc<Shared>,
    key: Option<ApiKey>,
    connections: ConnectionLimits,
    memory: ServiceMemory,
    /// Why the policy cannot be served.
    fault: Option<PolicyError>,
}

impl fmt::Debug for RoutedService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoutedService")
            .field("name", &self.shared.pair.name)
            .finish_non_exhaustive()
    }
}

impl RoutedService {
    /// Starts the thread that decodes. With a key, every endpoint but `/` and `/health`
    /// requires it. Without one, web pages of other origins are refused.
    pub fn new<M>(pair: ServerPair<M>, key: Option<ApiKey>, mut config: ServeConfig) -> Self
    where
        M: LanguageModel + Send + 'static,
        M::State: 'static,
    {
        let ServerPair { name, slm, vocabulary, tokenizer, template, mut llm, announce } = pair;
        let info = slm.info();
        let mut policy = config.policy;
        if llm.is_none() {
            policy.tau = Tau::SLM_ONLY;
        }
        let slm_bytes = slm.position_bytes();
        let large = llm.as_ref().map(|llm| llm.memory).unwrap_or_default();
        let remembered_bytes = llm.as_ref().map_or(0, |llm| llm.scorer.state_bytes());
        let fault = llm.as_ref().and_then(|llm| policy.check(&*llm.scorer).err());
        let pair = ServedPair {
            name,
            policy,
            routed: llm.is_some(),
            context: info.context,
            vocabulary: info.vocabulary,
            allow_special_tokens: config.allow_special_tokens,
            most_prompt: config.prompt_tokens,
            longest_token: tokenizer.longest_token(),
            most_tokens: config.max_tokens,
            body: config.body,
            position_bytes: slm_bytes + large.position_bytes,
            said_bytes: said_bytes(info),
            remembered_bytes,
            time: config.time.min(LONGEST),
            tokenizer: Arc::new(tokenizer),
            template,
            ends: Arc::new(vocabulary.clone()),
            announce,
        };
        let positions = config.prefill.get().saturating_add(config.sessions);
        let memory = ServiceMemory {
            limit: config.memory,
            steps: step_bytes(info, positions).saturating_add(large.step_bytes),
            position_bytes: pair.position_bytes,
            sequence_bytes: pair.beside_bytes(&policy, ONE_REQUEST),
        };
        config.kept_positions = memory.kept_positions(slm_bytes, config.kept_positions);
        let room = memory.room(kept_bytes(slm_bytes, config.kept_positions));
        let bytes = llm.as_mut().and_then(|llm| llm.bytes.take());
        let metrics = Arc::new(Metrics::default());
        let worker =
            Worker::start(slm, llm, vocabulary, config, Arc::clone(&metrics), bytes.is_some());
        let replies = AtomicU64::new(0);
        let reading = LongWork::new();
        let shared =
            Arc::new(Shared { pair, metrics, bytes, worker, memory: room, reading, replies });
        RoutedService { shared, key, connections: config.connections, memory, fault }
    }

    /// Binds and serves over plain HTTP. Over open networks, put it behind a proxy that
    /// speaks TLS.
    ///
    /// # Errors
    /// An address beyond loopback without a key; a policy that does not go together; a limit of
    /// memory without room for a request; a port that cannot be bound.
    pub fn start(&self, address: SocketAddr) -> Result<Server, ServerError> {
        if let Some(fault) = self.fault {
            return Err(fault.into());
        }
        self.memory.check()?;
        let router = router(&self.shared, self.key.clone());
        let worker = self.shared.worker.liveness.clone();
        let bodies = self.shared.memory.for_bodies(self.shared.pair.body);
        Server::open(address, self.key.as_ref(), router, self.connections, worker, bodies)
    }
}
