//! Answers in words: a choice named by its text, and free text.

use super::cue;

/// Lower-cases a text, removes articles and punctuation, and separates words by one space.
/// A decimal point and a sign stay with their digits. Thousands separators are removed.
pub(super) fn normalise(text: &str) -> String {
    let chars: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
    let mut plain = String::with_capacity(text.len());
    for (i, &c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| chars[i]);
        let digit_before = before.is_some_and(|c| c.is_ascii_digit());
        let digit_after = chars.get(i + 1).is_some_and(char::is_ascii_digit);
        match c {
            '.' if digit_before && digit_after => plain.push(c),
            ',' if digit_before && digit_after => {}
            '-' | '−' if digit_after && !before.is_some_and(char::is_alphanumeric) => {
                plain.push('-');
            }
            '\'' | '’' => {}
            c if c.is_alphanumeric() => plain.push(c),
            _ => plain.push(' '),
        }
    }
    let words = || plain.split_whitespace();
    let bare: Vec<&str> = words().filter(|w| !matches!(*w, "a" | "an" | "the")).collect();
    if bare.is_empty() { words().collect::<Vec<_>>().join(" ") } else { bare.join(" ") }
}

/// Index of the choice that an answer names. The first of these that exists counts: the
/// boxed choice, the first choice after the last "answer is", the only choice named at all.
/// If one choice's text contains another's, the longer match counts. Negation is not
/// recognised.
pub(super) fn chosen(choices: &[String], answer: &str) -> Option<usize> {
    let choices: Vec<String> = choices.iter().map(|text| normalise(text)).collect();
    if let Some(inside) = cue::last_boxed(answer) {
        let inside = normalise(inside.trim_start_matches("\\text{"));
        if let Some(choice) = choices.iter().position(|text| *text == inside) {
            return Some(choice);
        }
    }
    if let Some(tail) = cue::after_last(answer) {
        return named(&choices, tail).first().map(|&(_, choice)| choice);
    }
    let found = named(&choices, answer);
    let &(_, first) = found.first()?;
    found.iter().all(|&(_, choice)| choices[choice] == choices[first]).then_some(first)
}

/// (Byte offset, choice index) of every named choice, in order of appearance.
fn named(choices: &[String], text: &str) -> Vec<(usize, usize)> {
    let text = format!(" {} ", normalise(text));
    let mut spans = Vec::new();
    for (choice, words) in choices.iter().enumerate().filter(|(_, words)| !words.is_empty()) {
        let words = format!(" {words} ");
        spans.extend(text.match_indices(&words).map(|(at, found)| (at, at + found.len(), choice)));
    }
    let inside = |a: &(usize, usize, usize), b: &(usize, usize, usize)| {
        b.0 <= a.0 && a.1 <= b.1 && b.1 - b.0 > a.1 - a.0
    };
    let mut kept: Vec<_> = spans
        .iter()
        .filter(|span| !spans.iter().any(|other| inside(span, other)))
        .map(|&(start, _, choice)| (start, choice))
        .collect();
    kept.sort_unstable();
    kept
}

/// The free text that an answer commits to, normalised.
pub(super) fn committed(answer: &str) -> String {
    let last_line = || answer.lines().rev().find(|line| !line.trim().is_empty());
    let text = cue::last_boxed(answer)
        .or_else(|| cue::after_hashes(answer))
        .or_else(|| cue::after_last(answer).map(cue::clause))
        .or_else(last_line);
    normalise(text.unwrap_or_default())
}
