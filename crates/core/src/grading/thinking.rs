//! Where the answer of a model that thinks first begins.

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
