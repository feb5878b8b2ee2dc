//! The model's own thread: sequences come and go between steps, and every step
//! runs all of them in one batch.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;

use tokenroute_core::{
    Detail, Feed, LanguageModel, PrefixCache, Sampling, Side, Step, TokenId, Vocabulary,
};
use tokio::sync::mpsc::UnboundedSender;

use crate::server::score::{Scored, score};

/// Positions given to the model at once for one sequence.
const CHUNK: usize = 512;

/// The same where all logits are wanted, which are many.
const SCORED_CHUNK: usize = 16;

/// Limits of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineConfig {
    /// Most sequences in one batch.
    pub batch: usize,
    /// Most sequences waiting to join it; more are turned away.
    pub queue: usize,
    /// Most positions of finished sequences kept for the next request.
    pub kept_positions: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig { batch: 32, queue: 256, kept_positions: 65536 }
    }
}

/// One sequence to generate.
#[derive(Debug)]
pub(crate) struct Job {
    /// At least one token, all in the vocabulary.
    pub(crate) prompt: Vec<TokenId>,
    pub(crate) max_tokens: usize,
    pub(crate) sampling: Option<Sampling>,
    /// How many of the most probable tokens come with each generated one.
    pub(crate) top: Option<usize>,
    /// The same for prompt tokens from the given position on, which is at least 1.
    pub(crate) prompt_top: Option<(usize, usize)>,
    pub(crate) events: UnboundedSender<Event>,
}

/// What becomes of a job, in order.
#[derive(Debug)]
pub(crate) enum Event {
    /// Work begins; so many positions of the prompt were known.
    Started { cached: usize },
    /// The next prompt token, scored.
    Prompt(Scored),
    /// The next generated token.
    Token(Scored),
    /// The last token was an end token, or the limit is reached.
    Done { ended: bool },
    /// The model failed.
    Failed(String),
}

/// A handle on the model's thread, which ends with the last handle.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    jobs: SyncSender<Job>,
}

impl Engine {
    pub(crate) fn start<M>(model: M, vocabulary: Vocabulary, config: EngineConfig) -> Engine
    where
        M: LanguageModel + Send + 'static,
        M::State: 'static,
    {
        let (jobs, queue) = sync_channel(config.queue);
        thread::spawn(move || {
            let kept = PrefixCache::new(config.kept_positions);
            Loop { model, vocabulary, config, queue, kept, live: Vec::new() }.run();
        });
        Engine { jobs }
    }

    /// Queues a job; gives it back if the queue is full.
    pub(crate) fn submit(&self, job: Job) -> Result<(), Job> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
        })
    }
}

struct Live<S> {
    job: Job,
    /// Prompt and generated tokens.
    tokens: Vec<TokenId>,
    /// How many of them the state holds.
    held: usize,
    state: S,
    /// How many are fed in this step.
    feeding: usize,
    made: usize,
}

struct Loop<M: LanguageModel> {
    model: M,
    vocabulary: Vocabulary,
    config: EngineConfig,
    queue: Receiver<Job>,
    kept: PrefixCache<M::State>,
    live: Vec<Live<M::State>>,
}

impl<M: LanguageModel> Loop<M> {
    fn run(mut self) {
        while self.admit() {
            for detail in [Detail::Token, Detail::Logits] {
                self.step(detail);
            }
        }
    }

    /// Lets waiting jobs in; sleeps if there is nothing to do. False when no
    /// more can come.
    fn admit(&mut self) -> bool {
        self.live.retain(|l| !l.job.events.is_closed());
        while self.live.len() < self.config.batch.max(1) {
            let job = if self.live.is_empty() {
                match self.queue.recv() {
                    Ok(job) => job,
                    Err(_) => return false,
                }
            } else {
                match self.queue.try_recv() {
                    Ok(job) => job,
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            };
            // The step after a prefix comes from its last token, which is fed anew.
            let most = job.prompt_top.map_or(job.prompt.len(), |(from, _)| from) - 1;
            let (state, held) = self.kept.fork(&self.model, &job.prompt, most);
            if job.events.send(Event::Started { cached: held }).is_ok() {
                let tokens = job.prompt.clone();
                self.live.push(Live { job, tokens, held, state, feeding: 0, made: 0 });
            }
        }
        true
    }

    /// One call of the model for all sequences that want this much detail.
    fn step(&mut self, detail: Detail) {
        let mut now: Vec<Live<M::State>> =
            self.live.extract_if(.., |l| l.detail() == detail).collect();
        if now.is_empty() {
            return;
        }
        let chunk = if detail == Detail::Token { CHUNK } else { SCORED_CHUNK };
        let mut feeds = Vec::with_capacity(now.len());
        for l in &mut now {
            // The last position waits for its turn with all logits.
            let later = usize::from(detail == Detail::Token && l.job.wants_logits());
            l.feeding = (l.tokens.len() - l.held - later).min(chunk);
            let tokens = &l.tokens[l.held..l.held + l.feeding];
            // Generated tokens come from the last position alone.
            let scored = l.job.prompt_top.map_or(usize::MAX, |(from, _)| from - 1);
            let from = scored.saturating_sub(l.held).min(l.feeding - 1);
            feeds.push(Feed { state: &mut l.state, tokens, from });
        }
        let froms: Vec<usize> = feeds.iter().map(|feed| feed.from).collect();
        match self.model.advance(&mut feeds, detail) {
            Err(error) => {
                for l in now {
                    drop(l.job.events.send(Event::Failed(error.to_string())));
                }
            }
            Ok(steps) => {
                for ((l, steps), from) in now.into_iter().zip(steps).zip(froms) {
                    self.heed(l, from, &steps);
                }
            }
        }
    }

    /// Takes in what the model said along one sequence.
    fn heed(&mut self, mut l: Live<M::State>, from: usize, steps: &[Step]) {
        let first = l.held + from;
        l.held += l.feeding;
        if let Some((start, top)) = l.job.prompt_top {
            for (at, step) in (first + 1..).zip(steps) {
                if at >= start && at < l.job.prompt.len() {
                    drop(l.job.events.send(Event::Prompt(score(step, l.tokens[at], Some(top)))));
                }
            }
        }
        if l.held < l.tokens.len() {
            self.live.push(l);
            return;
        }
        let Some(step) = steps.last() else { return };
        let token = step.said(l.job.sampling, Side::Llm, l.tokens.len());
        if l.made < l.job.max_tokens {
            drop(l.job.events.send(Event::Token(score(step, token, l.job.top))));
            l.tokens.push(token);
            l.made += 1;
        }
        let ended = l.made > 0 && self.vocabulary.is_end(token);
        if ended || l.made >= l.job.max_tokens || l.tokens.len() > self.model.info().context {
            drop(l.job.events.send(Event::Done { ended }));
            l.tokens.truncate(l.held);
            self.kept.keep(l.tokens, l.state);
        } else {
            self.live.push(l);
        }
    }
}

impl Job {
    /// Whether the last position of what is read must come with all logits.
    fn wants_logits(&self) -> bool {
        self.top.is_some() || self.sampling.is_some()
    }
}

impl<S> Live<S> {
    fn detail(&self) -> Detail {
        let scoring = self.job.prompt_top.is_some() && self.held < self.job.prompt.len();
        let making = self.job.wants_logits() && self.tokens.len() - self.held <= SCORED_CHUNK;
        if scoring || making { Detail::Logits } else { Detail::Token }
    }
}
