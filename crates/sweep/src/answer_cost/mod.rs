//! What an answer costs: calls, waits, positions, bytes, and from them money and time. An
//! answer's cost follows from its piece of a curve and from the way it is decoded.

mod price;
mod speculative;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokenroute_core::{Handoff, Piece, QuestionCurve, Tau};

use crate::policies::{Policy, PolicyKind};
use crate::query::{HandoffWhole, QueryCascade, QueryPolicy};
pub use price::{AssumedNetwork, Prices};
pub use speculative::speculative_decoding;
pub use table::{AnswerCosts, DRAFTS, PricedPoint, PricedPolicy, PricedWay};

/// Bytes of a request without its token ids.
pub const REQUEST_BYTES: f64 = 250.0;
/// Bytes of a reply, or of one event of a stream, without its token ids.
pub const REPLY_BYTES: f64 = 250.0;
/// Bytes of a token id as JSON, comma included.
pub const ID_BYTES: f64 = 6.0;

/// The cost of an answer, or the mean of several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct AnswerCost {
    /// Tokens that the LLM made.
    pub offloaded: f64,
    /// Calls to the LLM.
    pub calls: f64,
    /// Round trips that the answer waits for, one after the other.
    pub waits: f64,
    /// Positions that the LLM processes, prefill and discarded drafts included.
    pub llm_positions: f64,
    /// Positions of requests that an earlier call of the answer has processed.
    pub cached_positions: f64,
    /// Positions of requests that no earlier call has processed.
    pub input_positions: f64,
    /// Passes of the LLM after the prompt, one after the other.
    pub llm_passes: f64,
    /// Tokens that the SLM decoded, discarded ones included.
    pub slm_tokens: f64,
    /// Bytes to the LLM.
    pub bytes_up: f64,
    /// Bytes from the LLM.
    pub bytes_down: f64,
}

/// How a policy's answer is decoded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decoding<'c> {
    /// One blocking call for each offloaded token. The LLM keeps its KV cache.
    Blocking,
    /// One model makes the whole answer. The LLM streams it.
    Whole,
    /// As [`Decoding::Whole`], but the SLM has answered first.
    AfterSlm,
    /// As [`Decoding::Whole`], but the SLM has begun, up to the first token below τ. The curves are
    /// those of the policy `handoff`, by question: its answers have the SLM's tokens until there.
    BegunAnew(&'c [QuestionCurve]),
    /// The LLM checks drafts of [`DRAFTS`]'s first length, as speculative decoding does.
    Checked,
    /// The SLM begins. The LLM reads what there is and streams the rest.
    Handoff,
}

impl<'c> Decoding<'c> {
    /// How a policy decodes. `curves` holds the questions' curves by policy. `None` for an oracle,
    /// which has no price of its own, and for `handoff-whole` without the curves of `handoff`, which
    /// tell where the SLM stops.
    #[must_use]
    pub fn of(
        name: &str,
        kind: PolicyKind,
        curves: &BTreeMap<String, &'c [QuestionCurve]>,
    ) -> Option<Self> {
        match kind {
            PolicyKind::Oracle => None,
            PolicyKind::Speculative => Some(Decoding::Checked),
            PolicyKind::QueryLevel if name == QueryCascade::NAME => Some(Decoding::AfterSlm),
            PolicyKind::QueryLevel if name == HandoffWhole::NAME => {
                curves.get(Handoff::NAME).copied().map(Decoding::BegunAnew)
            }
            PolicyKind::QueryLevel => Some(Decoding::Whole),
            PolicyKind::Handoff => Some(Decoding::Handoff),
            _ => Some(Decoding::Blocking),
        }
    }
}

impl AnswerCost {
    /// The mean cost of answers at τ. `prompts` are the prompts' lengths.
    #[must_use]
    pub fn mean(
        curves: &[QuestionCurve],
        prompts: &[u32],
        tau: Tau,
        decoding: Decoding<'_>,
    ) -> AnswerCost {
        let costs = curves.iter().zip(prompts).enumerate().map(|(i, (curve, &prompt))| {
            let piece = curve.at(tau);
            match decoding {
                Decoding::Blocking => Self::blocking(prompt, &piece),
                Decoding::Checked => Self::checked(prompt, &piece, DRAFTS[0]),
                _ if piece.offloaded == 0 => Self::slm_alone(piece.generated),
                Decoding::Whole => Self::streamed(prompt, piece.generated),
                Decoding::Handoff => {
                    let (kept, slm_tokens) = begun(&piece);
                    AnswerCost { slm_tokens, ..Self::streamed(prompt + kept, piece.offloaded) }
                }
                Decoding::BegunAnew(handoff) => {
                    let slm_tokens = handoff.get(i).map_or(0.0, |curve| begun(&curve.at(tau)).1);
                    AnswerCost { slm_tokens, ..Self::streamed(prompt, piece.generated) }
                }
                Decoding::AfterSlm => {
                    let discarded = curve.at(Tau::SLM_ONLY).generated;
                    let slm_tokens = f64::from(discarded);
                    AnswerCost { slm_tokens, ..Self::streamed(prompt, piece.generated) }
                }
            }
        });
        Self::mean_of(costs)
    }

