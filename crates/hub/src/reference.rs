//! Parses `hf:` references to repositories and files on the Hub.

use std::fmt;
use std::str::FromStr;

use crate::HubError;

/// The prefix of every reference.
pub const PREFIX: &str = "hf:";
const DATASETS: &str = "datasets/";

/// The kind of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepoKind {
    /// A model.
    Model,
    /// A data set.
    Dataset,
}

/// A repository on the Hub, or one file of it. Written `hf:owner/name[@revision][:file]`,
/// or `hf:datasets/owner/name[@revision]:file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubReference {
    /// Model or data set.
    pub kind: RepoKind,
    /// "owner/name".
    pub repository: String,
    /// Branch, tag or commit; "main" if none was given.
    pub revision: String,
    /// Path inside the repository.
    pub file: Option<String>,
}

impl FromStr for HubReference {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let bad =
            |what: &str| HubError::Reference { given: text.to_owned(), what: what.to_owned() };
        let rest = text.strip_prefix(PREFIX).ok_or_else(|| bad("it does not start with hf:"))?;
        let (kind, rest) = match rest.strip_prefix(DATASETS) {
            Some(rest) => (RepoKind::Dataset, rest),
            None => (RepoKind::Model, rest),
        };
        let (rest, file) = match rest.split_once(':') {
            Some((rest, file)) => (rest, Some(file.to_owned())),
            None => (rest, None),
        };
        let (repository, revision) = rest.split_once('@').unwrap_or((rest, "main"));
        let named = match repository.split_once('/') {
            Some((owner, name)) => is_name(owner) && is_name(name),
            None => false,
        };
        if !named {
            return Err(bad("the repository is not owner/name"));
        }
        if !is_path(revision) {
            return Err(bad("the revision after @ is not a branch, tag or commit"));
        }
        if file.as_deref().is_some_and(|file| !is_path(file)) {
            return Err(bad("the text after : is not a path inside the repository"));
        }
        let (repository, revision) = (repository.to_owned(), revision.to_owned());
        Ok(HubReference { kind, repository, revision, file })
    }
}

/// Whether a text from a server can be one component of a path on every system: ASCII letters,
/// digits and `-_.+=`, with a letter or digit in front.
pub(crate) fn is_component(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '=');
    text.len() <= 255
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(known)
}

fn is_name(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.chars().all(known) && !text.contains("..") && !text.contains("--")
}

/// Whether the text is a relative path without `..`. It becomes part of a URL and of a file
/// name.
pub(crate) fn is_path(text: &str) -> bool {
    let known = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '=' | ' ');
    text.split('/')
        .all(|part| !part.is_empty() && part != "." && part != ".." && part.chars().all(known))
}

impl fmt::Display for HubReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind == RepoKind::Dataset { DATASETS } else { "" };
        write!(f, "{PREFIX}{kind}{}", self.repository)?;
        if self.revision != "main" {
            write!(f, "@{}", self.revision)?;
        }
        match &self.file {
            Some(file) => write!(f, ":{file}"),
            None => Ok(()),
        }
    }
}
