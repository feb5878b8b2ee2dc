//! Speculative decoding (arXiv 2211.17192), greedy: the SLM drafts, the LLM checks a draft in
//! one call. The answer is the LLM's own.

use super::{AnswerCost, ID_BYTES, REPLY_BYTES, REQUEST_BYTES};

/// The cost of the LLM's own answer by speculative decoding with drafts of `draft` tokens.
///
/// `agrees[i]` tells whether the SLM's token is the LLM's at position `i` of the LLM's
/// answer. A call keeps the draft up to the first difference and takes one token of the LLM
/// after it. A draft stops early only at the end of the answer. The LLM keeps its KV cache;
/// discarded drafts were processed.
#[must_use]
pub fn speculative_decoding(prompt: u32, agrees: &[bool], draft: usize) -> AnswerCost {
    let draft = draft.max(1);
    let mut cost = AnswerCost::default();
    let (mut at, mut known) = (0usize, 0usize);
    while at < agrees.len() {
        let rest = &agrees[at..];
        let kept = rest.iter().take(draft).take_while(|agrees| **agrees).count();
        let ends = kept == rest.len();
        let drafted = if ends { kept } else { draft };
        // Everything before the draft that the LLM has not processed yet, and the draft.
        let before = prompt as usize + at;
        let read = before - known + drafted;
        cost.calls += 1.0;
        cost.cached_positions += known as f64;
        cost.input_positions += read as f64;
        cost.slm_tokens += drafted as f64;
        cost.offloaded += f64::from(u8::from(!ends));
        cost.bytes_down += REPLY_BYTES + ID_BYTES * (kept + usize::from(!ends)) as f64;
        known = before + kept;
        at += kept + usize::from(!ends);
    }
    cost.waits = cost.calls;
    cost.llm_passes = cost.calls;
    cost.llm_positions = cost.input_positions;
    let sent = cost.input_positions + cost.cached_positions;
    cost.bytes_up = REQUEST_BYTES * cost.calls + ID_BYTES * sent;
    cost
}
