//! The API's endpoints: `/v1/completions`, `/v1/models`, `/health`.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request as HttpRequest, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event as Piece, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, extract};
use futures_util::stream;
use serde_json::{Value, json};
use tokenroute_core::{LanguageModel, ModelInfo, Vocabulary};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::ApiKey;
use crate::server::engine::{Engine, EngineConfig, Event, Job};
use crate::server::reply::{Choice, Options, completion, usage};
use crate::server::request::{Plan, Request};
use crate::server::{Refusal, Texts, check_key, check_origin};

/// Most bytes of a request.
const BODY_LIMIT: usize = 8 << 20;

/// A model ready to be served.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    info: ModelInfo,
    tokenizer_hash: String,
    texts: Box<dyn Texts>,
    key: Option<ApiKey>,
    engine: Engine,
    requests: AtomicU64,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

impl Service {
    /// Starts the model's thread. `name` should tell the weights apart: clients
    /// keep answers by it. With a key, every endpoint but `/health` wants it.
    pub fn new<M>(
        name: String,
        model: M,
        vocabulary: Vocabulary,
        texts: Box<dyn Texts>,
        key: Option<ApiKey>,
        config: EngineConfig,
    ) -> Self
    where
        M: LanguageModel + Send + 'static,
        M::State: 'static,
    {
        let info = model.info().clone();
        let tokenizer_hash = vocabulary.hash().to_owned();
        let engine = Engine::start(model, vocabulary, config);
        let requests = AtomicU64::new(0);
        let inner = Inner { name, info, tokenizer_hash, texts, key, engine, requests };
        Service { inner: Arc::new(inner) }
    }

    pub(crate) fn key(&self) -> Option<&ApiKey> {
        self.inner.key.as_ref()
    }

    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/v1/completions", post(completions))
            .route("/v1/models", get(models))
            .route_layer(from_fn_with_state(self.clone(), keyed))
            .route("/health", get(async || "ok"))
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
            .layer(from_fn_with_state(self.clone(), own))
            .with_state(self.clone())
    }
}

async fn keyed(State(service): State<Service>, request: HttpRequest, next: Next) -> Response {
    match check_key(service.key(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(denied) => Refusal::Denied(denied).into_response(),
    }
}

/// A page from elsewhere does not know the key, so the check is for servers without one.
async fn own(State(service): State<Service>, request: HttpRequest, next: Next) -> Response {
    if service.key().is_none()
        && let Err(denied) = check_origin(request.headers(), request.uri().authority())
    {
        return Refusal::Denied(denied).into_response();
    }
    next.run(request).await
}

async fn models(State(service): State<Service>) -> Json<Value> {
    let inner = &service.inner;
    Json(json!({"object": "list", "data": [{
        "id": inner.name, "object": "model", "created": 0, "owned_by": "tokenroute",
        "max_model_len": inner.info.context,
        "tokenizer_hash": inner.tokenizer_hash, "weights_hash": inner.info.weights_hash,
    }]}))
}

async fn completions(
    State(service): State<Service>,
    body: Result<Bytes, extract::rejection::BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return rejection.into_response(),
    };
    match begin(&service.inner, &body) {
        Err(refusal) => refusal.into_response(),
        Ok(running) if running.plan.stream => pieces(service.inner, running),
        Ok(running) => match whole(&service.inner, running).await {
            Ok(reply) => Json(reply).into_response(),
            Err(refusal) => refusal.into_response(),
        },
    }
}

/// A request whose prompts the engine has.
struct Running {
    plan: Plan,
    id: String,
    created: u64,
    /// What becomes of each prompt.
    events: Vec<UnboundedReceiver<Event>>,
}

fn begin(inner: &Inner, body: &[u8]) -> Result<Running, Refusal> {
    let request: Request = serde_json::from_slice(body)
        .map_err(|error| Refusal::Bad(format!("the request is not understood: {error}")))?;
    let plan = request.plan(&inner.name, &inner.info, &*inner.texts)?;
    let mut receivers = Vec::with_capacity(plan.prompts.len());
    for prompt in &plan.prompts {
        let (events, receiver) = unbounded_channel();
        let job = Job {
            prompt: prompt.clone(),
            max_tokens: plan.max_tokens,
            sampling: plan.sampling,
            top: plan.top,
            prompt_top: plan.prompt_top,
            events,
        };
        inner.engine.submit(job).map_err(|_| Refusal::Busy)?;
        receivers.push(receiver);
    }
    let number = inner.requests.fetch_add(1, Ordering::Relaxed);
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    Ok(Running { plan, id: format!("cmpl-{created}-{number}"), created, events: receivers })
}

