//! Replies of `/v1/completions` in OpenAI's shape, with vLLM's fields for token ids and
//! prompt log-probabilities.

use serde_json::{Map, Value, json};
use tokenroute_core::TokenId;

use crate::completions::request::CompletionRequest;
use crate::completions::score::Scored;
use crate::completions::texts::Texts;
use crate::net::openai::reply::{self, Finish, Stamp};
use crate::net::refusal::Refusal;

/// One choice as it grows.
#[derive(Debug, Default)]
pub(crate) struct ChoiceSoFar {
    /// Positions of the prompt that were in the KV cache.
    pub(crate) cached: usize,
    pub(crate) prompt: Vec<Scored>,
    pub(crate) tokens: Vec<Scored>,
    /// Set once nothing more comes.
    pub(crate) finish: Option<Finish>,
}

impl ChoiceSoFar {
    /// Text so far, without the end token. While more may come, part of a character is
    /// held back.
    pub(crate) fn text(&self, texts: &dyn Texts) -> Result<String, Refusal> {
        let made = self.tokens.len() - usize::from(self.finish == Some(Finish::Stop));
        let ids: Vec<TokenId> = self.tokens[..made].iter().map(|t| t.token).collect();
        let mut text = texts.decode(&ids).map_err(Refusal::Failed)?;
        if self.finish.is_none() {
            text.truncate(text.trim_end_matches(char::REPLACEMENT_CHARACTER).len());
        }
        Ok(text)
    }

    /// The choice number `index` of a request, with `tokens[from..]` and their `text`. With
    /// `echo` the prompt precedes both.
    pub(crate) fn json(
        &self,
        index: usize,
        request: &CompletionRequest,
        from: usize,
        text: &str,
        texts: &dyn Texts,
    ) -> Result<Value, Refusal> {
        let tokens = &self.tokens[from..];
        let prompt = &request.prompts[index];
        let mut pieces = Vec::new();
        if request.echo {
            pieces = texts.pieces(prompt).map_err(Refusal::Failed)?;
            pieces.iter_mut().take(request.openings[index]).for_each(String::clear);
        }
        let mut choice = json!({
            "index": index,
            "text": pieces.concat() + text,
            "finish_reason": self.finish.map(Finish::name),
            "logprobs": null,
        });
        if request.top.is_some() {
            let mut listed: Vec<Listed<'_>> = Vec::new();
            if request.echo {
                listed.extend(prompt.first().map(|&id| (id, None)));
                listed.extend(self.prompt.iter().map(|scored| (scored.token, Some(scored))));
            }
            listed.extend(tokens.iter().map(|scored| (scored.token, Some(scored))));
            let made: Vec<TokenId> = tokens.iter().map(|scored| scored.token).collect();
            pieces.extend(texts.pieces(&made).map_err(Refusal::Failed)?);
            choice["logprobs"] = logprobs(&listed, &pieces, request.named_by_id, texts)?;
        }
        if request.ids {
            choice["token_ids"] = tokens.iter().map(|t| t.token).collect();
            if from == 0 {
                choice["prompt_token_ids"] = prompt.as_slice().into();
            }
        }
        if let Some((start, _)) = request.prompt_top.filter(|_| !request.echo) {
            let mut all = vec![Value::Null; start];
            for scored in &self.prompt {
                all.push(prompt_entry(scored, texts)?);
            }
            choice["prompt_logprobs"] = all.into();
        }
        Ok(choice)
    }
}

fn token_text(id: TokenId, texts: &dyn Texts) -> Result<String, Refusal> {
    texts.token(id).map_err(Refusal::Failed)
}

/// A token of a reply. A prompt's first has no log-probability.
type Listed<'a> = (TokenId, Option<&'a Scored>);

/// Log-probabilities in OpenAI's shape; `pieces` are what the tokens add to the text. By id,
/// tokens are named as vLLM names them.
fn logprobs(
    tokens: &[Listed<'_>],
    pieces: &[String],
    by_id: bool,
    texts: &dyn Texts,
) -> Result<Value, Refusal> {
    let name = |id: TokenId| match by_id {
        true => Ok(format!("token_id:{id}")),
        false => token_text(id, texts),
    };
    let mut spelled = Vec::with_capacity(tokens.len());
    let mut tops = Vec::with_capacity(tokens.len());
    let mut offsets = Vec::with_capacity(tokens.len());
    let mut offset = 0;
    for (&(token, scored), piece) in tokens.iter().zip(pieces) {
        offsets.push(offset);
        offset += piece.chars().count();
        spelled.push(name(token)?);
        let Some(scored) = scored else {
            tops.push(Value::Null);
            continue;
        };
        let mut top = Map::new();
        for &(id, logprob) in &scored.top {
            // Tokens of one text share a name; the most probable one has it.
            top.entry(name(id)?).or_insert_with(|| json!(logprob));
        }
        tops.push(top.into());
    }
    let own: Vec<_> = tokens.iter().map(|(_, scored)| scored.and_then(|s| s.logprob)).collect();
    Ok(json!({
        "tokens": spelled, "token_logprobs": own, "top_logprobs": tops, "text_offset": offsets,
    }))
}

/// One prompt token in vLLM's shape: candidates by id.
fn prompt_entry(scored: &Scored, texts: &dyn Texts) -> Result<Value, Refusal> {
    let own = (scored.token, scored.logprob.unwrap_or_default(), scored.rank);
    let best = scored.top.iter().zip(1..).map(|(&(id, logprob), rank)| (id, logprob, rank));
    let mut entry = Map::new();
    for (id, logprob, rank) in best.chain([own]) {
        let text = token_text(id, texts)?;
        let candidate = json!({"logprob": logprob, "rank": rank, "decoded_token": text});
        entry.insert(id.to_string(), candidate);
    }
    Ok(entry.into())
}

/// The reply, or one chunk of it.
pub(crate) fn completion(stamp: &Stamp, model: &str, choices: &[Value]) -> Value {
    reply::frame("text_completion", stamp, model, choices)
}

/// Tokens of prompts and answers, and prompt positions that were in the KV cache.
pub(crate) fn usage(prompts: &[Vec<TokenId>], choices: &[ChoiceSoFar]) -> Value {
    let prompt = prompts.iter().map(Vec::len).sum();
    let made = choices.iter().map(|choice| choice.tokens.len()).sum();
    let cached: usize = choices.iter().map(|choice| choice.cached).sum();
    let mut usage = reply::usage(prompt, made);
    usage["prompt_tokens_details"] = json!({"cached_tokens": cached});
    usage
}
