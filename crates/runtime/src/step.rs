//! One batched step of the SLM over every session that can continue, with limited prefill.

use std::mem;

use tokenroute_core::{Detail, Feed, LanguageModel, Llm};

use crate::Pair;
use crate::branch::{Branch, Head, Rules};
use crate::engine::Engine;
use crate::pair::advance_each_canonical;
use crate::session::RunningSession;

/// Most tokens of the LLM's run that one step of the SLM processes. Each brings a step, with its
/// logits if a session reads them.
pub const RUN: usize = 16;

/// A branch in a step, and how many of its tokens are processed.
struct Part<'t, 'a, S> {
    rules: &'t Rules<'a>,
    branch: &'t mut Branch<'a, S>,
    tokens: usize,
}

impl<S: LanguageModel, L: Llm + ?Sized> Engine<'_, S, L> {
    /// Runs one step of the SLM. Returns false if no session can continue.
    pub(crate) fn step(&mut self) -> bool {
        let mut sessions = mem::take(&mut self.sessions);
        let unread: Vec<usize> = sessions.iter().map(|live| live.root.unread()).collect();
        let shares = share_out(self.prefill, &unread);
        let mut parts: Vec<Part<'_, '_, S::State>> = Vec::new();
        for (RunningSession { rules, root, trace, .. }, share) in sessions.iter_mut().zip(shares) {
            let committed = matches!(root.head, Head::Open);
            let mut branches = Vec::new();
            root.open(&mut branches);
            for branch in branches {
                let tokens = if share > 0 { share } else { branch.pending.len().min(RUN) };
                trace.slm_positions += tokens as u64;
                if !committed {
                    trace.speculated += tokens as u64;
                    branch.spent.slm_positions += tokens as u64;
                }
                parts.push(Part { rules, branch, tokens });
            }
        }
        let any = !parts.is_empty();
        parts.retain_mut(|Part { branch, tokens, .. }| {
            let held = self.pair.slm.positions(&branch.state);
            let fits = self.fits(held + *tokens);
            fits.map_err(|error| branch.head = Head::Broken(error.into())).is_ok()
        });
        // One call gives logits to all branches if any needs them. This costs a copy.
        let needs = |part: &Part<'_, '_, S::State>| part.rules.policy.reads_logits();
        let detail = if parts.iter().any(needs) { Detail::Logits } else { Detail::Full };
        let mut feeds: Vec<_> = parts
            .iter_mut()
            .map(|Part { branch, tokens, .. }| {
                let from = branch.from(*tokens);
                Feed { state: &mut branch.state, tokens: &branch.pending[..*tokens], from }
            })
            .collect();
        let Pair { slm, vocabulary, .. } = self.pair;
        let made = advance_each_canonical(slm, vocabulary, &mut feeds, detail);
        for (Part { rules, branch, tokens }, made) in parts.into_iter().zip(made) {
            match made {
                Err(error) => branch.head = Head::Broken(error.into()),
                // The token after this part of the prompt is known.
                Ok(_) if branch.relayed.is_empty() && tokens < branch.pending.len() => {
                    drop(branch.pending.drain(..tokens));
                }
                Ok(steps) => {
                    let later = branch.pending.split_off(tokens);
                    branch.hear(steps, rules);
                    if !later.is_empty() {
                        branch.pending = later;
                    }
                }
            }
        }
        self.sessions = sessions;
        any
    }
}

/// Divides `limit` prompt positions over the prompts as evenly as their lengths allow, at least
/// one each. So a short prompt does not wait for a long one.
fn share_out(limit: usize, unread: &[usize]) -> Vec<usize> {
    let mut shares = unread.to_vec();
    let mut prompts: Vec<usize> = (0..unread.len()).filter(|&i| unread[i] > 0).collect();
    prompts.sort_by_key(|&i| unread[i]);
    let mut left = limit;
    for (n, &i) in prompts.iter().enumerate() {
        let even = left / (prompts.len() - n);
        shares[i] = unread[i].min(even.max(1));
        left = left.saturating_sub(shares[i]);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::share_out;

    #[test]
    fn short_prompts_are_read_whole_and_long_ones_share_the_rest() {
        assert_eq!(share_out(usize::MAX, &[7, 0, 900]), [7, 0, 900]);
        assert_eq!(share_out(12, &[100, 3, 0, 50]), [5, 3, 0, 4]);
        assert_eq!(share_out(12, &[2, 3, 4]), [2, 3, 4]);
        assert_eq!(share_out(1, &[9, 9, 9]), [1, 1, 1]);
    }
}
