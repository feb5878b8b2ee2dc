//! Replies of `/v1/completions`, and what each server adds to them.

use std::collections::BTreeMap;

use serde::Deserialize;
use tokenroute_core::{LlmError, Reply, TokenId, TopTokens};

use super::{Facts, Query, bad, check_count, parse, positions, run};

/// A reply of `/v1/completions`, or one event of a streamed one.
#[derive(Deserialize)]
pub(crate) struct Completion {
    pub(crate) choices: Vec<Choice>,
    pub(crate) usage: Option<Usage>,
}

#[derive(Deserialize)]
pub(crate) struct Choice {
    text: Option<String>,
    pub(crate) finish_reason: Option<String>,
    pub(crate) token_ids: Option<Vec<TokenId>>,
    prompt_token_ids: Option<Vec<TokenId>>,
    logprobs: Option<Logprobs>,
    prompt_logprobs: Option<Vec<Option<BTreeMap<String, Candidate>>>>,
}

#[derive(Deserialize)]
struct Logprobs {
    tokens: Option<Vec<String>>,
    top_logprobs: Option<Vec<Option<BTreeMap<String, f64>>>>,
}

#[derive(Deserialize)]
struct Candidate {
    rank: Option<u64>,
    logprob: Option<f64>,
}

#[derive(Deserialize)]
pub(crate) struct Usage {
    prompt_tokens: Option<u64>,
    pub(crate) prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
pub(crate) struct Details {
    pub(crate) cached_tokens: Option<u64>,
}

pub(super) fn completion(
    bytes: &[u8],
    query: &Query<'_>,
    facts: &Facts,
) -> Result<Reply, LlmError> {
    let reply: Completion = parse(bytes)?;
    let [choice] = reply.choices.as_slice() else {
        return bad(format!("{} choices; expected 1", reply.choices.len()));
    };
    if choice.prompt_token_ids.as_ref().is_some_and(|ids| ids != query.context) {
        return bad("an answer to another prefix".to_owned());
    }
    let usage = reply.usage.as_ref();
    check_count(usage.and_then(|u| u.prompt_tokens), query)?;
    let mut tokens = Vec::with_capacity(query.context.len() - query.from + 1);
    let mut top = Vec::new();
    if query.scores() {
        let Some(scored) = &choice.prompt_logprobs else {
            return bad("no prompt_logprobs".to_owned());
        };
        if scored.len() != query.context.len() {
            let (found, sent) = (scored.len(), query.context.len());
            return bad(format!("prompt_logprobs for {found} tokens; {sent} were sent"));
        }
        for (at, entry) in scored.iter().enumerate().skip(query.from) {
            let best = entry.iter().flatten().find(|(_, c)| c.rank == Some(1));
            match best.and_then(|(id, _)| id.parse().ok()) {
                Some(token) => tokens.push(token),
                None => return bad(format!("no token of rank 1 at prompt position {at}")),
            }
            if query.top > 0 {
                let candidates = entry.iter().flatten();
                top.push(listed(candidates.map(|(id, c)| (id.as_str(), c.logprob)), query.top)?);
            }
        }
    }
    let made = made(choice, query, facts)?;
    let cached = usage.and_then(|u| u.prompt_tokens_details.as_ref()?.cached_tokens);
    let positions = positions(query, cached, made.len());
    tokens.extend(made);
    if query.top > 0 {
        let tops = choice.logprobs.as_ref().and_then(|l| l.top_logprobs.as_ref());
        let Some(Some(first)) = tops.and_then(|tops| tops.first()) else {
            return bad("no top_logprobs".to_owned());
        };
        let candidates = first.iter().map(|(name, &logprob)| {
            (name.strip_prefix(TOKEN_ID).unwrap_or_default(), Some(logprob))
        });
        top.push(listed(candidates, query.top)?);
    }
    Ok(Reply { tokens, top, positions, ..Reply::default() })
}

/// Prefix of a token's id, where a server names tokens by their ids.
const TOKEN_ID: &str = "token_id:";

/// The most probable tokens of a position, from ids with log-probabilities in any order. The
/// position's own token may be one more than was wanted.
fn listed<'a>(
    candidates: impl Iterator<Item = (&'a str, Option<f64>)>,
    wanted: usize,
) -> Result<TopTokens, LlmError> {
    let read = |(id, logprob): (&str, Option<f64>)| {
        let logprob = logprob.filter(|logprob| *logprob <= 1e-3)?;
        Some((id.parse::<TokenId>().ok()?, logprob.exp().min(1.0) as f32))
    };
    let Some(mut top) = candidates.map(read).collect::<Option<Vec<_>>>() else {
        return bad("top log-probabilities without token ids or numbers".to_owned());
    };
    top.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    top.truncate(wanted);
    Ok(top.into())
}

/// The generated tokens, from ids if the reply has them.
fn made(choice: &Choice, query: &Query<'_>, facts: &Facts) -> Result<Vec<TokenId>, LlmError> {
    let stopped = choice.finish_reason.as_deref() == Some("stop");
    if let Some(ids) = &choice.token_ids {
        return run(ids, stopped, query, facts);
    }
    let spelled = choice.logprobs.as_ref().and_then(|l| l.tokens.as_ref());
    let id = |token: &String| token.strip_prefix(TOKEN_ID)?.parse().ok();
    if let Some(tokens) = spelled.filter(|tokens| !tokens.is_empty())
        && let Some(ids) = tokens.iter().map(id).collect::<Option<Vec<TokenId>>>()
    {
        return run(&ids, stopped, query, facts);
    }
    let text = choice.text.as_deref().unwrap_or_default();
    if text.is_empty() && stopped {
        return Ok(vec![facts.vocabulary.end()]);
    }
    match &facts.spelling {
        Some(spelling) => Ok(vec![spelling.token(text)?]),
        None => bad("no token ids, and the client has no texts of the vocabulary".to_owned()),
    }
}
