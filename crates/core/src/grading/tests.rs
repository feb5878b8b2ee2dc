//! Hard cases of every grader.

use super::*;
use crate::Choices;

fn asked(grader: Grader, texts: &[&str], key: &str) -> Question {
    Question {
        id: "q".into(),
        question: "Which?".into(),
        choices: Choices {
            label: ["A", "B", "C", "D", "E"][..texts.len()].iter().map(|&l| l.into()).collect(),
            text: texts.iter().map(|&t| t.into()).collect(),
        },
        answer_key: key.into(),
        grader,
        cot: None,
        family: None,
        steps: None,
        operands: None,
        program: None,
    }
}

fn check(question: &Question, cases: &[(&str, bool)]) {
    for (answer, right) in cases {
        assert_eq!(grade(question, answer, true), *right, "{:?}: {answer:?}", question.grader);
    }
}

#[test]
fn only_a_stated_right_letter_counts() {
    let cases = [
        ("1+1=2. So the answer is 2 (B).", true),
        ("1+1=2. So the answer is 2 (C).", false),
        ("(B) 1+1=2.", false),
        ("the answer is 1 (A). No, the answer is 2 (B).", true),
        ("the answer is 2 (Z).", false),
        ("", false),
    ];
    check(&asked(Grader::StatedLetter, &["1", "2", "3"], "B"), &cases);
}

/// As Qwen3 answers with thinking on.
#[test]
fn a_models_thinking_is_no_part_of_its_answer() {
    let thinking = "<think>\nThe answer is 1 (A)? No.\n#### 1\n</think>\n\n";
    let letter = asked(Grader::StatedLetter, &["1", "2", "3"], "B");
    let number = asked(Grader::FinalNumber, &[], "2");
    let text = asked(Grader::Text, &[], "two");
    for (question, answer) in
        [(&letter, "The answer is 2 (B)."), (&number, "#### 2\n"), (&text, "\\boxed{two}")]
    {
        for ended in [true, false] {
            let with = |before: &str| grade(question, &format!("{before}{answer}"), ended);
            assert!(with(""), "{answer:?}, ended: {ended}");
            assert!(with(thinking), "{answer:?} after thinking, ended: {ended}");
            // With thinking off the template closes an empty one in the prompt.
            assert!(with("<think>\n\n</think>\n\n"));
            // A prompt that opens the thinking leaves its end to the answer.
            assert!(with("So it is 1, the answer is 1 (A).\n</think>\n\n"));
            assert!(!with("<think>\n"), "{answer:?} within the thinking");
        }
    }
    // A right answer in the thinking alone is none.
    assert!(!grade(&number, "<think>\n#### 2\n</think>\n\n#### 3", true));
    assert!(!grade(&number, "<think>\n#### 2\n</think>\n\n", true));
    assert!(same_answer(&number, ("<think>#### 2\n", true), ("<think>#### 3\n", true)));
}

#[test]
fn choice_letters() {
    let texts = ["a cat", "bank", "library", "mall", "new york"];
    let cases = [
        ("B", true),
        ("b", true),
        (" B\n", true),
        ("B.", true),
        ("B) bank", true),
        ("(B) bank", true),
        ("(b)", true),
        ("**B**", true),
        ("B. bank\n\nA revolving door is for security.", true),
        ("Answer: B", true),
        ("**Answer:** B", true),
        ("ANSWER: (B)", true),
        ("The answer is B.", true),
        ("The answer is: B", true),
        ("The correct answer is **B) bank**.", true),
        ("The correct option is B, because banks need security.", true),
        ("The answer to the question is B.", true),
        ("The answer would be option B.", true),
        ("So the answer is bank (B).", true),
        ("The answer is a bank, so B.", true),
        ("The answer is not (A) but (B).", true),
        ("The answer is not A, it is B.", true),
        ("The answer is A. Wait: the answer is B.", true),
        ("The answer is (B), not (C).", true),
        ("$\\boxed{B}$", true),
        ("\\boxed{\\text{B}}", true),
        ("Thinking about doors...\n\nB", true),
        ("A revolving door suggests security, as in (B).", true),
        ("B is the best choice.", true),
        ("A is wrong. The answer is B", true),
        ("The answer is (A)", false),
        ("The answer is not (B).", false),
        ("The answer is Bank", false),
        ("The answer is bank", false),
        ("Bank", false),
        ("B-sides are songs", false),
        ("A bank.", false),
        ("(A) or (B)", false),
        ("The answer is (F).", false),
        ("The answer is", false),
        ("The answer is B's neighbour", false),
        ("", false),
    ];
    check(&asked(Grader::ChoiceLetter, &texts, "B"), &cases);
    let cases = [
        ("A", true),
        ("A.", true),
        ("A because cats purr", true),
        ("A bank is where money is.", false),
        ("The answer is a bank.", false),
        ("The answer is A because cats purr.", true),
    ];
    check(&asked(Grader::ChoiceLetter, &texts, "A"), &cases);
}

