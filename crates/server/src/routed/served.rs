//! The pair as requests are checked against it and answered from it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokenroute_core::Vocabulary;
use tokenroute_model::{ChatTemplate, Tokenizer};
use tokenroute_runtime::{Policy, RUN, Wait};

use super::Announce;
use crate::net::openai::reply::model;

/// Facts about the served pair; they do not change.
pub(crate) struct ServedPair {
    pub(crate) name: String,
    pub(crate) policy: Policy,
    /// Whether there is an LLM.
    pub(crate) routed: bool,
    /// Most positions of the small model.
    pub(crate) context: usize,
    /// Number of token ids.
    pub(crate) vocabulary: usize,
    /// Whether chat messages may spell special tokens.
    pub(crate) allow_special_tokens: bool,
    pub(crate) most_prompt: usize,
    /// Bytes of the token with the longest text.
    pub(crate) longest_token: usize,
    pub(crate) most_tokens: usize,
    /// Most bytes of a request.
    pub(crate) body: usize,
    /// Bytes of a position in the KV caches of both models.
    pub(crate) position_bytes: usize,
    /// Bytes of a position in a step of the small model, without the logits.
    pub(crate) said_bytes: usize,
    /// Bytes that the router remembers of an answer.
    pub(crate) remembered_bytes: usize,
    /// Longest time for an answer.
    pub(crate) time: Duration,
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) template: Option<ChatTemplate>,
    pub(crate) ends: Arc<Vocabulary>,
    pub(crate) announce: Option<Box<dyn Announce>>,
}

impl ServedPair {
    /// Most bytes of a session beside its states: what the small model says and the router
    /// remembers, in a turn and while it waits.
    pub(crate) fn beside_bytes(&self, policy: &Policy, max_tokens: usize) -> usize {
        let (branches, made, waiting) = match policy.wait {
            Wait::Block => (1, 1, 1),
            Wait::Relay { tokens } => (1, RUN.min(tokens.get()).min(max_tokens), 1),
            // The state after the prompt is kept, with the step there.
            Wait::Whole => (1, RUN.min(max_tokens), 2),
            Wait::Speculate { branches, max_ahead } => {
                let ahead = max_ahead.saturating_add(1).saturating_mul(branches.get());
                let all = ahead.saturating_add(1);
                (all, all, all)
            }
        };
        let logits = size_of::<f32>() * self.vocabulary;
        let waiting_logits = policy.listed.map_or(0, |_| waiting);
        let said = made.saturating_add(waiting).saturating_mul(self.said_bytes);
        // A turn makes the logits of all sessions if one of them reads them.
        let logits = made.saturating_add(waiting_logits).saturating_mul(logits);
        // A branch holds the state of its last step while the next one is scored.
        let states = branches.saturating_mul(2).saturating_mul(self.remembered_bytes);
        said.saturating_add(logits).saturating_add(states)
    }

    /// The pair as `/v1/models` lists it.
    pub(crate) fn listed(&self) -> Value {
        let mut listed = model(&self.name, self.context);
        listed["tokenroute"] = json!({
            "routed": self.routed, "tau": self.policy.tau,
            "max_offload": self.policy.budget.share(), "wait": wait(self.policy.wait),
            "chat": self.template.is_some(),
            "max_prompt_tokens": self.most_prompt, "max_tokens": self.most_tokens,
        });
        listed
    }
}

/// How answers wait for the LLM. Clients must see a relay and a whole answer: their tokens differ
/// from those of the other two.
fn wait(wait: Wait) -> Value {
    match wait {
        Wait::Block => json!({"policy": "block"}),
        Wait::Speculate { branches, max_ahead } => {
            json!({"policy": "speculate", "branches": branches, "max_ahead": max_ahead})
        }
        Wait::Relay { tokens } => json!({"policy": "relay", "tokens": tokens}),
        Wait::Whole => json!({"policy": "whole"}),
    }
}
