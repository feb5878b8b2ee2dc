//! Sends any bytes to `serve`: as they are, or as the body of a request to one of its APIs.
#![no_main]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokenroute_fuzz::{Folder, exchange, loopback, model_files, unlimited};
use tokenroute_model::{ChatTemplate, LoadOptions, load_model};
use tokenroute_server::net::Server;
use tokenroute_server::routed::{RoutedService, ServeConfig, ServerPair};

static SERVER: LazyLock<(Folder, Server)> = LazyLock::new(|| {
    let folder = model_files();
    let model = load_model(folder.path(), &LoadOptions::default()).expect("a model");
    let source = "{% for m in messages %}{{ m.content }}{% endfor %}{{ enable_thinking }}";
    let template = ChatTemplate::new(Path::new("chat"), source, BTreeMap::new());
    let pair = ServerPair {
        name: "tiny".to_owned(),
        slm: model.decoder,
        vocabulary: model.vocabulary,
        tokenizer: model.tokenizer,
        template: Some(template.expect("a template")),
        llm: None,
        announce: None,
    };
    let config = ServeConfig { connections: unlimited(), ..ServeConfig::default() };
    let server = RoutedService::new(pair, None, config).start(loopback()).expect("a server");
    (folder, server)
});

fuzz_target!(|bytes: &[u8]| {
    let server = &SERVER.1;
    let paths = ["/v1/chat/completions", "/v1/completions", "/v1/responses"];
    exchange(server.address(), &paths, bytes);
    assert!(server.is_alive());
});
