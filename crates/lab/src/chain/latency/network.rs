//! The LLM behind a network: a real server, a link before it, and a real client, in this
//! process.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokenroute_core::{Ask, Llm, TokenId, Vocabulary};
use tokenroute_llm::http::{Api, Http, HttpConfig};
use tokenroute_llm::link::{Link, LinkConfig};
use tokenroute_model::{Decoder, ModelCard, Tokenizer};
use tokenroute_server::completions::{BatchConfig, CompletionService};
use tokenroute_server::net::Server;
use tokenroute_sweep::latency::Network;

use crate::chain::ExperimentLlm;

/// Longest wait for a reply. Slow replies are measured, not failed.
const PATIENCE: Duration = Duration::from_secs(120);
const NAME: &str = "llm";

/// The parts of the LLM's server, which is started several times.
pub struct Hosted {
    decoder: Arc<Decoder>,
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
}

/// A server without cached prefixes, the link to it, and a client with open connections.
/// Dropped in this order.
pub struct Cloud {
    /// The client.
    pub http: Http,
    /// The link that carries its bytes.
    pub link: Link,
    _server: Server,
}

impl Hosted {
    /// Takes the LLM of an experiment, which must be in process and share the SLM's tokenizer.
    pub fn new(llm: ExperimentLlm, slm: &ModelCard) -> Result<Self> {
        let llm = match llm {
            ExperimentLlm::Here(llm) => llm,
            ExperimentLlm::Other(_) => {
                bail!("the models have different tokenizers; `latency` sends token ids")
            }
            ExperimentLlm::There(_) => {
                bail!("pair.llm is a URL; `latency` puts a network before a model that is here")
            }
        };
        Ok(Hosted {
            decoder: Arc::new(llm.into_model()),
            tokenizer: slm.tokenizer.clone(),
            vocabulary: slm.vocabulary.clone(),
        })
    }

    /// Puts the LLM behind a network. `token` is any token of it.
    pub fn behind(&self, network: Network, connections: usize, token: TokenId) -> Result<Cloud> {
        let service = CompletionService::new(
            NAME.to_owned(),
            Arc::clone(&self.decoder),
            self.vocabulary.clone(),
            Box::new(self.tokenizer.clone()),
            None,
            BatchConfig::default(),
        );
        let server = service.start((Ipv4Addr::LOCALHOST, 0).into())?;
        let config = LinkConfig {
            round_trip: Duration::from_secs_f64(network.round_trip_ms / 1e3),
            bits_per_second: network.megabits.map(|megabits| megabits * 1e6),
        };
        let link = Link::start(server.address(), config)?;
        let mut config = HttpConfig::new(&format!("http://{}", link.address()));
        config.api = Some(Api::Tokenroute);
        config.model = Some(NAME.to_owned());
        config.connect = PATIENCE;
        config.first_byte = PATIENCE;
        config.total = PATIENCE;
        config.connections = connections;
        let http = Http::new(config, self.vocabulary.clone(), None)?;
        // A device opens its connections before its first request.
        let context = [token];
        let asks = vec![Ask::greedy(&context, 1); connections];
        http.ask(&asks).into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(Cloud { http, link, _server: server })
    }
}

impl Cloud {
    /// Bytes sent up and down so far.
    pub fn carried(&self) -> [u64; 2] {
        let carried = self.link.carried();
        [carried.up, carried.down]
    }
}
