//! Checks an experiment file before anything is loaded.

use tokenroute_core::Tau;
use tokenroute_label::LabelError;
use tokenroute_llm::http::{Api, HttpConfig, TextApi};
use tokenroute_sweep::policies::{self, Baseline};
use tokenroute_train::{TrainConfig, TrainError};

use super::{DataSection, Experiment, LabelSection, PairSection, SPLITS, SplitFile, graders};
use crate::{LabError, prompts};

/// Checks that the label table has what training reads.
pub(crate) fn labelled(train: &TrainConfig, label: &LabelSection) -> Result<(), Fault> {
    if label.llm_probabilities || !train.loss().is_ok_and(|loss| loss.reads_probabilities()) {
        return Ok(());
    }
    let what = "reads the LLM's probability of its token, which the labels lack; set label.llm_probabilities = true in the experiment, and label again";
    fault("train.loss", what)
}

/// A key, and its value with what is expected.
pub(crate) type Fault = (String, String);

/// Splits that training may read.
const LABELLED: [&str; 3] = ["router-train", "validation", "calibration"];

impl Experiment {
    /// Checks every section.
    pub(super) fn check(&self) -> Result<(), LabError> {
        self.sections().map_err(|(key, what)| LabError::Value {
            path: self.file.clone(),
            key,
            what,
        })
    }

    /// The keys that ask for the LLM's probabilities, and what they are. The one place that
    /// knows them.
    pub(crate) fn probability_keys(&self) -> Vec<Fault> {
        let label = ("label.llm_probabilities".to_owned(), "is true".to_owned());
        let needs = |baseline: &Baseline| baseline.needs().llm_top > 0;
        let mut named = self.sweep.baselines.iter().filter_map(|name| Baseline::from_name(name));
        let sweep = |baseline: Baseline| {
            ("sweep.baselines".to_owned(), format!("has {:?}", baseline.name()))
        };
        let label = self.label.llm_probabilities.then_some(label);
        label.into_iter().chain(named.find(needs).map(sweep)).collect()
    }

    /// Checks that the LLM gives the probabilities that labelling and policies ask for, where the
    /// file alone tells.
    fn probabilities(&self) -> Result<(), Fault> {
        let lists = |api: &str| api.parse().is_ok_and(Api::lists_probabilities);
        let none = match &self.pair.llm_api {
            _ if self.pair.through_text => "with pair.through_text there are none".to_owned(),
            Some(api) if !lists(api) => {
                format!("pair.llm_api = {api:?} gives none by token id (vllm and tokenroute do)")
            }
            _ => return Ok(()),
        };
        let mut keys = self.probability_keys().into_iter();
        let Some((key, what)) = keys.next() else { return Ok(()) };
        let more: String = keys.map(|(key, what)| format!(", and {key} {what}")).collect();
        fault(&key, format!("{what}{more}, which needs the LLM's probabilities; {none}"))
    }

    fn sections(&self) -> Result<(), Fault> {
        for (key, count) in [
            ("data.router_train", self.data.router_train),
            ("data.validation", self.data.validation),
            ("data.test", self.data.test),
            ("data.max_tokens", self.data.max_tokens),
            ("sweep.resamples", self.sweep.resamples),
            ("sweep.chunk", self.sweep.chunk),
            ("label.questions_per_shard", self.label.questions_per_shard),
            ("label.samples", self.label.samples),
        ] {
            if count == 0 {
                return fault(key, "is 0; expected at least 1");
            }
        }
        pair(&self.pair)?;
        if let Some(most) = self.pair.max_spend {
            let named = self.pair.llm_api.as_deref();
            let ids = named.is_some_and(|api| TextApi::named(api).is_none());
            let here = HttpConfig::url_of(&self.pair.llm).is_none();
            if here || ids || self.report.prices.is_none() {
                let what = format!(
                    "is {most}; it needs an LLM behind an API of text, and prices in [report.prices]"
                );
                return fault("pair.max_spend", what);
            }
        }
        data(&self.data)?;
        match self.label.config(0, self.data.max_tokens, self.seed).check(0) {
            Ok(()) => {}
            Err(LabelError::Config { key, what }) => return fault(&format!("label.{key}"), what),
            Err(error) => return fault("label", format!("is refused: {error}")),
        }
        let offload = self.label.on_policy_offload;
        if !(0.0..=1.0).contains(&offload) {
            return fault("label.on_policy_offload", format!("is {offload}; expected 0 to 1"));
        }
        train(&self.train)?;
        labelled(&self.train, &self.label)?;
        for name in &self.sweep.baselines {
            if !policies::names().contains(&name.as_str()) {
                let known = policies::names().join(", ");
                return fault("sweep.baselines", format!("has {name:?}; expected some of {known}"));
            }
        }
        let mut named = self.sweep.baselines.iter().filter_map(|name| Baseline::from_name(name));
        if let Some(policy) = named.find(|baseline| baseline.needs().phrasing)
            && self.sweep.phrasing.is_empty()
        {
            let name = policy.name();
            return fault("sweep.phrasing", format!("is empty; {name:?} needs its words"));
        }
        self.probabilities()?;
        let prices = self.report.prices.iter().flat_map(|prices| prices.values());
        let network = self.report.network.iter().flat_map(|network| network.values());
        for (key, value) in prices.chain(network) {
            if !(value.is_finite() && value >= 0.0) {
                return fault(key, format!("is {value}; expected a number from 0 up"));
            }
        }
        if let Some(megabits) = self.report.network.and_then(|network| network.megabits)
            && !(megabits.is_finite() && megabits > 0.0)
        {
            let what = format!("is {megabits}; expected a number above 0");
            return fault("report.network.megabits", what);
        }
        for &tau in &self.sweep.taus {
            if Tau::new(tau).is_err() {
                return fault("sweep.taus", format!("has {tau}; expected values from 0 to 1"));
            }
        }
        Ok(())
    }
}

