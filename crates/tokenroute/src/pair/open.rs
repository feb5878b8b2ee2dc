//! From options to an open pair: models are found and loaded, the router is checked
//! against the SLM, the LLM against its tokenizer.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use tokenroute_core::{Handoff, LanguageModel, Llm, LlmError, ModelInfo, Scorer};
use tokenroute_hub::local;
use tokenroute_llm::http::{
    Answers, Api, Http, HttpConfig, HttpError, PROBE, Spelling, Takes, TextApis, TextServer,
    WholeAnswers, identity,
};
use tokenroute_llm::{InProcess, LlmText, LocalWriter, TextLlm, Writer};
use tokenroute_model::{ChatTemplate, LoadOptions, LoadedModel, RouterScorer, check_pair};
use tokenroute_runtime::Wait;

use super::{LlmPrompts, Partner, RoutedPair, RoutedPairBuilder};
use crate::Error;
use crate::model_source::{load_found, load_named, load_options};

/// An LLM that is open.
struct Opened {
    llm: Box<dyn Llm + Send>,
    http: Option<Http>,
    in_process: Option<(ModelInfo, usize)>,
    unreachable: Option<HttpError>,
    prompts: Option<LlmPrompts>,
}

/// Prompts whose SLM states are kept for tokens inside a character.
const KEPT: usize = 16;

/// An LLM that shares text alone with this SLM.
fn through_text<W: Writer>(
    writer: W,
    slm: &LoadedModel,
    prompts: &LlmPrompts,
) -> Result<TextLlm<W>, Error> {
    let speller = Arc::new(slm.tokenizer.bytewise()?);
    let kept = Arc::new(InProcess::with_prompts(slm.decoder.clone(), KEPT));
    let prompts = Arc::clone(&prompts.prompts);
    Ok(TextLlm::new(writer, speller, kept, slm.vocabulary.end(), prompts))
}

