//! The functions of the C interface. Each checks its pointers, and none lets a panic out.
#![allow(unsafe_code, reason = "functions that C calls")]

use std::ffi::{c_char, c_void};
use std::num::NonZeroUsize;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokenroute_core::{Tau, TokenId};
use tokenroute_model::Message;
use tokenroute_runtime::{Budget, Policy};

use crate::answer::{Running, Stop};
use crate::border::{guard, last_error, text, text_if_any, value};
use crate::fault::Fault;
use crate::pair::{Large, Opened};
use crate::types::{TR_CANCELLED, TR_OK, TR_SLM, TrHear, TrMessage, TrOptions, TrToken};

/// An open pair.
pub struct TrPair(Arc<Opened>);

/// An answer under way.
pub struct TrAnswer {
    /// Beside the lock, so that an answer can be cancelled while a step waits.
    stop: Arc<Stop>,
    running: Mutex<Running>,
}

/// Options with every default: no large model, τ 0, no limit of offload or waiting, all threads.
/// `slm` must still be set.
#[unsafe(no_mangle)]
pub extern "C" fn tr_options_default() -> TrOptions {
    TrOptions {
        slm: ptr::null(),
        llm: ptr::null(),
        llm_key: ptr::null(),
        ask: None,
        user: ptr::null_mut(),
        router: ptr::null(),
        tau: 0.0,
        max_offload: 1.0,
        deadline_ms: 0,
        threads: 0,
    }
}

/// Opens a pair: loads its models and the router, and checks that they belong together. Returns
/// `TR_OK` and sets `pair`, or `TR_ERROR`. `tr_close` frees the pair.
///
/// # Safety
/// `options` and `pair` are null or valid. Texts in the options end with a 0 byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tr_open(options: *const TrOptions, pair: *mut *mut TrPair) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise, here and below.
        let (options, out) =
            unsafe { (value(options, "options")?, pair.as_mut().ok_or(Fault::Null("pair"))?) };
        *out = ptr::null_mut();
        let slm = unsafe { text(options.slm, "slm") }?;
        let named = unsafe { text_if_any(options.llm, "llm") }?;
        let key = unsafe { text_if_any(options.llm_key, "llm_key") }?;
        let router = unsafe { text_if_any(options.router, "router") }?;
        let large = match (named, options.ask) {
            (None, None) => Large::None,
            (Some(named), None) => Large::Named(named, key),
            (None, Some(ask)) => Large::Asked((ask, options.user)),
            (Some(_), Some(_)) => return Err(Fault::TwoLlms),
        };
        let deadline =
            (options.deadline_ms > 0).then(|| Duration::from_millis(options.deadline_ms));
        let budget = Budget::new(options.max_offload)?;
        let policy = Policy { deadline, budget, ..Policy::new(Tau::new(options.tau)?) };
        let threads = NonZeroUsize::new(options.threads).map(NonZeroUsize::get);
        let opened = Opened::open(slm, &large, router, policy, threads)?;
        *out = Box::into_raw(Box::new(TrPair(Arc::new(opened))));
        Ok(TR_OK)
    })
}

/// Closes a pair. Null does nothing. Close its answers first.
///
/// # Safety
/// `pair` is null, or came from `tr_open` and was not closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tr_close(pair: *mut TrPair) {
    guard(|| {
        if !pair.is_null() {
            // SAFETY: the caller's promise.
            drop(unsafe { Box::from_raw(pair) });
        }
        Ok(TR_OK)
    });
}

/// Begins an answer of at most `max_tokens` tokens to a plain prompt. Returns `TR_OK` and sets
/// `answer`, or `TR_ERROR`. `tr_answer_close` frees the answer.
///
/// # Safety
/// `pair` is open; `answer` is null or valid; `prompt` ends with a 0 byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tr_begin(
    pair: *const TrPair,
    prompt: *const c_char,
    max_tokens: usize,
    answer: *mut *mut TrAnswer,
) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let (pair, prompt) = unsafe { (value(pair, "pair")?, text(prompt, "prompt")?) };
        let prompt = pair.0.text_prompt(prompt)?;
        // SAFETY: the caller's promise.
        unsafe { begin(pair, prompt, max_tokens, answer) }
    })
}

