//! Answers in LaTeX, compared as MATH's evaluation does: by their text after normalisation.
//!
//! The steps are those of MATH's own comparison (Hendrycks et al. 2021, arXiv 2103.03874,
//! `math_equivalence.py`) and of Minerva's (Lewkowycz et al. 2022, arXiv 2206.14858,
//! appendix D.1). Two rules differ: only text after a single "=" counts alone, so that
//! "a=1, b=2" stays whole; and what is a number after that is compared by value, so that
//! "0.25" equals "\frac{1}{4}".

use super::cue;
use super::numbers::{self, Number};

/// What an answer in LaTeX is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    Number(Number),
    Text(String),
}

/// The answer, by the first of these that exists: the boxed one (`\boxed`, `\fbox`), the line
/// after `####`, the formula or sentence stated as the answer, and, in an answer that `ended`,
/// the last formula of its last line, or that line.
pub(super) fn committed(answer: &str, ended: bool) -> Option<Expression> {
    // A dollar sign of money delimits no formula.
    let answer = &answer.replace("\\$", "");
    let last_line = || answer.lines().rev().find(|line| !line.trim().is_empty());
    let stated = || {
        cue::settled(cue::stated(answer).into_iter().filter_map(|(_, tail)| {
            let rest = cue::after_clause(tail);
            let clause = cue::clause(tail);
            let text = formulas(clause).next().unwrap_or(clause);
            (ended || rest.is_some()).then_some((text, rest.unwrap_or_default()))
        }))
    };
    let text = cue::settled(boxes(answer))
        .or_else(|| cue::settled(cue::hashes(answer)))
        .or_else(stated)
        .or_else(|| {
            let line = last_line().filter(|_| ended)?;
            Some(formulas(line).last().unwrap_or(line))
        })?;
    expression(text)
}

/// A text as an answer; `None` if nothing is left of it.
pub(super) fn expression(text: &str) -> Option<Expression> {
    let text = normalise(text);
    if text.is_empty() {
        return None;
    }
    // 1\frac{1}{2} is one and a half.
    let mixed = text
        .match_indices("\\frac")
        .any(|(at, _)| text[..at].ends_with(|c: char| c.is_ascii_digit()));
    Some(match numbers::whole(&text).filter(|_| !mixed) {
        Some(number) => Expression::Number(number),
        None => Expression::Text(text),
    })
}

/// The content of the last box of a text, which is the answer of a solution in MATH.
pub(super) fn last_box(text: &str) -> Option<&str> {
    boxes(text).last().map(|(inside, _)| inside)
}

/// The content of every complete box, and what follows it, in order: `\boxed{…}`, `\fbox{…}`,
/// and `\boxed 5`, which ends with its formula.
fn boxes(answer: &str) -> impl Iterator<Item = (&str, &str)> {
    let marks = answer.match_indices("\\boxed").chain(answer.match_indices("\\fbox"));
    let mut found: Vec<(usize, (&str, &str))> = marks
        .filter_map(|(at, mark)| {
            let tail = &answer[at + mark.len()..];
            let boxed = match tail.strip_prefix('{') {
                Some(inside) => {
                    let end = cue::closing_brace(inside)?;
                    (&inside[..end], &inside[end + 1..])
                }
                None => {
                    let inside = tail.strip_prefix(' ')?;
                    inside.split_at(inside.find('$')?)
                }
            };
            Some((at, boxed))
        })
        .collect();
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, boxed)| boxed)
}

/// The formulas of a text: what is between dollar signs, `\(…\)` or `\[…\]`.
fn formulas(text: &str) -> impl Iterator<Item = &str> {
    let dollars = text.split('$').skip(1).step_by(2);
    let closed = text.matches('$').count() / 2;
    let brackets = |open: &'static str, close: &'static str| {
        text.split(open).skip(1).filter_map(move |rest| Some(rest.split_once(close)?.0))
    };
    let dollars = dollars.take(closed).filter(|formula| !formula.trim().is_empty());
    dollars.chain(brackets("\\(", "\\)")).chain(brackets("\\[", "\\]"))
}

