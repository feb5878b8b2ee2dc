//! Grading: which choice an answer commits to, and whether it is the right one.

use crate::Question;

/// The letter an answer commits to: the last parenthesised choice letter after
/// the last "answer is", as in "…the answer is 12 (B)."
#[must_use]
pub fn answer_letter<'q>(question: &'q Question, answer: &str) -> Option<&'q str> {
    const CUE: &str = "answer is";
    let tail = &answer[answer.rfind(CUE)? + CUE.len()..];
    question
        .choices
        .label
        .iter()
        .filter_map(|label| tail.rfind(&format!("({label})")).map(|at| (at, label.as_str())))
        .max()
        .map(|(_, label)| label)
}

/// Whether the answer commits to the right choice. No commitment is wrong.
#[must_use]
pub fn grade(question: &Question, answer: &str) -> bool {
    answer_letter(question, answer) == Some(question.answer_key.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Choices;

    #[test]
    fn only_a_committed_right_letter_counts() {
        let question = Question {
            id: "q".into(),
            question: "How many?".into(),
            choices: Choices {
                label: ["A", "B", "C"].map(String::from).to_vec(),
                text: ["1", "2", "3"].map(String::from).to_vec(),
            },
            answer_key: "B".into(),
            cot: None,
            family: None,
            steps: None,
            operands: None,
        };
        for (answer, right) in [
            ("1+1=2. So the answer is 2 (B).", true),
            ("1+1=2. So the answer is 2 (C).", false),
            ("(B) 1+1=2.", false),
            ("the answer is 1 (A). No, the answer is 2 (B).", true),
            ("the answer is 2 (Z).", false),
            ("", false),
        ] {
            assert_eq!(grade(&question, answer), right, "{answer}");
        }
    }
}
