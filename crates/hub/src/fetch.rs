//! From a reference to a local path: out of the cache where it is whole, else over
//! the network into it.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use tokenroute_core::Progress;

use crate::patience::{Bar, Stopped, wait};
use crate::{HubError, Kind, Reference, Settings};

/// What a model cannot do without.
const NEEDED: [&str; 2] = ["config.json", "tokenizer.json"];
/// What is taken along where it is there.
const WELCOME: [&str; 5] = [
    "generation_config.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    INDEX,
];
/// Times a broken download goes on where it stopped.
const RETRIES: usize = 5;
/// Names shown when a file is missing.
const SHOWN: usize = 12;
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Fetches what a reference names: the file, or for a model without one the folder
/// that holds its configuration, tokenizer and safetensors weights.
///
/// All files of a model are of one commit. What the cache holds is used as it is:
/// name a revision, or clear the cache, to have another version. A broken download
/// goes on where it stopped, also in a later run. A network that is silent for
/// [`Settings::patience`] is given up.
///
/// # Errors
/// [`HubError`], in words that tell a missing token from a gate, a wrong name and
/// the network.
pub fn fetch(
    reference: &Reference,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<PathBuf, HubError> {
    let hub = Hub { reference, settings, progress };
    if let Some(path) = hub.cached() {
        return Ok(path);
    }
    if settings.offline {
        let cache = settings.cache.clone();
        return Err(HubError::Offline { reference: reference.to_string(), cache });
    }
    match &reference.file {
        Some(file) => hub.file(file),
        None => hub.model(),
    }
}

struct Hub<'a> {
    reference: &'a Reference,
    settings: &'a Settings,
    progress: &'a dyn Progress,
}

impl Hub<'_> {
    fn cached(&self) -> Option<PathBuf> {
        match (&self.reference.file, self.reference.kind) {
            (Some(file), _) => self.held(&self.reference.revision, file),
            (None, Kind::Model) => self.held_model(),
            (None, Kind::Dataset) => None,
        }
    }

    /// The folder of a model whose files are all there, whoever fetched them. The
    /// weights come last, so a killed fetch lacks some of them.
    fn held_model(&self) -> Option<PathBuf> {
        let held = |file: &str| self.held(&self.reference.revision, file);
        let folder = held(NEEDED[0])?.parent()?.to_owned();
        held(NEEDED[1])?;
        if held(WEIGHTS).is_none() {
            let index = std::fs::read(held(INDEX)?).ok()?;
            let index: serde_json::Value = serde_json::from_slice(&index).ok()?;
            let shards = index.get("weight_map")?.as_object()?;
            shards.values().try_for_each(|shard| held(shard.as_str()?).map(|_| ()))?;
        }
        Some(folder)
    }

    /// A file in the cache. A commit needs no ref: its folder is its name.
    fn held(&self, revision: &str, file: &str) -> Option<PathBuf> {
        let cache = self.cache(revision);
        cache.get(file).or_else(|| {
            let commit = revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit());
            Some(cache.pointer_path(revision).join(file)).filter(|path| commit && path.exists())
        })
    }

    fn file(&self, file: &str) -> Result<PathBuf, HubError> {
        self.download(&self.api()?, &self.reference.revision, file)
    }

    fn model(&self) -> Result<PathBuf, HubError> {
        let api = self.api()?;
        let (asked, repo) = (api.clone(), self.repo(&self.reference.revision));
        let info = self.wait(None, move |_| asked.repo(repo).info())?;
        let all: Vec<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();
        if self.reference.kind == Kind::Dataset {
            let files =
                listed(all.iter().filter(|f| f.contains(".parquet") || f.contains(".json")));
            return Err(HubError::NoFile { reference: self.reference.to_string(), files });
        }
        let weights = |f: &&String| f.starts_with("model") && f.ends_with(".safetensors");
        let weights: Vec<&String> = all.iter().filter(weights).collect();
        let missing = NEEDED.into_iter().find(|needed| !all.iter().any(|file| file == needed));
        let missing = missing.or(weights.is_empty().then_some(WEIGHTS));
        if let Some(missing) = missing {
            let files = listed(all.iter());
            return Err(HubError::NoModel {
                reference: self.reference.to_string(),
                missing,
                files,
            });
        }
        let small =
            all.iter().filter(|f| NEEDED.contains(&f.as_str()) || WELCOME.contains(&f.as_str()));
        let mut folder = PathBuf::new();
        for file in small.chain(weights) {
            let path = match self.held(&info.sha, file) {
                Some(path) => path,
                // By commit, so that a push in between cannot mix two versions.
                None => self.download(&api, &info.sha, file)?,
            };
            folder = path.parent().unwrap_or(Path::new("")).to_owned();
        }
        let kept = |source| {
            let (reference, cache) = (self.reference.to_string(), self.settings.cache.clone());
            HubError::Cache { reference, cache, source }
        };
        self.cache(&self.reference.revision).create_ref(&info.sha).map_err(kept)?;
        Ok(folder)
    }

    fn download(&self, api: &Api, revision: &str, file: &str) -> Result<PathBuf, HubError> {
        let (api, repo, name) = (api.clone(), self.repo(revision), file.to_owned());
        self.wait(Some(file), move |bar| api.repo(repo).download_with_progress(&name, bar))
    }

    /// Does something over the network, as long as the network answers.
    fn wait<T: Send + 'static>(
        &self,
        file: Option<&str>,
        work: impl FnOnce(Bar) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, HubError> {
        let what = match wait(self.settings.patience, self.progress, work) {
            Ok(result) => return result.map_err(|e| self.error(e, file)),
            Err(Stopped::Silent(patience)) => {
                format!("nothing came for {} s (HF_HUB_DOWNLOAD_TIMEOUT)", patience.as_secs_f64())
            }
            Err(Stopped::Died) => "its reply makes no sense".to_owned(),
        };
        let (reference, endpoint) = (self.reference.to_string(), self.settings.endpoint.clone());
        Err(HubError::Unreachable { reference, endpoint, what })
    }

    fn api(&self) -> Result<Api, HubError> {
        let cache = Cache::new(self.settings.cache.clone());
        ApiBuilder::from_cache(cache)
            .with_endpoint(self.settings.endpoint.clone())
            .with_token(self.settings.token.as_ref().map(|token| token.secret().to_owned()))
            .with_retries(RETRIES)
            .with_progress(false)
            .with_user_agent("tokenroute", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|e| self.error(e, None))
    }

    fn repo(&self, revision: &str) -> Repo {
        let kind = match self.reference.kind {
            Kind::Model => RepoType::Model,
            Kind::Dataset => RepoType::Dataset,
        };
        Repo::with_revision(self.reference.repository.clone(), kind, revision.to_owned())
    }

    /// The cache of one revision.
    fn cache(&self, revision: &str) -> CacheRepo {
        Cache::new(self.settings.cache.clone()).repo(self.repo(revision))
    }

    fn error(&self, error: ApiError, file: Option<&str>) -> HubError {
        HubError::from_api(error, self.reference, file, self.settings)
    }
}

fn listed<'f>(files: impl Iterator<Item = &'f String>) -> String {
    let mut files: Vec<&str> = files.map(String::as_str).collect();
    let more = files.len().saturating_sub(SHOWN);
    files.truncate(SHOWN);
    match (files.is_empty(), more) {
        (true, _) => "none that fits".to_owned(),
        (false, 0) => files.join(", "),
        (false, more) => format!("{} and {more} more", files.join(", ")),
    }
}
