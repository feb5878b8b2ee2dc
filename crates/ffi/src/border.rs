//! The border itself: panics become errors, errors a status and a text, and C's texts become ours.
#![allow(unsafe_code, reason = "texts come as pointers")]

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::fault::Fault;
use crate::types::TR_ERROR;

thread_local! {
    /// The last error of this thread.
    static LAST: RefCell<CString> = RefCell::default();
}

/// Runs `work`. An error or a panic becomes [`TR_ERROR`] and this thread's last error.
pub(crate) fn guard(work: impl FnOnce() -> Result<i32, Fault>) -> i32 {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(status)) => status,
        Ok(Err(fault)) => fail(&fault.to_string()),
        Err(_) => fail("an error within tokenroute; its own message is on standard error"),
    }
}

fn fail(message: &str) -> i32 {
    let message = CString::new(message.replace('\0', "\u{FFFD}")).unwrap_or_default();
    LAST.with(|last| *last.borrow_mut() = message);
    TR_ERROR
}

/// This thread's last error. It is valid until the next one.
pub(crate) fn last_error() -> *const c_char {
    LAST.with(|last| last.borrow().as_ptr())
}

/// A text that must be there.
///
/// # Safety
/// `text` is null or points to bytes that end with a 0 and do not change during `'t`.
pub(crate) unsafe fn text<'t>(text: *const c_char, what: &'static str) -> Result<&'t str, Fault> {
    // SAFETY: the caller's promise.
    unsafe { text_if_any(text, what) }?.ok_or(Fault::Null(what))
}

/// A text that may be null.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn text_if_any<'t>(
    text: *const c_char,
    what: &'static str,
) -> Result<Option<&'t str>, Fault> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let bytes = unsafe { CStr::from_ptr(text) };
    let text = bytes.to_str().map_err(|error| Fault::NotUtf8 { what, at: error.valid_up_to() })?;
    Ok(Some(text))
}

/// What a pointer points to.
///
/// # Safety
/// `pointer` is null or points to a value that lives and is not written to during `'t`.
pub(crate) unsafe fn value<'t, T>(pointer: *const T, what: &'static str) -> Result<&'t T, Fault> {
    // SAFETY: the caller's promise.
    unsafe { pointer.as_ref() }.ok_or(Fault::Null(what))
}
