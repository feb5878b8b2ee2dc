//! A model ready to be served.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokenroute_core::{LanguageModel, Vocabulary};
use tokenroute_llm::ApiKey;

use crate::completions::batcher::{BatchConfig, Batcher};
use crate::completions::model::ServedModel;
use crate::completions::routes::router;
use crate::completions::texts::Texts;
use crate::net::long_work::LongWork;
use crate::net::{ConnectionLimits, Server, ServerError};

/// A model ready to be served over OpenAI's completions API.
#[derive(Clone)]
pub struct CompletionService {
    model: Arc<ServedModel>,
    key: Option<ApiKey>,
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
        config: BatchConfig,
    ) -> Self
    where
        M: LanguageModel + Send + 'static,
        M::State: 'static,
    {
        let info = model.info().clone();
        let tokenizer_hash = vocabulary.hash().to_owned();
        let batcher = Batcher::start(model, vocabulary, config);
        let replies = AtomicU64::new(0);
        let (longest_token, reading) = (texts.longest_token(), LongWork::new());
        let model = ServedModel {
            name,
            info,
            tokenizer_hash,
            texts,
            longest_token,
            batcher,
            reading,
            replies,
        };
        CompletionService { model: Arc::new(model), key }
    }

    /// Binds and serves over plain HTTP. Over open networks, put it behind a tunnel or a
    /// proxy that speaks TLS.
    ///
    /// # Errors
    /// An address beyond loopback without a key; a port that cannot be bound.
    pub fn start(&self, address: SocketAddr) -> Result<Server, ServerError> {
        let router = router(&self.model, self.key.clone());
        let (key, worker) = (self.key.as_ref(), self.model.batcher.liveness.clone());
        Server::open(address, key, router, ConnectionLimits::default(), worker)
    }
}
