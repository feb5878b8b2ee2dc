//! Sends any bytes to `cloud`: as they are, or as the body of a request.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokenroute_fuzz::{Folder, exchange, loopback, model_files};
use tokenroute_model::{LoadOptions, load_model};
use tokenroute_server::completions::{BatchConfig, CompletionService};
use tokenroute_server::net::Server;

static SERVER: LazyLock<(Folder, Server)> = LazyLock::new(|| {
    let folder = model_files();
    let model = load_model(folder.path(), &LoadOptions::default()).expect("a model");
    let texts = Box::new(model.tokenizer);
    let service = CompletionService::new(
        "tiny".to_owned(),
        model.decoder,
        model.vocabulary,
        texts,
        None,
        BatchConfig::default(),
    );
    let server = service.start(loopback()).expect("a server");
    (folder, server)
});

fuzz_target!(|bytes: &[u8]| {
    let server = &SERVER.1;
    exchange(server.address(), &["/v1/completions"], bytes);
    assert!(server.is_alive());
});
