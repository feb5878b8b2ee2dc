//! The sections of an experiment file, one type each.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokenroute_core::{Grader, PromptFormat};
use tokenroute_label::{ContinuationPolicy, LabelConfig, Reference};
use tokenroute_model::{Device, Format, KvType};
use tokenroute_store::{ColumnMap, Schema};
use tokenroute_sweep::policies::Baseline;

use super::graders::{CommandSection, JudgeSection};
use super::prices::{NetworkSection, PricesSection};
use super::{format_name, schema};

/// The two models of the pair.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PairSection {
    /// The SLM: a folder in Hugging Face layout, a GGUF file or an `hf:` reference.
    pub slm: PathBuf,
    /// The LLM: as `slm`, or the URL of a server.
    pub llm: PathBuf,
    /// API of the server at `llm`. Without it the server's list of models and a few small requests
    /// find it. With `text`, `chat-continue`, `llama-cpp-chat`, `deepseek`, `mistral` or `ollama` the
    /// models share text alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::api")]
    pub llm_api: Option<String>,
    /// Most to spend on the server in one run of a command, by `report.prices`. For an API of text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_spend: Option<f64>,
    /// Whether the models share text alone. An LLM that runs here may then have another tokenizer
    /// than the SLM.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub through_text: bool,
    /// Name of the model on the server. Without it the first model in the server's list is
    /// used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm_model: Option<String>,
    /// Format that the SLM's weights are quantised to. Without it they stay as stored.
    #[serde(default, with = "format_name", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::format")]
    pub slm_quantize: Option<Format>,
    /// As `slm_quantize`, for an LLM that runs here.
    #[serde(default, with = "format_name", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::format")]
    pub llm_quantize: Option<Format>,
    /// Number type of the KV cache of models that run here. Without it it is f32.
    #[serde(default, with = "format_name", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::kv")]
    pub kv: Option<KvType>,
    /// Where the SLM runs in all stages. Without it these are tokenroute's own kernels. The others
    /// are candle's devices; `cuda` and `metal` hold weights in bf16.
    #[serde(default, with = "format_name", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::device")]
    pub slm_device: Option<Device>,
    /// As `slm_device`, for an LLM that runs here.
    #[serde(default, with = "format_name", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::device")]
    pub llm_device: Option<Device>,
}

impl PairSection {
    /// The names of the devices of SLM and LLM that are others than the kernels.
    pub(crate) fn other_devices(&self) -> [Option<&'static str>; 2] {
        [self.slm_device, self.llm_device]
            .map(|device| device.filter(|device| *device != Device::Kernels).map(Device::name))
    }
}

/// The questions and how many each split takes. Name a `dataset`; or `files`, and a `schema` or
/// the `columns` of these files.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    /// Folder of a data set with its dataset.toml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<PathBuf>,
    /// Published form of the files in `files`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Schema>,
    /// Columns of the files in `files`, if they have no published form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<ColumnMap>,
    /// The file of each split: router-train, validation, calibration, test or test-ood.
    #[serde(default)]
    pub files: BTreeMap<String, SplitFile>,
    /// How answers to the questions in `files` are graded. Without it the schema decides, or
    /// the answers in the columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grader: Option<Grader>,
    /// The program of the grader `command`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandSection>,
    /// The server of the grader `judge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<JudgeSection>,
    /// How a question becomes a prompt. Without it the bundled pair's format is used.
    #[serde(default)]
    pub prompt: PromptFormat,
    /// Whether questions may spell special tokens such as `<|endoftext|>`. They then become
    /// control tokens. By default such a question is an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_special_tokens: bool,
    /// Most tokens of an answer.
    #[serde(default = "default_max_tokens")]
    pub max_tokens: usize,
    /// Questions to label for training.
    pub router_train: usize,
    /// Questions that decide when training stops and which settings it takes.
    pub validation: usize,
    /// Questions for the scores' calibration and for τ. Nothing else is fitted to them. With 0
    /// the validation questions serve for both.
    #[serde(default)]
    pub calibration: usize,
    /// Questions to test on.
    pub test: usize,
    /// Test questions of families that the training questions leave out.
    #[serde(default)]
    pub test_ood: usize,
}

/// The file of one split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitFile {
    /// A JSON, JSON Lines, CSV or Parquet file, or `hf:datasets/owner/name[@revision]:file`.
    pub file: PathBuf,
    /// Questions to leave out at the start of the file.
    #[serde(default)]
    pub skip: usize,
}

/// Splits of an experiment, in the order of the stages.
pub const SPLITS: [&str; 5] = ["router-train", "validation", "calibration", "test", "test-ood"];

impl DataSection {
    /// The split that scores are calibrated and τ is chosen on.
    pub fn calibration_split(&self) -> &'static str {
        if self.calibration > 0 { "calibration" } else { "validation" }
    }

    /// How many questions of a split the experiment takes.
    pub fn wanted(&self, split: &str) -> usize {
        match split {
            "router-train" => self.router_train,
            "validation" => self.validation,
            "calibration" => self.calibration,
            "test" => self.test,
            _ => self.test_ood,
        }
    }
}

