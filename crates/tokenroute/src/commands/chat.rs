//! `tokenroute chat`: a conversation with a routed pair, or a small model alone, in the
//! terminal.

use std::io::{BufRead, IsTerminal, stdin, stdout};
use std::slice::from_ref;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokenroute_core::{LanguageModel, Llm, Progress, Scorer, Trace};
use tokenroute_hub::local;
use tokenroute_llm::http::Traffic;
use tokenroute_model::{ChatOptions, ChatTemplate, LoadedModel, Message};
use tokenroute_runtime::{Absent, Engine, Event, KeepAll, Pair, Policy, Session, Wait};

use crate::args::Chat;
use crate::llm::Large;
use crate::painter::{Look, Painter};
use crate::{llm, output, spent};

/// Longest wait of one turn; there is always something to wait for.
const PATIENCE: Duration = Duration::from_secs(3600);

const COMMANDS: &str = "/tau X sets the threshold, /reset begins anew, /quit ends";

/// What a line asks for.
enum Wish<'l> {
    Say(&'l str),
    Tau(&'l str),
    Reset,
    Quit,
    Nothing,
    Unknown(&'l str),
}

impl<'l> Wish<'l> {
    fn read(line: &'l str) -> Self {
        let line = line.trim();
        let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match first {
            "" => Wish::Nothing,
            "/tau" => Wish::Tau(rest.trim()),
            "/reset" => Wish::Reset,
            "/quit" => Wish::Quit,
            other if other.starts_with('/') => Wish::Unknown(other),
            _ => Wish::Say(line),
        }
    }
}

/// Reads lines and answers them until the last.
pub fn run(args: &Chat, progress: &dyn Progress) -> Result<()> {
    ensure!(args.max_tokens > 0, "--max-tokens is 0; expected at least 1");
    let mut policy = llm::policy(&args.routing)?;
    policy.sampling = llm::sampling(&args.drawing)?;
    let (slm, large) = llm::load(&args.slm, &args.routing, progress)?;
    let template = ChatTemplate::read(&local(&args.slm, progress)?)?;
    let template = template.with_context(|| {
        let slm = args.slm.display();
        format!("{slm} has no chat template; use `tokenroute generate`, or give the model's folder a chat_template.jinja")
    })?;
    let (llm, scorer): (&dyn Llm, &dyn Scorer) = match &large {
        Some(large) => (&*large.opened.llm, &large.scorer),
        None => (&Absent, &KeepAll),
    };
    let pair = Pair::new(&slm.decoder, llm, &slm.vocabulary);
    let remote = large.as_ref().is_some_and(|large| large.opened.http.is_some());
    let ahead = matches!(policy.wait, Wait::Speculate { .. });
    thread::scope(|scope| {
        let engine = match (remote, ahead) {
            (true, _) => Engine::new(scope, pair, scorer, llm::OVER_HTTP),
            (false, true) => Engine::new(scope, pair, scorer, llm::IN_PROCESS),
            (false, false) => Engine::inline(pair, scorer),
        };
        // A message is read from where the conversation so far ends.
        let engine = engine.keeping(slm.decoder.info().context);
        let large = large.as_ref();
        let talk = Talk { args, slm: &slm, large, template, policy, engine, messages: Vec::new() };
        talk.run(progress)
    })
}

/// A conversation.
struct Talk<'a, M: LanguageModel, L: Llm + ?Sized> {
    args: &'a Chat,
    slm: &'a LoadedModel,
    large: Option<&'a Large>,
    template: ChatTemplate,
    policy: Policy,
    engine: Engine<'a, M, L>,
    messages: Vec<Message>,
}

impl<M: LanguageModel, L: Llm + ?Sized> Talk<'_, M, L> {
    fn run(mut self, progress: &dyn Progress) -> Result<()> {
        let asks = stdin().is_terminal();
        if asks {
            progress.note(COMMANDS);
        }
        llm::note_sampling(&self.policy, progress);
        self.reset();
        let mut line = String::new();
        loop {
            if asks {
                output::part("> ")?;
            }
            line.clear();
            if stdin().lock().read_line(&mut line).context("cannot read a line")? == 0 {
                return Ok(());
            }
            match Wish::read(&line) {
                Wish::Nothing => {}
                Wish::Quit => return Ok(()),
                Wish::Reset => self.reset(),
                Wish::Tau(text) => match self.set_tau(text) {
                    Ok(()) => progress.note(&format!("τ is {}", self.policy.tau)),
                    Err(error) => output::warn(&output::causes(&error)),
                },
                Wish::Unknown(command) => output::warn(&format!("no {command} here; {COMMANDS}")),
                Wish::Say(text) => {
                    self.messages.push(Message::new("user", text));
                    if let Err(error) = self.answer(progress) {
                        // The conversation goes on from before.
                        self.messages.pop();
                        output::complain(&error);
                    }
                }
            }
        }
    }

    fn reset(&mut self) {
        let system = self.args.system.as_deref();
        self.messages = system.map(|text| Message::new("system", text)).into_iter().collect();
    }

    fn set_tau(&mut self, text: &str) -> Result<()> {
        ensure!(self.large.is_some(), "the small model is alone here; start with --llm");
        self.policy.tau = text.parse()?;
        Ok(())
    }

    /// Answers the last message.
    fn answer(&mut self, progress: &dyn Progress) -> Result<()> {
        let prompt = self.template.render(&self.messages, &ChatOptions::default())?;
        let prompt = self.slm.tokenizer.encode(&prompt)?;
        let context = self.slm.decoder.info().context;
        ensure!(
            prompt.len() <= context,
            "the conversation has {} tokens and the model reads {context}; /reset begins anew",
            prompt.len()
        );
        // The last token made is not read again.
        let max_tokens = self.args.max_tokens.min(context + 1 - prompt.len());
        let (start, before) = (Instant::now(), self.traffic());
        let session = Session { question: String::new(), prompt, max_tokens, policy: self.policy };
        self.engine.add(session)?;
        let mut painter = Painter::new(stdout(), Look::of_stdout(), self.slm);
        let mut made = None;
        let mut billed = Vec::new();
        // Calls that nobody waits for any more come back too, and are paid for.
        while made.is_none() || self.engine.calls() > 0 {
            for event in self.engine.turn(PATIENCE) {
                match event {
                    Event::Token { token, .. } => painter.token(&token),
                    Event::Ended { trace, .. } => made = Some((trace, start.elapsed())),
                    Event::Failed { error, .. } => bail!(error),
                    Event::Billed { positions, bytes, .. } => billed.push((positions, bytes)),
                }
            }
        }
        let said = painter.end()?;
        self.messages.push(Message::new("assistant", &said));
        if let Some((mut trace, time)) = made {
            billed.into_iter().for_each(|(positions, bytes)| trace.bill(positions, bytes));
            self.sum_up(trace, time, before, progress);
        }
        Ok(())
    }

    fn traffic(&self) -> Option<Traffic> {
        self.large.and_then(|large| large.opened.traffic())
    }

    fn sum_up(
        &self,
        trace: Trace,
        time: Duration,
        before: Option<Traffic>,
        progress: &dyn Progress,
    ) {
        let tokens = trace.tokens.len();
        let traffic = before.zip(self.traffic()).map(|(before, now)| now - before);
        let mut line = match self.large {
            Some(_) => spent::costs(from_ref(&trace), traffic),
            None => format!("{tokens} tokens"),
        };
        line += &format!(", {:.2} s", time.as_secs_f64());
        progress.note(&line);
        spent::warn_of_degraded(&[trace]);
    }
}
