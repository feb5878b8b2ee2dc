//! The values that cross the border: options, messages, tokens and statuses. All texts are UTF-8.
#![allow(unsafe_code, reason = "types of functions in C")]

use std::ffi::{c_char, c_void};

/// It worked; of `tr_step`: there is a token.
pub const TR_OK: i32 = 0;
/// The answer is complete: the model ended it.
pub const TR_END: i32 = 1;
/// The answer is complete: it has as many tokens as were wanted, or as fit the context.
pub const TR_LENGTH: i32 = 2;
/// The answer was cancelled.
pub const TR_CANCELLED: i32 = 3;
/// It did not work; `tr_last_error` says why.
pub const TR_ERROR: i32 = -1;

/// The small model made the token.
pub const TR_SLM: u8 = 0;
/// The large model made the token.
pub const TR_LLM: u8 = 1;
/// The large model should have made the token and failed: the small model's token stands.
pub const TR_DEGRADED: u8 = 2;

/// Asks the program for the large model's next token after these. Returns 0 and sets `token`, or
/// returns another number if there is none; the small model's token then stands. It is called on a
/// thread of the library, one call at a time for each answer.
pub type TrAsk = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        tokens: *const u32,
        count: usize,
        token: *mut u32,
    ) -> i32,
>;

/// Receives a token, which is valid during the call. Returns 0 to go on; another number cancels
/// the answer.
pub type TrHear = Option<unsafe extern "C" fn(user: *mut c_void, token: *const TrToken) -> i32>;

/// Options of a pair. `tr_options_default` fills them in.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct TrOptions {
    /// The small model: a folder in Hugging Face layout, or a GGUF file.
    pub slm: *const c_char,
    /// The large model, if it runs here: as `slm`. In builds with the feature `http` also the URL
    /// of a server. Null if there is none, or if `ask` is set.
    pub llm: *const c_char,
    /// The API key of the server at `llm`; null if it needs none.
    pub llm_key: *const c_char,
    /// Asks the large model, if the program reaches it by itself. It shares the tokenizer of the
    /// small model.
    pub ask: TrAsk,
    /// The first argument of `ask`. It must be usable from other threads until `tr_close`.
    pub user: *mut c_void,
    /// The router file; needed with a large model.
    pub router: *const c_char,
    /// The threshold, 0 (the small model alone) to 1 (the large one alone).
    pub tau: f64,
    /// The largest share of an answer's tokens that the large model may make, 0 to 1.
    pub max_offload: f64,
    /// Longest wait for one token of the large model in milliseconds; 0 is no limit. After it the
    /// small model's token stands. It has no effect on a large model that runs here.
    pub deadline_ms: u64,
    /// Threads of quantised products; 0 is all of the machine's.
    pub threads: usize,
}

/// One message of a conversation.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct TrMessage {
    /// "system", "user" or "assistant".
    pub role: *const c_char,
    /// The text.
    pub content: *const c_char,
}

/// One token of an answer.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct TrToken {
    /// The text that this token makes certain, in whole characters; empty while a character is
    /// incomplete, and for an end token. It ends with a 0 byte. It is valid until the next call
    /// with this answer.
    pub text: *const c_char,
    /// Bytes of `text` without the 0 at its end. The text may itself hold 0 bytes.
    pub text_bytes: usize,
    /// The token's id.
    pub id: u32,
    /// `TR_SLM`, `TR_LLM` or `TR_DEGRADED`.
    pub origin: u8,
    /// The router's score: the probability that the small model's token may be kept.
    pub score: f64,
}