fn pair(pair: &PairSection) -> Result<(), Fault> {
    for (key, device, quantize) in [
        ("pair.slm_device", pair.slm_device, pair.slm_quantize),
        ("pair.llm_device", pair.llm_device, pair.llm_quantize),
    ] {
        let checked = device.unwrap_or_default().check(quantize, pair.kv.unwrap_or_default());
        if let Err(error) = checked {
            return fault(key, format!("is refused: {error}"));
        }
    }
    let Some(url) = HttpConfig::url_of(&pair.llm) else {
        let given = [("pair.llm_api", &pair.llm_api), ("pair.llm_model", &pair.llm_model)];
        return match given.into_iter().find(|(_, value)| value.is_some()) {
            Some((key, _)) => fault(key, "is for an LLM behind a URL; remove it"),
            None => Ok(()),
        };
    };
    if pair.through_text {
        return fault("pair.through_text", "is for an LLM that runs here; remove it");
    }
    if pair.llm_device.is_some() {
        return fault("pair.llm_device", "is for an LLM that runs here; remove it");
    }
    if pair.llm_quantize.is_some() {
        let what = format!("is for an LLM that runs here; quantise {url} where it is served");
        return fault("pair.llm_quantize", what);
    }
    if pair.llm_api.as_deref().and_then(TextApi::named).is_some_and(TextApi::is_whole) {
        let what = "is \"chat\", which gives whole answers; a stage needs an LLM that goes on with a begun one";
        return fault("pair.llm_api", what);
    }
    match pair.llm_api.as_deref().map(|api| HttpConfig::new(url).speak(api)) {
        Some(Err(error)) => fault("pair.llm_api", format!("is refused: {error}")),
        _ => Ok(()),
    }
}

/// Checks a `[train]` section.
pub(crate) fn train(train: &TrainConfig) -> Result<(), Fault> {
    match train.check() {
        Ok(()) => {}
        Err(TrainError::Config { field, value, expected }) => {
            return fault(&format!("train.{field}"), format!("is {value}; {expected}"));
        }
        Err(error) => return fault("train", format!("is refused: {error}")),
    }
    for (key, split) in [
        ("train.train_split", &train.train_split),
        ("train.validation_split", &train.validation_split),
        ("train.calibration_split", &train.calibration_split),
    ] {
        if !LABELLED.contains(&split.as_str()) {
            let known = LABELLED.join(", ");
            return fault(key, format!("is {split:?}; expected one of {known}"));
        }
    }
    if train.seed != 0 {
        return fault("train.seed", "is not used; set `seed` at the top of the file");
    }
    Ok(())
}

fn data(data: &DataSection) -> Result<(), Fault> {
    let refused = |error: String| ("data.prompt".to_owned(), error);
    data.prompt.check().map_err(|error| refused(error.to_string()))?;
    prompts::options(&data.prompt).map_err(refused)?;
    graders::check(data)?;
    let described = data.schema.is_some() || data.columns.is_some();
    if data.dataset.is_some() {
        if described || !data.files.is_empty() || data.grader.is_some() {
            let what = "goes with none of data.schema, data.columns, data.files and data.grader: its questions carry their graders";
            return fault("data.dataset", what);
        }
        return Ok(());
    }
    match (data.schema, &data.columns) {
        (None, None) => {
            return fault("data", "needs `dataset`, or `files` with `schema` or `columns`");
        }
        (Some(_), Some(_)) => {
            let what = "and data.schema both describe the files; remove one";
            return fault("data.columns", what);
        }
        (_, Some(columns)) => {
            let named = |(key, what)| (format!("data.columns.{key}"), what);
            columns.check().map_err(named)?;
        }
        _ => {}
    }
    if let Some(name) = data.files.keys().find(|name| !SPLITS.contains(&name.as_str())) {
        let what = format!("is no split; expected one of {}", SPLITS.join(", "));
        return fault(&format!("data.files.{name}"), what);
    }
    let mut taken: Vec<(&str, &SplitFile, usize)> = Vec::new();
    for split in SPLITS {
        let wanted = data.wanted(split);
        let Some(source) = data.files.get(split) else {
            if wanted > 0 {
                let what = format!(
                    "takes {wanted} questions of {split}; name its file in data.files.{split}"
                );
                return fault("data", what);
            }
            continue;
        };
        let overlaps = taken.iter().find(|(_, other, count)| {
            other.file == source.file
                && source.skip < other.skip.saturating_add(*count)
                && other.skip < source.skip.saturating_add(wanted)
        });
        if let Some((other, ..)) = overlaps {
            let what = format!(
                "and data.files.{other} share questions of one file; set `skip` so that they do not"
            );
            return fault(&format!("data.files.{split}"), what);
        }
        taken.push((split, source, wanted));
    }
    Ok(())
}

pub(super) fn fault(key: &str, what: impl Into<String>) -> Result<(), Fault> {
    Err((key.to_owned(), what.into()))
}