impl RoutedPairBuilder<'_> {
    /// Opens the pair. Files are loaded, `hf:` references fetched if need be, and the LLM's
    /// server is asked for its models.
    ///
    /// A server that cannot be reached is no error, since it may come back:
    /// [`RoutedPair::unreachable`] reports it.
    ///
    /// # Errors
    /// A value out of range; options that contradict one another; a model, a router or a
    /// server that cannot be used; models that do not share a tokenizer; a router that was
    /// trained for another SLM.
    pub fn open(mut self) -> Result<RoutedPair, Error> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        self.check()?;
        let mut router = match &self.router {
            Some(file) => Some(RouterScorer::open(&tokenroute_hub::router(file, self.progress)?)?),
            None => None,
        };
        if let Some(router) = &router {
            router.check_kv(self.kv)?;
        }
        if let (Some(share), Some(_)) = (self.offload, &self.llm) {
            let found = router.as_ref().and_then(|router| router.header().tau_at_offload(share));
            let router = self.router.clone();
            self.decoding.policy.tau = found.ok_or(Error::NoCalibration { router })?;
        }
        let needed = router.as_ref().map_or(0, |router| router.header().features.top());
        let top_k = self.top_k.max(needed);
        let path = local(&self.slm, self.progress)?;
        let mut slm = load_found(&path, &self.slm_options(top_k))?;
        if let Some(separator) = &self.separator {
            slm.vocabulary = slm.tokenizer.separated(slm.vocabulary, separator)?;
        }
        if let Some(router) = &mut router {
            router.check(slm.decoder.info(), slm.vocabulary.hash())?;
            router.share_threads(&slm.decoder);
        }
        let router = router.map(|router| Box::new(router) as Box<dyn Scorer + Send>);
        let scorer = router.or_else(|| self.scorer.take());
        let scorer = scorer.map(|scorer| match self.handoff {
            true => Box::new(Handoff::by(scorer)),
            false => scorer,
        });
        let partner = match (self.llm.clone(), scorer) {
            (Some(llm), Some(scorer)) => {
                let Opened { llm, http, in_process, unreachable, prompts } =
                    self.open_llm(&llm, top_k, &slm)?;
                Some(Partner { llm, scorer, http, in_process, unreachable, prompts })
            }
            _ => None,
        };
        let (template, decoding) = (OnceLock::new(), self.decoding);
        let pair = RoutedPair { named: self.slm, path, slm, template, partner, decoding };
        decoding.policy.check(pair.parts().1)?;
        Ok(pair)
    }

    /// Whether the options go together.
    fn check(&self) -> Result<(), Error> {
        self.device.check(self.quantize, self.kv)?;
        if let (Some(llm), Some(device)) = (&self.llm, self.llm_device) {
            if let Some(url) = HttpConfig::url_of(llm) {
                return Err(Error::ServerDevice { url: url.to_owned() });
            }
            device.check(self.llm_quantize, self.kv)?;
        }
        match (&self.llm, &self.router, &self.scorer) {
            (None, None, None) => Ok(()),
            (None, ..) => Err(Error::NoLlm),
            (Some(llm), None, None) => Err(Error::NoRouter { llm: llm.clone() }),
            (_, Some(router), Some(_)) => Err(Error::TwoScorers { router: router.clone() }),
            (.., Some(scorer)) if self.handoff && scorer.needs_llm() => Err(Error::HandoffNeedsLlm),
            (Some(_), ..) if !self.has_tau => Err(Error::NoTau),
            (Some(_), ..) => Ok(()),
        }
    }

    fn slm_options(&self, top_k: usize) -> LoadOptions {
        let (kv, threads, device) = (self.kv, self.threads, self.device);
        LoadOptions { kv, threads, device, ..load_options(&self.slm, top_k, self.quantize) }
    }

    fn llm_options(&self, llm: &Path, top_k: usize) -> LoadOptions {
        let (kv, threads) = (self.kv, self.threads);
        let device = self.llm_device.unwrap_or_default();
        LoadOptions { kv, threads, device, ..load_options(llm, top_k, self.llm_quantize) }
    }

    fn open_llm(&mut self, llm: &Path, top_k: usize, slm: &LoadedModel) -> Result<Opened, Error> {
        if let Some(url) = HttpConfig::url_of(llm) {
            return match self.llm_quantize {
                Some(_) => Err(Error::QuantisedServer { url: url.to_owned() }),
                None if self.through_text => Err(Error::TextServer { url: url.to_owned() }),
                None => self.over_http(url, slm),
            };
        }
        let options = self.llm_options(llm, top_k);
        let model =
            load_named(llm, &options, self.progress).map_err(
                |error| match HttpConfig::lacks_scheme(llm) {
                    true => Error::NotAServer { named: llm.to_owned(), source: Box::new(error) },
                    false => error,
                },
            )?;
        let in_process = Some((model.decoder.info().clone(), model.decoder.position_bytes()));
        if !self.through_text {
            check_pair(slm, &model)?;
            let llm = Box::new(InProcess::new(model.decoder));
            return Ok(Opened { llm, http: None, in_process, unreachable: None, prompts: None });
        }
        let template = ChatTemplate::read(&local(llm, self.progress)?)?;
        let text = LlmText::new(Arc::new(model.tokenizer.bytewise()?), model.vocabulary);
        let writer = LocalWriter::new(InProcess::new(model.decoder), Arc::new(text));
        let prompts = LlmPrompts::here(llm.to_owned(), model.tokenizer, template);
        let llm = Box::new(through_text(writer, slm, &prompts)?);
        Ok(Opened { llm, http: None, in_process, unreachable: None, prompts: Some(prompts) })
    }

    fn over_http(&mut self, url: &str, slm: &LoadedModel) -> Result<Opened, Error> {
        let mut config = HttpConfig { url: url.to_owned(), ..self.server.clone() };
        // A reply of many tokens may begin late.
        let first_byte = if self.handoff { config.total } else { config.first_byte };
        config.first_byte = first_byte.min(config.total);
        config.connect = config.connect.min(config.total);
        if let Some(path) = &self.authority {
            let cannot = |source| Error::Authority { path: path.clone(), source };
            config.authority = Some(std::fs::read(path).map_err(cannot)?);
        }
        let (named, mut text) = (config.model.clone(), config.text.map(TextApis::from));
        let unknown = text.is_none() && config.api.is_none();
        let spelled = text.is_none() && matches!(config.api, None | Some(Api::OpenAi));
        let texts = spelled.then(|| slm.tokenizer.token_texts()).transpose()?;
        let http = Http::new(config, slm.vocabulary.clone(), texts.map(Spelling::new))?;
        let asked = match unknown {
            true => self.find(&http, slm).map(|found| text = found),
            false => Ok(()),
        };
        // A server that is away may come back. One that refuses, or that holds another
        // tokenizer, will not change.
        let (server, unreachable) = match asked.and_then(|()| Ok(http.server()?)) {
            Ok(server) => (Some(server), None),
            Err(Error::Server(
                error @ HttpError::Llm(LlmError::Unavailable(_) | LlmError::Late(_)),
            )) => (None, Some(error)),
            Err(error) => return Err(error),
        };
        if text.is_some_and(TextApis::is_whole) {
            self.check_whole()?;
            self.decoding.policy.wait = Wait::Whole;
        }
        let client = Some(http.clone());
        let prompts = text.map(LlmPrompts::server);
        let llm: Box<dyn Llm + Send> = match (text, &prompts) {
            (Some(apis), Some(prompts)) if apis.is_whole() => {
                let speller = Arc::new(slm.tokenizer.bytewise()?);
                let prompts = Arc::clone(&prompts.prompts);
                Box::new(WholeAnswers::new(http, speller, slm.vocabulary.end(), prompts))
            }
            (Some(apis), Some(prompts)) => {
                Box::new(through_text(TextServer::new(http, apis), slm, prompts)?)
            }
            _ => Box::new(http),
        };
        let opened = |llm| Opened { llm, http: client, in_process: None, unreachable, prompts };
        let Some(cache) = &self.answers else { return Ok(opened(llm)) };
        let model = server.map(|server| server.model).or(named);
        let model = model.ok_or_else(|| Error::NamelessAnswers { cache: cache.clone() })?;
        let model = text.map_or(model.clone(), |apis| format!("{model} through {apis}"));
        let identity = identity(&model, &slm.vocabulary);
        Ok(opened(Box::new(Answers::open(cache, &identity, &slm.vocabulary, llm)?)))
    }

    /// Whether the options go with an LLM that gives whole answers alone.
    fn check_whole(&self) -> Result<(), Error> {
        let refuse = |what| Err(Error::WholeAnswers { what });
        match &self.decoding.policy {
            _ if !self.handoff => Err(Error::NeedsHandoff),
            _ if self.answers.is_some() => refuse("a cache of its answers keeps tokens"),
            policy if policy.warm.is_some() => refuse("a warm-up prefills tokens"),
            _ => Ok(()),
        }
    }

    /// Finds out what a server takes, and notes it. `None` is token ids.
    fn find(&self, http: &Http, slm: &LoadedModel) -> Result<Option<TextApis>, Error> {
        let found = http.find(&slm.tokenizer.encode_prompt(PROBE)?)?;
        self.progress.note(&format!("{found}; name it with --llm-api to ask no more"));
        Ok(match found.takes {
            Takes::Ids(_) => None,
            Takes::Text(apis) => Some(apis),
        })
    }
}
