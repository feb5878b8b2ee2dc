//! Gives any bytes to the client of servers of text as their reply. The first byte chooses the API,
//! a judge's chat, or the probes that find out what a server takes. Tokens of an answer spell it.
#![no_main]

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use libfuzzer_sys::fuzz_target;
use tokenroute_core::{Ask, Continuation, Llm, ModelError, Spelled, Speller, TokenId, Vocabulary};
use tokenroute_fuzz::replying;
use tokenroute_llm::http::{
    BreakerConfig, Http, HttpConfig, SpendLimit, TextApi, TextServer, TokenPrices, WholeAnswers,
};
use tokenroute_llm::{InProcess, LlmPrompt, Prompts, TextLlm, ToyModel};

/// The prompt of text, and that of a chat.
const PROMPTS: [[TokenId; 2]; 2] = [[7, 8], [9, 9]];

/// A token for each byte, and one that ends an answer.
struct Bytewise([[u8; 1]; 256]);

const END: TokenId = 256;

impl Speller for Bytewise {
    fn bytes(&self, token: TokenId) -> &[u8] {
        self.0.get(token as usize).map_or(&[], |byte| byte)
    }

    fn size(&self) -> usize {
        257
    }

    fn spell(&self, text: &str) -> Result<Spelled, ModelError> {
        Ok(Spelled { tokens: text.bytes().map(TokenId::from).collect(), settled: text.len() > 3 })
    }
}

static REPLY: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// A client of the server that gives the reply.
fn client(text: Option<TextApi>) -> Http {
    static URL: LazyLock<String> = LazyLock::new(|| format!("http://{}", replying(&REPLY)));
    // Nothing costs anything, so that the limit is never reached.
    let prices = TokenPrices { input: 0.0, cached_input: 0.0, output: 0.0 };
    let config = HttpConfig {
        text,
        model: text.map(|_| "m".to_owned()),
        spend: text.map(|_| SpendLimit { prices, most: 1.0 }),
        attempts: 1,
        breaker: BreakerConfig { failures: u32::MAX, ..BreakerConfig::default() },
        ..HttpConfig::new(&URL)
    };
    Http::new(config, ToyModel::vocabulary(), None).expect("a client")
}

/// An LLM behind each API of text.
static LLMS: LazyLock<Vec<Box<dyn Llm + Send>>> = LazyLock::new(|| {
    let prompts = Arc::new(Prompts::new(2));
    prompts.announce(&PROMPTS[0], LlmPrompt::Text("Q: one?\nA:".to_owned()));
    prompts.announce(&PROMPTS[1], LlmPrompt::Chat(vec![("user".to_owned(), "one?".to_owned())]));
    let slm: Arc<dyn Speller> = Arc::new(Bytewise(std::array::from_fn(|byte| [byte as u8])));
    let llm = |(_, api): (&str, TextApi)| -> Box<dyn Llm + Send> {
        let (http, slm, prompts) = (client(Some(api)), Arc::clone(&slm), Arc::clone(&prompts));
        if api.is_whole() {
            return Box::new(WholeAnswers::new(http, slm, END, prompts));
        }
        let kept = Arc::new(InProcess::new(ToyModel::new(1)));
        Box::new(TextLlm::new(TextServer::new(http, api), slm, kept, END, prompts))
    };
    TextApi::ALL.map(llm).into_iter().collect()
});

static JUDGE: LazyLock<Http> = LazyLock::new(|| client(Some(TextApi::ChatContinue)));

/// A client that asks what its server takes. It lists the models each time.
static PROBING: LazyLock<Http> = LazyLock::new(|| client(None));

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(ToyModel::vocabulary);

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, reply)) = bytes.split_first() else { return };
    *REPLY.lock().unwrap_or_else(PoisonError::into_inner) = reply.to_vec();
    let mode = usize::from(first) % (TextApi::ALL.len() + 2);
    let Some((_, api)) = TextApi::ALL.get(mode) else {
        if mode == TextApi::ALL.len() {
            let _ = JUDGE.chat("Is it right?", 4);
        } else {
            let _ = PROBING.find(&[1, 2, 3]);
        }
        return;
    };
    let prompt = &PROMPTS[usize::from(api.chats())];
    let begun = [&prompt[..], &b"Two ".map(TokenId::from)].concat();
    let llm = &LLMS[mode];
    let known = |tokens: &[TokenId]| assert!(tokens.iter().all(|&token| token <= END));
    for context in [&prompt[..], &begun] {
        if let Ok(reply) = llm.ask(&[Ask::next(context, None)]).remove(0) {
            known(&reply.tokens);
        }
    }
    let wanted = [Continuation { context: prompt, tokens: 6, sampling: None, resumed: true }];
    if let Ok(reply) = llm.continuations(&wanted, &VOCABULARY).remove(0) {
        known(&reply.tokens);
        assert!(reply.tokens.len() <= 6);
    }
});
