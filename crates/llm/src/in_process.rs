//! A local model as the LLM. Asks that extend what the model has already read
//! pay only for what is new; what it has already answered is free.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokenroute_core::{
    Ask, Detail, Feed, LanguageModel, Llm, LlmError, ModelError, Reply, Sampling, Side, TokenId,
};

use crate::prefixes::{Prefixes, shared};

/// Most positions given to the model in one call.
const POSITIONS_PER_CALL: usize = 8192;

/// Prompts kept unless told otherwise.
const PROMPTS: usize = 1024;

/// A local model behind [`Llm`]. It keeps, per prompt, the model's states and
/// answers, so that [`Reply::positions`] counts only what is processed now.
/// Prompts never share what they keep, so the cost of one question does not
/// depend on the others. Calls from several threads wait for each other.
#[derive(Debug)]
pub struct InProcess<M: LanguageModel> {
    model: M,
    prompts: usize,
    kept: Mutex<Kept<M::State>>,
}

/// Everything kept, by the context that came first ("root"): the prompt, or the
/// prompt and some committed tokens if the first ask came late.
#[derive(Debug)]
struct Kept<S> {
    roots: BTreeMap<Vec<TokenId>, Root<S>>,
    clock: u64,
}

#[derive(Debug)]
struct Root<S> {
    used: u64,
    prefixes: Prefixes<S>,
}

/// Work for one ask that its root cannot answer yet.
struct Job<S> {
    ask: usize,
    root: Vec<TokenId>,
    /// The context up to the last unanswered position.
    tokens: Vec<TokenId>,
    /// Length of the first unanswered prefix.
    from: usize,
    sampling: Option<Sampling>,
    /// Positions that `state` already holds.
    held: usize,
    /// Number of the kept state that `state` was forked from.
    fork_of: Option<u32>,
    state: S,
}

impl<M: LanguageModel> InProcess<M> {
    /// Puts a model behind [`Llm`], keeping up to 1024 prompts.
    pub fn new(model: M) -> Self {
        Self::with_prompts(model, PROMPTS)
    }

    /// The same, keeping up to `prompts` prompts; the least recently used goes
    /// first. At least one is kept.
    pub fn with_prompts(model: M, prompts: usize) -> Self {
        let kept = Mutex::new(Kept { roots: BTreeMap::new(), clock: 0 });
        InProcess { model, prompts: prompts.max(1), kept }
    }

    /// The model itself.
    pub fn model(&self) -> &M {
        &self.model
    }

    fn kept(&self) -> MutexGuard<'_, Kept<M::State>> {
        // The cache is only written after the model succeeded, so a panic
        // elsewhere leaves it whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses by itself what would make the whole batch fail.
    fn check(&self, ask: &Ask<'_>) -> Result<(), ModelError> {
        let info = self.model.info();
        if ask.from == 0 || ask.from > ask.context.len() {
            return Err(ModelError::BadFeed { tokens: ask.context.len(), from: ask.from });
        }
        if ask.context.len() > info.context {
            return Err(ModelError::ContextOverrun {
                positions: ask.context.len(),
                context: info.context,
                model: info.name.clone(),
            });
        }
        match ask.context.iter().find(|&&t| t as usize >= info.vocabulary) {
            Some(&token) => Err(ModelError::TokenOutOfRange {
                token,
                vocabulary: info.vocabulary,
                model: info.name.clone(),
            }),
            None => Ok(()),
        }
    }

    /// What is still to be done for an ask; `None` if all is known.
    fn job(
        &self,
        kept: &Kept<M::State>,
        i: usize,
        root: &[TokenId],
        ask: &Ask<'_>,
    ) -> Option<Job<M::State>> {
        let prefixes = &kept.roots.get(root)?.prefixes;
        let known = prefixes.answers(ask.context, ask.from, ask.sampling);
        let from = ask.from + known.iter().position(Option::is_none)?;
        let to = ask.from + known.iter().rposition(Option::is_none)?;
        let tokens = ask.context[..to].to_vec();
        // The step after a prefix comes from its last token, which is thus processed anew.
        let (held, fork_of, state) = match prefixes.nearest(&tokens[..from - 1]) {
            Some((held, id, state)) => {
                let mut state = state.clone();
                self.model.truncate(&mut state, held);
                (held, Some(id), state)
            }
            None => (0, None, self.model.start()),
        };
        let (root, sampling) = (root.to_vec(), ask.sampling);
        Some(Job { ask: i, root, tokens, from, sampling, held, fork_of, state })
    }

