//! An LLM behind [`Llm`] as a model that steps: so labelling and the exact sweep,
//! which drive models, run on engines elsewhere.

use std::thread;
use std::time::{Duration, Instant};

use tokenroute_core::{
    Ask, Cause, Detail, Feed, LanguageModel, Llm, LlmError, ModelError, ModelInfo, Reply, Step,
    TokenId,
};

/// Pause before what has failed is asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// An LLM whose states are the tokens themselves: what it has read already is its own
/// prefix cache's business. It gives greedy tokens and nothing else of a step.
#[derive(Debug)]
pub struct AsModel<L> {
    llm: L,
    info: ModelInfo,
    patience: Duration,
}

impl<L: Llm> AsModel<L> {
    /// `patience` is how long an LLM that is away is asked again; there is no SLM here
    /// whose token could stand in its place.
    pub fn new(llm: L, info: ModelInfo, patience: Duration) -> Self {
        AsModel { llm, info, patience }
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
                Ok(reply.tokens.into_iter().map(step).collect())
            })
            .collect()
    }
}
