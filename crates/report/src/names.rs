//! Names that tables and legends print for kinds of policies and ways of decoding.

use tokenroute_sweep::latency::Way;
use tokenroute_sweep::policies::PolicyKind;

/// The name of a kind of policy.
pub(crate) fn kind_name(kind: PolicyKind) -> &'static str {
    match kind {
        PolicyKind::Router => "router",
        PolicyKind::TrainingFree => "training-free",
        PolicyKind::Lookup => "lookup table",
        PolicyKind::QueryLevel => "query-level",
        PolicyKind::Handoff => "handoff, once an answer",
        PolicyKind::Relay => "relay, runs of tokens",
        PolicyKind::Speculative => "LLM checks every token",
        PolicyKind::Oracle => "oracle",
    }
}

/// The name of a way of decoding.
pub(crate) fn way_name(way: Way) -> &'static str {
    match way {
        Way::Slm => "SLM alone",
        Way::Llm => "LLM alone, streamed",
        Way::Blocking => "routed, blocking",
        Way::Speculative => "routed, speculative",
        Way::Relay => "routed, relay",
    }
}
