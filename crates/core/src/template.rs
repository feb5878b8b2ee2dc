//! Templates with placeholders in braces, such as `{question}`.

/// Literal text, a placeholder's name, or a brace without a partner.
enum Part<'t> {
    Text(&'t str),
    Place(&'t str),
    Unclosed(&'t str),
}

fn parts(template: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        let at = match rest.find(['{', '}']) {
            None if rest.is_empty() => return None,
            None => return Some(Part::Text(std::mem::take(&mut rest))),
            Some(0) => 0,
            Some(at) => {
                let text;
                (text, rest) = rest.split_at(at);
                return Some(Part::Text(text));
            }
        };
        let tail = &rest[at..];
        if tail.starts_with("{{") || tail.starts_with("}}") {
            rest = &tail[2..];
            return Some(Part::Text(&tail[..1]));
        }
        let Some(end) = tail.find('}').filter(|&end| end > 0) else {
            rest = "";
            return Some(Part::Unclosed(tail));
        };
        rest = &tail[end + 1..];
        Some(Part::Place(&tail[1..end]))
    })
}

/// The placeholders of a template, of those that are known. `{{` and `}}` are literal braces.
///
/// # Errors
/// An unknown placeholder, or a brace without a partner, in words.
pub fn places<'t>(template: &'t str, known: &[&str]) -> Result<Vec<&'t str>, String> {
    let mut found = Vec::new();
    for part in parts(template) {
        match part {
            Part::Text(_) => {}
            Part::Place(name) if known.contains(&name) => found.push(name),
            Part::Place(name) => {
                let known = known.join("}, {");
                return Err(format!(
                    "{{{name}}} is unknown; expected {{{known}}}, or {{{{ for a literal brace"
                ));
            }
            Part::Unclosed(rest) => {
                return Err(format!(
                    "the brace at {rest:?} is not matched; write {{{{ or }}}} for a literal brace"
                ));
            }
        }
    }
    Ok(found)
}

/// A template with values in the places of its placeholders. What stands in a value is no placeholder.
/// A place without a value is left empty.
#[must_use]
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    parts(template)
        .map(|part| match part {
            Part::Text(text) | Part::Unclosed(text) => text,
            Part::Place(name) => {
                values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
            }
        })
        .collect()
}
