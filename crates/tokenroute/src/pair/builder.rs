//! Options of a pair, collected one by one.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokenroute_core::{Progress, Sampling, Scorer, Silent, Tau};
use tokenroute_llm::ApiKey;
use tokenroute_llm::http::{Api, HttpConfig, SpendLimit, TextApi};
use tokenroute_model::{Device, Format, KvType};
use tokenroute_runtime::{Budget, Policy, Wait};

use super::{CONNECTIONS, Decoding};
use crate::Error;

/// Calls in flight that speculation may spend on tokens that may not be needed.
const MAX_AHEAD: usize = 8;

/// Options of a pair; [`RoutedPairBuilder::open`] opens it.
///
/// A value out of range is reported by `open`, the first one if there are several.
pub struct RoutedPairBuilder<'p> {
    pub(super) slm: PathBuf,
    pub(super) quantize: Option<Format>,
    pub(super) separator: Option<String>,
    pub(super) kv: KvType,
    pub(super) device: Device,
    pub(super) threads: Option<usize>,
    pub(super) top_k: usize,
    pub(super) llm: Option<PathBuf>,
    pub(super) llm_quantize: Option<Format>,
    pub(super) llm_device: Option<Device>,
    pub(super) through_text: bool,
    pub(super) router: Option<PathBuf>,
    pub(super) scorer: Option<Box<dyn Scorer + Send>>,
    pub(super) handoff: bool,
    /// How to reach an LLM on a server; its URL is not set.
    pub(super) server: HttpConfig,
    pub(super) authority: Option<PathBuf>,
    pub(super) answers: Option<PathBuf>,
    pub(super) decoding: Decoding,
    /// Whether there was a τ, an offload ratio or a policy.
    pub(super) has_tau: bool,
    /// The offload ratio that τ is to be found for.
    pub(super) offload: Option<f64>,
    pub(super) fault: Option<Error>,
    pub(super) progress: &'p dyn Progress,
}

impl RoutedPairBuilder<'static> {
    pub(super) fn new(slm: &Path) -> Self {
        let server = HttpConfig { connections: CONNECTIONS, ..HttpConfig::new("") };
        RoutedPairBuilder {
            slm: slm.to_owned(),
            quantize: None,
            separator: None,
            kv: KvType::F32,
            device: Device::Kernels,
            threads: None,
            top_k: 8,
            llm: None,
            llm_quantize: None,
            llm_device: None,
            through_text: false,
            router: None,
            scorer: None,
            handoff: false,
            server,
            authority: None,
            answers: None,
            decoding: Decoding { policy: Policy::new(Tau::SLM_ONLY), max_tokens: 512 },
            has_tau: false,
            offload: None,
            fault: None,
            progress: &Silent,
        }
    }
}

/// The models and the router.
impl<'p> RoutedPairBuilder<'p> {
    /// The LLM: a folder, a GGUF file, an `hf:` reference, or the URL of a server.
    #[must_use]
    pub fn llm(mut self, llm: impl AsRef<Path>) -> Self {
        self.llm = Some(llm.as_ref().to_owned());
        self
    }

    /// The router: a file that `tokenroute train` wrote for this SLM, or an `hf:` reference
    /// to one.
    #[must_use]
    pub fn router(mut self, router: impl AsRef<Path>) -> Self {
        self.router = Some(router.as_ref().to_owned());
        self
    }

    /// A scorer of your own instead of a router file.
    #[must_use]
    pub fn scorer(mut self, scorer: impl Scorer + Send + 'static) -> Self {
        self.scorer = Some(Box::new(scorer));
        self
    }

    /// Whether an answer is handed over at its first token with a score below τ: the LLM makes
    /// all tokens from there on. With [`RoutedPairBuilder::relay`] they come in few calls.
    #[must_use]
    pub fn handoff(mut self, handoff: bool) -> Self {
        self.handoff = handoff;
        self
    }

    /// A text that ends an answer, besides the end tokens. It belongs to prompts with
    /// examples: what stands between them. The texts of an answer's tokens include it.
    #[must_use]
    pub fn separator(mut self, separator: impl Into<String>) -> Self {
        self.separator = Some(separator.into());
        self
    }

