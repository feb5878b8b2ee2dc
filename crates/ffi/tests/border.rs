//! The border: errors with words, a large model that the program asks, cancelling
//! from another thread, and no panic.
#![allow(unsafe_code, reason = "calls the functions as C does")]

mod support;

use std::ffi::{CStr, CString, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use support::{PROMPT, ROUTER, Reference, SLM, path};
use tokenroute_core::{Ask, Llm, Origin};
use tokenroute_ffi::api::{
    TrAnswer, TrPair, tr_answer_close, tr_begin, tr_begin_chat, tr_cancel, tr_close, tr_last_error,
    tr_open, tr_options_default, tr_step, tr_stream, tr_version,
};
use tokenroute_ffi::types::{
    TR_CANCELLED, TR_DEGRADED, TR_END, TR_ERROR, TR_LENGTH, TR_LLM, TR_OK, TR_SLM, TrMessage,
    TrOptions, TrToken,
};

fn c(text: &str) -> CString {
    CString::new(text).expect("no 0 byte")
}

fn file(name: &str) -> CString {
    c(&path(name).display().to_string())
}

fn last_error() -> String {
    // SAFETY: the text lives until the next error of this thread.
    unsafe { CStr::from_ptr(tr_last_error()) }.to_str().expect("UTF-8").to_owned()
}

fn open(options: &TrOptions) -> *mut TrPair {
    let mut pair = null_mut();
    // SAFETY: the texts of the options live.
    let status = unsafe { tr_open(options, &mut pair) };
    assert_eq!(status, TR_OK, "{}", last_error());
    pair
}

fn refused(options: &TrOptions, words: &str) {
    let mut pair = null_mut();
    // SAFETY: as above.
    let status = unsafe { tr_open(options, &mut pair) };
    assert!(status == TR_ERROR && pair.is_null());
    assert!(last_error().contains(words), "{words} is not in {}", last_error());
}

fn begin(pair: *const TrPair, max_tokens: usize) -> *mut TrAnswer {
    let mut answer = null_mut();
    // SAFETY: the pair is open.
    let status = unsafe { tr_begin(pair, c(PROMPT).as_ptr(), max_tokens, &mut answer) };
    assert_eq!(status, TR_OK, "{}", last_error());
    answer
}

fn nothing() -> TrToken {
    TrToken { text: null(), text_bytes: 0, id: 0, origin: 9, score: 0.0 }
}

/// All tokens of an answer as (id, origin), its text and the status of its end.
fn read(answer: *mut TrAnswer) -> (Vec<(u32, u8)>, String, i32) {
    let (mut tokens, mut text, mut token) = (Vec::new(), String::new(), nothing());
    loop {
        // SAFETY: the answer is open, and the text lives until the next step.
        let status = unsafe { tr_step(answer, &mut token) };
        if status != TR_OK {
            // The end stays.
            // SAFETY: as above.
            assert_eq!(unsafe { tr_step(answer, &mut token) }, status);
            return (tokens, text, status);
        }
        tokens.push((token.id, token.origin));
        // SAFETY: as above.
        let piece = unsafe { CStr::from_ptr(token.text) };
        assert_eq!(piece.count_bytes(), token.text_bytes);
        text += piece.to_str().expect("UTF-8");
    }
}

#[test]
fn what_cannot_be_met_is_an_error_with_words() {
    let (slm, router) = (file(SLM), file(ROUTER));
    let with = |change: &dyn Fn(&mut TrOptions)| {
        let mut options = tr_options_default();
        options.slm = slm.as_ptr();
        change(&mut options);
        options
    };
    let (latin, url) =
        (CString::new(b"mod\xe8le".to_vec()).expect("bytes"), c("https://a.example"));
    refused(&tr_options_default(), "`slm` is null");
    refused(&with(&|o| o.slm = latin.as_ptr()), "`slm` is not UTF-8 from byte 3 on");
    refused(&with(&|o| o.tau = 1.5), "1.5");
    refused(&with(&|o| o.max_offload = -1.0), "-1");
    refused(&with(&|o| o.router = router.as_ptr()), "no large model");
    refused(&with(&|o| o.llm = slm.as_ptr()), "no `router`");
    let both = |o: &mut TrOptions| {
        (o.llm, o.router) = (slm.as_ptr(), router.as_ptr());
        o.ask = Some(refuse);
    };
    refused(&with(&both), "both `llm` and `ask`");
    #[cfg(not(feature = "http"))]
    refused(&with(&|o| (o.llm, o.router) = (url.as_ptr(), router.as_ptr())), "no network code");
    drop(url);
    // SAFETY: null pointers are checked.
    unsafe {
        assert_eq!(tr_open(null(), null_mut()), TR_ERROR);
        assert_eq!(tr_begin(null(), null(), 1, null_mut()), TR_ERROR);
        assert_eq!(tr_step(null(), null_mut()), TR_ERROR);
        assert_eq!(tr_stream(null(), None, null_mut()), TR_ERROR);
        tr_cancel(null());
        tr_answer_close(null_mut());
        tr_close(null_mut());
    }
    let pair = open(&with(&|_| ()));
    let mut answer = null_mut();
    for (prompt, tokens, words) in [
        (c(""), 5, "no tokens"),
        (c("a"), 0, "`max_tokens` is 0"),
        (c(&"apples ".repeat(2000)), 5, "has room for 512"),
        (latin, 5, "not UTF-8"),
    ] {
        // SAFETY: the pair is open.
        let status = unsafe { tr_begin(pair, prompt.as_ptr(), tokens, &mut answer) };
        assert!(status == TR_ERROR && answer.is_null());
        assert!(last_error().contains(words), "{words} is not in {}", last_error());
    }
    // The error of another thread is its own.
    thread::spawn(|| assert_eq!(last_error(), "")).join().expect("no panic");
    // SAFETY: the pair is open; the version lives for ever.
    unsafe {
        tr_close(pair);
        assert_eq!(CStr::from_ptr(tr_version()).to_str(), Ok(env!("CARGO_PKG_VERSION")));
    }
}

/// A large model in the program: the bundled one, behind the function that asks.
unsafe extern "C" fn ask(
    user: *mut c_void,
    tokens: *const u32,
    count: usize,
    token: *mut u32,
) -> i32 {
    // SAFETY: `user` is the test's model, and there are `count` tokens.
    let (large, tokens) =
        unsafe { (&*user.cast::<Large>(), std::slice::from_raw_parts(tokens, count)) };
    large.calls.fetch_add(1, Ordering::Relaxed);
    thread::sleep(large.delay);
    let reply = large.llm.ask(&[Ask::greedy(tokens, count)]).remove(0);
    // SAFETY: there is room for a token.
    unsafe { *token = reply.expect("a token").tokens[0] };
    0
}

unsafe extern "C" fn refuse(_: *mut c_void, _: *const u32, _: usize, _: *mut u32) -> i32 {
    7
}

struct Large {
    llm: tokenroute_llm::InProcess<tokenroute_model::Decoder>,
    calls: AtomicUsize,
    delay: Duration,
}

fn large(delay: Duration) -> Large {
    let model = tokenroute_model::load_model(&path(support::LLM), &Default::default());
    let llm = tokenroute_llm::InProcess::new(model.expect("a model").decoder);
    Large { llm, calls: AtomicUsize::new(0), delay }
}

#[test]
fn a_program_s_own_large_model_gives_the_tokens_of_one_in_process() {
    let (reference, large) = (Reference::open(), large(Duration::ZERO));
    let (slm, router) = (file(SLM), file(ROUTER));
    let mut options = tr_options_default();
    (options.slm, options.router, options.tau) = (slm.as_ptr(), router.as_ptr(), 0.9);
    options.ask = Some(ask);
    options.user = (&raw const large).cast_mut().cast();
    let pair = open(&options);
    let (expected, ended) = reference.answer(0.9, 100);
    let expected: Vec<(u32, u8)> = expected
        .iter()
        .map(|t| (t.token, if t.origin == Origin::Llm { TR_LLM } else { TR_SLM }))
        .collect();
    let answer = begin(pair, 100);
    let (tokens, _, status) = read(answer);
    assert_eq!((&tokens, status), (&expected, if ended { TR_END } else { TR_LENGTH }));
    let offloaded = tokens.iter().filter(|t| t.1 == TR_LLM).count();
    assert_eq!(large.calls.load(Ordering::Relaxed), offloaded);
    // SAFETY: both are open.
    unsafe {
        tr_answer_close(answer);
        tr_close(pair);
    }
    // One that has no token leaves the small model's, marked.
    options.ask = Some(refuse);
    let pair = open(&options);
    let answer = begin(pair, 100);
    let (degraded, _, _) = read(answer);
    assert!(degraded.iter().any(|t| t.1 == TR_DEGRADED));
    assert!(degraded.iter().all(|t| t.1 != TR_LLM));
    // SAFETY: both are open.
    unsafe {
        tr_answer_close(answer);
        tr_close(pair);
    }
}

/// A server that lists a model and refuses all else.
#[cfg(feature = "http")]
fn refusing_server() -> String {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut first = String::new();
            let reader = BufReader::new(client.try_clone().expect("a clone"));
            for line in reader.lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
                first = if first.is_empty() { line } else { first };
            }
            let (status, said) = match first.starts_with("GET /v1/models") {
                true => (200, r#"{"data": [{"id": "hosted", "owned_by": "someone"}]}"#),
                false => (400, r#"{"error": {"message": "no ids"}}"#),
            };
            let size = said.len();
            let head = format!("HTTP/1.1 {status} Said\r\nconnection: close\r\n");
            drop(write!(client, "{head}content-length: {size}\r\n\r\n{said}"));
        }
    });
    url
}

