//! `tokenroute chat`: a chat with a routed pair, or a small model alone, in the terminal.

use std::io::{BufRead, IsTerminal, stdin, stdout};
use std::slice::from_ref;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokenroute::{Message, Policy, RoutedPair, TokenStream};
use tokenroute_core::{LanguageModel, Llm, Progress, Trace};
use tokenroute_llm::http::Traffic;
use tokenroute_model::ChatOptions;
use tokenroute_runtime::{Engine, Event, Session};

use crate::args::Chat;
use crate::open_pair::{note_sampling, open, policy};
use crate::token_printer::{Look, TokenPrinter};
use crate::{cost_line, output};

/// Longest wait of one turn of the engine.
const PATIENCE: Duration = Duration::from_secs(3600);

const COMMANDS: &str = "/tau X sets the threshold, /reset begins anew, /quit ends";

/// The meaning of an input line.
enum Input<'l> {
    Say(&'l str),
    Tau(&'l str),
    Reset,
    Quit,
    Nothing,
    Unknown(&'l str),
}

impl<'l> Input<'l> {
    fn read(line: &'l str) -> Self {
        let line = line.trim();
        let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match first {
            "" => Input::Nothing,
            "/tau" => Input::Tau(rest.trim()),
            "/reset" => Input::Reset,
            "/quit" => Input::Quit,
            other if other.starts_with('/') => Input::Unknown(other),
            _ => Input::Say(line),
        }
    }
}

/// Reads and answers lines until the input ends.
pub fn run(args: &Chat, progress: &dyn Progress) -> Result<()> {
    ensure!(args.max_tokens > 0, "--max-tokens is 0; expected at least 1");
    let policy = policy(&args.routing, Some(&args.drawing))?;
    let pair = open(&args.slm, &args.routing, policy, None, progress)?;
    let policy = pair.decoding().policy;
    pair.template()?.with_context(|| {
        let slm = args.slm.display();
        format!("{slm} has no chat template; use `tokenroute generate`, or give the model's folder a chat_template.jinja")
    })?;
    check_plain(args, &pair, args.system.as_deref().unwrap_or("")).context("--system")?;
    let options = options(args)?;
    let kwargs = serde_json::to_string(&options.variables)?;
    check_plain(args, &pair, &kwargs).context("--chat-template-kwargs")?;
    thread::scope(|scope| {
        // The conversation so far stays in the KV cache, so only a new message needs
        // prefill.
        let engine = pair.engine(scope, &policy).keeping(pair.slm().decoder.info().context);
        Talk { args, pair: &pair, options, policy, engine, messages: Vec::new() }.run(progress)
    })
}

/// The inputs of the chat template.
fn options(args: &Chat) -> Result<ChatOptions> {
    let variables = args.chat_template_kwargs.clone().unwrap_or_default().into_iter().collect();
    let options = ChatOptions { variables, ..ChatOptions::default() };
    match options.reserved_variable() {
        Some(name) => bail!(
            "--chat-template-kwargs sets `{name}`, which is set from the conversation; leave it out"
        ),
        None => Ok(options),
    }
}

/// Refuses a message that spells a special token, unless the arguments allow it.
fn check_plain(args: &Chat, pair: &RoutedPair, text: &str) -> Result<()> {
    let token = pair.slm().tokenizer.special_token_in(text);
    match token.filter(|_| !args.allow_special_tokens) {
        None => Ok(()),
        Some(token) => bail!(
            "the message spells the special token {token}, which would become a control token; leave it out, or start with --allow-special-tokens"
        ),
    }
}

/// A conversation.
struct Talk<'a, M: LanguageModel, L: Llm + ?Sized> {
    args: &'a Chat,
    pair: &'a RoutedPair,
    options: ChatOptions,
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
        note_sampling(&self.policy, progress);
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
            match Input::read(&line) {
                Input::Nothing => {}
                Input::Quit => return Ok(()),
                Input::Reset => self.reset(),
                Input::Tau(text) => match self.set_tau(text) {
                    Ok(()) => progress.note(&format!("τ is {}", self.policy.tau)),
                    Err(error) => output::warn(&output::causes(&error)),
                },
                Input::Unknown(command) => output::warn(&format!("no {command} here; {COMMANDS}")),
                Input::Say(text) => {
                    self.messages.push(Message::new("user", text));
                    let answered = check_plain(self.args, self.pair, text);
                    if let Err(error) = answered.and_then(|()| self.answer(progress)) {
                        // The conversation stays as it was before the message.
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
        ensure!(self.pair.is_routed(), "the small model is alone here; start with --llm");
        self.policy.tau = text.parse()?;
        Ok(())
    }

    /// Answers the last message.
    fn answer(&mut self, progress: &dyn Progress) -> Result<()> {
        let prompt = self.pair.chat_prompt_with(&self.messages, &self.options)?;
        let context = self.pair.slm().decoder.info().context;
        ensure!(
            prompt.len() <= context,
            "the conversation has {} tokens and the model reads {context}; /reset begins anew",
            prompt.len()
        );
        let max_tokens = self.args.max_tokens.min(self.pair.room_after(&prompt)?);
        let (start, before) = (Instant::now(), self.pair.traffic());
        let session = Session { question: String::new(), prompt, max_tokens, policy: self.policy };
        self.engine.add(session)?;
        let stream = TokenStream::new(self.pair.slm(), max_tokens);
        let mut printer = TokenPrinter::new(stdout(), Look::of_stdout(), stream);
        let mut made = None;
        let mut billed = Vec::new();
        // Replies that come after the answer has ended are counted too.
        while made.is_none() || self.engine.calls() > 0 {
            for event in self.engine.turn(PATIENCE) {
                match event {
                    Event::Token { token, .. } => printer.token(&token),
                    Event::Ended { trace, .. } => made = Some((trace, start.elapsed())),
                    Event::Failed { error, .. } => bail!(error),
                    Event::Billed { positions, bytes, .. } => billed.push((positions, bytes)),
                }
            }
        }
        let said = printer.end()?;
        self.messages.push(Message::new("assistant", &said));
        if let Some((mut trace, time)) = made {
            billed.into_iter().for_each(|(positions, bytes)| trace.bill(positions, bytes));
            self.sum_up(trace, time, before, progress);
        }
        Ok(())
    }

    fn sum_up(
        &self,
        trace: Trace,
        time: Duration,
        before: Option<Traffic>,
        progress: &dyn Progress,
    ) {
        let tokens = trace.tokens.len();
        let traffic = before.zip(self.pair.traffic()).map(|(before, now)| now - before);
        let mut line = match self.pair.is_routed() {
            true => cost_line::costs(from_ref(&trace), traffic),
            false => format!("{tokens} tokens"),
        };
        line += &format!(", {:.2} s", time.as_secs_f64());
        progress.note(&line);
        if let Some(bill) = self.pair.bill() {
            progress.note(&bill.to_string());
        }
        cost_line::warn_of_degraded(&[trace]);
    }
}
