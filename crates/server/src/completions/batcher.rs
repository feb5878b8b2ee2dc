//! Continuous batching on the model's own thread: sequences join and leave between steps,
//! and every step runs all of them in one batch.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;

use tokenroute_core::{Detail, Feed, LanguageModel, PrefixCache, Side, Step, TokenId, Vocabulary};

use crate::completions::score::score;
use crate::completions::sequence::{NewSequence, SequenceEvent};
use crate::net::MemoryLimit;
use crate::net::liveness::Liveness;
use crate::net::refusal::Refusal;

/// Most positions of one sequence in a step, and of all sequences with more than one position.
const CHUNK: usize = 512;
pub(super) const STEP: usize = 4096;

/// The same for a step with all logits, which take much memory.
const SCORED_CHUNK: usize = 16;
const SCORED_STEP: usize = 64;

/// Limits of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchConfig {
    /// Most sequences in one batch.
    pub batch: usize,
    /// Most sequences that wait to join it; more are refused.
    pub queue: usize,
    /// Most positions of finished sequences kept in the KV cache.
    pub kept_positions: usize,
    /// Bytes that the process may use. Requests beyond it are refused.
    pub memory: Option<MemoryLimit>,
}

impl Default for BatchConfig {
    fn default() -> Self {
        BatchConfig { batch: 32, queue: 256, kept_positions: 65536, memory: None }
    }
}

/// A handle on the model's thread, which ends with the last handle.
#[derive(Debug, Clone)]
pub(crate) struct Batcher {
    waiting: SyncSender<NewSequence>,
    /// Whether the thread runs.
    pub(crate) liveness: Liveness,
}

impl Batcher {
    pub(crate) fn start<M>(model: M, vocabulary: Vocabulary, config: BatchConfig) -> Batcher
    where
        M: LanguageModel + Send + 'static,
        M::State: 'static,
    {
        let (waiting, queue) = sync_channel(config.queue);
        let liveness = Liveness::default();
        let alive = liveness.guard();
        let work = move || {
            let _alive = alive;
            let kept = PrefixCache::new(config.kept_positions);
            Batch { model, vocabulary, config, queue, kept, live: Vec::new() }.run();
        };
        // A thread that cannot start drops its guard.
        drop(thread::Builder::new().name("batch".to_owned()).spawn(work));
        Batcher { waiting, liveness }
    }

    /// Queues a sequence.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if the queue is full, [`Refusal::WorkerEnded`] if the thread has ended.
    pub(crate) fn submit(&self, new: NewSequence) -> Result<(), Refusal> {
        self.waiting.try_send(new).map_err(|error| match error {
            TrySendError::Full(_) => Refusal::Busy,
            TrySendError::Disconnected(_) => Refusal::WorkerEnded,
        })
    }
}

/// A sequence in the batch.
struct Sequence<S> {
    new: NewSequence,
    /// Prompt and generated tokens.
    tokens: Vec<TokenId>,
    /// How many of them the state holds.
    held: usize,
    state: S,
    /// How many are fed in this step.
    feeding: usize,
    made: usize,
}

/// The batch, as the model's thread runs it.
struct Batch<M: LanguageModel> {
    model: M,
    vocabulary: Vocabulary,
    config: BatchConfig,
    queue: Receiver<NewSequence>,
    kept: PrefixCache<M::State>,
    live: Vec<Sequence<M::State>>,
}

impl<M: LanguageModel> Batch<M> {
    fn run(mut self) {
        while self.admit() {
            for detail in [Detail::Token, Detail::Logits] {
                self.step(detail);
            }
        }
    }

