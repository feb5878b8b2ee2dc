//! A local model as a writer, with token healing: it goes back over the last of its tokens, and
//! goes on only with tokens that spell what was taken back.

use std::sync::Arc;

use tokenroute_core::{
    Ask, LanguageModel, Llm, LlmError, Sampling, Speller, TokenId, Vocabulary, unfinished,
};

use super::{Begun, LlmPrompt, Writer, Written};
use crate::InProcess;
use crate::in_process::Choice;

/// Most tokens that the LLM writes after one text.
const MOST: usize = 32;

/// The tokenizer of an LLM.
pub struct LlmText {
    speller: Arc<dyn Speller>,
    vocabulary: Vocabulary,
    /// All tokens with bytes, ordered by these.
    ordered: Vec<TokenId>,
}

impl LlmText {
    /// Both are the LLM's own.
    pub fn new(speller: Arc<dyn Speller>, vocabulary: Vocabulary) -> Self {
        let spelled =
            |&token: &TokenId| !speller.bytes(token).is_empty() && !vocabulary.is_end(token);
        let mut ordered: Vec<TokenId> = (0..speller.size() as TokenId).filter(spelled).collect();
        ordered.sort_by(|&a, &b| speller.bytes(a).cmp(speller.bytes(b)).then(a.cmp(&b)));
        LlmText { speller, vocabulary, ordered }
    }

    /// The LLM's vocabulary.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The tokens that begin with these bytes, and those whose bytes these begin with.
    fn spelling(&self, bytes: &[u8]) -> Vec<TokenId> {
        let of = |token: &TokenId| self.speller.bytes(*token);
        let mut found = Vec::new();
        for length in 1..=bytes.len() {
            let part = &bytes[..length];
            let rest = &self.ordered[self.ordered.partition_point(|t| of(t) < part)..];
            let whole = length == bytes.len();
            let fits = |t: &&TokenId| if whole { of(t).starts_with(part) } else { of(t) == part };
            found.extend(rest.iter().take_while(fits));
        }
        found
    }
}

/// A local model behind [`Writer`].
pub struct LocalWriter<M: LanguageModel> {
    llm: InProcess<M>,
    text: Arc<LlmText>,
}

/// A text in progress.
struct Job {
    tokens: Vec<TokenId>,
    /// Bytes that were taken back and are not spelled again yet.
    owed: Vec<u8>,
    /// The token that was taken back.
    taken: Option<TokenId>,
    sampling: Option<Sampling>,
    /// Bytes after the begun text.
    out: Vec<u8>,
    /// Tokens after it.
    made: usize,
    written: Written,
}

impl<M: LanguageModel> LocalWriter<M> {
    /// Lets a model write, whose tokenizer is `text`.
    pub fn new(llm: InProcess<M>, text: Arc<LlmText>) -> Self {
        LocalWriter { llm, text }
    }

    fn begin(&self, begun: &Begun<'_>) -> Result<Job, LlmError> {
        let LlmPrompt::Tokens(prompt) = begun.prompt else {
            return Err(LlmError::Refused("a model in process reads prompts of tokens".to_owned()));
        };
        let mut tokens = prompt.clone();
        tokens.extend(self.text.speller.spell(begun.text)?.tokens);
        // There is no position before a sequence's first token.
        let taken = (tokens.len() > prompt.len().max(1)).then(|| tokens.pop()).flatten();
        let owed = taken.map(|token| self.text.speller.bytes(token).to_vec()).unwrap_or_default();
        let (sampling, out, made) = (begun.sampling, Vec::new(), 0);
        Ok(Job { tokens, owed, taken, sampling, out, made, written: Written::default() })
    }

    /// Processes what the jobs have in common in one pass: most texts of a batch are beginnings
    /// of one another. The answers are kept, and the single asks find them.
    fn read_ahead(&self, jobs: &mut [Result<Job, LlmError>]) {
        let mut order: Vec<usize> = (0..jobs.len()).filter(|&i| jobs[i].is_ok()).collect();
        if order.len() < 2 {
            return;
        }
        let tokens = |i: usize| jobs[i].as_ref().map_or(&[][..], |job| &job.tokens);
        order.sort_by(|&a, &b| tokens(b).cmp(tokens(a)));
        let mut longest: Vec<(usize, usize)> = Vec::new();
        for &i in &order {
            match longest.last_mut() {
                Some((whole, from)) if tokens(*whole).starts_with(tokens(i)) => {
                    *from = tokens(i).len();
                }
                _ => longest.push((i, tokens(i).len())),
            }
        }
        longest.retain(|&(whole, from)| from > 0 && tokens(whole).len() > from);
        let asks: Vec<Ask<'_>> =
            longest.iter().map(|&(whole, from)| Ask::greedy(tokens(whole), from)).collect();
        let replies = self.llm.ask(&asks);
        for ((whole, _), reply) in longest.into_iter().zip(replies) {
            // A failure shows again in the single asks.
            if let (Ok(reply), Ok(job)) = (reply, &mut jobs[whole]) {
                job.written.positions += reply.positions;
                job.written.requests += u64::from(reply.positions > 0);
            }
        }
    }

