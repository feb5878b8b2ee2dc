//! Finds the choice letter that an answer commits to.

use super::cue::{self, Announced};

/// Index of the letter, by the first of these rules that finds one:
///
/// 1. `\boxed{B}`;
/// 2. after "answer is" or "answer:": the letter that follows directly, else the last one of
///    that sentence in parentheses, else its last bare capital; after "option is", "I choose"
///    and the like only a letter that follows directly. A letter after "not" does not count;
/// 3. before "is correct" or "is the best answer": the last letter of that sentence;
/// 4. in an answer that `ended`, without such words: the first letter of the answer, else a
///    last line with nothing but a letter, else the only letter in parentheses.
pub(super) fn committed(labels: &[String], answer: &str, ended: bool) -> Option<usize> {
    let boxed = cue::boxed(answer);
    let boxed =
        cue::settled(boxed.filter_map(|(inside, rest)| Some((alone(labels, inside)?, rest))));
    if boxed.is_some() {
        return boxed;
    }
    let tails = cue::stated(answer);
    if !tails.is_empty() {
        let stated = |&(sort, tail)| Some((stated(labels, sort, tail, ended)?, tail));
        let found = cue::settled(tails.iter().filter_map(stated));
        let by_answer = tails.iter().any(|(sort, _)| *sort == Announced::Answer);
        if found.is_some() || by_answer {
            return found;
        }
    }
    if let Some(letter) = judged_correct(labels, answer) {
        return Some(letter);
    }
    if !ended {
        return None;
    }
    let begins = leading(labels, answer, true).map(|(letter, _)| letter);
    let last_line = || answer.lines().rev().find(|line| !line.trim().is_empty());
    begins.or_else(|| alone(labels, last_line()?)).or_else(|| only_bracketed(labels, answer))
}

/// Index of the first letter in parentheses after "answer is".
pub(super) fn stated_in_parentheses(labels: &[String], answer: &str) -> Option<usize> {
    const CUE: &str = "answer is";
    let tails = answer.match_indices(CUE).map(|(at, _)| &answer[at + CUE.len()..]);
    cue::settled(tails.filter_map(|tail| {
        let (at, letter) = bracketed(labels, tail).next()?;
        Some((letter, &tail[at..]))
    }))
}

fn stated(labels: &[String], sort: Announced, tail: &str, ended: bool) -> Option<usize> {
    let directly = sort == Announced::Directly;
    let tail = cue::decoration(tail.trim_start_matches([' ', ':', '：', '*', '_', '\n']));
    let mut rest = tail;
    if let Some(negated) = cue::strip_word(tail, "not") {
        rest = leading(labels, negated, false).map_or(negated, |(_, after)| after);
    } else if let Some((letter, after)) = leading(labels, tail, false) {
        return (!directly || !alternative(labels, after)).then_some(letter);
    }
    if directly || (!ended && cue::after_clause(rest).is_none()) {
        return None;
    }
    let clause = cue::clause(rest);
    let last = bracketed(labels, clause).last().map(|(_, letter)| letter);
    last.or_else(|| bare(labels, clause).last().map(|(_, letter)| letter))
}

/// Whether a second letter is offered beside the first: "A or B".
fn alternative(labels: &[String], after: &str) -> bool {
    let after = after.trim_start_matches([' ', ',', '*', ')']);
    ["or", "and"].iter().any(|word| {
        cue::strip_word(after, word).is_some_and(|rest| leading(labels, rest, false).is_some())
    })
}

/// The last letter of a sentence before "is correct", "is the best answer" and the like.
fn judged_correct(labels: &[String], answer: &str) -> Option<usize> {
    const PRAISE: [&str; 9] =
        ["correct", "right", "best", "answer", "choice", "most", "clearly", "the", "therefore"];
    let lower = answer.to_ascii_lowercase();
    for (at, _) in lower.match_indices(" is ") {
        let mut rest = &answer[at + 4..];
        let mut praised = false;
        while let Some((word, after)) =
            PRAISE.iter().find_map(|word| Some((*word, cue::strip_word(rest, word)?.trim_start())))
        {
            praised |= matches!(word, "correct" | "right" | "best" | "answer" | "choice");
            rest = after;
        }
        if !praised {
            continue;
        }
        let before = &answer[..at];
        let start = before.rfind(['.', '!', '?', ';', '\n']).map_or(0, |stop| {
            // "B. bank is correct": the stop belongs to the letter.
            let lone = before[..stop].rfind(['.', '!', '?', ';', '\n']).map_or(0, |s| s + 1);
            if alone(labels, &before[lone..stop]).is_some() { lone } else { stop + 1 }
        });
        let clause = &before[start..];
        let found = bracketed(labels, clause).last().or_else(|| bare(labels, clause).last());
        if let Some((_, letter)) = found {
            return Some(letter);
        }
    }
    None
}

