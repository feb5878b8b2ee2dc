//! Finds the yes or no that an answer commits to. "True" is yes and "false" is no.

use super::cue;

/// The answer, by the first of these rules that finds one:
///
/// 1. `\boxed{yes}`;
/// 2. the line after `####`;
/// 3. after "answer is" or "answer:": the word that follows directly, else the last one of that
///    sentence. A word after "not" does not count;
/// 4. in an answer that `ended`, without such words: the word that the answer begins with, else
///    the one that its last line begins with.
pub(super) fn committed(answer: &str, ended: bool) -> Option<bool> {
    let value = |(inside, rest)| Some((whole(inside)?, rest));
    let tails = cue::stated(answer);
    let announced = !tails.is_empty();
    let found = cue::settled(cue::boxed(answer).filter_map(value))
        .or_else(|| cue::settled(cue::hashes(answer).filter_map(value)))
        .or_else(|| cue::settled(tails.into_iter().filter_map(|(_, tail)| stated(tail, ended))));
    if found.is_some() || announced || !ended {
        return found;
    }
    let last = answer.lines().rev().find(|line| !line.trim().is_empty());
    leading(answer).or_else(|| leading(last?)).map(|(value, _)| value)
}

/// The yes or no that a text is, without case and punctuation.
pub(super) fn whole(text: &str) -> Option<bool> {
    let text = text.trim().trim_start_matches("\\text{").trim_start_matches("\\textbf{");
    value(text.trim_matches(|c: char| !c.is_alphanumeric()))
}

fn value(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

/// The value in the text after a cue, and what follows.
fn stated(tail: &str, ended: bool) -> Option<(bool, &str)> {
    if let Some(found) = leading(tail) {
        return Some(found);
    }
    let rest = cue::after_clause(tail);
    if rest.is_none() && !ended {
        return None;
    }
    let clause = cue::clause(tail);
    let last = words(clause).filter(|(at, _)| !cue::negated(&clause[..*at])).last();
    last.map(|(_, value)| (value, rest.unwrap_or_default()))
}

/// The value of the first word, and what follows it.
fn leading(text: &str) -> Option<(bool, &str)> {
    let skipped = |c: char| !c.is_alphanumeric() && !matches!(c, '.' | '!' | '?' | ';');
    let text = text.trim_start_matches(skipped);
    let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
    value(&text[..end]).map(|value| (value, &text[end..]))
}

/// Byte offset and value of every word that has one.
fn words(text: &str) -> impl Iterator<Item = (usize, bool)> {
    let mut at = 0;
    text.split(|c: char| !c.is_alphanumeric()).filter_map(move |word| {
        // The separator after a word is one character, whose length the text knows.
        let start = at;
        let after = start + word.len();
        at = after + text[after..].chars().next().map_or(0, char::len_utf8);
        value(word).map(|value| (start, value))
    })
}
