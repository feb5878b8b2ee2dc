//! An answer that is decoded on a thread of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokenroute_core::{LanguageModel, Llm, Origin, TokenId, TraceToken};
use tokenroute_model::{Detokeniser, LoadedModel, Tokenizer};
use tokenroute_runtime::{Engine, Event, Session, Waker};

use crate::fault::Fault;
use crate::pair::Opened;
use crate::types::{TR_CANCELLED, TR_DEGRADED, TR_END, TR_LENGTH, TR_LLM, TR_OK, TR_SLM, TrToken};

/// Tokens that may wait for the program.
const AHEAD: usize = 64;

/// Longest turn while nothing happens.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the thread sends.
enum Heard {
    /// A token and its text.
    Token(TraceToken, String),
    /// The end, and whether an end token made it.
    Ended(bool),
    Failed(Fault),
}

/// Stops an answer, from any thread.
#[derive(Default)]
pub(crate) struct Stop {
    stopped: AtomicBool,
    /// Interrupts a turn that waits.
    waker: OnceLock<Waker>,
}

impl Stop {
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

/// An answer under way, at the program's end.
pub(crate) struct Running {
    stop: Arc<Stop>,
    /// `None` once no more may come.
    heard: Option<Receiver<Heard>>,
    /// The status after the last token.
    end: Option<i32>,
    /// The text of the last token, and a 0 byte.
    text: Vec<u8>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Begins an answer of at most `max_tokens` tokens.
    pub(crate) fn begin(
        pair: Arc<Opened>,
        stop: &Arc<Stop>,
        prompt: Vec<TokenId>,
        max_tokens: usize,
    ) -> Result<Running, Fault> {
        let max_tokens = pair.room(&prompt, max_tokens)?;
        let (sender, heard) = sync_channel(AHEAD);
        let stopping = Arc::clone(stop);
        let decode = move || decode(&pair, &stopping, prompt, max_tokens, &sender);
        let thread = thread::Builder::new().name("tokenroute".to_owned()).spawn(decode);
        let thread = Some(thread.map_err(Fault::Thread)?);
        let (stop, heard) = (Arc::clone(stop), Some(heard));
        Ok(Running { stop, heard, end: None, text: Vec::new(), thread })
    }

    /// Waits for the next token and sets it, or gives the status of the end.
    pub(crate) fn step(&mut self, token: &mut TrToken) -> Result<i32, Fault> {
        if let Some(end) = self.end {
            return Ok(end);
        }
        let heard = self.heard.as_ref().filter(|_| !self.stop.is_stopped());
        let heard = heard.and_then(|heard| heard.recv().ok());
        match heard {
            _ if self.stop.is_stopped() => Ok(*self.end.insert(TR_CANCELLED)),
            None => Err(Fault::ThreadEnded),
            Some(Heard::Failed(fault)) => Err(fault),
            Some(Heard::Ended(ended)) => {
                Ok(*self.end.insert(if ended { TR_END } else { TR_LENGTH }))
            }
            Some(Heard::Token(made, text)) => {
                *token = self.shown(&made, text);
                Ok(TR_OK)
            }
        }
    }

    fn shown(&mut self, made: &TraceToken, text: String) -> TrToken {
        let text_bytes = text.len();
        self.text = text.into_bytes();
        self.text.push(0);
        TrToken {
            text: self.text.as_ptr().cast(),
            text_bytes,
            id: made.token,
            origin: match made.origin {
                Origin::Slm => TR_SLM,
                Origin::Llm => TR_LLM,
                Origin::Degraded => TR_DEGRADED,
            },
            score: made.score,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        // A thread that waits for room to send goes on.
        self.heard = None;
        if let Some(thread) = self.thread.take() {
            // A panic of it was reported by `step`.
            drop(thread.join());
        }
    }
}

/// Decodes one answer.
fn decode(
    pair: &Opened,
    stop: &Stop,
    prompt: Vec<TokenId>,
    max_tokens: usize,
    out: &SyncSender<Heard>,
) {
    let session = Session { question: String::new(), prompt, max_tokens, policy: pair.policy };
    thread::scope(|scope| {
        let mut engine = pair.decoding().engine(scope);
        // Set once: the answer has one thread.
        drop(stop.waker.set(engine.waker()));
        let mut texts = Texts::new(&pair.slm, max_tokens);
        if let Err(error) = follow(&mut engine, session, stop, &mut texts, out) {
            // Without a receiver the answer is closed.
            drop(out.send(Heard::Failed(error)));
        }
    });
}

fn follow<S: LanguageModel, L: Llm + ?Sized>(
    engine: &mut Engine<'_, S, L>,
    session: Session,
    stop: &Stop,
    texts: &mut Texts<'_>,
    out: &SyncSender<Heard>,
) -> Result<(), Fault> {
    let id = engine.add(session)?;
    while !stop.is_stopped() {
        for event in engine.turn(PATIENCE) {
            let heard = match event {
                Event::Token { token, .. } => {
                    let text = texts.push(token.token)?;
                    Heard::Token(token, text)
                }
                Event::Ended { trace, .. } => {
                    drop(out.send(Heard::Ended(trace.ended)));
                    return Ok(());
                }
                Event::Failed { error, .. } => return Err(error.into()),
                Event::Billed { .. } => continue,
            };
            if out.send(heard).is_err() {
                stop.stop();
            }
        }
    }
    engine.cancel(id);
    Ok(())
}

/// The text of an answer's tokens as they come.
struct Texts<'m> {
    model: &'m LoadedModel,
    /// `None` once the answer has ended.
    words: Option<Detokeniser<&'m Tokenizer>>,
    /// Tokens until the limit.
    left: usize,
}

impl<'m> Texts<'m> {
    fn new(model: &'m LoadedModel, max_tokens: usize) -> Self {
        Texts { model, words: Some(Detokeniser::new(&model.tokenizer)), left: max_tokens }
    }

    /// The text that a token makes certain. At the last one an incomplete character is U+FFFD.
    fn push(&mut self, token: TokenId) -> Result<String, Fault> {
        let ends = self.model.vocabulary.is_end(token);
        let mut text = match self.words.as_mut().filter(|_| !ends) {
            Some(words) => words.push(token)?,
            None => String::new(),
        };
        self.left = self.left.saturating_sub(1);
        if (ends || self.left == 0)
            && let Some(words) = self.words.take()
        {
            text += &words.finish()?;
        }
        Ok(text)
    }
}
