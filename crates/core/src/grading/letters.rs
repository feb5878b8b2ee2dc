//! Finds the choice letter that an answer commits to.

use super::cue;

/// The letter, by the first of these rules that finds one:
///
/// 1. the last `\boxed{B}`;
/// 2. after the last "answer is" or "answer:": the letter that follows directly, else the
///    last one in parentheses, else the last bare capital of that sentence; a letter after
///    "not" does not count;
/// 3. without such words: the first letter of the answer, else a last line with nothing but
///    a letter, else the only letter in parentheses.
pub(super) fn committed<'q>(labels: &'q [String], answer: &str) -> Option<&'q str> {
    if let Some(letter) = cue::last_boxed(answer).and_then(|inside| alone(labels, inside)) {
        return Some(letter);
    }
    if let Some(tail) = cue::after_last(answer) {
        return stated(labels, tail);
    }
    let begins = leading(labels, answer, true).map(|(letter, _)| letter);
    let last_line = || answer.lines().rev().find(|line| !line.trim().is_empty());
    begins.or_else(|| alone(labels, last_line()?)).or_else(|| only_bracketed(labels, answer))
}

fn stated<'q>(labels: &'q [String], tail: &str) -> Option<&'q str> {
    let tail = cue::decoration(tail.trim_start_matches([' ', ':', '*', '_', '\n']));
    let mut rest = tail;
    if let Some(negated) = cue::strip_word(tail, "not") {
        rest = leading(labels, negated, false).map_or(negated, |(_, after)| after);
    } else if let Some((letter, _)) = leading(labels, tail, false) {
        return Some(letter);
    }
    bracketed(labels, rest).last().or_else(|| bare(labels, cue::clause(rest)).last())
}

/// The letter at the start and the text after it. With `strict`, a capital A that may be an
/// article (at the start of a sentence) does not count.
fn leading<'q, 't>(
    labels: &'q [String],
    text: &'t str,
    strict: bool,
) -> Option<(&'q str, &'t str)> {
    let trim = |text: &'t str| {
        text.trim_start().trim_start_matches(['*', '_', '"', '\'', '`', '$', ' ', '“', '‘'])
    };
    let mut text = trim(text);
    for word in ["option", "choice", "letter"] {
        if let Some(rest) = cue::strip_word(text, word) {
            text = trim(rest);
        }
    }
    labels.iter().find_map(|label| {
        for (open, close) in [('(', ')'), ('[', ']')] {
            if let Some(inside) = text.strip_prefix(open) {
                let rest = strip_letter(inside, label, true)?.trim_start_matches('*');
                return rest.strip_prefix(close).map(|rest| (label.as_str(), rest));
            }
        }
        let rest = strip_letter(text, label, false);
        if let Some(rest) = rest.filter(|rest| ends_letter(rest)) {
            return (!strict || !article(label, rest)).then_some((label.as_str(), rest));
        }
        // A small letter counts only where it is clear: "b)" or "b" alone.
        let rest = strip_letter(text, label, true)?;
        let clear = rest.starts_with(')') || rest.trim_end_matches(['.', '*', ' ']).is_empty();
        clear.then_some((label.as_str(), rest))
    })
}

fn strip_letter<'t>(text: &'t str, label: &str, any_case: bool) -> Option<&'t str> {
    let head = text.get(..label.len())?;
    let same = if any_case { head.eq_ignore_ascii_case(label) } else { head == label };
    same.then(|| &text[label.len()..])
}

/// Whether what follows a letter ends it: not "Bank", "A's", "B-side".
fn ends_letter(rest: &str) -> bool {
    let mut chars = rest.chars();
    match chars.next() {
        Some('\'' | '’' | '-') => !chars.next().is_some_and(char::is_alphanumeric),
        Some(next) => !next.is_alphanumeric(),
        None => true,
    }
}

/// Whether a leading "A" (or "I") reads as a word: "A bank", not "A." or "A is right".
fn article(label: &str, rest: &str) -> bool {
    let goes_on = rest.strip_prefix(' ').is_some_and(|rest| {
        let says_why =
            ["is", "because", "since"].iter().any(|w| cue::strip_word(rest, w).is_some());
        rest.starts_with(char::is_alphabetic) && !says_why
    });
    matches!(label, "A" | "I") && goes_on
}

/// The letter, if the text is nothing else but decoration.
fn alone<'q>(labels: &'q [String], text: &str) -> Option<&'q str> {
    let text = text.trim().trim_start_matches("\\text{").trim_start_matches("\\textbf{");
    let text = text.trim_matches(|c: char| !c.is_alphanumeric());
    labels.iter().find(|label| label.eq_ignore_ascii_case(text)).map(String::as_str)
}

/// Letters in parentheses, in order.
fn bracketed<'q>(labels: &'q [String], text: &str) -> impl Iterator<Item = &'q str> {
    text.match_indices('(').filter_map(move |(at, _)| {
        let inside = &text[at + 1..];
        labels
            .iter()
            .find(|l| strip_letter(inside, l, true).is_some_and(|rest| rest.starts_with(')')))
            .map(String::as_str)
    })
}

fn only_bracketed<'q>(labels: &'q [String], answer: &str) -> Option<&'q str> {
    let mut found = bracketed(labels, answer);
    let first = found.next()?;
    found.all(|letter| letter == first).then_some(first)
}

/// Bare capitals, in order.
fn bare<'q>(labels: &'q [String], text: &str) -> impl Iterator<Item = &'q str> {
    text.char_indices().filter_map(move |(at, _)| {
        if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '\'') {
            return None;
        }
        labels
            .iter()
            .find(|label| {
                strip_letter(&text[at..], label, false)
                    .is_some_and(|rest| ends_letter(rest) && !article(label, rest))
            })
            .map(String::as_str)
    })
}