#[test]
fn choice_texts() {
    let texts = ["race", "race track", "the Bank", "don't know", "-5"];
    let cases = [
        ("race track", true),
        ("Race Track.", true),
        ("The race-track!", true),
        ("A race track is where horses run.", true),
        ("The answer is race track, not the bank.", true),
        ("A bank? No. The answer is the race track.", true),
        ("\\boxed{race track}", true),
        ("\\boxed{\\text{Race track}}", true),
        ("a race", false),
        ("a race or the bank", false),
        ("race track or bank", false),
        ("race tracks", false),
        ("The answer is bank. Horses run on a race track.", false),
        ("B", false),
        ("", false),
    ];
    check(&asked(Grader::ChoiceText, &texts, "B"), &cases);
    check(
        &asked(Grader::ChoiceText, &texts, "C"),
        &[("It is a bank.", true), ("embankment", false)],
    );
    check(&asked(Grader::ChoiceText, &texts, "D"), &[("I don’t know", true), ("I know", false)]);
    check(&asked(Grader::ChoiceText, &texts, "E"), &[("it is -5", true), ("it is 5", false)]);
}

#[test]
fn a_letter_outranks_a_text_and_a_text_will_do() {
    let cases = [
        ("The answer is B", true),
        ("The answer is a dog", true),
        ("dog", true),
        ("The answer is dog (A)", false),
        ("cat", false),
    ];
    check(&asked(Grader::Choice, &["cat", "dog"], "B"), &cases);
}

#[test]
fn final_numbers() {
    let cases = [
        ("1234.5", true),
        ("It is 2 * 617.25 = 1234.5\n#### 1234.5", true),
        ("#### 1,234.50", true),
        ("####1234.500", true),
        ("\\boxed{1234.5}", true),
        ("$\\boxed{\\$1{,}234.50}$", true),
        ("\\boxed{1,\\!234.5\\text{ dollars}}", true),
        ("\\boxed{\\frac{2469}{2}}", true),
        ("The answer is $1,234.50.", true),
        ("The answer is: 2469/2", true),
        ("The answer is 1000 + 234.5 = 1234.5 dollars.", true),
        ("The answer is **1234.5**. That leaves 7.", true),
        ("First 3, then 4; in all 1234.5 dollars", true),
        ("So we get 01234.5.", true),
        ("He pays 1234.5$ on the 2nd day", true),
        ("#### 1234.5\n", true),
        ("The answer is 7. No: #### 1234.5", true),
        ("1,2345", false),
        ("#### -1234.5", false),
        ("−1234.5", false),
        ("12345", false),
        ("#### 1234,5", false),
        ("x1234.5", false),
        ("\\boxed{7}, not 1234.5", false),
        ("1234.5 and then 3", false),
        ("1234.5/0", false),
        ("no number", false),
        ("", false),
    ];
    check(&asked(Grader::FinalNumber, &[], "1234.5"), &cases);
    let cases = [
        ("#### 18", true),
        ("She makes 9 * 2 = $18 every day", true),
        ("18%", true),
        ("18.00", true),
        ("It is 18 apples (A4 paper).", true),
        ("10-28", false),
        ("\\boxed{}", false),
        ("18th", false),
        ("18000000000000000000000000000000000000000000", false),
    ];
    check(&asked(Grader::FinalNumber, &[], "18"), &cases);
    let cases = [("-5", true), ("−5", true), ("-$5", true), ("(-5)", true), ("10-5", false)];
    check(&asked(Grader::FinalNumber, &[], "-5"), &cases);
}

