//! The LLM over HTTP as the runtime calls it. Every ask has a deadline and is retried if
//! that may help. While the server is down, asks fail at once.

mod find;
mod retry;

use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokenroute_core::{Ask, Bytes, Continuation, Llm, LlmError, Reply, TokenId, Vocabulary};

use crate::http::breaker::Breaker;
use crate::http::hedge::hedged;
use crate::http::spend::{Bill, Purse};
use crate::http::transport::{Counters, Failure, Transport};
use crate::http::wire::{Facts, Listed, Query, models};
use crate::http::{Api, HttpConfig, HttpError, Spelling};
use crate::together::together;

pub use find::{Found, PROBE, Takes};

/// API and model of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// Its API.
    pub api: Api,
    /// The model's name there.
    pub model: String,
    /// Most positions of a sequence there, if the server says so.
    pub context: Option<usize>,
}

/// Work done so far, over all calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// HTTP requests, retries included.
    pub requests: u64,
    /// Second requests sent because the first was slow.
    pub hedges: u64,
    /// Bytes of request and reply bodies.
    pub bytes: Bytes,
}

/// The work done since `before`.
impl Sub for Traffic {
    type Output = Traffic;

    fn sub(self, before: Traffic) -> Traffic {
        Traffic {
            requests: self.requests - before.requests,
            hedges: self.hedges - before.hedges,
            bytes: self.bytes - before.bytes,
        }
    }
}

/// Longest time for one ask, whatever the configuration says: a day.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The end of a time that begins now.
pub(crate) fn after(time: Duration) -> Instant {
    Instant::now() + time.min(LONGEST)
}

/// Most bytes of a list of models.
const LIST_LIMIT: usize = 16 << 20;

/// Most models that an error names.
const SHOWN: usize = 12;

/// Names of models for an error.
fn names(listed: &[Listed]) -> String {
    let shown: Vec<_> = listed.iter().take(SHOWN).map(|model| model.id.as_str()).collect();
    match listed.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// An LLM behind HTTP. Clones share its connections and counters.
#[derive(Debug, Clone)]
pub struct Http {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: HttpConfig,
    transport: Transport,
    facts: Facts,
    server: OnceLock<ServerInfo>,
    breaker: Breaker,
    hedges: AtomicU64,
    purse: Option<Purse>,
}

impl Http {
    /// A client for the pair with this vocabulary. `spelling` is needed only
    /// for servers that answer with text alone. Nothing is sent yet.
    ///
    /// # Errors
    /// A URL that cannot be asked; a system without threads for it.
    pub fn new(
        config: HttpConfig,
        vocabulary: Vocabulary,
        spelling: Option<Spelling>,
    ) -> Result<Self, HttpError> {
        if config.spend.is_some() && config.api.is_some() {
            return Err(HttpError::UnlimitedApi);
        }
        let purse = config.spend.as_ref().map(Purse::new).transpose()?;
        let transport = Transport::new(&config, config.base()?)?;
        let server = OnceLock::new();
        // Text needs no API of token ids.
        let api = config.api.or(config.text.map(|_| Api::OpenAi));
        if let (Some(api), Some(model)) = (api, &config.model) {
            server.get_or_init(|| ServerInfo { api, model: model.clone(), context: None });
        }
        let breaker = Breaker::new(config.breaker);
        let facts = Facts { vocabulary, spelling };
        let hedges = AtomicU64::new(0);
        let inner = Inner { config, transport, facts, server, breaker, hedges, purse };
        Ok(Http { inner: Arc::new(inner) })
    }

    /// API and model of the server. The server is asked once; later calls reuse its answer.
    ///
    /// # Errors
    /// A server that cannot be asked or has no such model; a tokenizer other than the
    /// pair's, if the server names it.
    pub fn server(&self) -> Result<ServerInfo, HttpError> {
        let inner = &self.inner;
        match inner.server.get() {
            Some(server) => Ok(server.clone()),
            None => inner.read_info(after(inner.config.total)),
        }
    }

    /// Makes `count` calls, as many at once as there are connections.
    fn many(
        &self,
        count: usize,
        answer: impl Fn(usize) -> Result<Reply, LlmError> + Sync,
    ) -> Vec<Result<Reply, LlmError>> {
        let replies = together(self.inner.config.connections, count, answer);
        let lost = || Err(LlmError::Unavailable("its worker was lost".to_owned()));
        replies.into_iter().map(|reply| reply.unwrap_or_else(lost)).collect()
    }

    /// Makes attempts before a deadline until one succeeds or no more may help.
    pub(crate) fn persist<T>(
        &self,
        deadline: Instant,
        mut attempt: impl FnMut(Instant) -> Result<T, Failure>,
    ) -> Result<T, LlmError> {
        self.inner.persist(deadline, || attempt(deadline))
    }

    /// As [`Http::server`], within an attempt.
    pub(crate) fn server_within(&self, deadline: Instant) -> Result<ServerInfo, Failure> {
        self.inner.server_within(deadline)
    }

    pub(crate) fn config(&self) -> &HttpConfig {
        &self.inner.config
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.inner.transport
    }

    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        &self.inner.facts.vocabulary
    }

    /// Tokens and money so far, if there are prices.
    #[must_use]
    pub fn bill(&self) -> Option<Bill> {
        self.inner.purse.as_ref().map(Purse::bill)
    }

    pub(crate) fn purse(&self) -> Option<&Purse> {
        self.inner.purse.as_ref()
    }

    /// Work done so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let counters = &self.inner.transport.counters;
        Traffic {
            requests: counters.requests.load(Ordering::Relaxed),
            hedges: self.inner.hedges.load(Ordering::Relaxed),
            bytes: counters.bytes(),
        }
    }
}

