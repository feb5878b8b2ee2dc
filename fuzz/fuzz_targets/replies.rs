//! Gives any bytes to the LLM's client as a server's reply. The first byte chooses the API, and
//! whether the reply is whole, streamed or a list of models. Tokens that it takes are in the
//! vocabulary.
#![no_main]

use std::sync::{LazyLock, Mutex, PoisonError};

use libfuzzer_sys::fuzz_target;
use tokenroute_core::{Ask, Llm};
use tokenroute_fuzz::replying;
use tokenroute_llm::ToyModel;
use tokenroute_llm::http::{Api, BreakerConfig, Http, HttpConfig, Spelling};

const APIS: [Api; 5] = [Api::Tokenroute, Api::Vllm, Api::OpenAi, Api::Sglang, Api::LlamaCpp];

static REPLY: Mutex<Vec<u8>> = Mutex::new(Vec::new());

static CLIENTS: LazyLock<Vec<Http>> = LazyLock::new(|| {
    let url = format!("http://{}", replying(&REPLY));
    let client = |api: Option<Api>| {
        let config = HttpConfig {
            api,
            model: api.map(|_| "m".to_owned()),
            attempts: 1,
            breaker: BreakerConfig { failures: u32::MAX, ..BreakerConfig::default() },
            ..HttpConfig::new(&url)
        };
        let texts = (b'a'..b'q').map(|letter| char::from(letter).to_string());
        Http::new(config, ToyModel::vocabulary(), Some(Spelling::new(texts))).expect("a client")
    };
    APIS.map(Some).into_iter().chain([None]).map(client).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, reply)) = bytes.split_first() else { return };
    *REPLY.lock().unwrap_or_else(PoisonError::into_inner) = reply.to_vec();
    let size = ToyModel::vocabulary().len();
    let (mode, streamed) = (usize::from(first) % 6, first >= 128);
    let Some(client) = CLIENTS.get(mode) else { return };
    if mode == APIS.len() {
        drop(client.server());
    } else if streamed {
        let _ = client.stream(&[1, 2, 3], 4, &mut |token| assert!((token as usize) < size));
    } else {
        for (from, top) in [(3, 0), (2, 2)] {
            let ask = Ask::greedy(&[1, 2, 3], from).with_top(top);
            if let Ok(reply) = client.ask(&[ask]).remove(0) {
                assert!(reply.tokens.iter().all(|&token| (token as usize) < size));
            }
        }
    }
});
