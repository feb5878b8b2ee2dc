//! An answer in the terminal: text as it comes, coloured by who made it.

use std::io::{IsTerminal, Write};

use anyhow::Result;
use tokenroute_core::{Origin, TraceToken, Vocabulary};
use tokenroute_model::{Detokeniser, LoadError, LoadedModel, Tokenizer};

/// Back to the terminal's own colours.
const PLAIN: &str = "\x1b[0m";

/// How an answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The text as it stands, for files and programs.
    Raw,
    /// For a terminal without colours.
    Plain,
    /// For a terminal: the LLM's tokens blue, degraded ones yellow, and what was made
    /// during a wait underlined.
    Coloured,
}

impl Look {
    /// What suits standard output: colours on a terminal, unless `NO_COLOR` is set.
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
pub struct Painter<'m, W> {
    out: W,
    look: Look,
    vocabulary: &'m Vocabulary,
    /// Until the end.
    words: Option<Detokeniser<&'m Tokenizer>>,
    text: String,
    failed: Result<()>,
}

impl<'m, W: Write> Painter<'m, W> {
    /// A painter that has written nothing.
    pub fn new(out: W, look: Look, model: &'m LoadedModel) -> Self {
        let words = Some(Detokeniser::new(&model.tokenizer));
        let vocabulary = &model.vocabulary;
        Painter { out, look, vocabulary, words, text: String::new(), failed: Ok(()) }
    }

    /// Writes what one more token makes certain. What goes wrong is told at the end.
    pub fn token(&mut self, token: &TraceToken) {
        if self.failed.is_ok()
            && !self.vocabulary.is_end(token.token)
            && let Some(words) = &mut self.words
        {
            let piece = words.push(token.token);
            self.failed = self.put(piece, style(token));
        }
    }

    fn put(&mut self, piece: Result<String, LoadError>, style: &str) -> Result<()> {
        let piece = piece?;
        if self.look == Look::Raw {
            self.out.write_all(piece.as_bytes())?;
        } else {
            let shown = harmless(&piece);
            if self.look == Look::Coloured && !style.is_empty() && !shown.is_empty() {
                write!(self.out, "{style}{shown}{PLAIN}")?;
            } else {
                self.out.write_all(shown.as_bytes())?;
            }
        }
        self.out.flush()?;
        self.text += &piece;
        Ok(())
    }

    /// Ends the answer and its line; returns its text.
    ///
    /// # Errors
    /// What went wrong on the way.
    pub fn end(mut self) -> Result<String> {
        std::mem::replace(&mut self.failed, Ok(()))?;
        if let Some(words) = self.words.take() {
            self.put(words.finish(), "")?;
        }
        writeln!(self.out)?;
        self.out.flush()?;
        Ok(self.text)
    }
}

/// How a token looks where there are colours.
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

/// Text that cannot drive a terminal: a model may say anything.
fn harmless(text: &str) -> String {
    let harmless = |c: char| !c.is_control() || c == '\n' || c == '\t';
    text.chars().map(|c| if harmless(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
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
            let mut painter = Painter::new(&mut out, look, &model);
            for (&token, (origin, speculated)) in ids.iter().zip(kinds.into_iter().cycle()) {
                let cause = (origin == Origin::Degraded).then_some(Cause::Late);
                let slm_token = token;
                painter.token(&TraceToken {
                    token,
                    origin,
                    slm_token,
                    score: 0.5,
                    cause,
                    speculated,
                });
            }
            assert_eq!(painter.end().expect("no error"), "Mia has 3");
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