/// Written alike in every text that counts as the same.
const SAME: [(&str, &str); 11] = [
    ("\n", ""),
    ("\\!", ""),
    ("\\\\", "\\"),
    ("tfrac", "frac"),
    ("dfrac", "frac"),
    ("cfrac", "frac"),
    ("\\left", ""),
    ("\\right", ""),
    ("\\$", ""),
    ("\\%", ""),
    ("%", ""),
];

/// Minerva's substitutions, in their order.
const SUBSTITUTIONS: [(&str, &str); 9] = [
    ("an ", ""),
    ("a ", ""),
    (".$", "$"),
    ("\\ ", ""),
    (" ", ""),
    ("mbox", "text"),
    (",\\text{and}", ","),
    ("\\text{and}", ","),
    ("\\text{m}", "\\text{}"),
];

/// Minerva's list of units and other words without value.
const REMOVED: &str = "square ways integers dollars mph inches ft hours km units \\ldots sue \
    points feet minutes digits cents degrees cm gm pounds meters meals edges students \
    childrentickets multiples \\text{s} \\text{.} \\text{}^2 \\text{}^3 \\text{} \\mathrm{th} \
    ^\\circ ^{\\circ} \\; ,\\! {,} \" \\dots $";

fn normalise(text: &str) -> String {
    let mut text = text.trim().trim_end_matches('.').to_owned();
    for (from, to) in SAME {
        text = text.replace(from, to);
    }
    // Units stand in \text{ … } behind the value.
    if let Some(at) = text.find("\\text{ ").filter(|&at| at > 0) {
        text.truncate(at);
    }
    if let Some((_, right)) = text.split_once('=').filter(|(_, right)| !right.contains('=')) {
        text = right.to_owned();
    }
    for (from, to) in SUBSTITUTIONS {
        text = text.replace(from, to);
    }
    for removed in REMOVED.split_whitespace() {
        text = text.replace(removed, "");
    }
    for command in ["\\text{", "\\textbf{", "\\overline{", "\\boxed{", "\\mathbf{"] {
        text = unwrapped(&text, command);
    }
    text = with_braces(&with_braces(&text, "\\frac", 2), "\\sqrt", 1);
    leading_zeros(&text)
}

/// Replaces `\text{a}` by a, `command` being `\text{`.
fn unwrapped(text: &str, command: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once(command) {
        plain.push_str(before);
        match cue::closing_brace(inside) {
            Some(end) => {
                plain.push_str(&inside[..end]);
                rest = &inside[end + 1..];
            }
            None => {
                plain.push_str(command);
                rest = inside;
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// Puts braces around the arguments of a command that has them bare: `\frac12`, `\sqrt3`.
fn with_braces(text: &str, command: &str, arguments: usize) -> String {
    let mut parts = text.split(command);
    let mut braced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        braced.push_str(command);
        let mut rest = part;
        for _ in 0..arguments {
            // A root with an index, `\sqrt[3]{2}`, is left as it is.
            let bare = rest.chars().next().filter(|c| !matches!(c, '{' | '[' | '\\'));
            if let Some(argument) = bare {
                braced.extend(['{', argument, '}']);
                rest = &rest[argument.len_utf8()..];
            } else if let Some(end) = rest.strip_prefix('{').and_then(cue::closing_brace) {
                braced.push_str(&rest[..end + 2]);
                rest = &rest[end + 2..];
            } else {
                break;
            }
        }
        braced.push_str(rest);
    }
    braced
}

/// Writes ".5" as "0.5".
fn leading_zeros(text: &str) -> String {
    let mut plain = String::with_capacity(text.len() + 1);
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let begins = !before.is_some_and(|b: char| b.is_ascii_digit());
        if c == '.' && begins && chars.peek().is_some_and(char::is_ascii_digit) {
            plain.push('0');
        }
        plain.push(c);
        before = Some(c);
    }
    plain
}