fn options(plan: &Plan) -> Options {
    let prompt_from = plan.prompt_top.map(|(start, _)| start);
    Options { top: plan.top.is_some(), ids: plan.ids, prompt_from }
}

/// Takes one event into a choice; an error ends the reply.
fn take(choice: &mut Choice, event: Option<Event>) -> Result<(), Refusal> {
    match event {
        Some(Event::Started { cached }) => choice.cached = cached,
        Some(Event::Prompt(scored)) => choice.prompt.push(scored),
        Some(Event::Token(scored)) => choice.tokens.push(scored),
        Some(Event::Done { ended }) => choice.ended = Some(ended),
        Some(Event::Failed(message)) => return Err(Refusal::Failed(message)),
        None => return Err(Refusal::Failed("the model's thread has ended".to_owned())),
    }
    Ok(())
}

async fn whole(inner: &Inner, mut running: Running) -> Result<Value, Refusal> {
    let mut choices = Vec::with_capacity(running.events.len());
    for events in &mut running.events {
        let mut choice = Choice::default();
        while choice.ended.is_none() {
            take(&mut choice, events.recv().await)?;
        }
        choices.push(choice);
    }
    let plan = &running.plan;
    let mut said = Vec::with_capacity(choices.len());
    for (i, (choice, prompt)) in choices.iter().zip(&plan.prompts).enumerate() {
        let text = choice.text(&*inner.texts)?;
        said.push(choice.json(i, prompt, options(plan), 0, &text, &*inner.texts)?);
    }
    let mut reply = completion(&running.id, running.created, &inner.name, &said);
    reply["usage"] = usage(&plan.prompts, &choices);
    Ok(reply)
}

/// A reply in pieces: one for each token and one at each end, prompts one after
/// the other.
struct Pieces {
    inner: Arc<Inner>,
    running: Running,
    /// The prompt whose tokens are being sent, and what has come of it.
    at: usize,
    choice: Choice,
    /// Tokens and bytes of text sent of it.
    sent: (usize, usize),
    over: bool,
}

fn pieces(inner: Arc<Inner>, running: Running) -> Response {
    let choice = Choice::default();
    let start = Pieces { inner, running, at: 0, choice, sent: (0, 0), over: false };
    let stream = stream::unfold(start, async |mut pieces| {
        let piece = pieces.next().await?;
        Some((Ok::<_, Infallible>(Piece::default().data(piece)), pieces))
    });
    Sse::new(stream).into_response()
}

impl Pieces {
    /// The next piece's data; `None` after the last.
    async fn next(&mut self) -> Option<String> {
        while !self.over {
            let Some(events) = self.running.events.get_mut(self.at) else {
                self.over = true;
                return Some("[DONE]".to_owned());
            };
            let event = events.recv().await;
            let silent = matches!(event, Some(Event::Started { .. } | Event::Prompt(_)));
            let piece = take(&mut self.choice, event).and_then(|()| self.piece(silent));
            match piece {
                Ok(None) => {}
                Ok(Some(piece)) => return Some(piece.to_string()),
                Err(refusal) => {
                    self.over = true;
                    return Some(refusal.json().to_string());
                }
            }
        }
        None
    }

    /// What is new in the choice, unless there is nothing to tell.
    fn piece(&mut self, silent: bool) -> Result<Option<Value>, Refusal> {
        if silent {
            return Ok(None);
        }
        let (plan, texts) = (&self.running.plan, &*self.inner.texts);
        let text = self.choice.text(texts)?;
        let new = text.get(self.sent.1..).unwrap_or_default();
        let (prompt, from) = (&plan.prompts[self.at], self.sent.0);
        let choice = self.choice.json(self.at, prompt, options(plan), from, new, texts)?;
        let running = &self.running;
        let mut piece = completion(&running.id, running.created, &self.inner.name, &[choice]);
        self.sent = (self.choice.tokens.len(), text.len());
        if self.choice.ended.is_some() {
            let prompt = std::slice::from_ref(prompt);
            piece["usage"] = usage(prompt, std::slice::from_ref(&self.choice));
            self.at += 1;
            self.choice = Choice::default();
            self.sent = (0, 0);
        }
        Ok(Some(piece))
    }
}