#[test]
fn free_text() {
    let cases = [
        ("Paris", true),
        ("the answer is Paris.", true),
        ("France's capital.\n#### paris", true),
        ("\\boxed{Paris}", true),
        ("Thinking...\nParis\n\n", true),
        ("Paris is in France", false),
        ("", false),
    ];
    check(&asked(Grader::Text, &[], "Paris"), &cases);
}

/// Cuts a text of difficult marks at every position. No grader slices inside a character.
#[test]
fn no_text_breaks_a_grader() {
    let nasty = "The answer is é “\\boxed{−\\frac{1}{0}} (B #### −€,5.5/ 1,000,00 \\boxed{{ ’s (ß) answer:… (";
    for (at, _) in nasty.char_indices() {
        for text in [&nasty[..at], &nasty[at..]] {
            for grader in [
                Grader::StatedLetter,
                Grader::ChoiceLetter,
                Grader::ChoiceText,
                Grader::Choice,
                Grader::FinalNumber,
                Grader::Text,
            ] {
                let question = asked(grader, &["é", "ß"], "B");
                let _ = (grade(&question, text, true), grade(&question, text, false));
            }
        }
    }
}

#[test]
fn hard_answers_of_real_models() {
    let letters = |key| asked(Grader::Choice, &["bank", "library", "mall"], key);
    check(
        &letters("B"),
        &[
            ("I would choose option B because A is wrong.", true),
            ("I'd go with (B), since (A) is closed.", true),
            ("I would pick the answer B.", true),
            ("I would not choose A. I would choose B.", true),
            ("It is (B), not (A).", true),
            ("It is not (A) but (B).", true),
            ("(A) is wrong. (B) is the correct answer.", true),
            ("A is incorrect, and B is correct.", true),
            ("答案是B", true),
            ("所以答案是B选项。", true),
            ("La respuesta es B.", true),
            ("答えはBです。", true),
            ("The answer is (B). Question: why not (A)? The answer is (A).", true),
            ("The answer is (B).\n\nQuestion: Where?\n\nThe answer is (A).", true),
            ("The answer is (A). Wait, that is shut on Sundays. The answer is (B).", true),
            ("The answer is (A). No, the answer is (B).", true),
            ("\\boxed{A}. Wait, that is shut on Sundays. \\boxed{B}", true),
            ("\\boxed{bank}. No, it is \\boxed{library}.", true),
            ("\\boxed{B}\n\nQuestion: Where?\n\n\\boxed{A}", true),
            ("The answer is (A). The answer is (B).", false),
            ("I would choose A or B.", false),
            ("It is not (B) but (A).", false),
            ("I don't choose B.", false),
        ],
    );
    check(&letters("A"), &[("It is not (B) but (A).", true), ("答案是A", true)]);
    let number = |key| asked(Grader::FinalNumber, &[], key);
    check(
        &number("18"),
        &[
            ("#### 18\n\nQuestion: Tom has 5 apples.\n#### 5", true),
            ("#### 18\n#### 5", true),
            ("The answer is 18. The answer is 5.", true),
            ("The answer is 5. Wait, no. The answer is 18.", true),
            ("The answer is eighteen.", true),
            ("2 * 9 = 18\n\nQuestion: Tom has 5 apples.", true),
            ("Question: How many?\nAnswer: 18", true),
        ],
    );
    check(&number("12"), &[("The answer is twelve.", true), ("She has twelve.", false)]);
    check(&number("121"), &[("The answer is one hundred and twenty-one.", true)]);
    check(&number("1500000"), &[("The answer is 1.5 million.", true), ("#### $1.5 million", true)]);
    check(&number("3000"), &[("The answer is 3 thousand dollars.", true)]);
}

#[test]
fn a_cut_answer_counts_only_with_a_complete_marker() {
    let cases: [(Grader, &str, &str, bool); 14] = [
        (Grader::Choice, "B", "Banks lend. The answer is (B)", true),
        (Grader::Choice, "B", "The answer is (B) because it", true),
        (Grader::Choice, "B", "The answer is (B", false),
        (Grader::Choice, "B", "The answer is B", false),
        (Grader::Choice, "B", "The answer is B.", true),
        (Grader::Choice, "B", "(B) library. It has", false),
        (Grader::Choice, "B", "The answer is libra", false),
        (Grader::Choice, "B", "The answer is library. It", true),
        (Grader::FinalNumber, "18", "#### 18", false),
        (Grader::FinalNumber, "18", "#### 18\n", true),
        (Grader::FinalNumber, "18", "\\boxed{18}", true),
        (Grader::FinalNumber, "18", "The answer is 18. So", true),
        (Grader::FinalNumber, "18", "The answer is 18 + ", false),
        (Grader::FinalNumber, "18", "It is 18 and", false),
    ];
    for (grader, key, answer, right) in cases {
        let question = asked(grader, &["bank", "library", "mall"], key);
        assert_eq!(grade(&question, answer, false), right, "{grader:?}: {answer:?}");
    }
    let stated = asked(Grader::StatedLetter, &["1", "2"], "B");
    assert!(grade(&stated, "the answer is 2 (B)", false));
    assert!(!grade(&stated, "the answer is 2 (B", false));
}

