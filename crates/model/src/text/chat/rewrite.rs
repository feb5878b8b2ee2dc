//! Rewrites a template's source for minijinja: replaces transformers' own tags, and adds
//! meters where texts and lists are copied.

use std::collections::{BTreeMap, HashMap};

use super::meter::{COPIED, PRINTED, REPEATED};
use super::search::{NESTED, SEARCHED};

/// Bytes of plain text from which a meter is added.
const LONG_TEXT: usize = 512;

/// Replaces transformers' `{% generation %}` block by `{% if true %}`. The block marks the
/// assistant's tokens for training and prints its content unchanged.
///
/// Adds a meter after both operands of `~`, `+` and `*`, after what `in` searches and what is
/// compared, after slices, after lists and maps, around what an attribute is set to, and in long
/// texts.
/// Meters return their input. Whitespace and lines do not change.
pub(super) fn prepared(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + source.len() / 4);
    let mut rest = source;
    while let Some(at) = opening(rest) {
        text(&mut out, &rest[..at]);
        let tail = &rest[at..];
        let end = match &tail[..2] {
            "{#" => tail.find("#}").map_or(tail.len(), |end| end + 2),
            _ => tag_end(tail),
        };
        let (tag, after) = tail.split_at(end);
        rest = after;
        match (&tag[..2], word(tag)) {
            ("{#", _) => out.push_str(tag),
            ("{%", "raw") => {
                let end = raw_end(rest);
                out.push_str(tag);
                out.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            ("{%", "generation") => out.push_str(&tag.replacen("generation", "if true", 1)),
            ("{%", "endgeneration") => out.push_str(&tag.replacen("endgeneration", "endif", 1)),
            _ => {
                let mut done = 0;
                for (at, meter) in meters(tag) {
                    out.push_str(&tag[done..at]);
                    out.push_str(&meter);
                    done = at;
                }
                out.push_str(&tag[done..]);
            }
        }
    }
    text(&mut out, rest);
    out
}

/// The start of the next tag or comment.
fn opening(text: &str) -> Option<usize> {
    let mut pairs = text.as_bytes().windows(2);
    pairs.position(|pair| pair[0] == b'{' && matches!(pair[1], b'{' | b'%' | b'#'))
}

/// The content of a tag without whitespace control.
fn word(tag: &str) -> &str {
    tag.trim_matches(['{', '}', '%', '-', '+', ' ', '\t', '\r', '\n'])
}

/// The end of the `{% endraw %}` that ends a raw block. Every byte is visited a few times at
/// most.
fn raw_end(text: &str) -> usize {
    const WORD: &str = "endraw";
    let mut at = 0;
    while let Some(next) = text[at..].find(WORD) {
        let (begin, end) = (at + next, at + next + WORD.len());
        let before = text[at..begin].trim_end();
        let before = before.strip_suffix(['-', '+']).unwrap_or(before);
        let after = text[end..].trim_start();
        let after = after.strip_prefix(['-', '+']).unwrap_or(after);
        if before.ends_with("{%") && after.starts_with("%}") {
            return text.len() - after.len() + 2;
        }
        at = end;
    }
    text.len()
}

/// Appends plain text, with a meter inside if it is long. At the ends, a meter would stand
/// between a line break and the tag that removes it.
fn text(out: &mut String, text: &str) {
    let inside = text.char_indices().find(|(_, c)| !c.is_whitespace() && *c != '{');
    match inside {
        Some((at, c)) if text.len() > LONG_TEXT => {
            let (before, after) = text.split_at(at + c.len_utf8());
            out.push_str(before);
            out.push_str(&format!("{{{{ {PRINTED}({}) }}}}", text.len()));
            out.push_str(after);
        }
        _ => out.push_str(text),
    }
}

