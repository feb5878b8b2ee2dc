//! A large model that the program asks by itself.
#![allow(unsafe_code, reason = "calls a function of the program")]

use std::ffi::c_void;

use tokenroute_core::{Ask, Llm, LlmError, Reply, TokenId};

/// The program's function, and its first argument.
pub(crate) struct Callback {
    ask: AskFunction,
    user: *mut c_void,
    /// Number of token ids.
    vocabulary: usize,
}

pub(crate) type AskFunction = unsafe extern "C" fn(
    user: *mut c_void,
    tokens: *const u32,
    count: usize,
    token: *mut u32,
) -> i32;

// SAFETY: the program promises that `user` may be used from other threads.
unsafe impl Send for Callback {}
// SAFETY: as above.
unsafe impl Sync for Callback {}

impl Callback {
    pub(crate) fn new(ask: AskFunction, user: *mut c_void, vocabulary: usize) -> Self {
        Callback { ask, user, vocabulary }
    }

    fn next(&self, tokens: &[TokenId]) -> Result<TokenId, LlmError> {
        let mut token = TokenId::MAX;
        // SAFETY: the tokens are there during the call, and the program promised the rest when
        // it opened the pair.
        let status = unsafe { (self.ask)(self.user, tokens.as_ptr(), tokens.len(), &mut token) };
        match status {
            0 if (token as usize) < self.vocabulary => Ok(token),
            0 => {
                let vocabulary = self.vocabulary;
                let what = format!("token {token} is outside the vocabulary of {vocabulary}");
                Err(LlmError::BadReply(what))
            }
            status => Err(LlmError::Unavailable(format!("the program returned {status}"))),
        }
    }
}

impl Llm for Callback {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        let reply = |ask: &Ask<'_>| {
            let ends = ask.from..=ask.context.len();
            let tokens =
                ends.map(|end| self.next(&ask.context[..end])).collect::<Result<_, _>>()?;
            Ok(Reply { tokens, ..Reply::default() })
        };
        asks.iter().map(reply).collect()
    }

    fn forget(&self, _: &[TokenId]) {}
}
