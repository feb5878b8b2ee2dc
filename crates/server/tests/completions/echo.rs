//! Prompts that come back with their log-probabilities, as OpenAI's legacy API gives them and
//! lm-evaluation-harness reads them.

use std::path::Path;

use serde_json::{Value, json};
use tokenroute_llm::ToyModel;
use tokenroute_model::Tokenizer;
use tokenroute_server::completions::{BatchConfig, Texts};

use crate::support::{completed, serve};

fn numbers(value: &Value) -> Vec<Option<f64>> {
    value.as_array().expect("a list").iter().map(Value::as_f64).collect()
}

#[test]
fn an_echoed_prompt_has_the_log_probabilities_of_its_tokens() {
    let server = serve(ToyModel::new(5), None, BatchConfig::default());
    let prompts = json!([[1, 2, 3, 4], [5, 12, 13, 6, 7], [9]]);
    let scored = completed(
        &server,
        &json!({"prompt": prompts, "max_tokens": 1, "logprobs": 2, "prompt_logprobs": 2}),
    );
    for max_tokens in [0, 1] {
        let body =
            json!({"prompt": prompts, "max_tokens": max_tokens, "logprobs": 2, "echo": true});
        let echoed = completed(&server, &body);
        for (at, (text, offsets)) in
            [("bcde", vec![0, 1, 2, 3]), ("fégh", vec![0, 1, 1, 2, 3]), ("j", vec![0])]
                .into_iter()
                .enumerate()
        {
            let prompt = prompts[at].as_array().expect("ids");
            let (choice, known) = (&echoed["choices"][at], &scored["choices"][at]);
            assert_eq!(choice.get("prompt_logprobs"), None);
            let list = &choice["logprobs"];
            let own = numbers(&list["token_logprobs"]);
            assert_eq!(own.len(), prompt.len() + max_tokens);
            assert_eq!((own[0], &list["top_logprobs"][0]), (None, &Value::Null));
            for (i, id) in prompt.iter().enumerate().skip(1) {
                let entry = &known["prompt_logprobs"][i];
                assert_eq!(own[i], entry[id.to_string()]["logprob"].as_f64(), "{at}, {i}");
                // The candidates without the token itself are the best two.
                let best = entry.as_object().expect("candidates").values();
                let best = { best }.find(|candidate| candidate["rank"] == 1).expect("a best");
                let top = list["top_logprobs"][i].as_object().expect("an object");
                assert_eq!(top[best["decoded_token"].as_str().expect("text")], best["logprob"]);
            }
            let mut starts = offsets;
            if max_tokens == 1 {
                starts.push(text.chars().count());
                let last = &known["logprobs"]["token_logprobs"][0];
                assert_eq!(&list["token_logprobs"][prompt.len()], last);
            }
            assert_eq!(list["text_offset"], json!(starts));
            let rest = if max_tokens == 1 { known["text"].as_str().expect("text") } else { "" };
            assert_eq!(choice["text"], format!("{text}{rest}"));
        }
    }
}

#[test]
fn an_echo_without_log_probabilities_is_the_prompt_and_its_completion() {
    let server = serve(ToyModel::new(5), None, BatchConfig::default());
    let plain = completed(&server, &json!({"prompt": ["bcd", "a"], "max_tokens": 5}));
    let body = json!({"prompt": ["bcd", "a"], "max_tokens": 5, "echo": true});
    let echoed = completed(&server, &body);
    for (at, prompt) in ["bcd", "a"].into_iter().enumerate() {
        let rest = plain["choices"][at]["text"].as_str().expect("text");
        assert_eq!(echoed["choices"][at]["text"], format!("{prompt}{rest}"));
        assert_eq!(echoed["choices"][at]["logprobs"], Value::Null);
    }
    for count in ["prompt_tokens", "completion_tokens"] {
        assert_eq!(echoed["usage"][count], plain["usage"][count]);
    }
}

#[test]
fn pieces_of_a_real_tokenizer_spell_any_text() {
    let path = "../../models/word-problems-slm/tokenizer.json";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let tokenizer = Tokenizer::read(&path).expect("a tokenizer");
    for text in
        ["Ruby counts 2 butterflies.", " two  spaces\n", "é, 東京 and 🦋🦋", "a<|endoftext|> b"]
    {
        let ids = Texts::encode(&tokenizer, text).expect("ids");
        let pieces = tokenizer.pieces(&ids).expect("pieces");
        assert_eq!(pieces.len(), ids.len());
        assert_eq!(pieces.concat(), text, "{pieces:?}");
    }
    let ids = Texts::encode(&tokenizer, "🦋").expect("ids");
    assert!(ids.len() > 1, "one character of several tokens");
    let cut = tokenizer.pieces(&ids[..1]).expect("pieces");
    assert_eq!(cut, ["\u{FFFD}"], "part of a character at the end");
}
