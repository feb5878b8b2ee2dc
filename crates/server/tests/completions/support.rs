//! A toy model behind the server, and a client that checks its replies.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;
use tokenroute_core::{LanguageModel, TokenId};
use tokenroute_llm::http::{Http, HttpConfig};
use tokenroute_llm::{ApiKey, ToyModel};
use tokenroute_server::completions::{BatchConfig, CompletionService, Texts};
use tokenroute_server::net::{Server, ServerError};

/// Token 3 is "d"; 14 and 15 have no text; 12 and 13 are the halves of one character.
pub struct Letters;

impl Texts for Letters {
    fn encode(&self, text: &str) -> Result<Vec<TokenId>, String> {
        text.bytes().map(|b| b.checked_sub(b'a').map(u32::from).ok_or(format!("{b}"))).collect()
    }

    fn decode(&self, ids: &[TokenId]) -> Result<String, String> {
        let text: String = ids.iter().map(|&id| self.token(id)).collect::<Result<_, _>>()?;
        Ok(text.replace("\u{FFFD}\u{FFFD}", "é"))
    }

    fn longest_token(&self) -> usize {
        1
    }

    fn token(&self, id: TokenId) -> Result<String, String> {
        Ok(match id {
            12 | 13 => "\u{FFFD}".to_owned(),
            14 | 15 => String::new(),
            _ => char::from(b'a' + id as u8).to_string(),
        })
    }

    fn pieces(&self, ids: &[TokenId]) -> Result<Vec<String>, String> {
        let mut shown = 0;
        let piece = |n| {
            let text = self.decode(&ids[..n])?;
            let whole = match n == ids.len() {
                true => text.as_str(),
                false => text.trim_end_matches('\u{FFFD}'),
            };
            let piece = whole[shown..].to_owned();
            shown = whole.len();
            Ok(piece)
        };
        (1..=ids.len()).map(piece).collect()
    }
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub fn serve<M>(model: M, key: Option<&str>, config: BatchConfig) -> Server
where
    M: LanguageModel + Send + 'static,
    M::State: 'static,
{
    start(model, key, config).expect("a server")
}

pub fn start<M>(model: M, key: Option<&str>, config: BatchConfig) -> Result<Server, ServerError>
where
    M: LanguageModel + Send + 'static,
    M::State: 'static,
{
    let key = key.map(|key| ApiKey::new(key).expect("a key"));
    let texts = Box::new(Letters);
    let service =
        CompletionService::new("toy".into(), model, ToyModel::vocabulary(), texts, key, config);
    service.start(loopback())
}

pub fn client(server: &Server) -> Http {
    let config = HttpConfig::new(&format!("http://{}/v1", server.address()));
    Http::new(config, ToyModel::vocabulary(), None).expect("a good URL")
}

/// Status and body of a request.
pub fn post(server: &Server, key: Option<&str>, body: &str) -> (u16, String) {
    let key = key.map(|key| ("authorization", format!("Bearer {key}")));
    post_with(server, &Vec::from_iter(key), body)
}

pub fn post_with(server: &Server, headers: &[(&str, String)], body: &str) -> (u16, String) {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("http://{}/v1/completions", server.address());
    let mut request = agent.post(url);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let mut response = request.send(body).expect("a reply");
    let status = response.status().as_u16();
    (status, response.body_mut().read_to_string().expect("text"))
}

pub fn completed(server: &Server, body: &Value) -> Value {
    let (status, text) = post(server, None, &body.to_string());
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

/// Status and body of a page.
pub fn get(server: &Server, path: &str) -> (u16, String) {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut response =
        agent.get(format!("http://{}{path}", server.address())).call().expect("a reply");
    let status = response.status().as_u16();
    (status, response.body_mut().read_to_string().expect("text"))
}
