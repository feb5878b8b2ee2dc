//! The error type of this crate. Each message gives the reference, the cause and what to
//! do.

use std::path::PathBuf;

use hf_hub::api::sync::ApiError;

use crate::request::RequestError;
use crate::{HubReference, RepoKind, Settings};

/// A failure to fetch from the Hub.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The text is not a reference.
    #[error(
        "{given:?}: {what}; expected hf:owner/name[@revision][:file] or hf:datasets/owner/name[@revision]:file"
    )]
    Reference {
        /// The text.
        given: String,
        /// The problem.
        what: String,
    },
    /// A reference to a data set names no file.
    #[error("{reference} names no file; add one after a colon: {files}")]
    NoFile {
        /// The reference.
        reference: String,
        /// The repository's files.
        files: String,
    },
    /// A repository lacks a file that a model needs.
    #[error(
        "{reference} has no {missing}; it has {files}. To fetch one of these, add it after a colon"
    )]
    NoModel {
        /// The reference.
        reference: String,
        /// The missing file.
        missing: &'static str,
        /// The repository's files.
        files: String,
    },
    /// Offline mode, and not in the cache.
    #[error(
        "{reference} is not complete in {}, and HF_HUB_OFFLINE is set; unset it, or fill the cache first",
        cache.display()
    )]
    Offline {
        /// The reference.
        reference: String,
        /// The cache.
        cache: PathBuf,
    },
    /// The Hub requires a token and none was sent.
    #[error(
        "{reference} cannot be fetched without a token: it does not exist, is private, or is gated; check the name, accept its terms at {page}, and set HF_TOKEN"
    )]
    TokenMissing {
        /// The reference.
        reference: String,
        /// The repository's page.
        page: String,
    },
    /// The Hub refuses the token.
    #[error(
        "{reference}: the Hub refuses the token. It is wrong or expired, or it may not read this repository; check the name, create a new token and set HF_TOKEN"
    )]
    TokenRefused {
        /// The reference.
        reference: String,
    },
    /// The repository's terms were not accepted.
    #[error(
        "{reference} is gated: accept its terms at {page} with the account of your token; the token must be allowed to read gated repositories"
    )]
    Gated {
        /// The reference.
        reference: String,
        /// The repository's page.
        page: String,
    },
    /// The repository, revision or file does not exist.
    #[error("{reference} does not exist: {endpoint} has no {what}")]
    Missing {
        /// The reference.
        reference: String,
        /// The Hub's address.
        endpoint: String,
        /// The missing repository, revision or file.
        what: String,
    },
    /// The Hub answers with another error status.
    #[error("{reference}: {endpoint} answers with HTTP status {status}; {advice}")]
    Status {
        /// The reference.
        reference: String,
        /// The Hub's address.
        endpoint: String,
        /// The status.
        status: u16,
        /// What to do.
        advice: &'static str,
    },
    /// A network failure, or a reply that cannot be read.
    #[error(
        "cannot fetch {reference} from {endpoint}: {what}; check the network (and HF_ENDPOINT), or use a filled cache with HF_HUB_OFFLINE=1"
    )]
    Unreachable {
        /// The reference.
        reference: String,
        /// The Hub's address.
        endpoint: String,
        /// The reason.
        what: String,
    },
    /// A reply that is not used: it names a path outside the cache, or the content is wrong.
    #[error(
        "{endpoint} answers {reference} with {what}; it was not stored. If {endpoint} is right (HF_ENDPOINT), fetch the files by other means"
    )]
    Reply {
        /// The reference.
        reference: String,
        /// The Hub's address.
        endpoint: String,
        /// The part of the reply.
        what: String,
    },
    /// The cache cannot be written.
    #[error("cannot store {reference} in {}: {source}; free space there or set HF_HOME", cache.display())]
    Cache {
        /// The reference.
        reference: String,
        /// The cache.
        cache: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl HubError {
    /// Converts the error of a request. `file` is the requested file, if any.
    pub(crate) fn from_request(
        error: RequestError,
        reference: &HubReference,
        file: Option<&str>,
        settings: &Settings,
    ) -> Self {
        match error {
            RequestError::Api(error) => HubError::from_api(error, reference, file, settings),
            RequestError::Reply(what) => {
                let endpoint = settings.endpoint.clone();
                HubError::Reply { reference: reference.to_string(), endpoint, what }
            }
        }
    }

    fn from_api(
        error: ApiError,
        reference: &HubReference,
        file: Option<&str>,
        settings: &Settings,
    ) -> Self {
        let endpoint = settings.endpoint.clone();
        let shown = reference.to_string();
        let what = match error {
            ApiError::RequestError(error) => match *error {
                ureq::Error::StatusCode(status) => {
                    return HubError::from_status(status, reference, file, settings);
                }
                other => other.to_string(),
            },
            ApiError::IoError(source) if is_local(&source) => {
                return HubError::Cache { reference: shown, cache: settings.cache.clone(), source };
            }
            ApiError::LockAcquisition(path) => {
                format!("another process is fetching it ({} is locked)", path.display())
            }
            other => other.to_string(),
        };
        HubError::Unreachable { reference: shown, endpoint, what }
    }

    fn from_status(
        status: u16,
        reference: &HubReference,
        file: Option<&str>,
        settings: &Settings,
    ) -> Self {
        let endpoint = settings.endpoint.clone();
        let kind = if reference.kind == RepoKind::Dataset { "datasets/" } else { "" };
        let page = format!("{endpoint}/{kind}{}", reference.repository);
        let shown = reference.to_string();
        match (status, &settings.token) {
            (401, None) => HubError::TokenMissing { reference: shown, page },
            (401, Some(_)) => HubError::TokenRefused { reference: shown },
            (403, _) => HubError::Gated { reference: shown, page },
            (404, _) => {
                let what = match file {
                    Some(file) => format!("file {file} in revision {}", reference.revision),
                    None => format!("repository with a revision {}", reference.revision),
                };
                HubError::Missing { reference: shown, endpoint, what }
            }
            (429, _) => {
                let advice = "wait a while, or set HF_TOKEN: users with a token have higher limits";
                HubError::Status { reference: shown, endpoint, status, advice }
            }
            _ => {
                let advice = "try again later";
                HubError::Status { reference: shown, endpoint, status, advice }
            }
        }
    }
}

/// Whether an I/O error is from the disk, not from the network.
fn is_local(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::PermissionDenied
            | Kind::NotFound
            | Kind::AlreadyExists
            | Kind::StorageFull
            | Kind::QuotaExceeded
            | Kind::ReadOnlyFilesystem
            | Kind::NotADirectory
            | Kind::IsADirectory
    )
}
