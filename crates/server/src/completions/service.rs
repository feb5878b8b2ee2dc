//! A model ready to be served.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokenroute_core::{LanguageModel, Vocabulary};
use tokenroute_llm::ApiKey;

use crate::completions::batcher::{BatchConfig, Batcher, STEP};
use crate::completions::model::ServedModel;
use crate::completions::routes::{BODY_LIMIT, router};
use crate::completions::texts::Texts;
use crate::net::long_work::LongWork;
use crate::net::memory::{ServiceMemory, kept_bytes, step_bytes};
use crate::net::{ConnectionLimits, Server, ServerError};

/// A model ready to be served over OpenAI's completions API.
#[derive(Clone)]
pub struct CompletionService {
    model: Arc<ServedModel>,
    key: Option<ApiKey>,
    memory: ServiceMemory,
}

impl fmt::Debug for CompletionService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompletionService").field("name", &self.model.name).finish_non_exhaustive()
    }
}

impl CompletionService {
    /// Starts the model's thread. `name` should change with the weights: clients keep
    /// answers by it. With a key, every endpoint but `/health` requires it.
    pub fn new<M>(
        name: String,
        model: M,
        vocabulary: Vocabulary,
        texts: Box<dyn Texts>,
        key: Option<ApiKey>,
        mut config: BatchConfig,
    ) -> Self
    where
        M: LanguageModel + Send + 'static,
        M::State: 'static,
    {
        let info = model.info().clone();
        let tokenizer_hash = vocabulary.hash().to_owned();
        let (position_bytes, steps) = (model.position_bytes(), step_bytes(&info, STEP));
        let memory =
            ServiceMemory { limit: config.memory, steps, position_bytes, sequence_bytes: 0 };
        config.kept_positions = memory.kept_positions(position_bytes, config.kept_positions);
        let room = memory.room(kept_bytes(position_bytes, config.kept_positions));
        let batcher = Batcher::start(model, vocabulary, config);
        let replies = AtomicU64::new(0);
        let (longest_token, reading) = (texts.longest_token(), LongWork::new());
        // A tokenizer without texts has no opening either.
        let opening = texts.encode("").unwrap_or_default();
        let model = ServedModel {
            name,
            info,
            tokenizer_hash,
            texts,
            longest_token,
            opening,
            batcher,
            memory: room,
            position_bytes,
            reading,
            replies,
        };
        CompletionService { model: Arc::new(model), key, memory }
    }

    /// Binds and serves over plain HTTP. Over open networks, put it behind a tunnel or a
    /// proxy that speaks TLS.
    ///
    /// # Errors
    /// An address beyond loopback without a key; a limit of memory without room for a request; a
    /// port that cannot be bound.
    pub fn start(&self, address: SocketAddr) -> Result<Server, ServerError> {
        self.memory.check()?;
        let router = router(&self.model, self.key.clone());
        let (key, worker) = (self.key.as_ref(), self.model.batcher.liveness.clone());
        let bodies = self.model.memory.for_bodies(BODY_LIMIT);
        Server::open(address, key, router, ConnectionLimits::default(), worker, bodies)
    }
}