impl Llm for Http {
    /// Each ask is a request of its own, at most `connections` at once, and has
    /// its own deadline from when its turn comes.
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        self.many(asks.len(), |i| self.inner.answer(&Query::from(&asks[i])))
    }

    /// One request each, where the server's reply has ids and they are those that one
    /// request for each token would give; else one token of many.
    fn continuations(
        &self,
        wanted: &[Continuation<'_>],
        _: &Vocabulary,
    ) -> Vec<Result<Reply, LlmError>> {
        let answer = |i: usize| {
            let Continuation { context, tokens, sampling, .. } = wanted[i];
            let (from, tokens) = (context.len(), tokens.max(1));
            self.inner.answer(&Query { context, from, tokens, sampling, top: 0 })
        };
        self.many(wanted.len(), answer)
    }

    fn forget(&self, _: &[TokenId]) {}
}

impl Inner {
    /// Reads API and model from `/v1/models`.
    fn read_info(&self, deadline: Instant) -> Result<ServerInfo, HttpError> {
        let url = self.transport.base();
        let model = self.listed(deadline)?;
        let ours = self.facts.vocabulary.hash();
        let differs = |hash: &&str| self.config.text.is_none() && *hash != ours;
        if let Some(theirs) = model.tokenizer_hash.as_deref().filter(differs) {
            return Err(HttpError::OtherTokenizer {
                model: model.id,
                url: url.to_owned(),
                theirs: theirs.to_owned(),
                ours: ours.to_owned(),
            });
        }
        let api = self.config.api.unwrap_or_else(|| Api::of_owner(&model.owned_by));
        let info = ServerInfo { api, model: model.id, context: model.max_model_len };
        Ok(self.server.get_or_init(|| info).clone())
    }

    /// The configured model as the server lists it.
    fn listed(&self, deadline: Instant) -> Result<Listed, HttpError> {
        let read = |bytes: &[u8]| self.choose(models(bytes)?);
        self.transport
            .exchange("/v1/models", None, LIST_LIMIT, deadline, &Counters::default(), read)
            .map_err(|failure| HttpError::Llm(failure.error))
    }

