//! An LLM behind [`Llm`] as a model that steps: so labelling and the exact sweep,
//! which drive models, run on engines elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokenroute_core::{
    Ask, Cause, Detail, Feed, LanguageModel, Llm, LlmError, ModelError, ModelInfo, Reply, Run,
    Runs, Step, TokenId, Vocabulary,
};

use crate::together::together;

/// Pause before what has failed is asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// An LLM whose states are the tokens themselves: what it has read already is its own
/// prefix cache's business. It gives greedy tokens and nothing else of a step, a whole
/// continuation in one call ([`Llm::relay`]) and all positions of a known text in another.
#[derive(Debug)]
pub struct AsModel<L> {
    llm: L,
    info: ModelInfo,
    patience: Duration,
    /// Most continuations asked for at once.
    at_once: usize,
    positions: AtomicU64,
}

impl<L: Llm> AsModel<L> {
    /// `patience` is how long an LLM that is away is asked again; there is no SLM here
    /// whose token could stand in its place. At most `at_once` continuations are asked
    /// for at a time.
    pub fn new(llm: L, info: ModelInfo, patience: Duration, at_once: usize) -> Self {
        AsModel { llm, info, patience, at_once, positions: AtomicU64::new(0) }
    }

    /// Positions that the LLM says it has processed.
    pub fn processed(&self) -> u64 {
        self.positions.load(Ordering::Relaxed)
    }

    fn heard(&self, reply: Reply) -> Vec<TokenId> {
        self.positions.fetch_add(reply.positions, Ordering::Relaxed);
        reply.tokens
    }

    /// One continuation. What is too long for one call is asked for in shorter ones.
    fn continuation(
        &self,
        context: &[TokenId],
        most: usize,
        vocabulary: &Vocabulary,
    ) -> Result<Vec<TokenId>, ModelError> {
        let until = Instant::now() + self.patience;
        let mut most = most.max(1);
        loop {
            match self.llm.relay(context, most, None, vocabulary) {
                Ok(reply) if reply.tokens.is_empty() || reply.tokens.len() > most => {
                    let found = reply.tokens.len();
                    return Err(self.failed(format!("{found} tokens; expected 1 to {most}")));
                }
                Ok(reply) => return Ok(self.heard(reply)),
                Err(error) => {
                    let cause = error.cause();
                    let away = matches!(cause, Cause::Unavailable | Cause::Late);
                    if !away || Instant::now() >= until {
                        return Err(self.failed(error.to_string()));
                    }
                    if cause == Cause::Late {
                        most = most.div_ceil(2);
                    }
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    /// The LLM itself.
    pub fn llm(&self) -> &L {
        &self.llm
    }

    fn failed(&self, message: String) -> ModelError {
        ModelError::Backend { model: self.info.name.clone(), message }
    }

    /// Asks until everything is answered, patience is at its end, or the LLM says no.
    fn answers(&self, asks: &[Ask<'_>]) -> Result<Vec<Reply>, ModelError> {
        let until = Instant::now() + self.patience;
        let mut replies = vec![None; asks.len()];
        loop {
            let open: Vec<usize> = (0..asks.len()).filter(|&i| replies[i].is_none()).collect();
            let again: Vec<Ask<'_>> = open.iter().map(|&i| asks[i]).collect();
            let mut away: Option<LlmError> = None;
            for (&i, said) in open.iter().zip(self.llm.ask(&again)) {
                match said {
                    Ok(reply) => replies[i] = Some(reply),
                    Err(error) if matches!(error.cause(), Cause::Unavailable | Cause::Late) => {
                        away = Some(error);
                    }
                    Err(error) => return Err(self.failed(error.to_string())),
                }
            }
            match away {
                None if replies.iter().all(Option::is_some) => {
                    return Ok(replies.into_iter().flatten().collect());
                }
                None => return Err(self.failed("it left an ask without a reply".to_owned())),
                Some(error) if Instant::now() >= until => {
                    return Err(self.failed(error.to_string()));
                }
                Some(_) => thread::sleep(PAUSE),
            }
        }
    }
}

impl<L: Llm> LanguageModel for AsModel<L> {
    type State = Vec<TokenId>;

    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn start(&self) -> Vec<TokenId> {
        Vec::new()
    }

    fn positions(&self, state: &Vec<TokenId>) -> usize {
        state.len()
    }

    fn truncate(&self, state: &mut Vec<TokenId>, len: usize) {
        state.truncate(len);
    }

    fn advance(
        &self,
        feeds: &mut [Feed<'_, Vec<TokenId>>],
        detail: Detail,
    ) -> Result<Vec<Vec<Step>>, ModelError> {
        if detail != Detail::Token {
            return Err(self.failed("it gives greedy tokens alone".to_owned()));
        }
        let mut froms = Vec::with_capacity(feeds.len());
        for feed in feeds.iter_mut() {
            let (tokens, from) = (feed.tokens.len(), feed.from);
            if from >= tokens {
                return Err(ModelError::BadFeed { tokens, from });
            }
            froms.push(feed.state.len() + from + 1);
            feed.state.extend_from_slice(feed.tokens);
        }
        let asks: Vec<Ask<'_>> =
            feeds.iter().zip(&froms).map(|(f, &from)| Ask::greedy(f.state, from)).collect();
        let step =
            |token| Step { token, top: Vec::new(), entropy: 0.0, hidden: [].into(), logits: None };
        asks.iter()
            .zip(self.answers(&asks)?)
            .map(|(ask, reply)| {
                let (found, wanted) = (reply.tokens.len(), ask.context.len() - ask.from + 1);
                if found != wanted {
                    return Err(self.failed(format!("{found} tokens; expected {wanted}")));
                }
                Ok(self.heard(reply).into_iter().map(step).collect())
            })
            .collect()
    }

    fn run(&self, runs: &mut [Run<'_, Vec<TokenId>>], vocabulary: &Vocabulary) -> Option<Runs> {
        runs.iter_mut().for_each(|run| run.state.extend_from_slice(run.tokens));
        let ask = |i: usize| self.continuation(&*runs[i].state, runs[i].most, vocabulary);
        let said = together(self.at_once, runs.len(), ask);
        let lost = || Err(self.failed("its worker was lost".to_owned()));
        let said: Runs = said.into_iter().map(|said| said.unwrap_or_else(lost)).collect();
        for (run, said) in runs.iter_mut().zip(said.iter().flatten()) {
            run.state.extend_from_slice(&said[..said.len() - 1]);
        }
        Some(said)
    }
}
