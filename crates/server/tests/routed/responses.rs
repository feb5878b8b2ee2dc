//! `/v1/responses` for stateless text: the answers of the chat API in OpenAI's other shape.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tokenroute_model::ChatTemplate;
use tokenroute_server::routed::{RoutedService, ServeConfig, ServerPair};

use crate::support::{Client, forgetful, large, pair, routed, served};

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";

fn text(response: &Value) -> &Value {
    &response["output"][0]["content"][0]["text"]
}

/// The events of a stream by their names.
fn events(client: &Client, body: &Value) -> Vec<(String, Value)> {
    let mut body = body.clone();
    body["stream"] = json!(true);
    let reply = client.post(RESPONSES, &body.to_string());
    assert_eq!(reply.status, 200, "{}", reply.text);
    let mut events = Vec::new();
    for event in reply.text.split("\n\n").filter(|event| !event.is_empty()) {
        let (name, data) = event.split_once('\n').expect("a name and data");
        let name = name.strip_prefix("event: ").expect("a name").to_owned();
        let data = data.strip_prefix("data: ").expect("data");
        events.push((name, serde_json::from_str(data).expect("JSON")));
    }
    events
}

#[test]
fn a_response_is_the_answer_of_the_chat() {
    let client = routed(forgetful());
    let message = |content: Value| json!([{"role": "user", "content": content}]);
    for (input, most) in [
        (json!("abc"), 9),
        (message(json!("abc")), 9),
        (message(json!([{"type": "input_text", "text": "abc"}])), 9),
        (json!([{"type": "message", "role": "user", "content": "abc"}]), 60),
    ] {
        let body = json!({"input": input, "max_output_tokens": most, "tau": 0.5});
        let chat = json!({"messages": message(json!("abc")), "max_tokens": most, "tau": 0.5});
        let (response, chat) = (client.answer(RESPONSES, &body), client.answer(CHAT, &chat));
        assert_eq!(text(&response), &chat["choices"][0]["message"]["content"]);
        let cut = chat["choices"][0]["finish_reason"] == "length";
        let status = if cut { "incomplete" } else { "completed" };
        assert_eq!(
            (&response["status"], &response["output"][0]["status"]),
            (&json!(status), &json!(status))
        );
        let why = if cut { json!("max_output_tokens") } else { Value::Null };
        assert_eq!(response["incomplete_details"]["reason"], why);
        assert_eq!(response["object"], "response");
        assert_eq!(response["store"], false);
        let (usage, expected) = (&response["usage"], &chat["usage"]);
        assert_eq!(usage["output_tokens"], expected["completion_tokens"]);
        assert_eq!(usage["input_tokens"], expected["prompt_tokens"]);
        assert_eq!(usage["tokenroute"]["offloaded"], expected["tokenroute"]["offloaded"]);
    }
}

#[test]
fn instructions_are_the_system_s_message() {
    let source = "{% for m in messages %}{{ m.role[:1] | replace('s', 'd') | replace('u', 'e') }}{{ m.content }}{% endfor %}";
    let template =
        ChatTemplate::new(Path::new("toy"), source, BTreeMap::new()).expect("a template");
    let pair = ServerPair { template: Some(template), ..served(pair().0, Some(large())) };
    let client = Client::of(&RoutedService::new(pair, None, ServeConfig::default()));
    let response = client
        .answer(RESPONSES, &json!({"instructions": "a", "input": "bc", "max_output_tokens": 9}));
    let messages = json!([{"role": "system", "content": "a"}, {"role": "user", "content": "bc"}]);
    let chat = client.answer(CHAT, &json!({"messages": messages, "max_tokens": 9}));
    assert_eq!(response["usage"]["input_tokens"], 5);
    assert_eq!(text(&response), &chat["choices"][0]["message"]["content"]);
    for (body, place) in [
        (json!({"instructions": "a<end>", "input": "b"}), "`instructions`"),
        (
            json!({"instructions": "a", "input": [{"role": "user", "content": "<end>"}]}),
            "`input[0].content`",
        ),
    ] {
        let reply = client.post(RESPONSES, &body.to_string());
        assert!(reply.status == 400 && reply.text.contains(place), "{}", reply.text);
    }
}

#[test]
fn the_events_of_a_stream_are_numbered_and_spell_the_response() {
    let client = routed(forgetful());
    for most in [3, 60] {
        let body = json!({"input": "abc", "max_output_tokens": most, "tau": 0.5});
        let whole = client.answer(RESPONSES, &body);
        let events = events(&client, &body);
        let mut spelled = String::new();
        for (number, (name, data)) in events.iter().enumerate() {
            assert_eq!((&data["type"], &data["sequence_number"]), (&json!(name), &json!(number)));
            if name == "response.output_text.delta" {
                spelled += data["delta"].as_str().expect("a text");
            }
        }
        assert_eq!(text(&whole), &spelled);
        let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
        let deltas = names.iter().filter(|name| name.ends_with("text.delta")).count();
        let begun = [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
        ];
        let last = if whole["status"] == "completed" { "completed" } else { "incomplete" };
        let last = format!("response.{last}");
        let ended = [
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            &last,
        ];
        assert_eq!(names[..4], begun);
        assert_eq!(names[4 + deltas..], ended);
        let mut response = events.last().expect("events").1["response"].clone();
        assert_eq!(text(&response), &spelled);
        let known = whole.clone();
        for unique in ["id", "created_at"] {
            response[unique] = known[unique].clone();
        }
        response["output"][0]["id"] = known["output"][0]["id"].clone();
        assert_eq!(response, known);
    }
}

#[test]
fn what_needs_state_or_more_than_text_is_refused_by_name() {
    let client = routed(forgetful());
    for (field, value) in [
        ("previous_response_id", json!("resp-1")),
        ("conversation", json!("conv-1")),
        ("store", json!(true)),
        ("background", json!(true)),
        ("prompt", json!({"id": "p"})),
        ("tools", json!([{"type": "web_search"}])),
        ("include", json!(["message.output_text.logprobs"])),
        ("text", json!({"format": {"type": "json_schema"}})),
        ("text", json!("json")),
        ("truncation", json!("auto")),
        ("top_logprobs", json!(3)),
        ("reasoning", json!({"effort": "low"})),
        ("reasoning", json!("low")),
        ("max_output_tokens", json!(0)),
        ("input", json!([])),
        ("input", json!(7)),
        ("input", json!([{"type": "function_call_output", "output": "x"}])),
        ("input", json!([{"role": "user", "content": [{"type": "input_image"}]}])),
    ] {
        let mut body = json!({"input": "abc"});
        body[field] = value;
        let reply = client.post(RESPONSES, &body.to_string());
        let error = reply.json()["error"].clone();
        assert_eq!((reply.status, &error["param"]), (400, &json!(field)), "{body}: {error}");
    }
    let reply = client.post(RESPONSES, "{}");
    assert!(reply.status == 400 && reply.text.contains("`input` is missing"), "{}", reply.text);
    // What asks for nothing is accepted.
    let idle = json!({
        "input": "abc", "max_output_tokens": 4, "store": false, "tools": [], "background": false,
        "previous_response_id": null, "text": {"format": {"type": "text"}}, "tool_choice": "auto",
        "truncation": "disabled", "reasoning": {"effort": null}, "include": [], "top_logprobs": 0,
    });
    let plain = client.answer(RESPONSES, &json!({"input": "abc", "max_output_tokens": 4}));
    assert_eq!(text(&client.answer(RESPONSES, &idle)), text(&plain));
}
