//! Public question sets: hand-made rows of every schema, real rows if present, and damaged
//! files.

use std::fs;
use std::path::{Path, PathBuf};

use tokenroute_core::{Grader, Question, grade};
use tokenroute_store::{Schema, load_questions};

fn load(schema: Schema, lines: &str) -> Result<Vec<Question>, String> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("rows.jsonl");
    fs::write(&path, lines).expect("a write");
    load_questions(&path, schema, None).map_err(|e| e.to_string())
}

fn one(schema: Schema, line: &str) -> Question {
    load(schema, line).unwrap_or_else(|e| panic!("{e}")).remove(0)
}

#[test]
fn every_schema_gives_letters_texts_and_the_key() {
    let cases = [
        // CommonsenseQA and ARC as on the Hugging Face Hub.
        (
            Schema::CommonsenseQa,
            r#"{"id":"7","question":"What barks?","question_concept":"bark","choices":{"label":["A","B"],"text":["cat","dog"]},"answerKey":"B"}"#,
        ),
        (
            Schema::Arc,
            r#"{"id":"7","question":"What barks?","choices":{"text":["cat","dog"],"label":["1","2"]},"answerKey":"2"}"#,
        ),
        (
            Schema::OpenbookQa,
            r#"{"id":"7","question_stem":"What barks?","choices":{"text":["cat","dog"],"label":["A","B"]},"answerKey":"B"}"#,
        ),
        // The original lines of CommonsenseQA and OpenBookQA.
        (
            Schema::CommonsenseQa,
            r#"{"answerKey":"B","id":"7","question":{"question_concept":"bark","choices":[{"label":"A","text":"cat"},{"label":"B","text":"dog"}],"stem":"What barks?"}}"#,
        ),
        (
            Schema::OpenbookQa,
            r#"{"id":"7","question":{"stem":"What barks?","choices":[{"text":"cat","label":"A"},{"text":"dog","label":"B"}]},"answerKey":"B"}"#,
        ),
        (Schema::Mmlu, r#"{"id":"7","question":"What barks?","choices":["cat","dog"],"answer":1}"#),
        (Schema::Mmlu, r#"{"id":7,"question":"What barks?","choices":["cat","dog"],"answer":"B"}"#),
        (
            Schema::Plain,
            r#"{"id":"7","question":"What barks?","choices":["cat","dog"],"answer":"dog"}"#,
        ),
        (
            Schema::Plain,
            r#"{"id":"7","question":"What barks?","choices":[{"label":"x","text":"cat"},{"label":"y","text":"dog"}],"answerKey":"y"}"#,
        ),
    ];
    for (schema, line) in cases {
        let question = one(schema, line);
        assert_eq!(question.id, "7", "{schema:?}");
        assert_eq!(question.prompt(), "What barks?\ncat A dog B\n", "{schema:?}");
        assert_eq!(question.answer_key, "B", "{schema:?}");
        assert_eq!(question.grader, Grader::Choice, "{schema:?}");
        assert!(grade(&question, "The answer is a dog.", true), "{schema:?}");
    }
}

#[test]
fn free_answers_are_numbers_or_words() {
    let line = r#"{"question":"How many?","answer":"She has 16 - 3 = <<16-3=13>>13 eggs.\nThat is 13 * 100 = $<<13*100=1300>>1300.\n#### 1,300"}"#;
    let question = one(Schema::Gsm8k, line);
    assert_eq!(question.answer_key, "1300");
    let rationale = "She has 16 - 3 = 13 eggs.\nThat is 13 * 100 = $1300.\n#### 1300";
    assert_eq!(question.cot.as_deref(), Some(rationale));
    assert!(grade(&question, rationale, true) && grade(&question, "\\boxed{1,300.00}", true));
    assert_eq!(question.id, "rows-1");

    let question = one(Schema::Plain, r#"{"question":"6 * 7?","answer":42,"family":"products"}"#);
    assert_eq!(
        (question.grader, question.family.as_deref()),
        (Grader::FinalNumber, Some("products"))
    );
    let question =
        one(Schema::Plain, r#"{"question":"Capital?","answer":"Paris","cot":"It is Paris."}"#);
    assert_eq!((question.grader, question.cot.as_deref()), (Grader::Text, Some("It is Paris.")));
}

#[test]
fn rows_without_an_id_are_numbered_and_a_grader_can_be_given() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("test-00000.jsonl");
    let row = r#"{"question":"Is it?","choices":["yes","no"],"answer":0,"subject":"logic"}"#;
    fs::write(&path, format!("{row}\n\n{row}\n")).expect("a write");
    let questions =
        load_questions(&path, Schema::Mmlu, Some(Grader::ChoiceLetter)).expect("good rows");
    let ids: Vec<_> = questions.iter().map(|q| q.id.as_str()).collect();
    assert_eq!(ids, ["test-00000-1", "test-00000-3"]);
    assert_eq!(questions[0].grader, Grader::ChoiceLetter);
    assert_eq!(questions[0].family.as_deref(), Some("logic"));
}

/// Rows of our own in the layouts of the published files. An answer that states the key is
/// right, and one that states another key is wrong.
#[test]
fn public_sets_are_graded_by_their_keys() {
    let mmlu_csv = "What barks?,cat,dog,cow,\"a, b\",B\n\"A \"\"quoted\"\" one?\",1,2,3,4,D\n";
    let cases = [
        (Schema::Mmlu, mmlu_csv, &["(B)", "(D)"][..], &["(A)", "(C)"][..]),
        (
            Schema::StrategyQa,
            r#"[{"qid":"s1","term":"Albany","description":"A city","question":"Will Albany reach 100,000 first?","answer":false,"facts":["Albany has 98,000 people.","So do others."],"decomposition":["How many?"],"evidence":[[]]},
               {"qid":"s2","question":"Do dogs bark?","answer":true,"facts":[]}]"#,
            &["no", "yes"],
            &["yes", "no"],
        ),
        (
            Schema::BoolQ,
            r#"{"question":"do dogs bark","answer":true,"passage":"Dogs bark."}
               {"question":"is it a fish?","title":"Whale","answer":false,"passage":"A whale is a mammal."}"#,
            &["yes", "no"],
            &["no", "yes"],
        ),
        (
            Schema::Aqua,
            r#"{"question":"3 * 7?","options":["A)18","B)21","C)24","D)none","E)28"],"rationale":"3 * 7 = 21\nB","correct":"B"}
               {"question":"A train?","options":["A) 5 km ","B)2","C)1/3","D)4","E)9"],"rationale":"It is.","correct":"A"}"#,
            &["(B)", "(A)"],
            &["(C)", "(E)"],
        ),
        (
            Schema::Math,
            r#"{"problem":"Half?","level":"Level 1","type":"Algebra","solution":"It is $0.5 = \\boxed{\\frac12}$."}
               {"problem":"Point?","solution":"First \\fbox{3}, then $\\boxed{(1,\\infty)}$","answer":"(1,\\infty)","subject":"Algebra","unique_id":"test/algebra/1.json"}
               {"problem":"Old?","solution":"So $\\boxed 7$."}"#,
            &["$\\dfrac{1}{2}$", "\\((1, \\infty)\\)", "$7$"],
            &["$\\frac{1}{3}$", "$[1,\\infty)$", "$-7$"],
        ),
        (
            Schema::Asdiv,
            r#"{"body":"Seven red apples and two green apples are in the basket.","question":"How many apples are in the basket?","solution_type":"Addition","answer":"9 (apples)","formula":"7+2=9"}
               {"body":"Ann is older.","question":"Who is younger?","solution_type":"Comparison","answer":"Bob","formula":"-"}"#,
            &["9", "Bob"],
            &["8", "Ann"],
        ),
    ];
    for (schema, file, right, wrong) in cases {
        let questions = load(schema, file).unwrap_or_else(|e| panic!("{schema:?}: {e}"));
        assert_eq!(questions.len(), right.len(), "{schema:?}");
        for ((question, right), wrong) in questions.iter().zip(right).zip(wrong) {
            for (key, expected) in [(right, true), (wrong, false)] {
                let answer = format!("Let us see. The answer is {key}.");
                assert_eq!(grade(question, &answer, true), expected, "{schema:?}: {answer}");
            }
            if let Some(rationale) = &question.cot
                && schema != Schema::Math
            {
                assert!(grade(question, rationale, true), "{schema:?}: {rationale}");
            }
        }
    }
    let question =
        one(Schema::BoolQ, r#"{"question":"do dogs bark","answer":true,"passage":"P."}"#);
    assert_eq!(question.question, "P.\ndo dogs bark?");
    let facts = r#"{"qid":"s1","question":"?","answer":false,"facts":["One.","Two."]}"#;
    let question = one(Schema::StrategyQa, facts);
    assert_eq!(question.id, "s1");
    assert_eq!(question.cot.as_deref(), Some("One. Two.\nThe answer is no."));
    let line = r#"{"problem":"?","type":"Algebra","solution":"So \\boxed{\\frac{1}{2}}"}"#;
    let question = one(Schema::Math, line);
    assert_eq!((question.answer_key.as_str(), question.grader), ("\\frac{1}{2}", Grader::Latex));
    assert_eq!(question.family.as_deref(), Some("Algebra"));
}

/// Written by pyarrow with Snappy, like the Hub's own Parquet files.
#[test]
fn parquet_rows_read_as_lines_do() {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files");
    let path = files.join("commonsense-qa.parquet");
    let questions = load_questions(&path, Schema::CommonsenseQa, None).expect("good rows");
    assert_eq!(questions.len(), 2);
    assert_eq!((questions[1].id.as_str(), questions[1].answer_key.as_str()), ("row-2", "A"));
    assert_eq!(questions[1].choices.text, ["a bank", "Müller’s shop"]);
    let questions =
        load_questions(&files.join("mmlu.parquet"), Schema::Mmlu, None).expect("good rows");
    assert_eq!((questions[0].id.as_str(), questions[0].answer_key.as_str()), ("mmlu-1", "B"));

    // Lists of pairs, nulls, two row groups; gzip and PLAIN, Zstandard and dictionaries.
    for name in ["pairs-gzip.parquet", "pairs-zstd-v2.parquet"] {
        let questions = load_questions(&files.join(name), Schema::Plain, None).expect(name);
        let ids: Vec<_> = questions.iter().map(|q| q.id.as_str()).collect();
        assert_eq!(ids, ["7", "8", "9"], "{name}");
        assert_eq!(
            (questions[1].question.as_str(), questions[1].cot.as_deref()),
            ("Müller?", Some("So."))
        );
        assert_eq!(questions[2].choices.text, ["A!", "B!", "C!"], "{name}");
        assert_eq!((questions[2].answer_key.as_str(), &questions[2].cot), ("C", &None), "{name}");
    }

    let wrong = load_questions(&path, Schema::Gsm8k, None).expect_err("other columns");
    assert!(wrong.to_string().contains("row 1: `answer` is missing; the row has"), "{wrong}");
}

#[test]
fn rows_that_are_no_questions_are_named() {
    use Schema::{Aqua, Arc, Asdiv, BoolQ, CommonsenseQa, Gsm8k, Math, Mmlu, Plain, StrategyQa};
    let cases = [
        (CommonsenseQa, "{", "not a JSON object"),
        (CommonsenseQa, r#"{"stem":"?"}"#, "`question` is missing; the row has stem"),
        (Arc, r#"{"question":3}"#, "`question` is 3; expected a string"),
        (Arc, r#"{"question":"?","answerKey":"A"}"#, "`choices` is missing; expected a list"),
        (Arc, r#"{"question":"?","choices":{"label":["A"],"text":["x","y"]}}"#, "`choices` is {"),
        (Arc, r#"{"question":"?","choices":["x"],"answerKey":"A"}"#, "expected 2 to 26"),
        (Arc, r#"{"question":"?","choices":["x","y"],"answerKey":""}"#, "has no answers"),
        (Arc, r#"{"question":"?","choices":["x","y"],"answerKey":"C"}"#, "expected one of A, B"),
        (Mmlu, r#"{"question":"?","choices":["x","y"],"answer":2}"#, "its index 0 to 1"),
        (Mmlu, r#"{"question":"?","choices":["x","y"],"answer":-1}"#, "`answer` is -1"),
        (Plain, r#"{"question":"?","choices":["x","A"],"answer":"A"}"#, "the text of another"),
        (Plain, r#"{"question":" ","answer":"x"}"#, "`question` is empty"),
        (Plain, r#"{"question":"?"}"#, "`answer` is missing"),
        (Gsm8k, r#"{"question":"?","answer":"18"}"#, "expected it to end in"),
        (Gsm8k, r##"{"question":"?","answer":" #### many"}"##, "expects a number"),
        (
            StrategyQa,
            r#"{"question":"?","answer":"perhaps"}"#,
            "`answer` is \"perhaps\"; expected true",
        ),
        (BoolQ, r#"{"question":"?","answer":true}"#, "`passage` is missing"),
        (Aqua, r#"{"question":"?","options":["1","2"],"correct":"A"}"#, "begin with \"A)\""),
        (Aqua, r#"{"question":"?","options":["A)1","B)2"],"correct":"C"}"#, "`correct` is C"),
        (Math, r#"{"problem":"?","solution":"none"}"#, "expected it to have its answer in \\boxed"),
        (Asdiv, r#"{"body":"b","question":"?","answer":" (apples)"}"#, "expected a value"),
    ];
    for (schema, line, cause) in cases {
        let error = load(schema, &format!("\n{line}\n")).expect_err(line);
        assert!(error.contains("rows.jsonl, line 2: ") && error.contains(cause), "{error}");
    }
    let error = load(CommonsenseQa, "[1]").expect_err("a number");
    assert!(error.contains("rows.jsonl, row 1: not a JSON object"), "{error}");
    let twice = format!("{0}\n{0}", r#"{"id":"a","question":"?","answer":"x"}"#);
    assert!(load(Plain, &twice).expect_err("twice").contains("ids must be unique"));
}

#[test]
fn damaged_files_are_refused_without_a_panic() {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files");
    let whole = fs::read(files.join("commonsense-qa.parquet")).expect("the file");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("rows.parquet");
    for cut in (4..whole.len()).step_by(97) {
        fs::write(&path, &whole[..cut]).expect("a write");
        let error = load_questions(&path, Schema::CommonsenseQa, None).expect_err("cut short");
        assert!(error.to_string().contains("rows.parquet is not a usable"), "{error}");
    }
    fs::write(&path, b"\xff\xfe").expect("a write");
    let error = load_questions(&path, Schema::CommonsenseQa, None).expect_err("no text");
    assert!(error.to_string().contains("neither Parquet nor UTF-8"), "{error}");
}

/// The published rows, if a copy of them is present.
#[test]
fn real_rows_load_and_their_own_answers_are_right() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let shared = std::env::var_os("TOKENROUTE_DATA").map_or(shared, PathBuf::from);
    let csqa = shared.join("csqa/train-slice.jsonl");
    let gsm8k = shared.join("gsm8k/test-slice.jsonl");
    if !csqa.is_file() || !gsm8k.is_file() {
        eprintln!("skipped: no real rows; set TOKENROUTE_DATA to a folder with csqa/ and gsm8k/");
        return;
    }
    let questions = load_questions(&csqa, Schema::CommonsenseQa, None).expect("CommonsenseQA");
    assert_eq!(questions.len(), 400);
    for question in &questions {
        let right = question.choices.label.iter().position(|l| *l == question.answer_key);
        let text = &question.choices.text[right.expect("checked")];
        for answer in [
            question.answer_key.clone(),
            format!("The answer is {text} ({}).", question.answer_key),
            format!("Answer: {text}"),
            format!("{}. {text}", question.answer_key),
        ] {
            assert!(grade(question, &answer, true), "{}: {answer}", question.id);
        }
        let wrong = question.choices.label.iter().find(|l| **l != question.answer_key);
        let wrong = wrong.expect("five choices");
        assert!(!grade(question, &format!("The answer is ({wrong})."), true), "{}", question.id);
    }
    let questions = load_questions(&gsm8k, Schema::Gsm8k, None).expect("GSM8K");
    assert_eq!(questions.len(), 200);
    for question in &questions {
        let rationale = question.cot.as_deref().expect("a rationale");
        assert!(grade(question, rationale, true), "{}: {rationale}", question.id);
        assert!(!rationale.contains("<<"), "{rationale}");
        assert!(grade(question, &format!("So \\boxed{{{}}}", question.answer_key), true));
        assert!(!grade(question, &format!("#### {}1", question.answer_key), true));
    }
}
