//! Why something on the Hub cannot be had, and what to do about it.

use std::path::PathBuf;

use hf_hub::api::sync::ApiError;

use crate::{Kind, Reference, Settings};

/// What went wrong with which reference.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Text that is no reference.
    #[error(
        "{given:?}: {what}; expected hf:owner/name[@revision][:file] or hf:datasets/owner/name[@revision]:file"
    )]
    Reference {
        /// The text.
        given: String,
        /// What is wrong with it.
        what: String,
    },
    /// A data set without a file.
    #[error("{reference} names no file; add one after a colon: {files}")]
    NoFile {
        /// The reference.
        reference: String,
        /// Files there are.
        files: String,
    },
    /// A repository without what a model needs.
    #[error(
        "{reference} has no {missing}; it has {files}. Name one file after a colon if that is what you want"
    )]
    NoModel {
        /// The reference.
        reference: String,
        /// The missing file.
        missing: &'static str,
        /// Files there are.
        files: String,
    },
    /// Offline and not in the cache.
    #[error(
        "{reference} is not whole in {}, and HF_HUB_OFFLINE forbids to fetch it; unset that, or fill the cache first",
        cache.display()
    )]
    Offline {
        /// The reference.
        reference: String,
        /// The cache.
        cache: PathBuf,
    },
    /// No token was sent and the Hub wants one.
    #[error(
        "{reference} cannot be had without a token: it does not exist, is private, or is gated; check the name, accept its terms at {page}, and set HF_TOKEN"
    )]
    TokenMissing {
        /// The reference.
        reference: String,
        /// The repository's page.
        page: String,
    },
    /// The Hub does not know the token.
    #[error(
        "{reference}: the Hub refuses the token; it is wrong or has expired, or the repository does not exist or is not open to it: make a new one and set HF_TOKEN"
    )]
    TokenRefused {
        /// The reference.
        reference: String,
    },
    /// Terms not accepted.
    #[error(
        "{reference} is gated: accept its terms at {page} with the account of your token, which must be allowed to read gated repositories"
    )]
    Gated {
        /// The reference.
        reference: String,
        /// The repository's page.
        page: String,
    },
    /// Not there.
    #[error("{reference} does not exist: {endpoint} knows no such {what}")]
    Missing {
        /// The reference.
        reference: String,
        /// The Hub's address.
        endpoint: String,
        /// "repository or revision" or the file.
        what: String,
    },
    /// The Hub answers with another status.
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
    /// The network, the cache's file system, or a reply that makes no sense.
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
    /// A cache that cannot be written.
    #[error("cannot keep {reference} in {}: {source}; free space there or set HF_HOME", cache.display())]
    Cache {
        /// The reference.
        reference: String,
        /// The cache.
        cache: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
}

impl HubError {
    /// An API error in the words above; `file` is what was asked for, if a file was.
    pub(crate) fn from_api(
        error: ApiError,
        reference: &Reference,
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
            ApiError::TooManyRetries(inner) => {
                return HubError::from_api(*inner, reference, file, settings);
            }
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
        reference: &Reference,
        file: Option<&str>,
        settings: &Settings,
    ) -> Self {
        let endpoint = settings.endpoint.clone();
        let kind = if reference.kind == Kind::Dataset { "datasets/" } else { "" };
        let page = format!("{endpoint}/{kind}{}", reference.repository);
        let shown = reference.to_string();
        match (status, &settings.token) {
            (401, None) => HubError::TokenMissing { reference: shown, page },
            (401, Some(_)) => HubError::TokenRefused { reference: shown },
            (403, _) => HubError::Gated { reference: shown, page },
            (404, _) => {
                let what = match file {
                    Some(file) => format!("file as {file} in revision {}", reference.revision),
                    None => format!("repository with a revision {}", reference.revision),
                };
                HubError::Missing { reference: shown, endpoint, what }
            }
            (429, _) => {
                let advice = "wait a while, or set HF_TOKEN: named users may ask more often";
                HubError::Status { reference: shown, endpoint, status, advice }
            }
            _ => {
                let advice = "try again later";
                HubError::Status { reference: shown, endpoint, status, advice }
            }
        }
    }
}

/// Whether an I/O error is the disk's rather than the network's.
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
