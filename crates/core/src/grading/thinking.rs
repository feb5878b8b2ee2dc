//! Where the answer of a model that thinks first begins.

use std::borrow::Cow;

const BEGIN: &str = "<think>";
const END: &str = "</think>";

/// The answer after a model's thinking: what stands after the last `</think>`. `None` within the
/// thinking, which commits to nothing. A text without thinking is the answer.
///
/// ```
/// use tokenroute_core::after_thinking;
///
/// assert_eq!(after_thinking("<think>\nA? No.\n</think>\n\nB"), Some("\n\nB"));
/// assert_eq!(after_thinking("<think>\nA? No"), None);
/// assert_eq!(after_thinking("B"), Some("B"));
/// ```
#[must_use]
pub fn after_thinking(text: &str) -> Option<&str> {
    let answer = text.rsplit_once(END).map_or(text, |(_, answer)| answer);
    (!answer.trim_start().starts_with(BEGIN)).then_some(answer)
}

/// The text that graders read of an answer to a prompt that ends within a model's thinking, as some
/// chat templates make it: the answer begins with the rest of the thinking.
///
/// ```
/// use tokenroute_core::{after_thinking, within_thinking};
///
/// let prompt = "<|assistant|>\n<think>\n";
/// assert_eq!(after_thinking(&within_thinking(prompt, "A? No")), None);
/// assert_eq!(after_thinking(&within_thinking(prompt, "A? No.\n</think>\n\nB")), Some("\n\nB"));
/// assert_eq!(within_thinking("<|assistant|>\n", "B"), "B");
/// ```
#[must_use]
pub fn within_thinking<'a>(prompt: &str, answer: &'a str) -> Cow<'a, str> {
    match prompt.trim_end().ends_with(BEGIN) {
        true => Cow::Owned(format!("{BEGIN}\n{answer}")),
        false => Cow::Borrowed(answer),
    }
}
