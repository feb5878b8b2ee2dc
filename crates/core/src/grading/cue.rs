//! Finds the words that introduce a final answer: "the answer is", `\boxed{…}`, `####`.

/// Nouns that announce an answer with one of [`VERBS`] or a colon.
const NOUNS: [&str; 4] = ["answer", "choice", "option", "solution"];
const VERBS: [&str; 6] = ["is", "would be", "should be", "must be", "will be", "are"];
/// Verbs whose object is the answer.
const CHOOSING: [&str; 8] =
    ["choose", "chose", "choosing", "pick", "select", "go with", "going with", "opt for"];
/// Announcements in other languages, their verb included.
const FOREIGN: [&str; 27] = [
    "答案是",
    "答案为",
    "答案應為",
    "答案应为",
    "答案应该是",
    "答案：",
    "答案:",
    "故选",
    "应选",
    "選擇",
    "选择",
    "答えは",
    "正解は",
    "정답은",
    "답은",
    "respuesta es",
    "respuesta:",
    "réponse est",
    "réponse:",
    "réponse :",
    "antwort ist",
    "antwort lautet",
    "antwort:",
    "resposta é",
    "risposta è",
    "ответ:",
    "ответ —",
];
/// First words of a sentence that takes back the one before it.
const CORRECTIONS: [&str; 12] = [
    "wait",
    "no",
    "actually",
    "sorry",
    "correction",
    "oops",
    "hmm",
    "hold on",
    "but wait",
    "but no",
    "however",
    "on second thought",
];

/// The first of the values that markers give, each with the text that follows it, in order.
/// If the text corrects itself right after a value, the next one counts instead.
pub(super) fn settled<'t, T>(values: impl Iterator<Item = (T, &'t str)>) -> Option<T> {
    let mut found = None;
    for (value, rest) in values {
        found = Some(value);
        if !corrects(rest) {
            break;
        }
    }
    found
}

/// Whether the sentence after this one takes it back.
fn corrects(rest: &str) -> bool {
    let sentence = &rest[clause_end(rest).unwrap_or(rest.len())..];
    let sentence = sentence.trim_start_matches(|c: char| !c.is_alphanumeric());
    CORRECTIONS.iter().any(|word| strip_word(sentence, word).is_some())
}

/// How a tail was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Announced {
    /// By "answer" or "solution": the answer may stand anywhere in the sentence.
    Answer,
    /// By "choice", "option" or a verb of choosing: the answer follows directly.
    Directly,
}

/// The tails after "answer is", "answer:", "I choose" and the like, in any case, in order.
pub(super) fn stated(answer: &str) -> Vec<(Announced, &str)> {
    // ASCII lower case leaves byte offsets unchanged.
    let lower = answer.to_ascii_lowercase();
    let mut starts: Vec<(usize, Announced)> = Vec::new();
    for noun in NOUNS {
        let sort = if matches!(noun, "answer" | "solution") {
            Announced::Answer
        } else {
            Announced::Directly
        };
        let found = lower.match_indices(noun);
        let found = found.filter_map(|(at, _)| announced(answer, at + noun.len()));
        starts.extend(found.map(|at| (at, sort)));
    }
    for words in FOREIGN {
        let found = lower.match_indices(words).map(|(at, _)| at + words.len());
        starts.extend(found.map(|at| (at, Announced::Answer)));
    }
    for verb in CHOOSING {
        for (at, _) in lower.match_indices(verb) {
            let before = lower[..at].trim_end();
            let begins = !lower[..at].ends_with(char::is_alphanumeric);
            if begins && !negated(before) && strip_word(&answer[at..], verb).is_some() {
                starts.push((at + verb.len(), Announced::Directly));
            }
        }
    }
    starts.sort_unstable();
    starts.dedup_by_key(|(at, _)| *at);
    starts.into_iter().map(|(at, sort)| (sort, &answer[at..])).collect()
}

/// Whether text ends in a negation.
pub(super) fn negated(before: &str) -> bool {
    let before = before.trim_end_matches([' ', '(', '*', '_', '"', '\'']);
    let before = ["option", "choice", "letter", "answer"]
        .iter()
        .find_map(|word| before.strip_suffix(word))
        .unwrap_or(before)
        .trim_end();
    let word = before.rsplit(|c: char| !c.is_alphanumeric() && c != '\'' && c != '’').next();
    let word = word.unwrap_or_default().to_ascii_lowercase();
    matches!(word.as_str(), "not" | "never" | "neither" | "nor" | "cannot")
        || word.ends_with("n't")
        || word.ends_with("n’t")
}

/// The offset after ":" or a verb such as "is" that follows a noun ending at `from`.
fn announced(answer: &str, from: usize) -> Option<usize> {
    const ASIDES: [&str; 3] = ["to the question", "to this question", "to this"];
    let mut rest = decoration(&answer[from..]);
    for aside in ASIDES {
        if let Some(after) = strip_word(rest, aside) {
            rest = decoration(after);
        }
    }
    let rest = rest
        .strip_prefix(':')
        .or_else(|| rest.strip_prefix('：'))
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

/// The content of every complete `\boxed{…}` with balanced braces, and what follows it.
pub(super) fn boxed(answer: &str) -> impl Iterator<Item = (&str, &str)> {
    const OPEN: &str = "\\boxed{";
    answer.match_indices(OPEN).filter_map(|(at, _)| {
        let inside = &answer[at + OPEN.len()..];
        let end = closing_brace(inside)?;
        Some((&inside[..end], &inside[end + 1..]))
    })
}

/// Where the brace is that closes the one before the text.
pub(super) fn closing_brace(inside: &str) -> Option<usize> {
    let mut depth = 1_usize;
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The rest of the line after every `####`, and what follows that line.
pub(super) fn hashes(answer: &str) -> impl Iterator<Item = (&str, &str)> {
    answer.match_indices("####").map(|(at, _)| {
        let tail = &answer[at + 4..];
        tail.split_at(tail.find('\n').unwrap_or(tail.len()))
    })
}

/// The text up to its first line break or the end of its first sentence.
pub(super) fn clause(text: &str) -> &str {
    let text = text.trim_start();
    &text[..clause_end(text).unwrap_or(text.len())]
}

/// What follows the first clause; `None` if nothing ends it.
pub(super) fn after_clause(text: &str) -> Option<&str> {
    let text = text.trim_start();
    clause_end(text).map(|end| &text[end..])
}

/// Where a line break or a full stop, with space after it, ends the first sentence. A full
/// stop at the very end counts as well.
fn clause_end(text: &str) -> Option<usize> {
    let line = text.find('\n');
    let head = &text[..line.unwrap_or(text.len())];
    let mut stops = head.match_indices(['.', '!', '?', ';', '。']).map(|(at, _)| at);
    let stop = stops.find(|&at| {
        let mut rest = head[at..].chars();
        let stop = rest.next();
        stop == Some('。') || rest.next().is_none_or(char::is_whitespace)
    });
    stop.or(line)
}

/// The text before a next question that the model asks itself. A question at the very
/// beginning is the one that it answers.
pub(super) fn before_next_question(answer: &str) -> &str {
    let mut at = 0;
    for line in answer.split_inclusive('\n') {
        let head = line.trim_start_matches([' ', '\t', '#', '*', '_']);
        let asks = ["question:", "q:"]
            .iter()
            .any(|word| head.get(..word.len()).is_some_and(|h| h.eq_ignore_ascii_case(word)));
        if asks && !answer[..at].trim().is_empty() {
            return &answer[..at];
        }
        at += line.len();
    }
    answer
}
