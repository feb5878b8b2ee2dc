//! Counts the positions of an LLM on a server as [`crate::InProcess`] counts its own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokenroute_core::{
    Ask, Continuation, Llm, LlmError, ModelError, Reply, Sampling, TokenId, Vocabulary,
};

use crate::prefixes::split;
use crate::roots::{Key, Roots};

/// An LLM whose [`Reply::positions`] are those of the same model in process
/// ([`crate::InProcess`]), whatever a prefix cache or an answer cache saves. So a stage's cost
/// depends neither on its LLM's place nor on earlier requests. An answer is requested once,
/// until its prompt is forgotten.
#[derive(Debug)]
pub struct Metered<L> {
    llm: L,
    roots: Mutex<Roots<()>>,
}

/// The part of an ask or a continuation that is requested.
struct Open<T> {
    index: usize,
    root: Key,
    rest: T,
}

impl<L: Llm> Metered<L> {
    /// Counts with a memory of the last `prompts` prompts, at least 1.
    pub fn new(llm: L, prompts: usize) -> Self {
        Metered { llm, roots: Mutex::new(Roots::new(prompts)) }
    }

    /// The LLM itself.
    pub fn llm(&self) -> &L {
        &self.llm
    }

    fn roots(&self) -> MutexGuard<'_, Roots<()>> {
        // No code that holds the lock can panic halfway.
        self.roots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Roots<()> {
    /// Counts the new positions of answers after `read[..i]`, for every `i` from `from`. With
    /// `kept`, they are not new again.
    fn charge(
        &mut self,
        root: &Key,
        (read, from): (&[TokenId], usize),
        sampling: Option<Sampling>,
        said: &[TokenId],
        kept: bool,
    ) -> u64 {
        let Some(prefixes) = self.get_mut(root) else { return read.len() as u64 };
        let held = prefixes.nearest(&read[..from - 1]);
        if kept {
            let grown = prefixes.ends(held).then_some(held);
            prefixes.insert(read, (), grown, from, sampling, said);
        }
        (read.len() - held.positions) as u64
    }
}

impl<L: Llm> Llm for Metered<L> {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        let mut roots = self.roots();
        roots.open(asks.iter().map(|ask| (ask.context, ask.from)));
        let mut open: Vec<Open<Ask<'_>>> = Vec::new();
        let mut replies: Vec<Result<Reply, LlmError>> = Vec::with_capacity(asks.len());
        for (index, &Ask { context, from, sampling, top }) in asks.iter().enumerate() {
            if from == 0 || from > context.len() {
                let tokens = context.len();
                replies.push(Err(ModelError::BadFeed { tokens, from }.into()));
                continue;
            }
            let root = roots.key(context, from);
            let known = roots.get(&root).map(|p| p.answers(context, from, sampling, top));
            let known = known.unwrap_or_default();
            let (tokens, tops) = split(known.iter().map_while(Option::clone));
            if let Some(last) = known.iter().rposition(Option::is_none) {
                let (context, from) = (&context[..from + last], from + tokens.len());
                open.push(Open { index, root, rest: Ask { context, from, sampling, top } });
            }
            replies.push(Ok(Reply { tokens, top: tops, ..Reply::default() }));
        }
        drop(roots);
        let rest: Vec<Ask<'_>> = open.iter().map(|open| open.rest).collect();
        let mut said = if rest.is_empty() { Vec::new() } else { self.llm.ask(&rest) }.into_iter();
        let mut roots = self.roots();
        for Open { index, root, rest: Ask { context, from, sampling, top } } in open {
            let wanted = context.len() - from + 1;
            let said = said.next().unwrap_or_else(no_reply).and_then(|mut said| {
                if said.tokens.len() != wanted {
                    let found = said.tokens.len();
                    return Err(LlmError::BadReply(format!("{found} tokens; expected {wanted}")));
                }
                check_top(top, &said)?;
                said.positions = roots.charge(&root, (context, from), sampling, &said.tokens, true);
                if let (1.., Some(prefixes)) = (top, roots.get_mut(&root)) {
                    prefixes.keep_top(context, from, top, &said.top);
                }
                Ok(said)
            });
            // Tokens after the last missing answer are known.
            let ask = asks[index];
            let rest =
                roots.get(&root).map(|p| p.answers(ask.context, context.len() + 1, sampling, top));
            let (tokens, tops) = split(rest.into_iter().flatten().flatten());
            join(&mut replies[index], said);
            if let Ok(reply) = &mut replies[index] {
                reply.tokens.extend(tokens);
                reply.top.extend(tops);
            }
        }
        roots.evict();
        replies
    }

