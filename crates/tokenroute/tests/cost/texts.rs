//! Chat templates, the prompts they make, and texts that are tokenised.

use std::collections::BTreeMap;
use std::path::Path;

use tokenroute_model::{ChatOptions, ChatTemplate, Message, Tokenizer};

use crate::counting::{alone, cost};
use crate::growth::{Measure, growth};

/// Compares the families of templates and texts.
pub fn grow(measure: Measure) -> Vec<String> {
    [templates(measure), messages(measure), tokenised(measure)].concat()
}

type Family<'f> = (&'f str, usize, &'f dyn Fn(usize) -> String);

fn template(source: &str) -> Option<ChatTemplate> {
    ChatTemplate::new(Path::new("chat_template.jinja"), source, BTreeMap::new()).ok()
}

/// Templates of n parts, rendered for a short conversation.
fn templates(measure: Measure) -> Vec<String> {
    let around = |open: &str, inner: &str, close: &str, n: usize| {
        format!("{}{inner}{}", open.repeat(n), close.repeat(n))
    };
    // In `Measure::Time` the longest is eight times n; a template has at most 64 KiB.
    let families: [Family<'_>; 16] = [
        ("sums within sums", 1500, &|n| format!("{{{{ {} }}}}", around("a+(", "1", ")", n))),
        ("raw tags", 3500, &|n| format!("{{% raw %}}{}{{% endraw %}}", "{%".repeat(n))),
        ("an open raw tag", 3500, &|n| format!("{{% raw %}}{}", "{%".repeat(n))),
        ("text", 7000, &|n| "a".repeat(n)),
        ("braces", 7000, &|n| "{".repeat(n)),
        ("expressions", 800, &|n| "{{ a }}".repeat(n)),
        ("assignments", 400, &|n| "{% set a = [1, a] %}".repeat(n)),
        ("macros", 150, &|n| {
            (0..n).map(|i| format!("{{% macro m{i}(a) %}}{{{{ a }}}}{{% endmacro %}}")).collect()
        }),
        ("conditions", 250, &|n| "{% if a %}b{% else %}c{% endif %}".repeat(n)),
        ("conditions within conditions", 250, &|n| around("{% if 1 %}", "a", "{% endif %}", n)),
        ("alternatives", 250, &|n| {
            format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}b".repeat(n))
        }),
        ("a literal", 7000, &|n| format!("{{{{ '{}' }}}}", "a".repeat(n))),
        ("escapes", 3000, &|n| format!("{{{{ '{}' }}}}", "\\n".repeat(n))),
        ("a list", 2500, &|n| format!("{{{{ [{}] }}}}", "1,".repeat(n))),
        ("filters", 800, &|n| format!("{{{{ 'a'{} }}}}", "|upper".repeat(n))),
        ("comments", 800, &|n| "{# a #}".repeat(n)),
    ];
    let read = |source: &String| {
        if let Some(template) = template(source) {
            drop(template.render(&[Message::new("user", "Hello")], &ChatOptions::default()));
        }
    };
    let grow = |(name, n, source): Family<'_>| {
        growth(measure, &format!("template, {name}"), n, source, read)
    };
    families.map(grow).concat()
}

/// Templates of one line, rendered for messages of n bytes or n messages.
fn messages(measure: Measure) -> Vec<String> {
    const CONTENT: &str = "{% set c = messages[0].content %}";
    let lines = [
        "{{ c }}",
        "{{ 'b' in c }}",
        "{{ c.replace('a', 'bb') }}",
        "{{ c.split('a') | length }}",
        "{{ c | trim | upper }}",
        "{{ c.strip() == c }}",
        "{{ c[1:] }}",
        "{{ c[::-1] }}",
        "{{ c | tojson }}",
        "{{ c.startswith('a') and c.endswith('b') }}",
        "{{ c | list | unique | list | length }}",
        "{% for x in c %}{{ x }}{% endfor %}",
    ];
    let mut found = Vec::new();
    for line in lines {
        let template = template(&format!("{CONTENT}{line}")).expect("a template");
        let make = |n: usize| vec![Message::new("user", &"a ".repeat(n))];
        let read = |messages: &Vec<Message>| {
            drop(template.render(messages, &ChatOptions::default()));
        };
        found.extend(growth(measure, &format!("message, {line}"), 8000, make, read));
    }
    let source = "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}\n{% endfor %}";
    let template = template(source).expect("a template");
    let make = |n: usize| (0..n).map(|_| Message::new("user", " Hello ")).collect::<Vec<_>>();
    let read = |messages: &Vec<Message>| drop(template.render(messages, &ChatOptions::default()));
    found.extend(growth(measure, "messages", 1500, make, read));
    found
}

const TEXTS: [Family<'static>; 8] = [
    ("one long word", 20_000, &|n| "a".repeat(n)),
    ("words", 10_000, &|n| "apples ".repeat(n)),
    ("spaces", 20_000, &|n| " ".repeat(n)),
    ("digits", 20_000, &|n| "7".repeat(n)),
    ("line breaks", 20_000, &|n| "\n".repeat(n)),
    ("accents", 10_000, &|n| "a\u{301}\u{323}".repeat(n)),
    ("beginnings of a special token", 5000, &|n| "<|endoftext".repeat(n)),
    ("special tokens", 3000, &|n| "<|endoftext|>".repeat(n)),
];

/// The tokenizer of the bundled pair.
fn tokenizer() -> Tokenizer {
    let path = crate::servers::bundled("word-problems-slm").join("tokenizer.json");
    Tokenizer::read(&path).expect("a tokenizer")
}

/// Tokenising takes no more memory than servers reserve for it.
pub fn amplification() {
    let _alone = alone();
    let tokenizer = tokenizer();
    for (name, n, text) in TEXTS {
        let text = text(n);
        let spent = cost(|| drop(tokenizer.encode(&text)));
        println!("tokenised, {name}: {} bytes take {} at once", text.len(), spent.peak);
        assert!(spent.peak < Tokenizer::memory(&text), "{name}: {} bytes", spent.peak);
    }
}

fn tokenised(measure: Measure) -> Vec<String> {
    let tokenizer = tokenizer();
    let read = |text: &String| {
        drop(tokenizer.special_token_in(text));
        if let Ok(ids) = tokenizer.encode(text) {
            drop(tokenizer.decode(&ids));
        }
    };
    let grow =
        |(name, n, text): Family<'_>| growth(measure, &format!("tokenised, {name}"), n, text, read);
    TEXTS.map(grow).concat()
}
