//! Chat templates on a small stack, in a process of their own. Whatever a template nests, the
//! process goes on.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::thread;

use tokenroute_model::{ChatError, ChatOptions, ChatTemplate, Message};

/// Set in the process that renders.
const CHILD: &str = "TOKENROUTE_SMALL_STACK";

/// Bytes of its stack.
const STACK: usize = 256 << 10;

/// Lines that put a value into another one.
const NESTING: [&str; 14] = [
    "{% set ns.x = [ns.x] %}",
    "{% set ns.x = {'a': ns.x} %}",
    "{% set ns.x = (ns.x, 1) %}",
    "{% set ns.x = [1] if false else [ns.x] %}",
    "{% set ns.x = ([ns.x]) %}",
    "{% set ns.x = [[ns.x][0]] %}",
    "{% set n = namespace() %}{% set n.x = ns.x %}{% set ns.x = n %}",
    "{% set ns.x = namespace(a=ns.x) %}",
    "{% set ns.x = dict(a=ns.x) %}",
    "{% set ns.x = {'a': ns.x}.items() %}",
    "{% set ns.x = [ns.x] + [1] %}",
    "{% set ns.x = ns.x | zip(ns.x) %}",
    "{% set ns.x = ns.x | batch(1) | list %}",
    "{% set ns.x = [ns.x] | slice(1) | list %}",
];

/// Ways to walk a value.
const USES: [&str; 9] = [
    "",
    "{{ ns.x }}",
    "{{ ns.x == [ns.x] }}",
    "{{ [ns.x] == [ns.x] }}",
    "{{ ns.x | tojson }}",
    "{{ 1 in ns.x }}",
    "{{ [ns.x, ns.x] | unique | list | length }}",
    "{{ [ns.x, ns.x] | sort | length }}",
    "{{ ns.x is eq(ns.x) }}",
];

/// Parts of templates, sound or not.
const PARTS: [&str; 24] = [
    "{{ ",
    " }}",
    "{% ",
    " %}",
    "{% if a %}",
    "{% endif %}",
    "{% for a in [b] %}",
    "{% endfor %}",
    "{% set a = [a, b] %}",
    "{% set ns = namespace(x=[]) %}",
    "{% set ns.x = [ns.x] %}",
    "{% macro a(b=[]) %}",
    "{% endmacro %}",
    "a(b)",
    "[a]",
    "(a, b)",
    "{'a': b}",
    " == ",
    " in ",
    " ~ ",
    "not ",
    "-",
    ".x",
    " | list",
];

/// The result of compiling and rendering; an error is an answer too.
fn rendered(source: &str) -> Result<String, ChatError> {
    let path = Path::new("chat_template.jinja");
    let template = ChatTemplate::new(path, source, BTreeMap::new())?;
    template.render(&[Message::new("user", "Hello")], &ChatOptions::default())
}

fn render(source: &str) {
    drop(rendered(source));
}

fn render_all() {
    for line in NESTING {
        let rows = format!("{{% for j in range(1000) %}}{line}{{% endfor %}}");
        for walk in USES {
            render(&format!(
                "{{% set ns = namespace(x=[1]) %}}{{% for i in range(300) %}}{rows}{{% endfor %}}{walk}"
            ));
        }
    }
    // As many levels as a template's length and its calls allow.
    let lines = "{% set x=[x] %}".repeat(4000);
    render(&format!(
        "{{% macro m(x,n) %}}{lines}{{% if n %}}{{{{ m(x,n-1) }}}}{{% endif %}}{{% endmacro %}}{{{{ m(1,90) }}}}"
    ));
    let mut seed: u64 = 7;
    let mut draw = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below
    };
    for _ in 0..500 {
        let mut source = String::new();
        for _ in 0..draw(12) {
            let part = PARTS[draw(PARTS.len())];
            source += &part.repeat(if draw(8) == 0 { draw(2000) } else { 1 });
        }
        render(&source);
    }
}

#[test]
fn no_template_nests_values_without_end() {
    for line in NESTING {
        let times = |count| {
            rendered(&format!(
                "{{% set ns = namespace(x=[1]) %}}{{% for i in range({count}) %}}{line}{{% endfor %}}done"
            ))
        };
        assert_eq!(times(5).expect("a prompt"), "done", "{line}");
        let error = times(300).expect_err(line).to_string();
        assert!(error.contains("lists and maps within one another"), "{line}: {error}");
    }
}

#[test]
fn templates_end_no_process_with_a_small_stack() {
    if std::env::var_os(CHILD).is_some() {
        let small = thread::Builder::new().stack_size(STACK).spawn(render_all);
        return small.expect("a thread").join().expect("no panic");
    }
    let name = "chat_stack::templates_end_no_process_with_a_small_stack";
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .expect("a process");
    let (out, error) = (child.stdout, child.stderr);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(child.status.success(), "{}\n{}", text(&out), text(&error));
    assert!(text(&out).contains("1 passed"), "{}", text(&out));
}