/// The letter at the start and the text after it. With `strict`, a capital A that may be an
/// article (at the start of a sentence) does not count.
fn leading<'t>(labels: &[String], text: &'t str, strict: bool) -> Option<(usize, &'t str)> {
    let trim = |text: &'t str| {
        text.trim_start().trim_start_matches(['*', '_', '"', '\'', '`', '$', ' ', '“', '‘'])
    };
    let mut text = trim(text);
    for word in ["the", "option", "choice", "letter", "answer"] {
        if let Some(rest) = cue::strip_word(text, word) {
            text = trim(rest);
        }
    }
    labels.iter().enumerate().find_map(|(i, label)| {
        for (open, close) in [('(', ')'), ('[', ']'), ('（', '）')] {
            if let Some(inside) = text.strip_prefix(open) {
                let rest = strip_letter(inside, label, true)?.trim_start_matches('*');
                return rest.strip_prefix(close).map(|rest| (i, rest));
            }
        }
        let rest = strip_letter(text, label, false);
        if let Some(rest) = rest.filter(|rest| ends_letter(rest)) {
            return (!strict || !article(label, rest)).then_some((i, rest));
        }
        // A small letter counts only where it is clear: "b)" or "b" alone.
        let rest = strip_letter(text, label, true)?;
        let clear = rest.starts_with(')') || rest.trim_end_matches(['.', '*', ' ']).is_empty();
        clear.then_some((i, rest))
    })
}

fn strip_letter<'t>(text: &'t str, label: &str, any_case: bool) -> Option<&'t str> {
    let head = text.get(..label.len())?;
    let same = if any_case { head.eq_ignore_ascii_case(label) } else { head == label };
    same.then(|| &text[label.len()..])
}

/// Whether what follows a letter ends it: not "Bank", "A's", "B-side". A letter of a script
/// without words between spaces, as in "B选项", ends it too.
fn ends_letter(rest: &str) -> bool {
    let joins = |c: char| c.is_numeric() || c.is_lowercase() || c.is_uppercase();
    let mut chars = rest.chars();
    match chars.next() {
        Some('\'' | '’' | '-') => !chars.next().is_some_and(joins),
        Some(next) => !joins(next),
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
fn alone(labels: &[String], text: &str) -> Option<usize> {
    let text = text.trim().trim_start_matches("\\text{").trim_start_matches("\\textbf{");
    let text = text.trim_matches(|c: char| !c.is_alphanumeric());
    labels.iter().position(|label| label.eq_ignore_ascii_case(text))
}

/// Letters in parentheses with the offset after them, in order. Those after "not" are left
/// out.
fn bracketed(labels: &[String], text: &str) -> impl Iterator<Item = (usize, usize)> {
    text.match_indices('(').filter_map(move |(at, _)| {
        let inside = &text[at + 1..];
        let (i, label) = labels.iter().enumerate().find(|(_, label)| {
            strip_letter(inside, label, true).is_some_and(|rest| rest.starts_with(')'))
        })?;
        (!cue::negated(&text[..at])).then_some((at + label.len() + 2, i))
    })
}

fn only_bracketed(labels: &[String], answer: &str) -> Option<usize> {
    let mut found = bracketed(labels, answer).map(|(_, letter)| letter);
    let first = found.next()?;
    found.all(|letter| letter == first).then_some(first)
}

/// Bare capitals with their offsets, in order. Those after "not" are left out.
fn bare(labels: &[String], text: &str) -> impl Iterator<Item = (usize, usize)> {
    text.char_indices().filter_map(move |(at, _)| {
        if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '\'') {
            return None;
        }
        let letter = labels.iter().position(|label| {
            strip_letter(&text[at..], label, false)
                .is_some_and(|rest| ends_letter(rest) && !article(label, rest))
        })?;
        (!cue::negated(&text[..at])).then_some((at, letter))
    })
}
