//! Calls to the LLM for labels: whole continuations, and its tokens along a known text.

use tokenroute_core::{Ask, Continuation, Llm, LlmError, Reply, Sampling, TokenId};

use crate::labeller::Context;
use crate::{Item, LabelError};

/// A text that the LLM continues.
pub(crate) struct Opening<'a> {
    /// The question.
    pub item: &'a Item<'a>,
    /// Prompt and answer so far.
    pub tokens: Vec<TokenId>,
    /// Most tokens to request. With 0 the LLM is not called.
    pub most: usize,
    /// Whether later calls extend this text.
    pub resumed: bool,
    /// How tokens are drawn. Greedy if `None`.
    pub sampling: Option<Sampling>,
}

impl<'a> Opening<'a> {
    /// A greedy continuation.
    pub(crate) fn greedy(
        item: &'a Item<'a>,
        tokens: Vec<TokenId>,
        most: usize,
        resumed: bool,
    ) -> Self {
        Opening { item, tokens, most, resumed, sampling: None }
    }
}

impl<S, L: Llm + ?Sized> Context<'_, '_, S, L> {
    /// The LLM's continuations, canonical. Each ends with its answer or at the limit. A text
    /// that already ends its answer has none. If a reply breaks off, the rest is requested
    /// again.
    pub(crate) fn continued(
        &self,
        openings: &[Opening<'_>],
    ) -> Result<Vec<Vec<TokenId>>, LabelError> {
        let vocabulary = self.labeller.vocabulary;
        let mut contexts: Vec<Vec<TokenId>> = openings.iter().map(|o| o.tokens.clone()).collect();
        let made =
            |contexts: &[Vec<TokenId>], i: usize| contexts[i].len() - openings[i].tokens.len();
        let prompt = |i: usize| openings[i].item.prompt.len();
        let answers = |i: &usize| {
            openings[*i].most > 0 && !vocabulary.closes(&openings[*i].tokens[prompt(*i)..])
        };
        let mut open: Vec<usize> = (0..openings.len()).filter(answers).collect();
        while !open.is_empty() {
            let wanted: Vec<Continuation<'_>> = open
                .iter()
                .map(|&i| Continuation {
                    context: &contexts[i],
                    tokens: openings[i].most - made(&contexts, i),
                    sampling: openings[i].sampling,
                    resumed: openings[i].resumed,
                })
                .collect();
            let mut replies = self.labeller.llm.continuations(&wanted, vocabulary).into_iter();
            let mut still = Vec::new();
            for i in open {
                let most = openings[i].most - made(&contexts, i);
                let fits = |found: usize| (1..=most).contains(&found);
                let mut said =
                    self.heard(openings[i].item, replies.next(), fits, || format!("1 to {most}"))?;
                match vocabulary.closed_at(&contexts[i][prompt(i)..], &said) {
                    Some(end) => said.truncate(end + 1),
                    None if said.len() < most => still.push(i),
                    None => {}
                }
                contexts[i].extend(said);
            }
            open = still;
        }
        let answer = |(context, opening): (Vec<TokenId>, &Opening<'_>)| {
            context[opening.tokens.len()..].to_vec()
        };
        Ok(contexts.into_iter().zip(openings).map(answer).collect())
    }

    /// The LLM's token at every position of the answers, `[answer]`, canonical.
    pub(crate) fn tokens_along(
        &self,
        items: &[Item<'_>],
        answers: &[&[TokenId]],
    ) -> Result<Vec<Vec<TokenId>>, LabelError> {
        let contexts: Vec<Vec<TokenId>> = items
            .iter()
            .zip(answers)
            .map(|(item, answer)| {
                let known = &answer[..answer.len().saturating_sub(1)];
                [&item.prompt, known].concat()
            })
            .collect();
        let asks: Vec<Ask<'_>> = contexts
            .iter()
            .zip(items)
            .map(|(context, item)| Ask::greedy(context, item.prompt.len()))
            .collect();
        let mut replies = self.labeller.llm.ask(&asks).into_iter();
        let mut along = Vec::with_capacity(items.len());
        for (item, answer) in items.iter().zip(answers) {
            let wanted = answer.len().max(1);
            let fits = |found| found == wanted;
            let mut tokens = self.heard(item, replies.next(), fits, || wanted.to_string())?;
            tokens.truncate(answer.len());
            along.push(tokens);
        }
        Ok(along)
    }

    /// The canonical tokens of a reply, if their number is as expected.
    fn heard(
        &self,
        item: &Item<'_>,
        reply: Option<Result<Reply, LlmError>>,
        fits: impl Fn(usize) -> bool,
        expected: impl Fn() -> String,
    ) -> Result<Vec<TokenId>, LabelError> {
        let failed = |source| LabelError::Llm { question: item.question.id.clone(), source };
        let reply = reply.unwrap_or_else(|| Ok(Reply::default())).map_err(failed)?;
        self.metered.llm(reply.positions);
        let found = reply.tokens.len();
        if !fits(found) {
            let what = format!("{found} tokens; expected {}", expected());
            return Err(failed(LlmError::BadReply(what)));
        }
        let canonical = |token| self.labeller.vocabulary.canonical(token);
        Ok(reply.tokens.into_iter().map(canonical).collect())
    }
}
