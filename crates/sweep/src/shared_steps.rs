//! What the SLM says after each prefix, kept over the sweeps of several policies. A step
//! depends on its prefix alone, so a second policy decodes only prefixes that are new.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokenroute_core::{Detail, Feed, LanguageModel, ModelError, ModelInfo, Step, TokenId};

/// An SLM that remembers its steps. Sweeps over the same questions share one; it is dropped
/// when their last policy is done. It holds one [`Step`] for each visited position, and the KV
/// state after each prompt.
///
/// While prefixes are known, the model is not called and the KV state of a sequence lags
/// behind. At the first new prefix the model reads what the state lacks in one call.
pub struct SharedSteps<'m, M: LanguageModel> {
    model: &'m M,
    known: Mutex<Known<M::State>>,
    processed: AtomicU64,
}

/// Index of a prefix in [`Known::prefixes`].
type PrefixId = usize;

/// The empty prefix.
const EMPTY: PrefixId = 0;

/// A tree of prefixes.
struct Known<S> {
    prefixes: Vec<Prefix>,
    longer: HashMap<(PrefixId, TokenId), PrefixId>,
    /// States after prompts.
    prompts: HashMap<PrefixId, S>,
}

struct Prefix {
    /// The prefix without its last token; itself, if it is empty.
    shorter: PrefixId,
    /// The last token; 0 if it is empty.
    last: TokenId,
    step: Option<Step>,
}

/// A sequence: its prefix, and a KV state of its first positions.
#[derive(Clone)]
pub struct SharedState<S> {
    prefix: PrefixId,
    len: usize,
    kv: S,
}

/// A feed with a position that is new.
struct NewPart {
    feed: usize,
    /// Whether the sequence was empty, so that this is a prompt.
    prompt: bool,
    /// The tokens that the KV state lacks.
    tokens: Vec<TokenId>,
    from: usize,
}

impl<S> Known<S> {
    /// The prefix with one more token.
    fn extended(&mut self, shorter: PrefixId, last: TokenId) -> PrefixId {
        let next = self.prefixes.len();
        let found = *self.longer.entry((shorter, last)).or_insert(next);
        if found == next {
            self.prefixes.push(Prefix { shorter, last, step: None });
        }
        found
    }

    /// The prefix without its last `count` tokens.
    fn shortened(&self, prefix: PrefixId, count: usize) -> PrefixId {
        (0..count).fold(prefix, |prefix, _| self.prefixes[prefix].shorter)
    }

    /// The last `count` tokens of a prefix.
    fn tail(&self, mut prefix: PrefixId, count: usize) -> Vec<TokenId> {
        let mut tokens = Vec::with_capacity(count);
        for _ in 0..count {
            tokens.push(self.prefixes[prefix].last);
            prefix = self.prefixes[prefix].shorter;
        }
        tokens.reverse();
        tokens
    }
}

impl<'m, M: LanguageModel> SharedSteps<'m, M> {
    /// A model that has said nothing yet.
    pub fn new(model: &'m M) -> Self {
        let empty = Prefix { shorter: EMPTY, last: 0, step: None };
        let known =
            Known { prefixes: vec![empty], longer: HashMap::new(), prompts: HashMap::new() };
        SharedSteps { model, known: Mutex::new(known), processed: AtomicU64::new(0) }
    }

    /// Positions that the model processed so far.
    pub fn processed(&self) -> u64 {
        self.processed.load(Ordering::Relaxed)
    }

    fn known(&self) -> MutexGuard<'_, Known<M::State>> {
        // A panic of the model leaves the tree whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The part of a feed for the model; `None` if all its steps are known. `prefix` is the
    /// sequence with the feed's tokens.
    fn new_part(
        &self,
        known: &Known<M::State>,
        feed: usize,
        Feed { state, tokens, from }: &mut Feed<'_, SharedState<M::State>>,
        prefix: PrefixId,
    ) -> Option<NewPart> {
        let wanted = tokens.len() - *from;
        let mut at = prefix;
        let mut all = true;
        for _ in 0..wanted {
            all &= known.prefixes[at].step.is_some();
            at = known.prefixes[at].shorter;
        }
        if all {
            return None;
        }
        let len = state.len + tokens.len();
        let mut held = self.model.positions(&state.kv);
        // From the state after the prompt, if the sequence has read no further by itself.
        for positions in (held + 1..=len - wanted).rev() {
            if let Some(kv) = known.prompts.get(&at) {
                (state.kv, held) = (kv.clone(), positions);
                break;
            }
            at = known.prefixes[at].shorter;
        }
        Some(NewPart {
            feed,
            prompt: state.len == 0,
            tokens: known.tail(prefix, len - held),
            from: len - held - wanted,
        })
    }
}