    /// Runs the jobs in one call of the model and keeps what comes out.
    fn process(
        &self,
        kept: &mut Kept<M::State>,
        jobs: &mut Vec<Job<M::State>>,
    ) -> Result<(), ModelError> {
        let draws = jobs.iter().any(|job| job.sampling.is_some());
        let detail = if draws { Detail::Logits } else { Detail::Token };
        let mut feeds: Vec<_> = jobs
            .iter_mut()
            .map(|job| Feed {
                state: &mut job.state,
                tokens: &job.tokens[job.held..],
                from: job.from - 1 - job.held,
            })
            .collect();
        let steps = self.model.advance(&mut feeds, detail)?;
        for (job, steps) in jobs.drain(..).zip(steps) {
            let said: Vec<TokenId> = (job.from..)
                .zip(&steps)
                .map(|(position, step)| step.said(job.sampling, Side::Llm, position))
                .collect();
            if let Some(root) = kept.roots.get_mut(&job.root) {
                let grown = job.fork_of.map(|id| (id, job.held));
                let Job { tokens, state, from, sampling, .. } = job;
                root.prefixes.insert(&tokens, state, grown, from, sampling, &said);
            }
        }
        Ok(())
    }
}

impl<S> Kept<S> {
    /// The root that a context belongs to, made from its first ask if need be.
    fn root(&mut self, ask: &Ask<'_>) -> Vec<TokenId> {
        self.clock += 1;
        // A prefix of the context sorts before it, and everything between the
        // two begins with that prefix.
        let before = self
            .roots
            .range_mut::<[TokenId], _>((Bound::Unbounded, Bound::Included(ask.context)))
            .next_back();
        if let Some((key, root)) = before
            && key.len() <= ask.from
            && ask.context.starts_with(key)
        {
            root.used = self.clock;
            return key.clone();
        }
        let key = ask.context[..ask.from].to_vec();
        let fresh = || Root { used: 0, prefixes: Prefixes::new() };
        self.roots.entry(key.clone()).or_insert_with(fresh).used = self.clock;
        key
    }

    /// Drops the least recently used roots.
    fn evict(&mut self, prompts: usize) {
        while self.roots.len() > prompts {
            let Some(oldest) =
                self.roots.iter().min_by_key(|(_, r)| r.used).map(|(k, _)| k.clone())
            else {
                return;
            };
            self.roots.remove(&oldest);
        }
    }
}

impl<M: LanguageModel> Llm for InProcess<M> {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        let mut kept = self.kept();
        let mut replies: Vec<Result<Reply, LlmError>> = asks
            .iter()
            .map(|ask| {
                self.check(ask)?;
                Ok(Reply::default())
            })
            .collect();
        let mut waiting: Vec<(usize, Vec<TokenId>)> = (0..asks.len())
            .filter(|&i| replies[i].is_ok())
            .map(|i| (i, kept.root(&asks[i])))
            .collect();
        let roots: Vec<_> = waiting.clone();

        // One wave is one call of the model. An ask that would repeat part of
        // another's new positions waits for the next wave and finds them kept.
        while !waiting.is_empty() {
            let mut wave: Vec<Job<M::State>> = Vec::new();
            let mut in_wave: BTreeMap<Vec<TokenId>, Vec<usize>> = BTreeMap::new();
            let mut positions = 0;
            let mut later = Vec::new();
            for (i, root) in waiting {
                if positions >= POSITIONS_PER_CALL {
                    later.push((i, root));
                    continue;
                }
                let Some(job) = self.job(&kept, i, &root, &asks[i]) else { continue };
                let others = in_wave.entry(root.clone()).or_default();
                if others.iter().any(|&o| shared(&wave[o].tokens, &job.tokens) > job.held) {
                    later.push((i, root));
                    continue;
                }
                others.push(wave.len());
                positions += job.tokens.len() - job.held;
                wave.push(job);
            }
            waiting = later;
            if wave.is_empty() {
                continue;
            }
            let paid: Vec<(usize, u64)> =
                wave.iter().map(|j| (j.ask, (j.tokens.len() - j.held) as u64)).collect();
            match self.process(&mut kept, &mut wave) {
                Ok(()) => {
                    for (i, positions) in paid {
                        if let Ok(reply) = &mut replies[i] {
                            reply.positions += positions;
                        }
                    }
                }
                Err(error) => {
                    for (i, _) in paid {
                        replies[i] = Err(error.clone().into());
                    }
                }
            }
        }
        for (i, root) in roots {
            if let (Ok(reply), Some(root)) = (&mut replies[i], kept.roots.get(&root)) {
                let Ask { context, from, sampling } = asks[i];
                let known = root.prefixes.answers(context, from, sampling);
                reply.tokens = known.into_iter().flatten().collect();
            }
        }
        kept.evict(self.prompts);
        replies
    }

    fn forget(&self, prompt: &[TokenId]) {
        let mut kept = self.kept();
        let gone: Vec<_> = kept
            .roots
            .range::<[TokenId], _>((Bound::Included(prompt), Bound::Unbounded))
            .map(|(k, _)| k)
            .take_while(|k| k.starts_with(prompt))
            .cloned()
            .collect();
        for key in gone {
            kept.roots.remove(&key);
        }
    }
}