fn default_max_tokens() -> usize {
    128
}

/// Labelling.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LabelSection {
    /// The answer that round 0 labels: "llm" is the LLM's own greedy answer, "gold" the data
    /// set's rationale, "walk" the LLM's answer with every SLM token that leaves it the same.
    pub reference: Reference,
    /// Most rollouts per question; 0 is no limit.
    pub max_rollouts_per_question: usize,
    /// On-policy rounds after round 0.
    pub rounds: u32,
    /// The policy that goes on after a rollout's first token in round 0: "llm" or "slm".
    pub continuation: ContinuationPolicy,
    /// The same in on-policy rounds: "routed" is the current router's policy.
    pub on_policy_continuation: ContinuationPolicy,
    /// Rollouts of each token at a difference. More than one needs a temperature; the mean
    /// grades then give soft targets.
    pub samples: usize,
    /// Temperature of the rollouts, 0 to 2. 0 is greedy.
    pub temperature: f64,
    /// Whether round 0 also labels the test questions, without a cap. Training never reads
    /// these rows; AUROC, AUPRC and calibration are then measured on them.
    pub test: bool,
    /// Offload ratio at which the on-policy rounds decode, 0 to 1.
    pub on_policy_offload: f64,
    /// Questions per shard of the label table. A killed run resumes at a shard.
    pub questions_per_shard: usize,
    /// Whether the table has the LLM's probability of its own token, which `train.loss = { kind =
    /// "co-llm" }` reads. It takes one more pass of the LLM along every labelled answer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub llm_probabilities: bool,
    /// Folder of judgements kept by `tokenroute label --keep-judgements`, relative to this
    /// file. Shards whose judgements are there take one pass of the SLM and none of the LLM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judgements: Option<PathBuf>,
}

impl Default for LabelSection {
    fn default() -> Self {
        LabelSection {
            reference: Reference::Llm,
            max_rollouts_per_question: 0,
            rounds: 1,
            continuation: ContinuationPolicy::Llm,
            on_policy_continuation: ContinuationPolicy::Routed,
            samples: 1,
            temperature: 0.0,
            test: false,
            on_policy_offload: 0.07,
            questions_per_shard: 100,
            llm_probabilities: false,
            judgements: None,
        }
    }
}

impl LabelSection {
    /// The settings of one round. A policy that a round has anyway is left out.
    pub(crate) fn config(&self, round: u32, max_tokens: usize, seed: u64) -> LabelConfig {
        let (usual, given) = match round {
            0 => (ContinuationPolicy::Llm, self.continuation),
            _ => (ContinuationPolicy::Routed, self.on_policy_continuation),
        };
        LabelConfig {
            reference: self.reference,
            max_tokens,
            max_rollouts_per_question: self.max_rollouts_per_question,
            questions_per_shard: self.questions_per_shard,
            seed,
            continuation: (given != usual).then_some(given),
            samples: self.samples,
            temperature: self.temperature,
            llm_probabilities: self.llm_probabilities,
            ..LabelConfig::default()
        }
    }
}

/// Sweeping.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SweepSection {
    /// Policies that the router is compared with.
    #[schemars(schema_with = "schema::baselines")]
    pub baselines: Vec<String>,
    /// Words that `entropy-but-phrasing` always keeps: those that a task has equally good
    /// others for.
    #[serde(default)]
    pub phrasing: Vec<String>,
    /// Bootstrap resamples for the intervals.
    #[serde(default = "default_resamples")]
    pub resamples: usize,
    /// Questions swept and saved at a time. A killed sweep resumes at a chunk.
    #[serde(default = "default_chunk")]
    pub chunk: usize,
    /// Values that τ is restricted to, for trial runs of models that differ at nearly every
    /// token. Without it the sweep is exact at every τ.
    #[serde(default)]
    pub taus: Vec<f64>,
}

impl SweepSection {
    /// How many of the LLM's most probable tokens the policies need at every position.
    #[must_use]
    pub fn llm_top(&self) -> usize {
        let named = self.baselines.iter().filter_map(|name| Baseline::from_name(name.as_str()));
        named.map(|baseline| baseline.needs().llm_top).max().unwrap_or(0)
    }
}

fn default_resamples() -> usize {
    10_000
}

fn default_chunk() -> usize {
    50
}

/// Reporting.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReportSection {
    /// Folder of the report. Without it the report goes to run/report beside the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Example answers shown.
    pub examples: usize,
    /// Prices of the LLM, for the money that an answer costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prices: Option<PricesSection>,
    /// A network and the models' pace, for the time that an answer takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkSection>,
}

impl Default for ReportSection {
    fn default() -> Self {
        ReportSection { folder: None, examples: 8, prices: None, network: None }
    }
}
