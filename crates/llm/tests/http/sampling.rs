//! Tokens drawn at a temperature from other servers: one token at a time, with a seed for
//! each call. The answer cache keeps none of them.

use serde_json::{Value, json};
use tempfile::TempDir;
use tokenroute_core::{Ask, Llm, Sampling};
use tokenroute_llm::http::{Answers, Api};
use tokenroute_llm::{InProcess, ToyModel};

use crate::apis::{self, CONTEXT, fixture};

fn sampling(temperature: f64, top_p: f64, seed: u64) -> Option<Sampling> {
    Sampling::new(temperature, top_p, seed).expect("in range")
}

#[test]
fn other_servers_are_asked_for_one_token_with_a_seed_of_its_own() {
    let drawn = sampling(0.7, 0.9, 11);
    for (api, fields) in [
        (Api::Vllm, &[("/top_k", json!(-1)), ("/min_p", json!(0.0))][..]),
        (
            Api::Sglang,
            &[("/sampling_params/top_k", json!(-1)), ("/sampling_params/min_p", json!(0.0))],
        ),
        (Api::LlamaCpp, &[("/top_k", json!(0)), ("/samplers", json!(["temperature", "top_p"]))]),
        (Api::OpenAi, &[]),
    ] {
        let mut reply = fixture(api);
        if api == Api::Sglang {
            reply["meta_info"]["input_token_logprobs"] = json!([[null, 6, null]]);
            reply["meta_info"]["input_top_logprobs"] = json!([null]);
        }
        let stub = apis::replying(api, reply);
        let llm = apis::client(&stub, api);
        let relayed = llm.relay(&CONTEXT, 4, drawn, &ToyModel::vocabulary()).expect("an answer");
        assert_eq!(relayed.tokens.len(), 1, "{api}: a run would not be single draws");
        llm.ask(&[Ask::next(&CONTEXT, drawn)]).remove(0).expect("an answer");
        let field = |body: &Value, name: &str| {
            body.pointer(&format!("/sampling_params/{name}"))
                .or_else(|| body.pointer(&format!("/{name}")))
                .cloned()
        };
        let mut asked = stub.requests();
        for asked in &mut asked {
            // An SGLang request has a name.
            asked.body.as_object_mut().expect("an object").remove("rid");
        }
        assert_eq!(asked[0].body, asked[1].body, "{api}: the same call is the same request");
        let body = &asked[0].body;
        assert_eq!(field(body, "temperature"), Some(json!(0.7)), "{api}");
        assert_eq!(field(body, "top_p"), Some(json!(0.9)), "{api}");
        let most = ["max_tokens", "max_new_tokens", "n_predict"];
        assert_eq!(most.iter().find_map(|name| field(body, name)), Some(json!(1)), "{api}");
        let seed = field(body, "seed").or_else(|| field(body, "sampling_seed"));
        assert_eq!(seed, drawn.map(|drawn| json!(drawn.call_seed(4))), "{api}");
        for (at, value) in fields {
            assert_eq!(body.pointer(at), Some(value), "{api}");
        }
    }
}

#[test]
fn the_answer_cache_keeps_no_draws() {
    let folder = TempDir::new().expect("a folder");
    let vocabulary = ToyModel::vocabulary();
    let model = || InProcess::new(ToyModel::new(7));
    let kept =
        Answers::open(&folder.path().join("a.redb"), "toy-7", &ToyModel::vocabulary(), model())
            .expect("a cache");
    let (drawn, greedy) = (sampling(2.0, 1.0, 3), None);
    for sampling in [drawn, greedy, drawn] {
        let asks = [Ask::next(&[1, 2], sampling), Ask::next(&[1, 2], greedy)];
        assert_eq!(
            kept.ask(&asks).into_iter().map(|r| r.map(|r| r.tokens)).collect::<Vec<_>>(),
            model().ask(&asks).into_iter().map(|r| r.map(|r| r.tokens)).collect::<Vec<_>>(),
        );
        let run = kept.relay(&[3, 4], 8, sampling, &vocabulary).expect("a run").tokens;
        assert_eq!(run, model().relay(&[3, 4], 8, sampling, &vocabulary).expect("a run").tokens);
    }
    // Only greedy answers are cached: drawn tokens are requested again.
    drop(kept);
    let gone = tokenroute_llm::Scripted::new(|_| Ok(0));
    let kept = Answers::open(&folder.path().join("a.redb"), "toy-7", &ToyModel::vocabulary(), gone)
        .expect("a cache");
    kept.ask(&[Ask::next(&[1, 2], greedy)]).remove(0).expect("kept");
    assert_eq!(kept.llm().asked(), 0);
    kept.ask(&[Ask::next(&[1, 2], drawn)]).remove(0).expect("asked");
    assert_eq!(kept.llm().asked(), 1);
}
