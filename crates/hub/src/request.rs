//! Requests to the Hub. The token goes to the Hub's own origin (scheme, host and port) alone,
//! wherever a redirect leads. A Hub on this machine is asked without a proxy.

use hf_hub::Repo;
use hf_hub::api::sync::ApiError;
use serde_json::Value;
use ureq::http::{Response, Uri, header};
use ureq::{Agent, Body};

use crate::{AccessToken, Settings};

/// Most redirects of one request.
const REDIRECTS: usize = 10;
/// Most bytes of a repository's list of files.
const LIST_LIMIT: u64 = 64 << 20;

/// Why a request has no result.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// An error of the network, the server or the disk.
    Api(ApiError),
    /// A reply that must not be used, in words.
    Reply(String),
}

impl<E: Into<ApiError>> From<E> for RequestError {
    fn from(error: E) -> Self {
        RequestError::Api(error.into())
    }
}

/// Sends requests to one Hub.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    agent: Agent,
    endpoint: String,
    token: Option<AccessToken>,
}

/// What a Hub says of a file.
#[derive(Debug)]
pub(crate) struct Metadata {
    /// Without quotation marks.
    pub(crate) etag: String,
    pub(crate) commit: String,
    pub(crate) size: u64,
}

/// The commit and the files of a repository.
#[derive(Debug)]
pub(crate) struct RepoInfo {
    pub(crate) commit: String,
    pub(crate) files: Vec<String>,
}

impl Requests {
    pub(crate) fn new(settings: &Settings) -> Self {
        let config = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("tokenroute/", env!("CARGO_PKG_VERSION")));
        let config = if is_loopback(&settings.endpoint) { config.proxy(None) } else { config };
        let (endpoint, token) = (settings.endpoint.clone(), settings.token.clone());
        Requests { agent: config.build().into(), endpoint, token }
    }

    /// The address of a file.
    pub(crate) fn file_url(&self, repo: &Repo, file: &str) -> String {
        format!("{}/{}/resolve/{}/{file}", self.endpoint, repo.url(), repo.url_revision())
    }

    /// The reply after all redirects.
    pub(crate) fn get(
        &self,
        url: &str,
        range: Option<&str>,
    ) -> Result<Response<Body>, RequestError> {
        self.follow(url, range, |_| false)
    }

    /// Etag, commit and size of a file. The Hub sends the first two before it redirects to the
    /// place of a large file.
    pub(crate) fn metadata(&self, url: &str) -> Result<Metadata, RequestError> {
        const ONE: Option<&str> = Some("bytes=0-0");
        let told = self.follow(url, ONE, |reply| {
            etag(reply).is_some() && header_text(reply, COMMIT).is_some()
        })?;
        let etag = etag(&told).ok_or(ApiError::MissingHeader("etag"))?.replace('"', "");
        let missing = ApiError::MissingHeader(COMMIT);
        let commit = header_text(&told, COMMIT).ok_or(missing)?.to_owned();
        let reply = match target(url, &told)? {
            Some(place) => self.get(&place, ONE)?,
            None => told,
        };
        let range = header_text(&reply, "content-range");
        let range = range.ok_or(ApiError::MissingHeader("content-range"))?;
        let size = range.rsplit('/').next().unwrap_or_default();
        let size = size.parse().map_err(|_| ApiError::InvalidHeader("content-range"))?;
        Ok(Metadata { etag, commit, size })
    }

    /// Commit and files of a revision of a repository.
    pub(crate) fn info(&self, repo: &Repo) -> Result<RepoInfo, RequestError> {
        let url = format!("{}/api/{}", self.endpoint, repo.api_url());
        let mut reply = self.get(&url, None)?;
        let text = reply.body_mut().with_config().limit(LIST_LIMIT).read_to_string();
        let text = text.map_err(Box::new)?;
        let listed: Value = serde_json::from_str(&text).map_err(|error| {
            RequestError::Reply(format!("a list of files that is no JSON: {error}"))
        })?;
        let name = |file: &Value| Some(file["rfilename"].as_str()?.to_owned());
        let files: Option<Vec<String>> =
            listed["siblings"].as_array().and_then(|all| all.iter().map(name).collect());
        match (listed["sha"].as_str(), files) {
            (Some(commit), Some(files)) => Ok(RepoInfo { commit: commit.to_owned(), files }),
            _ => Err(RequestError::Reply("a list of files without `sha` or `siblings`".to_owned())),
        }
    }

    /// Sends a request and follows redirects until `enough` is true of a reply.
    fn follow(
        &self,
        url: &str,
        range: Option<&str>,
        enough: impl Fn(&Response<Body>) -> bool,
    ) -> Result<Response<Body>, RequestError> {
        let mut url = url.to_owned();
        for _ in 0..=REDIRECTS {
            let mut request = self.agent.get(&url);
            if let Some(range) = range {
                request = request.header(header::RANGE, range);
            }
            if let Some(token) = self.token.as_ref().filter(|_| same_origin(&url, &self.endpoint)) {
                let value = format!("Bearer {}", token.secret());
                request = request.header(header::AUTHORIZATION, value);
            }
            let reply = request.call().map_err(Box::new)?;
            match target(&url, &reply)? {
                Some(next) if !enough(&reply) => url = next,
                _ => return Ok(reply),
            }
        }
        Err(RequestError::Reply(format!("more than {REDIRECTS} redirects")))
    }
}