    /// How many of the most probable tokens a scorer sees at each step: 8 unless set, and
    /// at least as many as the router file needs.
    #[must_use]
    pub fn top_k(mut self, top_k: usize) -> Self {
        self.top_k = top_k;
        self
    }

    /// Quantises the weights of the SLM. A router belongs to the weights as quantised.
    #[must_use]
    pub fn quantize(mut self, format: Format) -> Self {
        self.quantize = Some(format);
        self
    }

    /// Quantises the weights of an LLM that runs here.
    #[must_use]
    pub fn llm_quantize(mut self, format: Format) -> Self {
        self.llm_quantize = Some(format);
        self
    }

    /// Whether the models share text alone, so that an LLM that runs here may have another
    /// tokenizer than the SLM. Prompts are then texts or messages, not token ids.
    #[must_use]
    pub fn through_text(mut self, through_text: bool) -> Self {
        self.through_text = through_text;
        self
    }

    /// How models that run here store keys and values: f32 unless set. A router belongs to the
    /// type it was trained with.
    #[must_use]
    pub fn kv(mut self, kind: KvType) -> Self {
        self.kv = kind;
        self
    }

    /// Where the SLM runs: on this workspace's kernels unless set. A router that was trained with
    /// weights in f32 runs with f32 on every device.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Where an LLM that runs here does so: on this workspace's kernels unless set.
    #[must_use]
    pub fn llm_device(mut self, device: Device) -> Self {
        self.llm_device = Some(device);
        self
    }

    /// Threads of quantised products; as many as the machine has unless set.
    #[must_use]
    pub fn threads(self, threads: usize) -> Self {
        self.counted("threads", threads, |builder, n| builder.threads = Some(n.get()))
    }

    /// Receives progress of fetching models.
    #[must_use]
    pub fn progress<'q>(self, progress: &'q dyn Progress) -> RoutedPairBuilder<'q>
    where
        'p: 'q,
    {
        RoutedPairBuilder { progress, ..self }
    }
}

/// How answers are decoded.
impl RoutedPairBuilder<'_> {
    /// The threshold, 0 (SLM-only) to 1 (LLM-only): tokens that score below it are
    /// offloaded.
    #[must_use]
    pub fn tau(self, tau: f64) -> Self {
        self.checked(Tau::new(tau), |builder, tau| {
            builder.decoding.policy.tau = tau;
            builder.offload = None;
            builder.has_tau = true;
        })
    }

    /// The largest τ that stays within an offload ratio, 0 to 1, by the calibration in the
    /// router file. Replaces the τ that was set before.
    #[must_use]
    pub fn offload(self, share: f64) -> Self {
        let known = (0.0..=1.0).contains(&share).then_some(share);
        self.checked(known.ok_or(Error::Offload(share)), |builder, share| {
            builder.offload = Some(share);
            builder.has_tau = true;
        })
    }

    /// A whole policy: τ, waiting, budget, sampling. Replaces what was set before.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.decoding.policy = policy;
        self.offload = None;
        self.has_tau = true;
        self
    }

    /// Most tokens of an answer; 512 unless set.
    #[must_use]
    pub fn max_tokens(self, tokens: usize) -> Self {
        self.counted("max_tokens", tokens, |builder, n| builder.decoding.max_tokens = n.get())
    }

    /// Speculation: while a token of the LLM is on its way, the SLM continues from its
    /// `branches` best candidates for it. The tokens stay the same. Replaces a relay.
    #[must_use]
    pub fn speculate(self, branches: usize) -> Self {
        self.counted("speculate", branches, |builder, branches| {
            builder.decoding.policy.wait = Wait::Speculate { branches, max_ahead: MAX_AHEAD };
        })
    }

    /// Relay: the LLM makes up to `tokens` tokens in a row at each routed token. Replaces
    /// speculation.
    #[must_use]
    pub fn relay(self, tokens: usize) -> Self {
        self.counted("relay", tokens, |builder, tokens| {
            builder.decoding.policy.wait = Wait::Relay { tokens };
        })
    }

    /// Lookahead: each call to the LLM returns `tokens` tokens. Those after the first are
    /// used without a call if the answer takes the same path. The tokens stay the same.
    #[must_use]
    pub fn lookahead(self, tokens: usize) -> Self {
        self.counted("lookahead", tokens, |builder, n| builder.decoding.policy.lookahead = n)
    }

    /// Longest time an answer waits for one token of the LLM. After it the SLM's token is
    /// kept, marked degraded. Needs a server, or speculation.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.decoding.policy.deadline = Some(deadline);
        self
    }

    /// The largest share of an answer's tokens that the LLM may make, 0 to 1.
    #[must_use]
    pub fn budget(self, share: f64) -> Self {
        self.checked(Budget::new(share), |builder, budget| builder.decoding.policy.budget = budget)
    }

    /// Draws tokens at a temperature, 0 (greedy) to 2, from the most probable tokens that
    /// make up a share `top_p` of the probability. τ and its curves hold for greedy
    /// decoding alone.
    #[must_use]
    pub fn sampling(self, temperature: f64, top_p: f64, seed: u64) -> Self {
        self.checked(Sampling::new(temperature, top_p, seed), |builder, sampling| {
            builder.decoding.policy.sampling = sampling;
        })
    }
}

