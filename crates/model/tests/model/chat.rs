//! Compares chat templates with transformers' rendering (tests/chat/make.py writes the
//! cases), and checks templates that are refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tokenroute_model::{ChatError, ChatOptions, ChatTemplate, Message};

fn compile(source: &str) -> Result<ChatTemplate, ChatError> {
    let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")];
    let tokens: BTreeMap<_, _> = tokens.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    ChatTemplate::new(Path::new("chat_template.jinja"), source, tokens)
}

fn hello() -> Vec<Message> {
    vec![Message::new("user", "Hello")]
}

#[test]
fn prompts_equal_those_of_transformers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chat/cases.json");
    let cases: Value =
        serde_json::from_slice(&fs::read(path).expect("the cases")).expect("valid JSON");
    let date = cases["date"].as_str().expect("a date").parse().expect("a date");
    let mut checked = 0;
    for case in cases["cases"].as_array().expect("a list") {
        let name = case["template"].as_str().expect("a name");
        let source = cases["templates"][name].as_str().expect("a template");
        let template = compile(source).unwrap_or_else(|e| panic!("{name}: {e}"));
        let messages: Vec<Message> =
            serde_json::from_value(case["messages"].clone()).expect("messages");
        let options = ChatOptions {
            add_generation_prompt: case["add_generation_prompt"] == true,
            date: Some(date),
            variables: serde_json::from_value(case["variables"].clone()).expect("variables"),
        };
        let rendered = template.render(&messages, &options);
        match (case["expected"].as_str(), rendered) {
            (Some(expected), Ok(prompt)) => assert_eq!(prompt, expected, "{name} of {messages:?}"),
            (None, Err(ChatError::Refused { what, .. })) => assert_eq!(what, case["refused"]),
            (_, rendered) => panic!("{name} of {messages:?}: {rendered:?}"),
        }
        checked += 1;
    }
    assert!(checked > 80, "only {checked} cases");
}

#[test]
fn the_template_is_found_where_transformers_looks() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("a write");
    let read = || ChatTemplate::read(dir.path());
    let prompt = || {
        let template = read().expect("a good directory").expect("a template");
        template.render(&hello(), &ChatOptions::default()).expect("a prompt")
    };
    assert!(read().expect("an empty directory").is_none());
    write("tokenizer_config.json", r#"{"eos_token": "</s>"}"#);
    assert!(read().expect("a config without a template").is_none());
    write(
        "tokenizer_config.json",
        r#"{"eos_token": {"content": "</s>"}, "chat_template": "one {{ eos_token }}"}"#,
    );
    assert_eq!(prompt(), "one </s>");
    write(
        "tokenizer_config.json",
        r#"{"chat_template": [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "two {{ messages[0].content }}"}]}"#,
    );
    assert_eq!(prompt(), "two Hello");
    write("chat_template.jinja", "three\n");
    assert_eq!(prompt(), "three");
    write("tokenizer_config.json", r#"{"chat_template": 3}"#);
    fs::remove_file(dir.path().join("chat_template.jinja")).expect("a removal");
    let error = read().expect_err("no template").to_string();
    assert!(error.contains("tokenizer_config.json: `chat_template` is 3"), "{error}");
    write("tokenizer_config.json", "{");
    assert!(read().expect_err("not JSON").to_string().contains("it is not JSON"));
}

#[test]
fn a_prompt_depends_on_the_given_date_alone() {
    let source = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y %H') }}{% else %}undated{% endif %}";
    let template = compile(source).expect("a template");
    let on = |date: Option<&str>| {
        let date = date.map(|d| d.parse().expect("a date"));
        template.render(&hello(), &ChatOptions { date, ..Default::default() }).expect("a prompt")
    };
    assert_eq!(on(Some("2025-07-01")), "01 Jul 2025 00");
    assert_eq!(on(None), "undated");
    let bad = compile("{{ strftime_now('%!') }}").expect("a template");
    let options = ChatOptions { date: "2025-07-01".parse().ok(), ..Default::default() };
    let error = bad.render(&hello(), &options).expect_err("a bad format").to_string();
    assert!(error.contains("does not know the format"), "{error}");
}

#[test]
fn hostile_templates_are_refused() {
    let nested = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
    let deep = format!("{}{}", "{% if true %}".repeat(5000), "{% endif %}".repeat(5000));
    let cases = [
        "{% if %}",
        "{% generation %}",
        "{{ messages[0].missing.deeper }}",
        "{{ unknown_function() }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{% include 'chat' %}",
        "{% extends 'chat' %}",
        "{% import 'chat' as again %}",
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}",
        "{% for a in range(999999999) %}{% endfor %}",
        "{{ 'x' * 999999999999 }}",
        "{% set x = 'x' * 9999999 %}{{ x }}",
        "{{ 9999999999 * [0] }}",
        "{{ [0] * 9999999999 }}",
        &format!("{{{{ {nested} }}}}"),
        &deep,
    ];
    for source in cases {
        let shown: String = source.chars().take(60).collect();
        let result = compile(source).and_then(|t| t.render(&hello(), &ChatOptions::default()));
        match result {
            Err(ChatError::Template { what, .. }) => assert!(!what.is_empty(), "{shown}"),
            other => panic!("{shown}: {:?}", other.map(|p| p.len())),
        }
    }
}

