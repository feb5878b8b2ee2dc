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
/// boxed choice, the first choice in a sentence after "answer is", and, in an answer that
/// `ended`, the only choice named at all. If one choice's text contains another's, the longer
/// match counts. Negation is not recognised.
pub(super) fn chosen(choices: &[String], answer: &str, ended: bool) -> Option<usize> {
    let choices: Vec<String> = choices.iter().map(|text| normalise(text)).collect();
    let boxed = |(inside, rest): (&str, _)| {
        let inside = normalise(inside.trim_start_matches("\\text{"));
        Some((choices.iter().position(|text| *text == inside)?, rest))
    };
    let boxed = cue::settled(cue::boxed(answer).filter_map(boxed));
    if boxed.is_some() {
        return boxed;
    }
    let tails = cue::stated(answer);
    if !tails.is_empty() {
        return cue::settled(tails.into_iter().filter_map(|(_, tail)| {
            let rest = cue::after_clause(tail);
            if rest.is_none() && !ended {
                return None;
            }
            let line = tail.trim_start().lines().next().unwrap_or_default();
            let named = [cue::clause(tail), line].map(|text| named(&choices, text));
            let &(_, choice) = named.iter().find_map(|named| named.first())?;
            Some((choice, rest.unwrap_or_default()))
        }));
    }
    let found = if ended { named(&choices, answer) } else { Vec::new() };
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

/// The free text that an answer commits to, normalised: the boxed one, the line after
/// `####`, the sentence after "answer is", and, in an answer that `ended`, its last line.
pub(super) fn committed(answer: &str, ended: bool) -> Option<String> {
    let last_line = || answer.lines().rev().find(|line| !line.trim().is_empty());
    let stated = || {
        cue::settled(cue::stated(answer).into_iter().filter_map(|(_, tail)| {
            let rest = cue::after_clause(tail);
            (ended || rest.is_some()).then_some((cue::clause(tail), rest.unwrap_or_default()))
        }))
    };
    let text = cue::settled(cue::boxed(answer))
        .or_else(|| cue::settled(cue::hashes(answer)))
        .or_else(stated)
        .or_else(|| last_line().filter(|_| ended));
    text.map(normalise)
}
