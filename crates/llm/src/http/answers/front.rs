//! Continuations whose front is in the answer cache.

use sha2::Sha256;
use tokenroute_core::{Continuation, Llm, LlmError, Reply, TokenId, Vocabulary};

use super::Answers;

/// A continuation whose front is cached.
pub(super) struct Begun {
    /// The hash after the front.
    hash: Sha256,
    /// Context and front.
    pub(super) tokens: Vec<TokenId>,
    /// Number of tokens to request.
    pub(super) left: usize,
}

impl<L: Llm> Answers<L> {
    /// The cached part of a continuation.
    pub(super) fn begin(
        &self,
        wanted: &Continuation<'_>,
        vocabulary: &Vocabulary,
    ) -> Result<Begun, LlmError> {
        let most = wanted.tokens.max(1);
        let mut hash = self.hash(wanted.context);
        let mut front = Vec::new();
        if wanted.sampling.is_none() {
            let known = self.known_run(&mut hash, wanted.context, most, vocabulary);
            front = known.map_err(|e| self.away(&e))?;
        }
        let tokens = [wanted.context, &front].concat();
        let ended = !front.is_empty() && vocabulary.closes(&tokens);
        Ok(Begun { hash, left: if ended { 0 } else { most - front.len() }, tokens })
    }

    /// Caches the reply after the front and joins the two.
    pub(super) fn end(
        &self,
        wanted: &Continuation<'_>,
        begun: Begun,
        said: Result<Reply, LlmError>,
        vocabulary: &Vocabulary,
    ) -> Result<Reply, LlmError> {
        let Begun { hash, tokens: text, left } = begun;
        let mut tokens = text[wanted.context.len()..].to_vec();
        let mut said = match said {
            Ok(said) => said,
            // As for a continuation that breaks off.
            Err(_) if !tokens.is_empty() => return Ok(Reply { tokens, ..Reply::default() }),
            Err(error) => return Err(error),
        };
        if wanted.sampling.is_none() && left > 0 {
            let end = vocabulary.closed_at(&text, &said.tokens);
            said.tokens.truncate(end.map_or(left, |end| end + 1));
            said.tokens = self.keep_run(hash, &said.tokens).map_err(|e| self.away(&e))?;
        }
        tokens.extend(said.tokens);
        Ok(Reply { tokens, ..said })
    }
}