/// These templates take few steps, but their output would fill any memory.
#[test]
fn templates_that_build_without_end_are_refused() {
    let ten = "{{ messages[0].content }}".repeat(10);
    let forty = |line: &str| format!("{{% set x = 'text' %}}{}{{{{ x }}}}", line.repeat(40));
    let cases = [
        // Every way to double a text.
        forty("{% set x = x ~ x %}"),
        forty("{% set x = x + x %}"),
        forty("{% set x = x.replace('t', 'tt') %}"),
        forty("{% set x = x | replace('t', 'tt') %}"),
        forty("{% set x = [x, x] | join(x) %}"),
        forty("{% set x = x.join([x, x, x]) %}"),
        forty("{% set x = '%s%s' | format(x, x) %}"),
        forty("{% set x = '{}{}'.format(x, x) %}"),
        forty("{% set x = [x, x] %}"),
        forty("{% set x = [x] + [x] %}"),
        forty("{% set y %}{{ x }}{{ x }}{% endset %}{% set x = y %}"),
        forty("{% set x = {'a': x, 'b': x} %}"),
        "{% set ns = namespace(x='text') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}".to_owned(),
        "{% macro m(x, n) %}{% if n %}{{ m(x ~ x, n - 1) }}{% endif %}{% endmacro %}{{ m('x' * 64 * 64, 15) }}".to_owned(),
        // Many copies that are kept.
        "{% set ns = namespace(l=[]) %}{% set x = 'x' * 1000000 %}{% for i in range(9999) %}{% set ns.l = [ns.l, x[1:]] %}{% endfor %}".to_owned(),
        "{% set ns = namespace(l=[]) %}{% set x = 'x' * 1000000 %}{% for i in range(9999) %}{% set ns.l = [ns.l, x | upper] %}{% endfor %}".to_owned(),
        format!("{{% set x %}}{{% for i in range(99999) %}}{}{{% endfor %}}{{% endset %}}", "words ".repeat(9999)),
        format!("{{% set x %}}{{% for i in range(99999) %}}{ten}{{% endfor %}}{{% endset %}}", ten = ten.repeat(9)),
        // One step with a large argument.
        "{{ 'x' | indent(999999999999) }}".to_owned(),
        "{{ 'x' | indent(width=999999999999) }}".to_owned(),
        "{{ [1] | batch(999999999999, 0) | length }}".to_owned(),
        "{{ [1] | slice(999999999999) | length }}".to_owned(),
        "{{ '%999999999d' | format(1) }}".to_owned(),
        "{{ '%*d' | format(999999999, 1) }}".to_owned(),
        "{{ '{:999999999}'.format(1) }}".to_owned(),
        "{{ range(99999) | list | join('x' * 64 * 64) }}".to_owned(),
    ];
    for source in cases {
        let shown: String = source.chars().take(70).collect();
        let template = compile(&source).unwrap_or_else(|e| panic!("{shown}: {e}"));
        let conversation = [Message::new("user", &"a word ".repeat(99))];
        match template.render(&conversation, &ChatOptions::default()) {
            Err(ChatError::Template { what, .. }) => {
                let words = ["builds more than", "repeats a text", "exceeds", "a value has more"];
                assert!(words.iter().any(|word| what.contains(word)), "{shown}: {what}");
            }
            other => panic!("{shown}: {:?}", other.map(|p| p.len())),
        }
    }
}