#[test]
#[cfg(feature = "http")]
fn a_server_that_takes_no_token_ids_is_refused() {
    let (slm, router, url) = (file(SLM), file(ROUTER), c(&refusing_server()));
    let mut options = tr_options_default();
    (options.slm, options.llm, options.router) = (slm.as_ptr(), url.as_ptr(), router.as_ptr());
    refused(&options, "goes on with the small model's token ids");
}

/// Cancels after three tokens.
unsafe extern "C" fn three(user: *mut c_void, _: *const TrToken) -> i32 {
    // SAFETY: `user` is the test's count.
    let count = unsafe { &*user.cast::<AtomicUsize>() };
    i32::from(count.fetch_add(1, Ordering::Relaxed) == 2)
}

#[test]
fn an_answer_can_be_cancelled_from_anywhere_and_closed_at_any_time() {
    let large = large(Duration::from_millis(300));
    let (slm, router) = (file(SLM), file(ROUTER));
    let mut options = tr_options_default();
    (options.slm, options.router, options.tau) = (slm.as_ptr(), router.as_ptr(), 1.0);
    options.ask = Some(ask);
    options.user = (&raw const large).cast_mut().cast();
    let pair = open(&options);
    let answer = begin(pair, 100);
    let at = answer as usize;
    let canceller = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        // SAFETY: the answer is open until this thread has ended.
        unsafe { tr_cancel(at as *const TrAnswer) };
    });
    assert_eq!(read(answer).2, TR_CANCELLED);
    canceller.join().expect("no panic");
    // Closed while a token is on its way.
    let closed = begin(pair, 100);
    // SAFETY: both are open.
    unsafe {
        tr_answer_close(answer);
        tr_answer_close(closed);
        tr_close(pair);
    }
    options = tr_options_default();
    options.slm = slm.as_ptr();
    let pair = open(&options);
    let answer = begin(pair, 100);
    let count = AtomicUsize::new(0);
    // SAFETY: the answer is open, and the count lives.
    unsafe {
        let status = tr_stream(answer, Some(three), (&raw const count).cast_mut().cast());
        assert_eq!((status, count.load(Ordering::Relaxed)), (TR_CANCELLED, 3));
        let mut token = nothing();
        assert_eq!(tr_step(answer, &mut token), TR_CANCELLED);
        tr_answer_close(answer);
        tr_close(pair);
    }
}

#[test]
fn a_conversation_goes_through_the_chat_template() {
    let slm = file(SLM);
    let mut options = tr_options_default();
    options.slm = slm.as_ptr();
    let pair = open(&options);
    let (role, content) = (c("user"), c(PROMPT.trim_end()));
    let message = TrMessage { role: role.as_ptr(), content: content.as_ptr() };
    let mut chat = null_mut();
    // SAFETY: the pair is open, and there is one message.
    let status = unsafe { tr_begin_chat(pair, &message, 1, 60, &mut chat) };
    assert_eq!(status, TR_OK, "{}", last_error());
    let plain = begin(pair, 60);
    let (plain_read, chat_read) = (read(plain), read(chat));
    assert_eq!(plain_read, chat_read);
    let reference = Reference::open();
    let (tokens, _) = reference.answer(0.0, 60);
    assert_eq!(chat_read.1, reference.shown(&tokens));
    // SAFETY: all are open.
    unsafe {
        tr_answer_close(plain);
        tr_answer_close(chat);
        tr_close(pair);
    }
}