/// The header with a file's commit.
const COMMIT: &str = "x-repo-commit";

fn header_text<'r>(reply: &'r Response<Body>, name: &str) -> Option<&'r str> {
    reply.headers().get(name)?.to_str().ok()
}

/// The etag of the file itself, not of the redirect to it.
fn etag(reply: &Response<Body>) -> Option<&str> {
    header_text(reply, "x-linked-etag").or_else(|| header_text(reply, "etag"))
}

/// The address that a redirect of `url` leads to; `None` if the reply is no redirect.
fn target(url: &str, reply: &Response<Body>) -> Result<Option<String>, RequestError> {
    if !reply.status().is_redirection() {
        return Ok(None);
    }
    let bad = || RequestError::Reply(format!("a redirect from {url} to no address"));
    let location = header_text(reply, "location").ok_or_else(bad)?;
    let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
    let host = rest.split('/').next().unwrap_or_default();
    let next = match location {
        _ if location.starts_with("//") => format!("{scheme}:{location}"),
        _ if location.starts_with('/') => format!("{scheme}://{host}{location}"),
        _ => location.to_owned(),
    };
    let to = next.parse::<Uri>().map_err(|_| bad())?;
    match to.scheme_str() {
        Some("https") => Ok(Some(next)),
        Some("http") if scheme == "http" => Ok(Some(next)),
        Some("http") => Err(RequestError::Reply(format!("a redirect from {url} to plain HTTP"))),
        _ => Err(bad()),
    }
}

/// Whether two addresses have the same scheme, host and port.
fn same_origin(a: &str, b: &str) -> bool {
    let origin = |url: &str| {
        let uri: Uri = url.parse().ok()?;
        let (scheme, host) = (uri.scheme_str()?.to_owned(), uri.host()?.to_ascii_lowercase());
        let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        Some((scheme, host, port))
    };
    origin(a).is_some_and(|a| Some(a) == origin(b))
}

/// Whether an address names this machine.
fn is_loopback(url: &str) -> bool {
    let host = url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    let host = host.unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let hub = "https://huggingface.co";
        for (url, same) in [
            ("https://huggingface.co/a/b", true),
            ("https://HUGGINGFACE.co:443/a", true),
            ("https://huggingface.co:8443/a", false),
            ("http://huggingface.co/a", false),
            ("https://huggingface.co.evil.org/a", false),
            ("https://cdn.huggingface.co/a", false),
            ("https://user@huggingface.co/a", true),
            ("https://huggingface.co@evil.org/a", false),
            ("/a", false),
        ] {
            assert_eq!(same_origin(url, hub), same, "{url}");
        }
        for (url, here) in [
            ("http://127.0.0.1:8080", true),
            ("http://localhost/x", true),
            ("http://[::1]:1", true),
            ("http://127.0.0.1.evil.org", false),
            ("https://huggingface.co", false),
        ] {
            assert_eq!(is_loopback(url), here, "{url}");
        }
    }
}
