//! The policy that hands an answer over, by the trained router. Its scores are
//! [`tokenroute_core::Handoff`]'s.

use tokenroute_core::Handoff;

use super::{Needs, Policy, PolicyInputs, PolicyKind};

impl Policy for Handoff {
    const NAME: &'static str = "handoff";
    const KIND: PolicyKind = PolicyKind::Handoff;
    const SCORE: &'static str = "the lowest of the router's scores so far, so that the LLM makes \
        the whole rest of an answer from the first token below τ on";
    const NEEDS: Needs = Needs { router: true, path: true, ..Needs::NOTHING };

    fn build(inputs: &PolicyInputs<'_>) -> Option<Self> {
        Some(Handoff::by((inputs.router)()?))
    }
}