    /// Admits waiting sequences; sleeps while there is nothing to do. False once no more
    /// can come.
    fn admit(&mut self) -> bool {
        self.live.retain(|l| !l.new.events.is_closed());
        while self.live.len() < self.config.batch.max(1) {
            let new = if self.live.is_empty() {
                match self.queue.recv() {
                    Ok(new) => new,
                    Err(_) => return false,
                }
            } else {
                match self.queue.try_recv() {
                    Ok(new) => new,
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            };
            // The step after a prefix comes from its last token, which is fed again.
            let most = new.prompt_top.map_or(new.prompt.len(), |(from, _)| from) - 1;
            let (state, held) = self.kept.fork(&self.model, &new.prompt, most);
            if new.events.send(SequenceEvent::Started { cached: held }).is_ok() {
                let tokens = new.prompt.clone();
                self.live.push(Sequence { new, tokens, held, state, feeding: 0, made: 0 });
            }
        }
        true
    }

    /// One call of the model for all sequences that need this much detail.
    fn step(&mut self, detail: Detail) {
        let mut now: Vec<Sequence<M::State>> =
            self.live.extract_if(.., |l| l.detail() == detail).collect();
        if now.is_empty() {
            return;
        }
        let (chunk, all) = match detail {
            Detail::Token => (CHUNK, STEP),
            Detail::Full | Detail::Logits => (SCORED_CHUNK, SCORED_STEP),
        };
        let chunk = (all / now.len()).clamp(1, chunk);
        let mut feeds = Vec::with_capacity(now.len());
        for l in &mut now {
            // The last position waits for the step with all logits.
            let later = usize::from(detail == Detail::Token && l.new.wants_logits());
            l.feeding = (l.tokens.len() - l.held - later).min(chunk);
            let tokens = &l.tokens[l.held..l.held + l.feeding];
            // Generated tokens come from the last position alone.
            let scored = l.new.prompt_top.map_or(usize::MAX, |(from, _)| from - 1);
            let from = scored.saturating_sub(l.held).min(l.feeding - 1);
            feeds.push(Feed { state: &mut l.state, tokens, from });
        }
        let froms: Vec<usize> = feeds.iter().map(|feed| feed.from).collect();
        let made = self.model.advance_each(&mut feeds, detail);
        for ((l, made), from) in now.into_iter().zip(made).zip(froms) {
            match made {
                Ok(steps) => self.apply(l, from, &steps),
                Err(error) => drop(l.new.events.send(SequenceEvent::Failed(error.to_string()))),
            }
        }
    }

    /// Applies the model's steps to one sequence.
    fn apply(&mut self, mut l: Sequence<M::State>, from: usize, steps: &[Step]) {
        let first = l.held + from;
        l.held += l.feeding;
        if let Some((start, top)) = l.new.prompt_top {
            for (at, step) in (first + 1..).zip(steps) {
                if at >= start && at < l.new.prompt.len() {
                    drop(l.new.events.send(SequenceEvent::Prompt(score(
                        step,
                        l.tokens[at],
                        Some(top),
                    ))));
                }
            }
        }
        if l.held < l.tokens.len() {
            self.live.push(l);
            return;
        }
        let Some(step) = steps.last() else { return };
        let token = step.said(l.new.sampling, Side::Llm, l.tokens.len());
        if l.made < l.new.max_tokens {
            drop(l.new.events.send(SequenceEvent::Token(score(step, token, l.new.top))));
            l.tokens.push(token);
            l.made += 1;
        }
        let ended = l.made > 0 && self.vocabulary.is_end(token);
        if ended || l.made >= l.new.max_tokens || l.tokens.len() > self.model.info().context {
            let NewSequence { events, memory, .. } = l.new;
            l.tokens.truncate(l.held);
            self.kept.keep(l.tokens, l.state);
            // It is free before the client can ask again.
            drop(memory);
            drop(events.send(SequenceEvent::Done { ended }));
        } else {
            self.live.push(l);
        }
    }
}

impl<S> Sequence<S> {
    fn detail(&self) -> Detail {
        let scoring = self.new.prompt_top.is_some() && self.held < self.new.prompt.len();
        let making = self.new.wants_logits() && self.tokens.len() - self.held <= SCORED_CHUNK;
        if scoring || making { Detail::Logits } else { Detail::Token }
    }
}
