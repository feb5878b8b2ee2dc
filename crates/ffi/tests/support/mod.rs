//! The bundled pair, and its answers by the runtime alone.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};

use tokenroute_core::{LanguageModel as _, Origin, Tau, TraceToken};
use tokenroute_llm::InProcess;
use tokenroute_model::{LoadOptions, LoadedModel, RouterScorer, load_model};
use tokenroute_runtime::{Pair, Policy, Request, RoutedDecoding};

/// A file or folder of the repository.
pub fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(relative)
}

pub const SLM: &str = "models/word-problems-slm";
pub const LLM: &str = "models/word-problems-llm";
pub const ROUTER: &str = "models/word-problems-router/router.safetensors";

/// A question as the pair's prompt.
pub const PROMPT: &str = "The picnic is on Saturday. The picnic is 5 days before the party. On which day is the party?\nTuesday A Sunday B Saturday C Monday D Thursday E\n";

/// The pair without the library.
pub struct Reference {
    pub slm: LoadedModel,
    llm: InProcess<tokenroute_model::Decoder>,
    router: RouterScorer,
}

impl Reference {
    pub fn open() -> Reference {
        let load = |name| load_model(&path(name), &LoadOptions::default()).expect("a model");
        let (slm, llm) = (load(SLM), InProcess::new(load(LLM).decoder));
        let router = RouterScorer::open(&path(ROUTER)).expect("a router");
        Reference { slm, llm, router }
    }

    /// The tokens of an answer, and whether an end token closed it.
    pub fn answer(&self, tau: f64, max_tokens: usize) -> (Vec<TraceToken>, bool) {
        let prompt = self.slm.tokenizer.encode_prompt(PROMPT).expect("tokens");
        let policy = Policy::new(Tau::new(tau).expect("a threshold"));
        let pair = Pair::new(&self.slm.decoder, &self.llm, &self.slm.vocabulary);
        let decoding = RoutedDecoding::new(pair, &self.router, policy);
        let request = Request { question: "", prompt: &prompt, max_tokens };
        let trace = decoding.run(&[request]).expect("a trace").remove(0);
        assert!(prompt.len() + max_tokens <= self.slm.decoder.info().context);
        (trace.tokens, trace.ended)
    }

    /// The text of tokens; those of the large model stand in brackets.
    pub fn shown(&self, tokens: &[TraceToken]) -> String {
        let mut text = String::new();
        let mut words = tokenroute_model::Detokeniser::new(&self.slm.tokenizer);
        for token in tokens.iter().filter(|t| !self.slm.vocabulary.is_end(t.token)) {
            let new = words.push(token.token).expect("text");
            match token.origin {
                Origin::Llm if !new.is_empty() => text += &format!("[{new}]"),
                _ => text += &new,
            }
        }
        text
    }
}