/// As `tr_begin`, for a conversation, which the small model's chat template makes into a prompt.
/// A special token that a message spells becomes a control token.
///
/// # Safety
/// As `tr_begin`; there are `count` messages, whose texts end with a 0 byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tr_begin_chat(
    pair: *const TrPair,
    messages: *const TrMessage,
    count: usize,
    max_tokens: usize,
    answer: *mut *mut TrAnswer,
) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise, here and below.
        let pair = unsafe { value(pair, "pair") }?;
        unsafe { value(messages, "messages") }?;
        let messages = unsafe { std::slice::from_raw_parts(messages, count) };
        let message = |message: &TrMessage| {
            let role = unsafe { text(message.role, "role") }?;
            Ok(Message::new(role, unsafe { text(message.content, "content") }?))
        };
        let messages = messages.iter().map(message).collect::<Result<Vec<_>, Fault>>()?;
        let prompt = pair.0.chat_prompt(&messages)?;
        unsafe { begin(pair, prompt, max_tokens, answer) }
    })
}

/// # Safety
/// `answer` is null or valid.
unsafe fn begin(
    pair: &TrPair,
    prompt: Vec<TokenId>,
    max_tokens: usize,
    answer: *mut *mut TrAnswer,
) -> Result<i32, Fault> {
    // SAFETY: the caller's promise.
    let out = unsafe { answer.as_mut() }.ok_or(Fault::Null("answer"))?;
    *out = ptr::null_mut();
    let stop = Arc::<Stop>::default();
    let running = Mutex::new(Running::begin(Arc::clone(&pair.0), &stop, prompt, max_tokens)?);
    *out = Box::into_raw(Box::new(TrAnswer { stop, running }));
    Ok(TR_OK)
}

/// Waits for the next token. Returns `TR_OK` and sets `token`; or, once the answer is complete,
/// `TR_END`, `TR_LENGTH` or `TR_CANCELLED`; or `TR_ERROR`.
///
/// # Safety
/// `answer` is open; `token` is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tr_step(answer: *const TrAnswer, token: *mut TrToken) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let (answer, token) =
            unsafe { (value(answer, "answer")?, token.as_mut().ok_or(Fault::Null("token"))?) };
        answer.running.lock().unwrap_or_else(PoisonError::into_inner).step(token)
    })
}

/// Passes every token that is still to come to `hear`, on this thread. Returns as `tr_step` does
/// after the last token. If `hear` returns another number than 0, the answer is cancelled.
///
/// # Safety
/// `answer` is open; `hear` may be called with `user`. It must not call functions with this
/// answer but `tr_cancel`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tr_stream(
    answer: *const TrAnswer,
    hear: TrHear,
    user: *mut c_void,
) -> i32 {
    guard(|| {
        // SAFETY: the caller's promise.
        let answer = unsafe { value(answer, "answer") }?;
        let hear = hear.ok_or(Fault::Null("hear"))?;
        let mut running = answer.running.lock().unwrap_or_else(PoisonError::into_inner);
        let (text, text_bytes, id, origin, score) = (ptr::null(), 0, 0, TR_SLM, 0.0);
        let mut token = TrToken { text, text_bytes, id, origin, score };
        loop {
            match running.step(&mut token)? {
                TR_OK => {}
                end => return Ok(end),
            }
            // SAFETY: the token is there during the call; the rest is the caller's promise.
            if unsafe { hear(user, &token) } != 0 {
                answer.stop.stop();
                return Ok(TR_CANCELLED);
            }
        }
    })
}

/// Cancels an answer, from any thread. A step that waits returns, except for one that waits for a
/// large model in this process. Null does nothing.
///
/// # Safety
/// `answer` is null or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tr_cancel(answer: *const TrAnswer) {
    guard(|| {
        // SAFETY: the caller's promise.
        if let Some(answer) = unsafe { answer.as_ref() } {
            answer.stop.stop();
        }
        Ok(TR_OK)
    });
}

/// Closes an answer, complete or not. It waits for a call of the large model that is under way.
/// Null does nothing.
///
/// # Safety
/// `answer` is null, or was begun and not closed. No other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tr_answer_close(answer: *mut TrAnswer) {
    guard(|| {
        if !answer.is_null() {
            // SAFETY: the caller's promise.
            drop(unsafe { Box::from_raw(answer) });
        }
        Ok(TR_OK)
    });
}

/// The last error of this thread, in UTF-8; empty if there was none. It is valid until the next
/// error of this thread.
#[unsafe(no_mangle)]
pub extern "C" fn tr_last_error() -> *const c_char {
    last_error()
}

/// The version of the library.
#[unsafe(no_mangle)]
pub extern "C" fn tr_version() -> *const c_char {
    const VERSION: &std::ffi::CStr = match std::ffi::CStr::from_bytes_with_nul(
        concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes(),
    ) {
        Ok(version) => version,
        Err(_) => c"",
    };
    VERSION.as_ptr()
}
