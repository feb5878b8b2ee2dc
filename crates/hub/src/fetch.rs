//! Turns a reference into a local path: from the cache if it is complete, else by a
//! download into the cache.

use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use tokenroute_core::Progress;

use crate::download::Download;
use crate::reference::{is_component, is_path};
use crate::request::{RequestError, Requests};
use crate::timeout::{DownloadProgress, Stopped, wait};
use crate::{HubError, HubReference, RepoKind, Settings};

/// Files that every model needs.
const NEEDED: [&str; 2] = ["config.json", "tokenizer.json"];
/// Optional files, fetched if they exist.
const WELCOME: [&str; 5] = [
    "generation_config.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    INDEX,
];
/// Most file names shown in an error.
const SHOWN: usize = 12;
/// Most characters of a name there.
const SHOWN_NAME: usize = 100;
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Fetches a file, or a model's folder with its configuration, tokenizer and safetensors
/// weights. Returns the local path.
///
/// All files of a model are of one commit. A cached version is used without asking the Hub.
/// To get a newer one, name a revision or clear the cache. A broken download is resumed,
/// also in a later run. The fetch fails if no data arrives for [`Settings::timeout`].
///
/// # Errors
/// [`HubError`] distinguishes a missing token, a gated repository, a wrong name and a
/// network failure.
pub fn fetch(
    reference: &HubReference,
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
    reference: &'a HubReference,
    settings: &'a Settings,
    progress: &'a dyn Progress,
}

impl Hub<'_> {
    fn cached(&self) -> Option<PathBuf> {
        match (&self.reference.file, self.reference.kind) {
            (Some(file), _) => {
                let mut parts = parts(file).into_iter();
                let first = self.held(&self.reference.revision, &parts.next()?)?;
                let others: Option<Vec<PathBuf>> =
                    parts.map(|part| self.held(&self.reference.revision, &part)).collect();
                others.map(|_| first)
            }
            (None, RepoKind::Model) => self.held_model(),
            (None, RepoKind::Dataset) => None,
        }
    }

    /// The folder of a model that is complete in the cache. The weights are fetched last,
    /// so an interrupted fetch lacks some of them.
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

    /// The path of a cached file. A commit needs no ref file: it is the name of its folder.
    fn held(&self, revision: &str, file: &str) -> Option<PathBuf> {
        let cache = self.cache(revision);
        cache.get(file).or_else(|| {
            let commit = revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit());
            Some(cache.pointer_path(revision).join(file)).filter(|path| commit && path.exists())
        })
    }

    fn file(&self, file: &str) -> Result<PathBuf, HubError> {
        let requests = Requests::new(self.settings);
        let mut parts = parts(file).into_iter();
        let first = parts.next().unwrap_or_default();
        let path = self.download(&requests, &self.reference.revision, &first)?;
        for part in parts {
            self.download(&requests, &self.reference.revision, &part)?;
        }
        Ok(path)
    }

    fn model(&self) -> Result<PathBuf, HubError> {
        let requests = Requests::new(self.settings);
        let (asked, repo) = (requests.clone(), self.repo(&self.reference.revision));
        let info = self.wait(None, move |_| asked.info(&repo))?;
        if !is_component(&info.commit) {
            return Err(self.refused(format!("the commit {:?}", info.commit)));
        }
        let all = info.files;
        if self.reference.kind == RepoKind::Dataset {
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
            if !is_path(file) {
                return Err(self.refused(format!("the file name {file:?}")));
            }
            let path = match self.held(&info.commit, file) {
                Some(path) => path,
                // By commit, so that a push during the fetch cannot mix two versions.
                None => self.download(&requests, &info.commit, file)?,
            };
            folder = path.parent().unwrap_or(Path::new("")).to_owned();
        }
        let kept = |source| {
            let (reference, cache) = (self.reference.to_string(), self.settings.cache.clone());
            HubError::Cache { reference, cache, source }
        };
        self.cache(&self.reference.revision).create_ref(&info.commit).map_err(kept)?;
        Ok(folder)
    }

    fn download(
        &self,
        requests: &Requests,
        revision: &str,
        file: &str,
    ) -> Result<PathBuf, HubError> {
        let download = Download {
            requests: requests.clone(),
            cache: Cache::new(self.settings.cache.clone()),
            repo: self.repo(revision),
            file: file.to_owned(),
        };
        self.wait(Some(file), move |bar| download.run(bar))
    }

    /// Runs network work with the timeout.
    fn wait<T: Send + 'static>(
        &self,
        file: Option<&str>,
        work: impl FnOnce(DownloadProgress) -> Result<T, RequestError> + Send + 'static,
    ) -> Result<T, HubError> {
        let what = match wait(self.settings.timeout, self.progress, work) {
            Ok(result) => return result.map_err(|e| self.error(e, file)),
            Err(Stopped::TimedOut(timeout)) => {
                format!("no data for {} s (HF_HUB_DOWNLOAD_TIMEOUT)", timeout.as_secs_f64())
            }
            Err(Stopped::Panicked) => "its reply cannot be read".to_owned(),
            Err(Stopped::NoThread(cause)) => format!("the system refuses a thread: {cause}"),
        };
        let (reference, endpoint) = (self.reference.to_string(), self.settings.endpoint.clone());
        Err(HubError::Unreachable { reference, endpoint, what })
    }

    fn repo(&self, revision: &str) -> Repo {
        let kind = match self.reference.kind {
            RepoKind::Model => RepoType::Model,
            RepoKind::Dataset => RepoType::Dataset,
        };
        Repo::with_revision(self.reference.repository.clone(), kind, revision.to_owned())
    }

    /// The cache of one revision.
    fn cache(&self, revision: &str) -> CacheRepo {
        Cache::new(self.settings.cache.clone()).repo(self.repo(revision))
    }

    fn refused(&self, what: String) -> HubError {
        self.error(RequestError::Reply(what), None)
    }

    fn error(&self, error: RequestError, file: Option<&str>) -> HubError {
        HubError::from_request(error, self.reference, file, self.settings)
    }
}

/// A file, or all parts of a GGUF model whose first part it is: `m-00001-of-00003.gguf` and so
/// on.
fn parts(file: &str) -> Vec<String> {
    let found = file.strip_suffix(".gguf").and_then(|stem| {
        let (stem, count) = stem.rsplit_once("-00001-of-")?;
        let digits = count.len() == 5 && count.bytes().all(|byte| byte.is_ascii_digit());
        let count: u32 = count.parse().ok().filter(|count| digits && (2..=999).contains(count))?;
        Some((1..=count).map(|n| format!("{stem}-{n:05}-of-{count:05}.gguf")).collect())
    });
    found.unwrap_or_else(|| vec![file.to_owned()])
}

/// The first of these names, in the form that an error shows: a terminal obeys control characters.
fn listed<'f>(files: impl Iterator<Item = &'f String>) -> String {
    let printable = |file: &String| -> String {
        file.chars().filter(|c| !c.is_control()).take(SHOWN_NAME).collect()
    };
    let mut files: Vec<String> = files.map(printable).collect();
    let more = files.len().saturating_sub(SHOWN);
    files.truncate(SHOWN);
    match (files.is_empty(), more) {
        (true, _) => "no suitable file".to_owned(),
        (false, 0) => files.join(", "),
        (false, more) => format!("{} and {more} more", files.join(", ")),
    }
}
