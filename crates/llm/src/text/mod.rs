//! An LLM that shares text alone with the SLM, behind [`Llm`] in the SLM's tokens.
//!
//! The LLM's token at a position is the first SLM token of what the LLM goes on with after the
//! same text. The page "Two tokenizers" of the book has the whole definition.

mod counts;
mod local;
mod prompts;
mod writer;

use std::sync::Arc;

use tokenroute_core::{Ask, Llm, LlmError, Reply, Speller, TokenId, unfinished};

pub use counts::{TextCounts, TextTotals};
pub use local::{LlmText, LocalWriter};
pub use prompts::{LlmPrompt, Prompts};
pub use writer::{Begun, Writer, Written};

/// An LLM of text in the tokens of an SLM. Its answers are a function of the prompt and the
/// text after it, except inside a character, where they are the SLM's own tokens.
pub struct TextLlm<W> {
    writer: W,
    slm: Arc<dyn Speller>,
    /// The SLM itself, whose token is taken inside a character.
    kept: Arc<dyn Llm + Send>,
    /// The SLM's end token.
    end: TokenId,
    prompts: Arc<Prompts>,
    counts: Arc<TextCounts>,
}

/// A position whose token is wanted.
struct Place {
    ask: usize,
    /// Tokens before it.
    at: usize,
    prompt: Arc<LlmPrompt>,
    /// The answer's text so far; `None` inside a character.
    text: Option<String>,
}

impl<W: Writer> TextLlm<W> {
    /// Puts a writer behind [`Llm`]. `slm` spells the tokens of the SLM, `end` is its end token,
    /// and `kept` gives its own greedy tokens. Every prompt must be in `prompts`.
    pub fn new(
        writer: W,
        slm: Arc<dyn Speller>,
        kept: Arc<dyn Llm + Send>,
        end: TokenId,
        prompts: Arc<Prompts>,
    ) -> Self {
        TextLlm { writer, slm, kept, end, prompts, counts: Arc::default() }
    }

    /// Counts into these counters too, instead of new ones.
    #[must_use]
    pub fn counting(self, counts: Arc<TextCounts>) -> Self {
        TextLlm { counts, ..self }
    }

    /// What the answers took so far.
    pub fn counts(&self) -> &TextCounts {
        &self.counts
    }

    /// The positions that an ask wants.
    fn places(&self, number: usize, ask: &Ask<'_>) -> Result<Vec<Place>, LlmError> {
        let Ask { context, from, top, .. } = *ask;
        if top > 0 {
            return Err(LlmError::Refused(
                "an LLM that shares text alone gives no probabilities of the small model's tokens"
                    .to_owned(),
            ));
        }
        let (length, prompt) = self
            .prompts
            .find(context)
            .filter(|(length, _)| (*length..=context.len()).contains(&from))
            .ok_or_else(|| LlmError::Refused("a prompt that was not announced".to_owned()))?;
        let mut bytes = self.slm.bytes_of(&context[length..from]);
        let place = |at: usize| {
            if at > from {
                bytes.extend_from_slice(self.slm.bytes(context[at - 1]));
            }
            let whole = unfinished(&bytes) == 0;
            let text = whole.then(|| String::from_utf8_lossy(&bytes).into_owned());
            Place { ask: number, at, prompt: Arc::clone(&prompt), text }
        };
        Ok((from..=context.len()).map(place).collect())
    }

    /// The SLM's token for what the LLM goes on with.
    fn token(&self, written: &Written) -> Result<TokenId, LlmError> {
        match (written.text.as_str(), written.ended) {
            ("", true) => Ok(self.end),
            ("", false) => Err(LlmError::BadReply("no text in reply to a text".to_owned())),
            (text, _) => {
                let spelled = self.slm.spell(text)?;
                if !spelled.settled && !written.ended {
                    self.counts.unsettled(1);
                }
                let none = || LlmError::BadReply(format!("no token spells {text:?}"));
                spelled.tokens.first().copied().ok_or_else(none)
            }
        }
    }
}

impl<W: Writer> Llm for TextLlm<W> {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        let mut replies: Vec<Result<Reply, LlmError>> = Vec::with_capacity(asks.len());
        let mut places: Vec<Place> = Vec::new();
        for (number, ask) in asks.iter().enumerate() {
            replies.push(self.places(number, ask).map(|mut wanted| {
                places.append(&mut wanted);
                Reply::default()
            }));
        }
        let begun: Vec<Begun<'_>> = places
            .iter()
            .filter_map(|place| {
                let Ask { sampling, .. } = asks[place.ask];
                Some(Begun { prompt: &place.prompt, text: place.text.as_deref()?, sampling })
            })
            .collect();
        let inside: Vec<Ask<'_>> = places
            .iter()
            .filter(|place| place.text.is_none())
            .map(|place| Ask::next(&asks[place.ask].context[..place.at], None))
            .collect();
        let enough = |text: &str| self.slm.spell(text).map_or(true, |spelled| spelled.settled);
        let mut written = match begun.is_empty() {
            true => Vec::new(),
            false => self.writer.write(&begun, &enough),
        }
        .into_iter();
        let mut kept = match inside.is_empty() {
            true => Vec::new(),
            false => self.kept.ask(&inside),
        }
        .into_iter();
        let none = || LlmError::BadReply("no reply to an ask".to_owned());
        for place in &places {
            let said = match place.text {
                Some(_) => written.next().unwrap_or_else(|| Err(none())).and_then(|written| {
                    self.counts.wrote(&written);
                    let Written { positions, bytes, .. } = written;
                    Ok((self.token(&written)?, positions, bytes))
                }),
                None => kept.next().unwrap_or_else(|| Err(none())).and_then(|reply| {
                    self.counts.inside(1);
                    let token = reply.tokens.last().copied().ok_or_else(none)?;
                    Ok((token, 0, reply.bytes))
                }),
            };
            match (said, &mut replies[place.ask]) {
                (Ok((token, positions, bytes)), Ok(reply)) => {
                    reply.tokens.push(token);
                    reply.positions += positions;
                    reply.bytes += bytes;
                }
                (Err(error), reply @ Ok(_)) => *reply = Err(error),
                (_, Err(_)) => {}
            }
        }
        replies
    }

    fn forget(&self, prompt: &[TokenId]) {
        if let Some((length, known)) = self.prompts.find(prompt)
            && length == prompt.len()
        {
            self.writer.forget(&known);
        }
        self.kept.forget(prompt);
    }
}