#[test]
fn yes_and_no() {
    let yes = [
        ("Yes", true),
        ("yes, because dogs bark.", true),
        ("**Yes**.", true),
        ("True", true),
        ("The answer is yes.", true),
        ("Some say no. The answer is: yes", true),
        ("The answer is not no but yes.", true),
        ("\\boxed{\\text{Yes}}", true),
        ("#### true\n", true),
        ("Dogs bark.\nYes.", true),
        ("The answer is yes. Wait, the answer is no.", false),
        ("No", false),
        ("There is no doubt: dogs bark.", false),
        ("Yesterday it barked.", false),
        ("Nobody knows.", false),
        ("The answer is unknown.", false),
        ("", false),
    ];
    check(&asked(Grader::YesNo, &[], "yes"), &yes);
    let no = asked(Grader::YesNo, &[], "False");
    check(&no, &[("No.", true), ("so the answer is no", true), ("yes", false), ("None", false)]);
    assert!(no.check().is_ok());
    let error = asked(Grader::YesNo, &[], "perhaps").check().expect_err("no truth value");
    assert!(error.to_string().contains("grader yes-no expects yes, no"), "{error}");
    // Cut: "no" might have become "north".
    assert!(!grade(&no, "The answer is no", false));
    assert!(grade(&no, "The answer is no.", false));
}

#[test]
fn latex_is_compared_as_math_does() {
    // Pairs that MATH's or Minerva's comparison calls equal, and pairs that it does not.
    let same = [
        ("\\frac{1}{2}", "\\dfrac12"),
        ("\\frac{1}{2}", "0.5"),
        ("\\frac{1}{2}", ".5"),
        ("-\\frac{3}{4}", "-3/4"),
        ("1,234", "1234"),
        ("10\\%", "10"),
        ("90^\\circ", "90"),
        ("5", "x = 5"),
        ("18\\text{ inches}", "18"),
        ("\\$32,\\!348", "32348"),
        ("\\sqrt{3}", "\\sqrt3"),
        ("\\left(1, 2\\right)", "(1,2)"),
        ("\\text{Evelyn}", "Evelyn"),
        ("2\\sqrt{5}", "2 \\sqrt{5}"),
        ("\\tfrac{a}{b}", "\\frac ab"),
    ];
    let other = [
        ("\\frac{1}{2}", "\\frac{1}{3}"),
        ("1\\frac{1}{2}", "\\frac{11}{2}"),
        ("(1,2)", "(2,1)"),
        ("(1,2)", "[1,2]"),
        ("1,2", "12"),
        ("5", "-5"),
        ("2\\sqrt{5}", "5\\sqrt{2}"),
        ("a=1, b=2", "a=2, b=2"),
        ("x^2", "x^3"),
    ];
    for (pairs, right) in [(&same[..], true), (&other[..], false)] {
        for (key, answer) in pairs {
            let question = asked(Grader::Latex, &[], key);
            question.check().expect("a key");
            for answer in [
                format!("So $\\boxed{{{answer}}}$."),
                format!("The answer is ${answer}$."),
                format!("Thus\n#### {answer}"),
                format!("We get ${answer}$"),
            ] {
                assert_eq!(grade(&question, &answer, true), right, "{key} and {answer}");
            }
        }
    }
    let half = asked(Grader::Latex, &[], "\\frac{1}{2}");
    assert!(grade(&half, "\\boxed{\\frac{1}{2}} and", false), "the box is closed");
    assert!(!grade(&half, "The answer is $\\frac{1}{2}$", false), "the sentence may go on");
    assert!(!grade(&half, "\\boxed{\\frac{1}{2}", true), "no closed box, but a last line");
}