impl<M: LanguageModel> LanguageModel for SharedSteps<'_, M> {
    type State = SharedState<M::State>;

    fn info(&self) -> &ModelInfo {
        self.model.info()
    }

    fn start(&self) -> Self::State {
        SharedState { prefix: EMPTY, len: 0, kv: self.model.start() }
    }

    fn positions(&self, state: &Self::State) -> usize {
        state.len
    }

    fn truncate(&self, state: &mut Self::State, len: usize) {
        if len < state.len {
            state.prefix = self.known().shortened(state.prefix, state.len - len);
            state.len = len;
            self.model.truncate(&mut state.kv, len);
        }
    }

    /// As the model's, but without logits, which a sweep does not read.
    fn advance(
        &self,
        feeds: &mut [Feed<'_, Self::State>],
        detail: Detail,
    ) -> Result<Vec<Vec<Step>>, ModelError> {
        let mut known = self.known();
        let mut ends = Vec::with_capacity(feeds.len());
        let mut new = Vec::new();
        for (i, feed) in feeds.iter_mut().enumerate() {
            let (tokens, from) = (feed.tokens.len(), feed.from);
            if from >= tokens {
                return Err(ModelError::BadFeed { tokens, from });
            }
            let mut end = feed.state.prefix;
            for &token in feed.tokens {
                end = known.extended(end, token);
            }
            new.extend(self.new_part(&known, i, feed, end));
            ends.push(end);
        }
        self.process(&mut known, feeds, &ends, &new)?;
        let mut steps = Vec::with_capacity(feeds.len());
        for (feed, end) in feeds.iter_mut().zip(ends) {
            let mut at = end;
            let mut said = Vec::new();
            for _ in feed.from..feed.tokens.len() {
                said.extend(known.prefixes[at].step.as_ref().map(|step| of(step, detail)));
                at = known.prefixes[at].shorter;
            }
            said.reverse();
            steps.push(said);
            feed.state.prefix = end;
            feed.state.len += feed.tokens.len();
        }
        Ok(steps)
    }
}

impl<M: LanguageModel> SharedSteps<'_, M> {
    /// Runs the model over the new parts and remembers what it says.
    fn process(
        &self,
        known: &mut Known<M::State>,
        feeds: &mut [Feed<'_, SharedState<M::State>>],
        ends: &[PrefixId],
        new: &[NewPart],
    ) -> Result<(), ModelError> {
        if new.is_empty() {
            return Ok(());
        }
        let mut parts = new.iter().peekable();
        let mut read: Vec<Feed<'_, M::State>> = Vec::with_capacity(new.len());
        for (i, feed) in feeds.iter_mut().enumerate() {
            if let Some(part) = parts.next_if(|part| part.feed == i) {
                let state = &mut feed.state.kv;
                read.push(Feed { state, tokens: &part.tokens, from: part.from });
            }
        }
        let said = self.model.advance(&mut read, Detail::Full)?;
        for (part, said) in new.iter().zip(said) {
            self.processed.fetch_add(part.tokens.len() as u64, Ordering::Relaxed);
            let end = ends[part.feed];
            let mut at = end;
            for step in said.into_iter().rev() {
                known.prefixes[at].step = Some(step);
                at = known.prefixes[at].shorter;
            }
            if part.prompt {
                known.prompts.insert(end, feeds[part.feed].state.kv.clone());
            }
        }
        Ok(())
    }
}

/// A remembered step in the wanted detail.
fn of(step: &Step, detail: Detail) -> Step {
    match detail {
        Detail::Token => Step {
            top: Vec::new(),
            top_logits: Vec::new(),
            entropy: 0.0,
            rest: 1.0,
            hidden: [].into(),
            ..step.clone()
        },
        Detail::Full | Detail::Logits => step.clone(),
    }
}
