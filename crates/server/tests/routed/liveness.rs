//! A panic in each part of the pair: the small model, the router, the LLM and its memory. The
//! server answers, or says within seconds that it cannot.

use serde_json::json;
use tokenroute_core::{
    Ask, Continuation, Llm, LlmError, Position, Reply, Score, ScoreError, Scorer, Tau, TokenId,
    Vocabulary,
};
use tokenroute_runtime::Policy;
use tokenroute_server::routed::{RoutedService, ServeConfig, ServerLlm};

use crate::support::{Client, FirstNumber, Script, large, pair, served, until};

const TEXT: &str = "/v1/completions";

struct BreakingScorer;

impl Scorer for BreakingScorer {
    fn score(&self, _: &Position<'_>) -> Result<Score, ScoreError> {
        panic!("the router breaks")
    }
}

/// Panics at every ask, and when it may forget.
struct BreakingLlm;

impl Llm for BreakingLlm {
    fn ask(&self, _: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        panic!("the LLM breaks")
    }

    fn continuations(
        &self,
        _: &[Continuation<'_>],
        _: &Vocabulary,
    ) -> Vec<Result<Reply, LlmError>> {
        panic!("the LLM breaks")
    }

    fn forget(&self, _: &[TokenId]) {
        panic!("the LLM's memory breaks")
    }
}

fn config() -> ServeConfig {
    let policy = Policy::new(Tau::new(1.0).expect("in range"));
    ServeConfig { policy, kept_positions: 0, ..ServeConfig::default() }
}

#[test]
fn a_part_that_every_answer_needs_ends_the_server() {
    let broken_model = Script::new(|_| panic!("the small model breaks"));
    let models = RoutedService::new(served(broken_model, Some(large())), None, config());
    let scorer = ServerLlm { scorer: Box::new(BreakingScorer), ..large() };
    let routers = RoutedService::new(served(pair().0, Some(scorer)), None, config());
    for service in [models, routers] {
        let client = Client::of(&service);
        assert_eq!(client.get("/health").status, 200);
        let reply = client.post(TEXT, &json!({"prompt": "abc", "max_tokens": 2}).to_string());
        assert!(reply.status == 503 && reply.text.contains("restart"), "{}", reply.text);
        until("the thread's end", || !client.server.is_alive());
        assert_eq!(client.get("/health").status, 503);
    }
}

#[test]
fn an_llm_that_panics_costs_its_tokens_alone() {
    let llm = ServerLlm { llm: Box::new(BreakingLlm), scorer: Box::new(FirstNumber), ..large() };
    let broken = Client::of(&RoutedService::new(served(pair().0, Some(llm)), None, config()));
    let alone =
        Client::of(&RoutedService::new(served(pair().0, None), None, ServeConfig::default()));
    for first in 0..20 {
        let body = json!({"prompt": [first % 8, first % 5], "max_tokens": 6});
        let (reply, expected) = (broken.answer(TEXT, &body), alone.answer(TEXT, &body));
        // Every token is the small model's, marked degraded.
        assert_eq!(reply["choices"][0]["text"], expected["choices"][0]["text"], "{reply}");
        assert_eq!(broken.get("/health").status, 200);
    }
    assert!(broken.server.is_alive());
}