#[test]
fn what_honest_templates_build_is_far_from_the_limit() {
    let source = "{% set ns = namespace(text='') %}{% for m in messages %}{% set ns.text = ns.text ~ m.role + ': ' ~ m.content | trim ~ '\n' %}{% endfor %}{{ '-' * 3 }}{{ ns.text[1:-1] }}{{ 6 * 7 }}";
    let messages: Vec<_> = (0..300).map(|_| Message::new("user", &"word ".repeat(60))).collect();
    let template = compile(source).expect("a template");
    let prompt = template.render(&messages, &ChatOptions::default()).expect("a prompt");
    assert!(prompt.starts_with("---ser: word word") && prompt.ends_with("word42"), "{prompt}");
}

#[test]
fn values_that_are_nested_deeply_end_no_process() {
    let nest = "{% set ns = namespace(x=[]) %}{% for i in range(20000) %}{% set ns.x = [ns.x] %}{% endfor %}";
    let cycle =
        "{% set a = namespace() %}{% set b = namespace() %}{% set a.x = b %}{% set b.x = a %}";
    for (begin, end) in [
        (nest, "done"),
        (nest, "{{ ns.x }}"),
        (nest, "{{ ns.x | string }}"),
        (nest, "{{ ns.x | tojson }}"),
        (nest, "{{ ns.x == [ns.x] }}"),
        (nest, "{{ 1 in ns.x }}"),
        (nest, "{{ ns.x ~ 'a' }}"),
        (nest, "{{ [ns.x, ns.x] | unique | list | length }}"),
        (cycle, "{{ a }}"),
        (cycle, "{{ a | tojson }}"),
        ("", &format!("{{{{ a{} }}}}", "|upper".repeat(3_000))),
        ("", &format!("{{{{ a{} }}}}", ".b".repeat(3_000))),
        ("", &format!("{{{{ 1{} }}}}", "+1".repeat(3_000))),
        ("", &format!("{{{{ {}1 }}}}", "not ".repeat(15_000))),
        ("", &format!("{{{{ {}1 }}}}", "-".repeat(60_000))),
        ("", &format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(3_000))),
    ] {
        let source = format!("{begin}{end}");
        let shown: String = end.chars().take(40).collect();
        // An answer or an error, as long as the process goes on.
        match compile(&source).and_then(|t| t.render(&hello(), &ChatOptions::default())) {
            Ok(prompt) => assert!(prompt.len() < 1000, "{shown}"),
            Err(ChatError::Template { what, .. }) => assert!(!what.is_empty(), "{shown}"),
            Err(error) => panic!("{shown}: {error}"),
        }
    }
}

#[test]
fn loading_and_searching_take_time_in_proportion() {
    let start = std::time::Instant::now();
    for source in [
        format!("{{{{ {}", "a+(".repeat(20_000)),
        format!("{{{{ {}", "a[b+c[".repeat(10_000)),
        format!("{{% raw %}}{}", "{%".repeat(30_000)),
        format!("{{% raw %}}{} %}}", "{% endraw".repeat(7_000)),
        format!("{{% raw %}}{}", "endraw - ".repeat(7_000)),
    ] {
        drop(compile(&source));
    }
    let search =
        "{% for i in range(99999) %}{% if 'no' in messages[0].content %}{% endif %}{% endfor %}";
    let count =
        "{% for i in range(99999) %}{% if messages[0].content | length %}{% endif %}{% endfor %}";
    // Each of these compares texts that differ in their last letter.
    let compared = |comparison: &str| {
        format!(
            "{{% set a = messages[0].content ~ 'a' %}}{{% set b = messages[0].content ~ 'b' %}}{{% for i in range(999) %}}{{% if {comparison} %}}{{% endif %}}{{% endfor %}}"
        )
    };
    let long = [Message::new("user", &"a word ".repeat(200_000))];
    for source in [
        search,
        count,
        &compared("a == b"),
        &compared("not a != b"),
        &compared("a < b"),
        &compared("(a if i >= 0 else b) > b"),
        &compared("a is eq(b)"),
        &compared("[a] | select('equalto', b) | list"),
        &compared("a is in([b])"),
        &compared("[a, b] | max"),
    ] {
        let template = compile(source).expect("a template");
        let error = template.render(&long, &ChatOptions::default()).expect_err("no end");
        assert!(error.to_string().contains("searches more than"), "{error}");
        template.render(&hello(), &ChatOptions::default()).expect("a short message");
    }
    // Quadratic work takes minutes here.
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
    let error = compile(&"a".repeat(70_000)).expect_err("too long").to_string();
    assert!(error.contains("70000 bytes; expected at most 65536"), "{error}");
}
