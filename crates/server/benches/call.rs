//! One call over loopback to a toy without delay: the time that client and server add to the
//! LLM's own. The goal is a median below 0.5 ms.

use std::net::{Ipv4Addr, SocketAddr};

use divan::Bencher;
use tokenroute_core::{Ask, Llm, TokenId};
use tokenroute_llm::ToyModel;
use tokenroute_llm::http::{Http, HttpConfig};
use tokenroute_server::completions::{BatchConfig, CompletionService, Texts};

struct NoTexts;

impl Texts for NoTexts {
    fn encode(&self, _: &str) -> Result<Vec<TokenId>, String> {
        Err("no text has tokens".to_owned())
    }

    fn decode(&self, _: &[TokenId]) -> Result<String, String> {
        Ok(String::new())
    }

    fn longest_token(&self) -> usize {
        usize::MAX
    }

    fn token(&self, _: TokenId) -> Result<String, String> {
        Ok(String::new())
    }
}

fn main() {
    divan::main();
}

#[divan::bench(args = [false, true])]
fn call(bencher: Bencher<'_, '_>, http2: bool) {
    let (toy, vocabulary) = (ToyModel::new(1), ToyModel::vocabulary());
    let config = BatchConfig::default();
    let texts = Box::new(NoTexts);
    let service = CompletionService::new("toy".into(), toy, vocabulary, texts, None, config);
    let loopback: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
    let server = service.start(loopback).expect("a server");
    let config = HttpConfig { http2, ..HttpConfig::new(&format!("http://{}", server.address())) };
    let llm = Http::new(config, ToyModel::vocabulary(), None).expect("a client");
    let context: Vec<TokenId> = (0..200).map(|i| i % 13).collect();
    let ask = [Ask::greedy(&context, context.len())];
    bencher.bench(|| llm.ask(&ask).remove(0).expect("an answer"));
}