    fn continuations(
        &self,
        wanted: &[Continuation<'_>],
        vocabulary: &Vocabulary,
    ) -> Vec<Result<Reply, LlmError>> {
        let mut roots = self.roots();
        roots.open(wanted.iter().map(|w| (w.context, w.context.len())));
        let mut open: Vec<Open<(usize, Vec<TokenId>)>> = Vec::new();
        let mut replies: Vec<Result<Reply, LlmError>> = Vec::with_capacity(wanted.len());
        for (index, &Continuation { context, tokens, sampling, .. }) in wanted.iter().enumerate() {
            if context.is_empty() {
                replies.push(Err(ModelError::BadFeed { tokens: 0, from: 0 }.into()));
                continue;
            }
            let root = roots.key(context, context.len());
            let known = roots.get(&root);
            let known = known.map(|p| p.continuation(context, tokens, sampling, vocabulary));
            let known = known.unwrap_or_default();
            let text = [context, &known].concat();
            let ended = !known.is_empty() && vocabulary.closes(&text);
            if !ended && known.len() < tokens.max(1) {
                let left = tokens.max(1) - known.len();
                open.push(Open { index, root, rest: (left, text) });
            }
            replies.push(Ok(Reply { tokens: known, ..Reply::default() }));
        }
        drop(roots);
        let rest: Vec<Continuation<'_>> = open
            .iter()
            .map(|Open { index, rest: (tokens, context), .. }| Continuation {
                context,
                tokens: *tokens,
                ..wanted[*index]
            })
            .collect();
        let said = match rest.is_empty() {
            true => Vec::new(),
            false => self.llm.continuations(&rest, vocabulary),
        };
        let mut said = said.into_iter();
        let mut roots = self.roots();
        for Open { index, root, rest: (_, mut read) } in open {
            let Continuation { sampling, resumed, .. } = wanted[index];
            let said = said.next().unwrap_or_else(no_reply).map(|mut said| {
                let from = read.len();
                read.extend(said.tokens.iter().rev().skip(1).rev());
                said.positions =
                    roots.charge(&root, (&read, from), sampling, &said.tokens, resumed);
                said
            });
            join(&mut replies[index], said);
        }
        roots.evict();
        replies
    }

    fn forget(&self, prompt: &[TokenId]) {
        self.roots().forget(prompt, &|_, _| {});
        self.llm.forget(prompt);
    }
}

fn no_reply() -> Result<Reply, LlmError> {
    Err(LlmError::BadReply("no reply to a question".to_owned()))
}

/// Joins known tokens and new ones.
fn join(known: &mut Result<Reply, LlmError>, said: Result<Reply, LlmError>) {
    match (known, said) {
        (Ok(known), Ok(said)) => {
            known.tokens.extend(said.tokens);
            known.top.extend(said.top);
            known.positions += said.positions;
            known.bytes += said.bytes;
        }
        (known, said) => *known = said,
    }
}

/// Refuses a reply without the probabilities that were wanted.
pub(crate) fn check_top(top: usize, said: &Reply) -> Result<(), LlmError> {
    let (lists, tokens) = (said.top.len(), said.tokens.len());
    if top > 0 && lists != tokens {
        return Err(LlmError::BadReply(format!(
            "probabilities for {lists} of {tokens} positions; {top} were wanted at each"
        )));
    }
    Ok(())
}