/// The end of a tag. Brackets and strings in it are skipped.
fn tag_end(tag: &str) -> usize {
    let bytes = tag.as_bytes();
    let close: &[u8] = if bytes[1] == b'{' { b"}}" } else { b"%}" };
    let (mut at, mut depth) = (2, 0_usize);
    while at < bytes.len() {
        if depth == 0 && bytes[at..].starts_with(close) {
            return at + 2;
        }
        match bytes[at] {
            b'"' | b'\'' => {
                at = string_end(bytes, at);
                continue;
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// The end of the string that begins at `at`.
fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != bytes[at] {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    (end + 1).min(bytes.len())
}

/// The end of every bracket in a tag, by its start. One pass over the tag, since brackets may be
/// nested deeply.
fn bracket_ends(bytes: &[u8]) -> HashMap<usize, usize> {
    let (mut ends, mut open, mut at) = (HashMap::new(), Vec::new(), 2);
    while at < bytes.len() {
        match bytes[at] {
            b'"' | b'\'' => {
                at = string_end(bytes, at);
                continue;
            }
            b'(' | b'[' | b'{' => open.push(at),
            b')' | b']' | b'}' => {
                if let Some(start) = open.pop() {
                    ends.insert(start, at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    ends
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn skip(bytes: &[u8], mut at: usize, skipped: impl Fn(u8) -> bool) -> usize {
    while bytes.get(at).is_some_and(|&byte| skipped(byte)) {
        at += 1;
    }
    at
}

fn space(bytes: &[u8], at: usize) -> usize {
    skip(bytes, at, |byte| byte.is_ascii_whitespace())
}

/// The end of the operand that begins at `at`, with its attributes, calls and filters. `ends`
/// are the ends of all brackets; one that is open to the end ends there.
fn operand_end(bytes: &[u8], at: usize, ends: &HashMap<usize, usize>) -> usize {
    let bracket_end = |at: usize| ends.get(&at).copied().unwrap_or(bytes.len());
    let at = skip(bytes, at, |byte| byte.is_ascii_whitespace() || byte == b'-');
    let mut end = match bytes.get(at) {
        Some(b'"' | b'\'') => string_end(bytes, at),
        Some(b'(' | b'[' | b'{') => bracket_end(at),
        _ => skip(bytes, at, is_name),
    };
    loop {
        let next = space(bytes, end);
        end = match bytes.get(next) {
            Some(b'(' | b'[') => bracket_end(next),
            Some(b'.' | b'|') => skip(bytes, space(bytes, next + 1), is_name),
            _ => return end,
        };
    }
}

/// Words after which a bracket begins a list, a map or an expression.
const KEYWORDS: [&[u8]; 7] = [b"if", b"elif", b"else", b"in", b"and", b"or", b"not"];

/// An open bracket.
#[derive(Debug, Clone, Copy)]
struct Open {
    byte: u8,
    at: usize,
    /// Whether it follows an operand: a subscript or a call.
    operand: bool,
    /// Whether it begins a value.
    literal: bool,
    /// Whether it holds a colon, or a comma, outside inner brackets.
    colon: bool,
    comma: bool,
}

impl Open {
    fn new(byte: u8, operand: bool) -> Self {
        Open { byte, at: 0, operand, literal: false, colon: false, comma: false }
    }

    fn is_slice(&self) -> bool {
        self.byte == b'[' && self.operand && self.colon
    }

    /// Whether it is a list or map that is not empty; `last` is the end of its last token.
    fn is_made(&self, last: usize) -> bool {
        self.literal && last > self.at + 1 && (self.byte != b'(' || self.comma)
    }
}

/// The meters of a tag, by their offsets in it.
fn meters(tag: &str) -> BTreeMap<usize, String> {
    let bytes = tag.as_bytes();
    let mut found: BTreeMap<usize, String> = BTreeMap::new();
    let mut add = |at: usize, meter: &str| {
        let filters = found.entry(at).or_default();
        if !filters.contains(meter) {
            filters.push('|');
            filters.push_str(meter);
        }
    };
    let ends = bracket_ends(bytes);
    let mut loops = word(tag).split_ascii_whitespace().next() == Some("for");
    // In the targets of a loop or an assignment, brackets hold names.
    let mut targets = matches!(word(tag).split_ascii_whitespace().next(), Some("for" | "set"));
    let mut open: Vec<Open> = Vec::new();
    // Where the value of an attribute begins.
    let mut set = None;
    // The end of the last token, and the start of the last word.
    let (mut last, mut begin) = (0, 0);
    let control = |at: usize| usize::from(matches!(bytes.get(at), Some(b'-' | b'+')));
    let end = bytes.len().saturating_sub(2);
    let end = end.saturating_sub(control(end.saturating_sub(1)));
    let mut at = 2 + control(2);
    while at < end {
        let byte = bytes[at];
        let operand =
            last > 0 && (is_name(bytes[last - 1]) || b")]}\"'".contains(&bytes[last - 1]));
        let mut next = at + 1;
        match byte {
            _ if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'"' | b'\'' => next = string_end(bytes, at),
            b'(' | b'[' | b'{' => {
                let literal = !targets && (!operand || KEYWORDS.contains(&&bytes[begin..last]));
                open.push(Open { literal, at, ..Open::new(byte, operand) });
            }
            b':' => {
                if let Some(bracket) = open.last_mut() {
                    bracket.colon = true;
                }
            }
            b',' => {
                if let Some(bracket) = open.last_mut() {
                    bracket.comma = true;
                }
            }
            b')' | b']' | b'}' => {
                let closed = open.pop().unwrap_or(Open::new(byte, false));
                // A method that follows charges for the copy, and takes a part of a list.
                if !matches!(bytes.get(space(bytes, next)), Some(b'.' | b'[' | b'(')) {
                    if closed.is_slice() {
                        add(next, COPIED);
                    } else if closed.is_made(last) {
                        add(next, NESTED);
                    }
                }
            }
            b'=' if bytes.get(next) != Some(&b'=') => {
                if targets && !loops && bytes[2..at].contains(&b'.') {
                    set = Some(next);
                }
                targets = false;
            }
            b'=' | b'!' | b'<' | b'>' => {
                next += usize::from(bytes.get(next) == Some(&b'='));
                if operand {
                    add(last, SEARCHED);
                }
            }
            b'*' if bytes.get(next) == Some(&b'*') => next += 1,
            // A number's exponent.
            b'+' if bytes[begin].is_ascii_digit() && matches!(bytes[at - 1], b'e' | b'E') => {}
            b'~' | b'+' | b'*' if operand => {
                let meter = if byte == b'*' { REPEATED } else { COPIED };
                add(last, meter);
                add(operand_end(bytes, next, &ends), meter);
            }
            _ if is_name(byte) => {
                begin = at;
                next = skip(bytes, at, is_name);
                let attribute = last > 0 && bytes[last - 1] == b'.';
                if &bytes[begin..next] == b"in" && operand && !attribute {
                    // The first one of a loop searches nothing.
                    targets = false;
                    if !std::mem::take(&mut loops) {
                        add(operand_end(bytes, next, &ends), SEARCHED);
                    }
                }
            }
            _ => {}
        }
        (last, at) = (next, next);
    }
    if let Some(start) = set {
        found.entry(start).or_default().push('(');
        found.entry(last).or_default().push_str(&format!(")|{NESTED}"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meters_stand_behind_what_is_copied() {
        let copied = |text: &str| text.replace('@', &format!("|{COPIED}"));
        let repeated = |text: &str| text.replace('#', &format!("|{REPEATED}"));
        for expected in [
            "{{ a@ ~ b@ }}",
            "{%- set x = ns.x@ + m['a~b'].c('+') | trim@ -%}",
            "{{ (a@ ~ b@)@ ~ - c.d[0](1)@ }}",
            "{{ x[1:]@ }}{{ x[1:].y }}{{ {} }}{{ f(*a, **b) }}{{ 2 ** 3 }}",
            "{% if a is string@ ~ 'b'@ %}a ~ b{% endif %}{# a ~ b #}",
            "{% raw %}{{ a ~ b }}{% endraw %}{{ 1e+5 }}{{ e@ + 5@ }}",
            "{{ '}}' ~ \"%}\"@ }}{% set x %}{% endset %}",
            "{% set x = y[1:]@%}{{y[1:]@}}{{-y[1:]@-}}{{ é@~é@}}",
            "{{ a[1:]@        ",
            "{{ a",
            "{{ a ~",
            "{{",
            "{%",
        ] {
            let expected = expected.replace("'}}' ~", "'}}'@ ~");
            assert_eq!(prepared(&expected.replace('@', "")), copied(&expected));
        }
        assert_eq!(prepared("{{ n * 'x' }}"), repeated("{{ n# * 'x'# }}"));
        let searched = |text: &str| text.replace('@', &format!("|{SEARCHED}"));
        for expected in [
            "{% if 'a' in b.c@ and d not in (e)@ %}{% endif %}",
            "{% for a in b if a in c@ %}{{ a.in }}{% endfor %}",
            "{%- for x in f('in', y in z@) -%}{% endfor %}",
            "{% if a.b@ == 'c' or f(1)@ != d or x@ <= y or x@ > y %}{% set x = a@ == b %}{% endif %}",
            "{{ f(a=b) }}{{ '==' }}{{ (a if b@ < c else d)@ >= e }}",
            "{{ inside in within@ }}{% raw %}{% a in b %}{%- endraw +%}{{ a in b@ }}",
        ] {
            assert_eq!(prepared(&expected.replace('@', "")), searched(expected));
        }
        let nested = |text: &str| text.replace('@', &format!("|{NESTED}"));
        for expected in [
            "{{ [a]@ }}{{ {'a': [1, b]@}@ }}{{ (a, b)@ }}{{ (a) }}{{ f(a, b) }}{{ [] }}{{ { } }}",
            "{% set x = a if [b]@ else [c]@ -%}{% set (a, b) = c %}{% set a, (b, c) = d %}",
            "{% for a, (b, c) in [[d, e]@]@ %}{{ a[b] }}{{ [a, b][0] }}{{ {'a': b}.items() }}",
            "{% call(a, b) c([d]@) %}{% endcall %}{% macro a(b=[c]@, d=()) %}{% endmacro %}",
        ] {
            assert_eq!(prepared(&expected.replace('@', "")), nested(expected));
        }
        let set = format!("{{%- set a.b =( c or d)|{NESTED} -%}}{{% set a.b %}}{{% endset %}}");
        assert_eq!(prepared("{%- set a.b = c or d -%}{% set a.b %}{% endset %}"), set);
        let both = format!("{{{{ a in [b, c]|{SEARCHED}|{NESTED} }}}}");
        assert_eq!(prepared("{{ a in [b, c] }}"), both);
        let generation = "{%- generation +%}x{% endgeneration %}";
        assert_eq!(prepared(generation), "{%- if true +%}x{% endif %}");
    }

    #[test]
    fn long_texts_are_metered_away_from_the_tags() {
        let long = format!("\n {{ {}\n", "word ".repeat(200));
        let text = prepared(&format!("{{% if a %}}{long}{{% endif %}}"));
        let meter = format!("{{{{ {PRINTED}({}) }}}}", long.len());
        assert!(text.contains(&format!("\n {{ w{meter}ord")), "{text}");
        assert_eq!(text.replace(&meter, ""), format!("{{% if a %}}{long}{{% endif %}}"));
    }
}
