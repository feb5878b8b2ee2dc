//! A routed pair that is open: the SLM, the LLM behind it, the router between them.

mod answer;
mod builder;
mod llm_prompts;
mod open;
#[cfg(feature = "server")]
mod served;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread::Scope;

use tokenroute_core::{LanguageModel, Llm, ModelInfo, Scorer, Tau};
use tokenroute_llm::http::{Bill, Http, HttpError, Traffic};
use tokenroute_model::{ChatTemplate, Decoder, LoadedModel};
use tokenroute_runtime::{
    Absent, Calls, DEFAULT_BATCH, Engine, KeepAll, Pair, Policy, RoutedDecoding, Wait,
};

use crate::Error;

pub use answer::Answer;
pub use builder::RoutedPairBuilder;
pub(crate) use llm_prompts::LlmPrompts;

/// Most calls to a server at once.
const CONNECTIONS: usize = 16;

/// An LLM behind a network answers many calls at once, each in its own time.
const OVER_HTTP: Calls = Calls { threads: CONNECTIONS, together: 1 };

/// One in process answers a batch at the price of one.
const IN_PROCESS: Calls = Calls { threads: 1, together: DEFAULT_BATCH };

/// How an answer is decoded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decoding {
    /// τ, and all that goes with it.
    pub policy: Policy,
    /// Most tokens of an answer.
    pub max_tokens: usize,
}

/// An SLM with its LLM and router, or an SLM alone.
///
/// [`RoutedPair::builder`] opens one. All methods that decode take `&self`: threads may
/// share a pair.
pub struct RoutedPair {
    /// The SLM's name, as it was given.
    named: PathBuf,
    /// The SLM's folder or file on this machine.
    path: PathBuf,
    slm: LoadedModel,
    /// Read when it is first asked for; `None` within if there is none.
    template: OnceLock<Option<ChatTemplate>>,
    partner: Option<Partner>,
    decoding: Decoding,
}

/// The LLM of a pair and the router that asks it.
struct Partner {
    llm: Box<dyn Llm + Send>,
    scorer: Box<dyn Scorer + Send>,
    /// The client of an LLM on a server, with the same connections and counters.
    http: Option<Http>,
    /// Facts about an LLM in process, and the bytes of a position in its KV cache.
    #[cfg_attr(
        not(feature = "server"),
        expect(dead_code, reason = "a server alone counts memory")
    )]
    in_process: Option<(ModelInfo, usize)>,
    /// Why the server did not answer when the pair was opened.
    unreachable: Option<HttpError>,
    /// Makes the LLM's prompts, if the models share text alone.
    prompts: Option<LlmPrompts>,
}

impl RoutedPair {
    /// Options for a pair whose SLM is in this folder, GGUF file or `hf:` reference.
    pub fn builder(slm: impl AsRef<Path>) -> RoutedPairBuilder<'static> {
        RoutedPairBuilder::new(slm.as_ref())
    }

    /// The SLM, its tokenizer and its vocabulary.
    #[must_use]
    pub fn slm(&self) -> &LoadedModel {
        &self.slm
    }

    /// Whether there is an LLM. Without one the SLM answers alone.
    #[must_use]
    pub fn is_routed(&self) -> bool {
        self.partner.is_some()
    }

    /// Whether the LLM runs on a server.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.partner.as_ref().is_some_and(|partner| partner.http.is_some())
    }

    /// Why the LLM's server did not answer when the pair was opened. Until the server
    /// answers, the SLM's tokens are kept and marked degraded.
    #[must_use]
    pub fn unreachable(&self) -> Option<&HttpError> {
        self.partner.as_ref()?.unreachable.as_ref()
    }

    /// Most positions of a sequence on the LLM's server in tokens of the pair, if it answered and
    /// says so. A longer prompt with its answer gets no tokens of the LLM.
    #[must_use]
    pub fn server_context(&self) -> Option<usize> {
        let own = |partner: &&Partner| partner.unreachable.is_none() && partner.prompts.is_none();
        let partner = self.partner.as_ref().filter(own)?;
        partner.http.as_ref()?.server().ok()?.context
    }

    /// Makes the LLM's prompts; `None` if it reads those of the SLM.
    pub(crate) fn llm_prompts(&self) -> Option<&LlmPrompts> {
        self.partner.as_ref()?.prompts.as_ref()
    }

    /// Requests and bytes to the LLM's server so far; `None` without a server.
    #[must_use]
    pub fn traffic(&self) -> Option<Traffic> {
        self.partner.as_ref()?.http.as_ref().map(Http::traffic)
    }

    /// Tokens and money at the LLM's server so far; `None` without prices.
    #[must_use]
    pub fn bill(&self) -> Option<Bill> {
        self.partner.as_ref()?.http.as_ref()?.bill()
    }

    /// How answers are decoded unless a call brings its own.
    #[must_use]
    pub fn decoding(&self) -> Decoding {
        self.decoding
    }

    /// Changes how answers are decoded from now on.
    pub fn set_decoding(&mut self, decoding: Decoding) {
        self.decoding = decoding;
    }

    /// Changes the threshold from now on.
    pub fn set_tau(&mut self, tau: Tau) {
        self.decoding.policy.tau = tau;
    }

    /// The SLM's chat template; `None` if it has none.
    ///
    /// # Errors
    /// A template that cannot be read or does not parse.
    pub fn template(&self) -> Result<Option<&ChatTemplate>, Error> {
        if self.template.get().is_none() {
            let template = ChatTemplate::read(&self.path)?;
            return Ok(self.template.get_or_init(|| template).as_ref());
        }
        Ok(self.template.get().and_then(Option::as_ref))
    }

    /// What the runtime decodes with: the pair, and its scorer.
    #[must_use]
    pub fn parts(&self) -> (Pair<'_, Decoder, dyn Llm>, &dyn Scorer) {
        let (llm, scorer): (&dyn Llm, &dyn Scorer) = match &self.partner {
            Some(partner) => (&*partner.llm, &*partner.scorer),
            None => (&Absent, &KeepAll),
        };
        (Pair::new(&self.slm.decoder, llm, &self.slm.vocabulary), scorer)
    }

    /// How the LLM is called under a policy: on threads of its own, or (`None`) on the
    /// thread that decodes.
    #[must_use]
    pub fn calls(&self, policy: &Policy) -> Option<Calls> {
        if self.is_remote() {
            return Some(OVER_HTTP);
        }
        // In process the LLM takes the processor from the SLM; lockstep is best.
        matches!(policy.wait, Wait::Speculate { .. }).then_some(IN_PROCESS)
    }

    /// An engine for sessions that come and go, each with a policy of its own. `policy` is
    /// that of most sessions.
    #[must_use]
    pub fn engine<'a>(
        &'a self,
        scope: &'a Scope<'a, '_>,
        policy: &Policy,
    ) -> Engine<'a, Decoder, dyn Llm> {
        let (pair, scorer) = self.parts();
        let calls = self.calls(policy);
        RoutedDecoding { calls, ..RoutedDecoding::new(pair, scorer, *policy) }.engine(scope)
    }
}

impl fmt::Debug for RoutedPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoutedPair")
            .field("slm", &self.slm.decoder.info().name)
            .field("routed", &self.is_routed())
            .field("decoding", &self.decoding)
            .finish_non_exhaustive()
    }
}