    /// The mean of costs; nothing without any.
    pub fn mean_of(costs: impl Iterator<Item = AnswerCost>) -> AnswerCost {
        let (mut sum, mut count) = (AnswerCost::default(), 0.0);
        for cost in costs {
            sum = sum.combine(cost, |a, b| a + b);
            count += 1.0;
        }
        sum.combine(sum, |a, _| if count > 0.0 { a / count } else { 0.0 })
    }

    /// Routed decoding that waits for every offloaded token. Each call sends the whole
    /// prefix. The last prefix is known; the others count as evenly spread from the prompt
    /// to it, which is exact for the LLM alone.
    #[must_use]
    pub fn blocking(prompt: u32, piece: &Piece) -> AnswerCost {
        let calls = f64::from(piece.offloaded);
        let last = f64::from(piece.llm_positions);
        let others = (calls - 1.0).max(0.0) * 0.5 * (f64::from(prompt) + last - 1.0);
        AnswerCost {
            offloaded: calls,
            calls,
            waits: calls,
            llm_positions: last,
            cached_positions: others,
            input_positions: last,
            llm_passes: calls,
            slm_tokens: f64::from(piece.generated),
            ..AnswerCost::default()
        }
        .with_bytes(calls)
    }

    /// Speculative decoding with drafts of `draft` tokens. A curve tells how many tokens the LLM
    /// rejected, not where: they count as evenly spread over the answer.
    #[must_use]
    pub fn checked(prompt: u32, piece: &Piece, draft: usize) -> AnswerCost {
        let (tokens, rejected) = (u64::from(piece.generated), u64::from(piece.offloaded));
        let before = |i: u64| i * rejected / tokens.max(1);
        let agrees: Vec<bool> = (0..tokens).map(|i| before(i) == before(i + 1)).collect();
        speculative_decoding(prompt, &agrees, draft)
    }

    /// The SLM alone.
    #[must_use]
    pub fn slm_alone(generated: u32) -> AnswerCost {
        AnswerCost { slm_tokens: f64::from(generated), ..AnswerCost::default() }
    }

    /// The LLM alone: one call, whose tokens are streamed.
    #[must_use]
    pub fn streamed(prompt: u32, generated: u32) -> AnswerCost {
        let (prompt, generated) = (f64::from(prompt), f64::from(generated));
        AnswerCost {
            offloaded: generated,
            calls: 1.0,
            waits: 1.0,
            llm_positions: prompt + (generated - 1.0).max(0.0),
            input_positions: prompt,
            llm_passes: generated,
            ..AnswerCost::default()
        }
        .with_bytes(generated)
    }

    /// Adds the bytes of the calls, given the number of replies or events.
    fn with_bytes(mut self, replies: f64) -> Self {
        let sent = self.input_positions + self.cached_positions;
        self.bytes_up = REQUEST_BYTES * self.calls + ID_BYTES * sent;
        self.bytes_down = REPLY_BYTES * replies + ID_BYTES * self.offloaded;
        self
    }

    fn combine(self, other: AnswerCost, f: impl Fn(f64, f64) -> f64) -> AnswerCost {
        AnswerCost {
            offloaded: f(self.offloaded, other.offloaded),
            calls: f(self.calls, other.calls),
            waits: f(self.waits, other.waits),
            llm_positions: f(self.llm_positions, other.llm_positions),
            cached_positions: f(self.cached_positions, other.cached_positions),
            input_positions: f(self.input_positions, other.input_positions),
            llm_passes: f(self.llm_passes, other.llm_passes),
            slm_tokens: f(self.slm_tokens, other.slm_tokens),
            bytes_up: f(self.bytes_up, other.bytes_up),
            bytes_down: f(self.bytes_down, other.bytes_down),
        }
    }
}

/// Of an answer that the SLM began and the LLM took over: the SLM's tokens in it, and those that the
/// SLM decoded. The token at which it was handed over was scored too.
fn begun(piece: &Piece) -> (u32, f64) {
    let kept = piece.generated - piece.offloaded;
    (kept, f64::from(kept) + 1.0)
}

/// The length of a question's prompt, from an exact curve of a policy that offloads all
/// tokens at τ = 1.
#[must_use]
pub fn prompt_tokens(curve: &QuestionCurve) -> u32 {
    let all = curve.at(Tau::LLM_ONLY);
    (all.llm_positions + 1).saturating_sub(all.generated)
}
