//! Finds the words that introduce a final answer: "the answer is", `\boxed{…}`, `####`.

/// The text after the last "answer is", "answer:" and the like, in any case. "choice" and
/// "option" count like "answer".
pub(super) fn after_last(answer: &str) -> Option<&str> {
    // ASCII lower case leaves byte offsets unchanged.
    let lower = answer.to_ascii_lowercase();
    let starts = ["answer", "choice", "option"].into_iter().flat_map(|noun| {
        lower.match_indices(noun).filter_map(move |(at, _)| announced(answer, at + noun.len()))
    });
    starts.max().map(|at| &answer[at..])
}

/// The offset after ":" or a verb such as "is" that follows a noun ending at `from`.
fn announced(answer: &str, from: usize) -> Option<usize> {
    const ASIDES: [&str; 3] = ["to the question", "to this question", "to this"];
    const VERBS: [&str; 4] = ["is", "would be", "should be", "must be"];
    let mut rest = decoration(&answer[from..]);
    for aside in ASIDES {
        if let Some(after) = strip_word(rest, aside) {
            rest = decoration(after);
        }
    }
    let rest = rest
        .strip_prefix(':')
        .or_else(|| VERBS.into_iter().find_map(|verb| strip_word(rest, verb)))?;
    Some(answer.len() - rest.len())
}

/// Removes leading spaces and Markdown emphasis.
pub(super) fn decoration(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '*', '_'])
}

/// The rest of `text` after the whole word `word`, compared without case.
pub(super) fn strip_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let head = text.get(..word.len())?;
    let rest = &text[word.len()..];
    let ends = !rest.starts_with(char::is_alphanumeric);
    (head.eq_ignore_ascii_case(word) && ends).then_some(rest)
}

/// The content of the last `\boxed{…}`, with balanced braces.
pub(super) fn last_boxed(answer: &str) -> Option<&str> {
    const OPEN: &str = "\\boxed{";
    let inside = &answer[answer.rfind(OPEN)? + OPEN.len()..];
    let mut depth = 1_usize;
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&inside[..at]);
        }
    }
    None
}

/// The rest of the line after the last `####`.
pub(super) fn after_hashes(answer: &str) -> Option<&str> {
    let tail = &answer[answer.rfind("####")? + 4..];
    tail.lines().next()
}

/// The text up to its first line break or the end of its first sentence.
pub(super) fn clause(text: &str) -> &str {
    let text = text.trim_start();
    let line = text.lines().next().unwrap_or_default();
    let ends = line.match_indices(['.', '!', '?', ';']).map(|(at, _)| at);
    let end = ends.into_iter().find(|&at| {
        let rest = &line[at + 1..];
        rest.is_empty() || rest.starts_with(char::is_whitespace)
    });
    &line[..end.unwrap_or(line.len())]
}
