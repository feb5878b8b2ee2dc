//! A pair given over to the server.

use std::sync::Arc;

use tokenroute_model::{Decoder, LoadedModel};
use tokenroute_server::routed::{LlmMemory, ServerLlm, ServerPair};

use super::{IN_PROCESS, OVER_HTTP, Partner, RoutedPair};
use crate::Error;

impl RoutedPair {
    /// The pair as the server takes it (`tokenroute_server::routed::RoutedService::new`), under the name
    /// by which clients ask for it. Limits and policy are the server's own.
    ///
    /// # Errors
    /// A chat template that cannot be read or does not parse.
    pub fn into_served(self, name: &str) -> Result<ServerPair<Decoder>, Error> {
        let template = self.template()?.cloned();
        let announce = self.llm_prompts().cloned().map(|prompts| Box::new(prompts) as _);
        let LoadedModel { decoder, tokenizer, vocabulary } = self.slm;
        let llm = self.partner.map(served_llm);
        let (name, slm) = (name.to_owned(), decoder);
        Ok(ServerPair { name, slm, vocabulary, tokenizer, template, llm, announce })
    }
}

fn served_llm(partner: Partner) -> ServerLlm {
    let Partner { llm, scorer, http, in_process, .. } = partner;
    let calls = if http.is_some() { OVER_HTTP } else { IN_PROCESS };
    let bytes = http.map(|http| Arc::new(move || http.traffic().bytes) as _);
    let memory = in_process
        .map(|(info, position_bytes)| LlmMemory::in_process(&info, position_bytes))
        .unwrap_or_default();
    ServerLlm { llm, scorer, calls, bytes, memory }
}
