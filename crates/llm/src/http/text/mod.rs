//! A server that takes text alone, as a writer. Its answers are text, which the SLM's tokenizer
//! divides ([`crate::TextLlm`]).
//!
//! **Boundary.** A server tokenises the text itself, so that no token of it can be taken back.
//! Models continue badly after white space, since most tokens of theirs begin with it. So white
//! space at the end of the text is held back, and the reply must begin with it. If it does not,
//! the whole text is sent.

mod apis;
mod whole;
mod wire;

use std::time::Instant;

use tokenroute_core::{Bytes, LlmError};

use super::Http;
use super::client::after;
use super::spend::Cost;
use super::transport::{Counters, Failure};
use crate::together::together;
use crate::{Begun, LlmPrompt, Writer, Written};

pub use apis::TextApis;
pub use whole::WholeAnswers;
pub use wire::TextApi;
pub(super) use wire::{Said, TextQuery};

/// Tokens of the first request for a text, and of the second if they did not suffice.
const TOKENS: [usize; 2] = [8, 32];

/// A server behind [`Writer`].
#[derive(Debug, Clone)]
pub struct TextServer {
    http: Http,
    apis: TextApis,
}

/// The time for one text, and what its requests took.
struct Bill {
    deadline: Instant,
    requests: u64,
    positions: u64,
    bytes: Bytes,
}

impl TextServer {
    /// Speaks these APIs to the server of a client.
    #[must_use]
    pub fn new(http: Http, apis: impl Into<TextApis>) -> Self {
        TextServer { http, apis: apis.into() }
    }

    /// The client.
    #[must_use]
    pub fn http(&self) -> &Http {
        &self.http
    }

    fn go_on(
        &self,
        begun: &Begun<'_>,
        enough: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Written, LlmError> {
        let deadline = after(self.http.config().total);
        let bytes = Bytes::default();
        let mut bill = Bill { deadline, requests: 0, positions: 0, bytes };
        let (text, held) = begun.text.split_at(begun.text.trim_end().len());
        if !held.is_empty() {
            let rest = |said: &Said| said.text.strip_prefix(held).map(str::to_owned);
            let fits = |said: &Said| held.starts_with(&said.text) && !said.ended;
            if let Some(mut said) = self.ask(begun, text, &mut bill, |said| {
                rest(said).map_or(!fits(said), |rest| enough(&rest))
            })? && let Some(rest) = rest(&said)
                && (!rest.is_empty() || said.ended)
            {
                said.text = rest;
                return Ok(written(said, true, bill));
            }
        }
        let said = self.ask(begun, begun.text, &mut bill, |said| enough(&said.text))?;
        let none = || LlmError::BadReply("no reply to a text".to_owned());
        Ok(written(said.ok_or_else(none)?, false, bill))
    }

    /// Asks for a few tokens, and for more while `done` is false of the reply.
    fn ask(
        &self,
        begun: &Begun<'_>,
        text: &str,
        bill: &mut Bill,
        done: impl Fn(&Said) -> bool,
    ) -> Result<Option<Said>, LlmError> {
        let mut last = None;
        for tokens in TOKENS {
            let Begun { prompt, sampling, .. } = *begun;
            let query = TextQuery { prompt, text, tokens, sampling };
            let said = self.request(&query, bill)?;
            let enough = said.ended || done(&said);
            last = Some(said);
            if enough {
                break;
            }
        }
        Ok(last)
    }

    fn request(&self, query: &TextQuery<'_>, bill: &mut Bill) -> Result<Said, LlmError> {
        let counters = Counters::default();
        let api = self.apis.of(query.prompt);
        let said = self
            .http
            .persist(bill.deadline, |deadline| said(&self.http, api, query, deadline, &counters));
        bill.requests += 1;
        bill.bytes += counters.bytes();
        let said = said?;
        bill.positions += said.positions;
        Ok(said)
    }
}

/// One request to a server. Its worst case is set aside before, if there is a limit of spending.
pub(super) fn said(
    http: &Http,
    api: TextApi,
    query: &TextQuery<'_>,
    deadline: Instant,
    counters: &Counters,
) -> Result<Said, Failure> {
    let model = http.server_within(deadline)?.model;
    let body = api.body(&model, query).map_err(Failure::own)?;
    let read = |bytes: &[u8]| api.read(bytes, query);
    let (bytes, messages) = query.size();
    let reserved = match http.purse() {
        Some(purse) => {
            let reserved = purse.reserve(bytes, messages, query.tokens).map_err(Failure::own)?;
            Some((purse, reserved))
        }
        None => None,
    };
    let (path, most) = (api.path(), query.reply_limit());
    let said = http.transport().exchange(path, Some(&body), most, deadline, counters, read);
    if let Some((purse, reserved)) = &reserved {
        purse.settle(reserved, cost(&said));
    }
    said
}

/// What an exchange costs. A server charges for no request that it refuses, and for none that
/// does not reach it.
fn cost(said: &Result<Said, Failure>) -> Cost {
    match said {
        Ok(said) => said.counted.map_or(Cost::Unknown, Cost::Counted),
        Err(failure) if failure.unsent => Cost::Nothing,
        Err(failure) => match failure.error {
            LlmError::Refused(_) => Cost::Nothing,
            _ => Cost::Unknown,
        },
    }
}

fn written(said: Said, respelled: bool, bill: Bill) -> Written {
    let (Bill { requests, positions, bytes, .. }, Said { text, ended, .. }) = (bill, said);
    Written { text, ended, respelled, requests, positions, bytes }
}

impl Writer for TextServer {
    /// Each text has requests of its own, at most `connections` at once.
    fn write(
        &self,
        begun: &[Begun<'_>],
        enough: &(dyn Fn(&str) -> bool + Sync),
    ) -> Vec<Result<Written, LlmError>> {
        let connections = self.http.config().connections;
        let written = together(connections, begun.len(), |i| self.go_on(&begun[i], enough));
        let lost = || Err(LlmError::Unavailable("its worker was lost".to_owned()));
        written.into_iter().map(|written| written.unwrap_or_else(lost)).collect()
    }

    fn forget(&self, _: &LlmPrompt) {}
}
