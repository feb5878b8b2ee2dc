//! Replies of `/v1/completions`, whole and in pieces.

use serde_json::{Map, Value, json};
use tokenroute_core::TokenId;

use crate::server::score::Scored;
use crate::server::{Refusal, Texts};

/// One choice as it grows.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    pub(crate) cached: usize,
    pub(crate) prompt: Vec<Scored>,
    pub(crate) tokens: Vec<Scored>,
    /// Set when nothing more comes: whether an end token was reached.
    pub(crate) ended: Option<bool>,
}

impl Choice {
    fn finish(&self) -> Option<&'static str> {
        self.ended.map(|ended| if ended { "stop" } else { "length" })
    }

    /// Text so far, without the end token. While more may come, a character
    /// that is not whole yet is held back.
    pub(crate) fn text(&self, texts: &dyn Texts) -> Result<String, Refusal> {
        let made = self.tokens.len() - usize::from(self.ended == Some(true));
        let ids: Vec<TokenId> = self.tokens[..made].iter().map(|t| t.token).collect();
        let mut text = texts.decode(&ids).map_err(Refusal::Failed)?;
        if self.ended.is_none() {
            text.truncate(text.trim_end_matches(char::REPLACEMENT_CHARACTER).len());
        }
        Ok(text)
    }

    /// The choice in OpenAI's words, with `tokens[from..]` and their `text`.
    pub(crate) fn json(
        &self,
        index: usize,
        prompt: &[TokenId],
        options: Options,
        from: usize,
        text: &str,
        texts: &dyn Texts,
    ) -> Result<Value, Refusal> {
        let tokens = &self.tokens[from..];
        let mut choice = json!({
            "index": index,
            "text": text,
            "finish_reason": self.finish(),
            "logprobs": null,
        });
        if options.top {
            choice["logprobs"] = logprobs(tokens, texts)?;
        }
        if options.ids {
            choice["token_ids"] = tokens.iter().map(|t| t.token).collect();
            if from == 0 {
                choice["prompt_token_ids"] = prompt.into();
            }
        }
        if let Some(start) = options.prompt_from {
            let mut all = vec![Value::Null; start];
            for scored in &self.prompt {
                all.push(prompt_entry(scored, texts)?);
            }
            choice["prompt_logprobs"] = all.into();
        }
        Ok(choice)
    }
}

/// What of a choice is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) top: bool,
    pub(crate) ids: bool,
    pub(crate) prompt_from: Option<usize>,
}

fn spell(id: TokenId, texts: &dyn Texts) -> Result<String, Refusal> {
    texts.token(id).map_err(Refusal::Failed)
}

fn logprobs(tokens: &[Scored], texts: &dyn Texts) -> Result<Value, Refusal> {
    let mut spelled = Vec::with_capacity(tokens.len());
    let mut tops = Vec::with_capacity(tokens.len());
    let mut offsets = Vec::with_capacity(tokens.len());
    let mut offset = 0;
    for scored in tokens {
        let text = spell(scored.token, texts)?;
        offsets.push(offset);
        offset += text.chars().count();
        spelled.push(text);
        let mut top = Map::new();
        for &(id, logprob) in &scored.top {
            top.insert(spell(id, texts)?, json!(logprob));
        }
        tops.push(top);
    }
    let own: Vec<_> = tokens.iter().map(|t| t.logprob).collect();
    Ok(json!({
        "tokens": spelled, "token_logprobs": own, "top_logprobs": tops, "text_offset": offsets,
    }))
}

/// One prompt token as vLLM writes it: candidates by id.
fn prompt_entry(scored: &Scored, texts: &dyn Texts) -> Result<Value, Refusal> {
    let own = (scored.token, scored.logprob.unwrap_or_default(), scored.rank);
    let best = scored.top.iter().zip(1..).map(|(&(id, logprob), rank)| (id, logprob, rank));
    let mut entry = Map::new();
    for (id, logprob, rank) in best.chain([own]) {
        let text = spell(id, texts)?;
        let candidate = json!({"logprob": logprob, "rank": rank, "decoded_token": text});
        entry.insert(id.to_string(), candidate);
    }
    Ok(entry.into())
}

/// The reply, or one piece of it.
pub(crate) fn completion(id: &str, created: u64, model: &str, choices: &[Value]) -> Value {
    json!({
        "id": id, "object": "text_completion", "created": created, "model": model,
        "choices": choices,
    })
}

/// Tokens in, out and already known.
pub(crate) fn usage(prompts: &[Vec<TokenId>], choices: &[Choice]) -> Value {
    let prompt: usize = prompts.iter().map(Vec::len).sum();
    let made: usize = choices.iter().map(|choice| choice.tokens.len()).sum();
    let cached: usize = choices.iter().map(|choice| choice.cached).sum();
    json!({
        "prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made,
        "prompt_tokens_details": {"cached_tokens": cached},
    })
}