    /// The next token of each job. Those that owe bytes get the best token that spells them.
    fn next(&self, jobs: &[&Job]) -> Vec<Result<(TokenId, u64), LlmError>> {
        let asks: Vec<Ask<'_>> = jobs
            .iter()
            .map(|job| Ask::next(&job.tokens, job.sampling.filter(|_| job.owed.is_empty())))
            .collect();
        let none = || LlmError::BadReply("no reply to an ask".to_owned());
        let mut next: Vec<Result<(TokenId, u64), LlmError>> = self
            .llm
            .ask(&asks)
            .into_iter()
            .map(|reply| {
                let reply = reply?;
                Ok((reply.tokens.last().copied().ok_or_else(none)?, reply.positions))
            })
            .collect();
        let spells = |job: &Job, token: TokenId| {
            let bytes = self.text.speller.bytes(token);
            let both = bytes.len().min(job.owed.len());
            job.owed.is_empty()
                || (both > 0
                    && !self.text.vocabulary.is_end(token)
                    && bytes[..both] == job.owed[..both])
        };
        let others: Vec<(usize, Vec<TokenId>)> = (0..jobs.len())
            .filter(|&i| next[i].as_ref().is_ok_and(|(token, _)| !spells(jobs[i], *token)))
            .map(|i| (i, self.text.spelling(&jobs[i].owed)))
            .collect();
        if others.is_empty() {
            return next;
        }
        let choices: Vec<Choice<'_>> =
            others.iter().map(|(i, among)| Choice { context: &jobs[*i].tokens, among }).collect();
        for ((i, _), chosen) in others.iter().zip(self.llm.choose(&choices)) {
            let before = next[*i].as_ref().map_or(0, |(_, positions)| *positions);
            next[*i] = chosen.and_then(|reply| {
                Ok((reply.tokens.last().copied().ok_or_else(none)?, before + reply.positions))
            });
        }
        next
    }
}

impl Job {
    /// Adds a token. Returns whether the job is done.
    fn take(&mut self, token: TokenId, text: &LlmText, enough: &dyn Fn(&str) -> bool) -> bool {
        let bytes = text.speller.bytes(token);
        if let Some(taken) = self.taken.take() {
            self.written.respelled = token != taken;
        }
        self.tokens.push(token);
        if self.owed.is_empty() {
            if text.vocabulary.is_end(token) || bytes.is_empty() {
                self.written.ended = true;
                return true;
            }
            self.made += 1;
            self.out.extend_from_slice(bytes);
        } else if bytes.len() < self.owed.len() {
            self.owed.drain(..bytes.len());
            return false;
        } else {
            self.out.extend_from_slice(&bytes[self.owed.len()..]);
            self.owed.clear();
        }
        let whole = &self.out[..self.out.len() - unfinished(&self.out)];
        self.made >= MOST || (!whole.is_empty() && enough(&String::from_utf8_lossy(whole)))
    }

    fn finish(self) -> Written {
        let Job { mut written, out, .. } = self;
        // Bytes of an unfinished character would be read as another one.
        let whole = if written.ended { out.len() } else { out.len() - unfinished(&out) };
        written.text = String::from_utf8_lossy(&out[..whole]).into_owned();
        written
    }
}

impl<M: LanguageModel> Writer for LocalWriter<M> {
    fn write(
        &self,
        begun: &[Begun<'_>],
        enough: &(dyn Fn(&str) -> bool + Sync),
    ) -> Vec<Result<Written, LlmError>> {
        let mut jobs: Vec<Result<Job, LlmError>> = begun.iter().map(|b| self.begin(b)).collect();
        self.read_ahead(&mut jobs);
        let mut open: Vec<usize> = (0..jobs.len()).filter(|&i| jobs[i].is_ok()).collect();
        while !open.is_empty() {
            let working: Vec<&Job> = open.iter().filter_map(|&i| jobs[i].as_ref().ok()).collect();
            let mut next = self.next(&working).into_iter();
            open.retain(|&i| {
                let Ok(job) = &mut jobs[i] else { return false };
                let none = || Err(LlmError::BadReply("no reply to an ask".to_owned()));
                match next.next().unwrap_or_else(none) {
                    Ok((token, positions)) => {
                        job.written.positions += positions;
                        job.written.requests += u64::from(positions > 0);
                        !job.take(token, &self.text, enough)
                    }
                    Err(error) => {
                        jobs[i] = Err(error);
                        false
                    }
                }
            });
        }
        jobs.into_iter().map(|job| job.map(Job::finish)).collect()
    }

    fn forget(&self, prompt: &LlmPrompt) {
        if let LlmPrompt::Tokens(tokens) = prompt {
            self.llm.forget(tokens);
        }
    }
}
