//! Numbers in English words: "twelve", "twenty-one", "three hundred and five".

/// Words of one value each.
const UNITS: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 8] =
    ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

/// What a word multiplies the number before it by.
pub(super) fn magnitude(word: &str) -> Option<i128> {
    Some(match word.to_ascii_lowercase().as_str() {
        "hundred" => 100,
        "thousand" => 1_000,
        "million" => 1_000_000,
        "billion" => 1_000_000_000,
        "trillion" => 1_000_000_000_000,
        "dozen" => 12,
        _ => return None,
    })
}

/// The first number in words of a text.
pub(super) fn first(text: &str) -> Option<i128> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let mut words = words.map(str::to_ascii_lowercase).skip_while(|w| simple(w).is_none());
    let (mut total, mut part) = (0_i128, simple(&words.next()?)?);
    for word in words {
        if let Some(value) = simple(&word) {
            part = part.checked_add(value)?;
        } else if let Some(times) = magnitude(&word) {
            part = part.max(1).checked_mul(times)?;
            if times >= 1_000 {
                total = total.checked_add(part)?;
                part = 0;
            }
        } else if word != "and" {
            break;
        }
    }
    total.checked_add(part)
}

fn simple(word: &str) -> Option<i128> {
    let unit = UNITS.iter().position(|unit| *unit == word);
    let tens = || TENS.iter().position(|tens| *tens == word).map(|i| 10 * (i + 2));
    unit.or_else(tens).and_then(|value| i128::try_from(value).ok())
}
