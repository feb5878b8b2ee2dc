//! Renders any text as a chat template, with a short conversation.
#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tokenroute_model::{ChatOptions, ChatTemplate, Message};

fuzz_target!(|bytes: &[u8]| {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let tokens = BTreeMap::from([("bos_token".to_owned(), "<s>".to_owned())]);
    let Ok(template) = ChatTemplate::new(Path::new("chat.jinja"), source, tokens) else { return };
    let messages = [Message::new("system", "Be brief."), Message::new("user", "Hello")];
    let date = "2025-07-01".parse().ok();
    let _ = template.render(&messages, &ChatOptions { date, ..ChatOptions::default() });
});