/// An LLM on a server.
impl RoutedPairBuilder<'_> {
    /// The key that the server asks for.
    #[must_use]
    pub fn llm_key(mut self, key: ApiKey) -> Self {
        self.server.key = Some(key);
        self
    }

    /// The server's API, if its list of models does not show it.
    #[must_use]
    pub fn llm_api(mut self, api: Api) -> Self {
        self.server.api = Some(api);
        self
    }

    /// The API of a server that takes text alone. Its model may have any tokenizer.
    #[must_use]
    pub fn llm_text_api(mut self, api: TextApi) -> Self {
        self.server.text = Some(api);
        self
    }

    /// What the provider asks for tokens, and the most that may be spent. Beyond it no request is
    /// sent, and the SLM's tokens are kept, marked degraded. Needs an API of text.
    #[must_use]
    pub fn llm_spend(mut self, limit: SpendLimit) -> Self {
        self.server.spend = Some(limit);
        self
    }

    /// The model's name on the server; the first listed unless set.
    #[must_use]
    pub fn llm_model(mut self, name: &str) -> Self {
        self.server.model = Some(name.to_owned());
        self
    }

    /// Longest time for one call, retries included; 4 s unless set. After it the SLM's
    /// token is kept, marked degraded.
    #[must_use]
    pub fn llm_deadline(mut self, deadline: Duration) -> Self {
        self.server.total = deadline;
        self
    }

    /// Sends a second request in parallel after this long without a reply.
    #[must_use]
    pub fn llm_hedge(mut self, after: Duration) -> Self {
        self.server.hedge = Some(after);
        self
    }

    /// Speaks HTTP/2 to a server of plain HTTP that knows it. Over https it is used where
    /// the server offers it.
    #[must_use]
    pub fn llm_http2(mut self, http2: bool) -> Self {
        self.server.http2 = http2;
        self
    }

    /// A certificate authority (a file in PEM) to trust beside the system's.
    #[must_use]
    pub fn llm_authority(mut self, file: impl AsRef<Path>) -> Self {
        self.authority = Some(file.as_ref().to_owned());
        self
    }

    /// Keeps the server's answers in this file; a known answer costs no call.
    #[must_use]
    pub fn llm_cache(mut self, file: impl AsRef<Path>) -> Self {
        self.answers = Some(file.as_ref().to_owned());
        self
    }
}

impl RoutedPairBuilder<'_> {
    /// Sets what was checked, or remembers the first fault.
    fn checked<T, E: Into<Error>>(
        mut self,
        value: Result<T, E>,
        set: impl FnOnce(&mut Self, T),
    ) -> Self {
        match value {
            Ok(value) => set(&mut self, value),
            Err(error) => {
                self.fault.get_or_insert(error.into());
            }
        }
        self
    }

    fn counted(
        self,
        what: &'static str,
        count: usize,
        set: impl FnOnce(&mut Self, NonZeroUsize),
    ) -> Self {
        self.checked(NonZeroUsize::new(count).ok_or(Error::Zero { what }), set)
    }
}
