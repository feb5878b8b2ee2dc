//! Prints an answer in the terminal as it is decoded, coloured by the model that made each
//! token.

use std::io::{IsTerminal, Write};

use anyhow::Result;
use tokenroute::{Origin, Token, TokenStream, TraceToken};

use crate::output::harmless;

/// Resets the colours.
const PLAIN: &str = "\x1b[0m";

/// The style of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The unchanged text, for files and programs.
    Raw,
    /// For a terminal without colours.
    Plain,
    /// For a terminal: the LLM's tokens in blue, degraded ones in yellow, and speculated
    /// ones underlined.
    Coloured,
}

impl Look {
    /// The style for standard output: colours on a terminal, unless `NO_COLOR` is set.
    pub fn of_stdout() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        match std::io::stdout().is_terminal() {
            false => Look::Raw,
            true if set("NO_COLOR").is_some() => Look::Plain,
            true if set("TERM").is_some_and(|term| term == "dumb") => Look::Plain,
            true => Look::Coloured,
        }
    }
}

/// Writes one answer.
pub struct TokenPrinter<'m, W> {
    out: W,
    look: Look,
    stream: TokenStream<'m>,
    text: String,
    failed: Result<()>,
}

impl<'m, W: Write> TokenPrinter<'m, W> {
    /// A printer for one answer.
    pub fn new(out: W, look: Look, stream: TokenStream<'m>) -> Self {
        TokenPrinter { out, look, stream, text: String::new(), failed: Ok(()) }
    }

    /// Writes the text that one more token completes. `end` reports a failure.
    pub fn token(&mut self, record: &TraceToken) {
        if self.failed.is_ok() {
            let token = self.stream.push(record.clone());
            self.failed = token.map_err(Into::into).and_then(|token| self.put(&token));
        }
    }

    fn put(&mut self, token: &Token) -> Result<()> {
        if self.look == Look::Raw {
            self.out.write_all(token.text.as_bytes())?;
        } else {
            let (shown, style) = (harmless(&token.text), style(&token.record));
            if self.look == Look::Coloured && !style.is_empty() && !shown.is_empty() {
                write!(self.out, "{style}{shown}{PLAIN}")?;
            } else {
                self.out.write_all(shown.as_bytes())?;
            }
        }
        self.out.flush()?;
        self.text += &token.text;
        Ok(())
    }

    /// Ends the answer and its line. Returns its text.
    ///
    /// # Errors
    /// The first failure of a write or of decoding a token.
    pub fn end(mut self) -> Result<String> {
        self.failed?;
        writeln!(self.out)?;
        self.out.flush()?;
        Ok(self.text)
    }
}

/// The colour code of a token.
fn style(token: &TraceToken) -> &'static str {
    match (token.origin, token.speculated) {
        (Origin::Slm, false) => "",
        (Origin::Slm, true) => "\x1b[4m",
        (Origin::Llm, false) => "\x1b[94m",
        (Origin::Llm, true) => "\x1b[4;94m",
        (Origin::Degraded, false) => "\x1b[33m",
        (Origin::Degraded, true) => "\x1b[4;33m",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokenroute_core::Cause;
    use tokenroute_model::{LoadOptions, load_model};

    use super::*;

    #[test]
    fn colours_say_who_made_a_token_and_files_get_the_text() {
        let slm = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/word-problems-slm");
        let model = load_model(&slm, &LoadOptions::default()).expect("the bundled SLM");
        let ids = model.tokenizer.encode("Mia has 3").expect("tokens");
        let kinds = [
            (Origin::Slm, false),
            (Origin::Llm, false),
            (Origin::Degraded, false),
            (Origin::Slm, true),
        ];
        let painted = |look| {
            let mut out = Vec::new();
            let mut printer = TokenPrinter::new(&mut out, look, TokenStream::new(&model, 100));
            for (&token, (origin, speculated)) in ids.iter().zip(kinds.into_iter().cycle()) {
                let cause = (origin == Origin::Degraded).then_some(Cause::Late);
                let slm_token = token;
                printer.token(&TraceToken {
                    token,
                    origin,
                    slm_token,
                    score: 0.5,
                    cause,
                    speculated,
                });
            }
            assert_eq!(printer.end().expect("no error"), "Mia has 3");
            String::from_utf8(out).expect("UTF-8")
        };
        assert_eq!(painted(Look::Raw), "Mia has 3\n");
        assert_eq!(painted(Look::Plain), "Mia has 3\n");
        let expected = "Mia\x1b[94m has\x1b[0m\x1b[33m \x1b[0m\x1b[4m3\x1b[0m\n";
        assert_eq!(painted(Look::Coloured), expected);
    }

    #[test]
    fn what_a_model_says_cannot_drive_the_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\n\tc\r"), "a\u{FFFD}[2Jb\n\tc\u{FFFD}");
    }
}