    /// The configured model among those that the server lists.
    fn choose(&self, listed: Vec<Listed>) -> Result<Listed, LlmError> {
        let url = self.transport.base();
        let (names, wanted) = (names(&listed), self.config.model.as_deref());
        let is_wanted = |model: &Listed| wanted.is_none_or(|name| model.id == name);
        let Some(model) = listed.into_iter().find(is_wanted) else {
            let wanted = wanted.unwrap_or("any");
            return Err(LlmError::Refused(format!("{url} has no model {wanted}; it has {names}")));
        };
        // A model's name goes into reports and caches unchanged.
        let texts = [Some(&model.id), model.tokenizer_hash.as_ref()];
        if texts.into_iter().flatten().any(|text| self.transport.gives_key_away(text)) {
            return Err(LlmError::Refused(format!("{url} names its model by the API key")));
        }
        Ok(model)
    }

    /// Answers one query within its time.
    fn answer(self: &Arc<Self>, ask: &Query<'_>) -> Result<Reply, LlmError> {
        let deadline = after(self.config.total);
        if ask.from == 0 || ask.from > ask.context.len() {
            let (from, tokens) = (ask.from, ask.context.len());
            return Err(LlmError::Refused(format!(
                "an ask from {from} of {tokens} tokens; expected 1 to {tokens}"
            )));
        }
        if self.purse.is_some() {
            return Err(LlmError::Refused(HttpError::UnlimitedApi.to_string()));
        }
        let bill = Arc::new(Counters::default());
        let reply = self.persist(deadline, || self.attempt(ask, deadline, &bill))?;
        Ok(Reply { bytes: bill.bytes(), ..reply })
    }

    /// One attempt, hedged by a second request if the first is slow.
    fn attempt(
        self: &Arc<Self>,
        query: &Query<'_>,
        deadline: Instant,
        bill: &Arc<Counters>,
    ) -> Result<Reply, Failure> {
        let Some(hedge) = self.config.hedge else { return self.once(query, deadline, bill) };
        let Query { context, from, tokens, sampling, top } = *query;
        let (inner, bill): (Arc<Self>, _) = (Arc::clone(self), Arc::clone(bill));
        let context: Arc<[TokenId]> = context.into();
        let attempt = move || {
            let query = Query { context: &context, from, tokens, sampling, top };
            inner.once(&query, deadline, &bill)
        };
        hedged(hedge, attempt, || {
            self.hedges.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// API and model of the server, which is asked if need be.
    fn server_within(&self, deadline: Instant) -> Result<ServerInfo, Failure> {
        if let Some(server) = self.server.get() {
            return Ok(server.clone());
        }
        self.read_info(deadline).map_err(|error| match error {
            HttpError::Llm(error @ LlmError::Refused(_)) => Failure::lasting(error),
            HttpError::Llm(error) => Failure::passing(error),
            other => Failure::lasting(LlmError::Refused(other.to_string())),
        })
    }

    /// Asks the server once, or once for each position if it answers one at a time.
    fn once(
        &self,
        query: &Query<'_>,
        deadline: Instant,
        bill: &Counters,
    ) -> Result<Reply, Failure> {
        let server = self.server_within(deadline)?;
        let Query { context, from, tokens, sampling, top } = *query;
        if top > 0 && !server.api.lists_probabilities() {
            return Err(Failure::lasting(LlmError::Refused(format!(
                "the API {} gives no log-probabilities by token id; use vLLM or `tokenroute cloud`",
                server.api
            ))));
        }
        let tokens = if server.api.relays(sampling) { tokens } else { 1 };
        if from == context.len() || server.api.scores(sampling) {
            return self.query(&server, &Query { tokens, ..*query }, deadline, bill);
        }
        let mut whole = Reply::default();
        for end in from..=context.len() {
            let query = Query::from(&Ask::next(&context[..end], sampling).with_top(top));
            let reply = self.query(&server, &query, deadline, bill)?;
            whole.tokens.extend(reply.tokens);
            whole.top.extend(reply.top);
            whole.positions += reply.positions;
        }
        Ok(whole)
    }

    fn query(
        &self,
        server: &ServerInfo,
        query: &Query<'_>,
        deadline: Instant,
        bill: &Counters,
    ) -> Result<Reply, Failure> {
        let body = server.api.body(&server.model, query);
        let read = |bytes: &[u8]| server.api.read(bytes, query, &self.facts);
        let (path, most) = (server.api.path(), query.reply_limit());
        self.transport.exchange(path, Some(&body), most, deadline, bill, read)
    }
}
