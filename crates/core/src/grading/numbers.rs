//! Finds the number that an answer commits to. Numbers compare by value: "1,234.50" is
//! 1234.5.

use super::{cue, words};

/// Most digits of a numerator or denominator. Longer runs of digits are ignored.
const MOST_DIGITS: usize = 30;

/// A fraction in lowest terms with a positive denominator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    numerator: i128,
    denominator: i128,
}

impl Number {
    fn new(numerator: i128, denominator: i128) -> Option<Self> {
        let (mut a, mut b) = (numerator.unsigned_abs(), denominator.unsigned_abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let divisor = i128::try_from(a).ok()?;
        (denominator > 0).then(|| Number {
            numerator: numerator / divisor.max(1),
            denominator: denominator / divisor.max(1),
        })
    }
}

/// The number, by the first of these that finds one: `\boxed{…}`; after `####`; the sentence
/// after "answer is", where "= 18" goes before earlier numbers and a number may be in words;
/// in an answer that `ended`, its last number.
pub(super) fn committed(answer: &str, ended: bool) -> Option<Number> {
    let answer = &plain(answer);
    let value = |(inside, rest)| Some((result(inside)?, rest));
    let stated = |(_, tail)| {
        let rest = cue::after_clause(tail);
        let number = result(cue::clause(tail)).or_else(|| in_words(cue::clause(tail)))?;
        (ended || rest.is_some()).then_some((number, rest.unwrap_or_default()))
    };
    cue::settled(cue::boxed(answer).filter_map(value))
        .or_else(|| cue::settled(cue::hashes(answer).filter_map(value)))
        .or_else(|| cue::settled(cue::stated(answer).into_iter().filter_map(stated)))
        .or_else(|| scan(answer).last().filter(|_| ended).map(|(number, _)| *number))
}

/// The first number in words.
fn in_words(text: &str) -> Option<Number> {
    Number::new(words::first(text)?, 1)
}

/// The number of a text that holds one number, a currency or per cent sign, and nothing
/// else.
pub(super) fn whole(text: &str) -> Option<Number> {
    let text = plain(text);
    match scan(&text)[..] {
        [(number, (start, end))] => {
            let around = [&text[..start], &text[end..]].concat();
            let only = around.trim().trim_matches(['-', '−', '+', '$', '€', '£', '%', '.']);
            only.is_empty().then_some(number)
        }
        _ => None,
    }
}

/// The first number, or the first after the last equals sign.
fn result(text: &str) -> Option<Number> {
    let after = text.rfind('=').map(|at| &text[at + 1..]);
    after
        .and_then(|tail| scan(tail).first().copied())
        .or_else(|| scan(text).first().copied())
        .map(|(number, _)| number)
}

/// Removes LaTeX spacing and writes `\frac{a}{b}` as a/b.
fn plain(text: &str) -> String {
    let mut text = text.replace("{,}", ",").replace("\\$", "$").replace("\\%", "%");
    for spacing in ["\\!", "\\,", "\\;", "\\ "] {
        text = text.replace(spacing, "");
    }
    let text = text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac");
    let mut parts = text.split("\\frac{");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let fraction = part.split_once("}{").and_then(|(above, rest)| {
            let (below, rest) = rest.split_once('}')?;
            let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
            (digits(above) && digits(below)).then(|| format!("{above}/{below}{rest}"))
        });
        plain.push_str(&fraction.unwrap_or_else(|| format!("\\frac{{{part}")));
    }
    plain
}

/// Every number of a text with its byte range. The range leaves out the sign.
fn scan(text: &str) -> Vec<(Number, (usize, usize))> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let begins = digit(at) || (bytes[at] == b'.' && digit(at + 1));
        if !begins {
            at += 1;
            continue;
        }
        let (digits, places, end) = decimal(bytes, at);
        let mut end = end;
        let in_word = text[..at].ends_with(|c: char| c.is_alphabetic() || c == '_');
        let mut denominator = 10_i128.checked_pow(places);
        if bytes.get(end) == Some(&b'/') && digit(end + 1) && places == 0 {
            let (below, places, after) = decimal(bytes, end + 1);
            if places == 0 {
                denominator = value(&below);
                end = after;
            }
        }
        let times = times(&text[end..]);
        let above = value(&digits).and_then(|above| above.checked_mul(times));
        if let (false, false, Some(above), Some(below)) =
            (in_word, ordinal(&text[end..]), above, denominator)
        {
            let above = if negative(&text[..at]) { -above } else { above };
            found.extend(Number::new(above, below).map(|number| (number, (at, end))));
        }
        at = end;
    }
    found
}

/// Reads digits from `from`: the digits, the number of decimal places, and the end offset.
/// A comma belongs to the number if exactly three digits follow it.
fn decimal(bytes: &[u8], from: usize) -> (Vec<u8>, u32, usize) {
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let (mut digits, mut at) = (Vec::new(), from);
    let run = |at: &mut usize, digits: &mut Vec<u8>| {
        let start = *at;
        while digit(*at) {
            digits.push(bytes[*at]);
            *at += 1;
        }
        *at - start
    };
    let first = run(&mut at, &mut digits);
    let grouped = |at: usize| {
        bytes.get(at) == Some(&b',') && (1..=3).all(|i| digit(at + i)) && !digit(at + 4)
    };
    if (1..=3).contains(&first) {
        while grouped(at) {
            at += 1;
            run(&mut at, &mut digits);
        }
    }
    let mut places = 0;
    if bytes.get(at) == Some(&b'.') && digit(at + 1) {
        at += 1;
        places = run(&mut at, &mut digits);
    }
    (digits, u32::try_from(places).unwrap_or(u32::MAX), at)
}

fn value(digits: &[u8]) -> Option<i128> {
    let digits = std::str::from_utf8(digits).ok()?.trim_start_matches('0');
    match digits.len() {
        0 => Some(0),
        1..=MOST_DIGITS => digits.parse().ok(),
        _ => None,
    }
}

/// Whether the text before a number ends in its minus sign, not in a hyphen or a
/// subtraction: "-5" and "-$5", but not "10-5". A currency sign may stand between.
fn negative(before: &str) -> bool {
    let before = before.trim_end_matches(['$', '€', '£']);
    let Some(before) = before.strip_suffix(['-', '−']) else { return false };
    !before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, ')' | '-' | '/'))
}

/// What the word after a number multiplies it by: "1.5 million".
fn times(after: &str) -> i128 {
    let word = after.trim_start_matches([' ', '-']);
    let end = word.find(|c: char| !c.is_alphabetic()).unwrap_or(word.len());
    let near = after.len() - word.len() <= 1;
    words::magnitude(&word[..end]).filter(|_| near).unwrap_or(1)
}

/// Whether the digits are an ordinal: "1" followed by "st".
fn ordinal(after: &str) -> bool {
    ["st", "nd", "rd", "th"].iter().any(|suffix| cue::strip_word(after, suffix).is_some())
}
