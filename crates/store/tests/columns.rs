//! `[data.columns]`: one set of questions in many files and forms, and rows that do not fit.

use std::fs;

use tokenroute_core::{Grader, Question, grade};
use tokenroute_store::{ColumnMap, load_mapped};

fn load(name: &str, file: &str, map: &str) -> Result<Vec<Question>, String> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(name);
    fs::write(&path, file).expect("a write");
    let map: ColumnMap = toml::from_str(map).map_err(|e| e.to_string())?;
    map.check().map_err(|(key, what)| format!("{key} {what}"))?;
    load_mapped(&path, &map, None).map_err(|e| e.to_string())
}

#[test]
fn one_question_in_every_form() {
    let list = "question = 'q'\nchoices = 'c'\nanswer = 'a'\n";
    let several = "question = 'q'\nchoices = ['c1', 'c2', 'c3']\nanswer = 'a'\n";
    let cases = [
        // JSON Lines, with choices as a list, as pairs and as two lists.
        ("r.jsonl", r#"{"q":"Barks?","c":["cat","dog"],"a":"B"}"#, list, ""),
        ("r.jsonl", r#"{"q":"Barks?","c":["cat","dog"],"a":"b"}"#, list, "answer_is = 'letter'"),
        ("r.jsonl", r#"{"q":"Barks?","c":["cat","dog"],"a":"dog"}"#, list, ""),
        (
            "r.jsonl",
            r#"{"q":"Barks?","c":["cat","dog"],"a":1}"#,
            list,
            "answer_is = 'index-from-0'",
        ),
        (
            "r.jsonl",
            r#"{"q":"Barks?","c":["cat","dog"],"a":2.0}"#,
            list,
            "answer_is = 'index-from-1'",
        ),
        (
            "r.jsonl",
            r#"{"q":"Barks?","c":[{"label":"1","text":"cat"},{"label":"2","text":"dog"}],"a":2}"#,
            list,
            "",
        ),
        (
            "r.jsonl",
            r#"{"q":"Barks?","c":{"text":["cat","dog"],"label":["x","y"]},"a":"y"}"#,
            list,
            "",
        ),
        ("r.jsonl", r#"{"q":"Barks?","c1":"cat","c2":"dog","c3":"","a":"dog"}"#, several, ""),
        ("r.jsonl", r#"{"q":"Barks?","c1":"cat","c2":"dog","c3":null,"a":"B"}"#, several, ""),
        // JSON: a list, and a list within an object.
        ("r.json", r#"[{"q":"Barks?","c":["cat","dog"],"a":"B"}]"#, list, ""),
        (
            "r.json",
            "{\"data\": {\"rows\":\n[{\"q\":\"Barks?\",\"c\":[\"cat\",\"dog\"],\"a\":\"B\"}]}}",
            list,
            "rows = 'data.rows'",
        ),
        // CSV, with other separators, a byte order mark, and a list in a cell.
        ("r.csv", "q,c1,c2,c3,a\nBarks?,cat,dog,,B\n", several, ""),
        ("r.csv", "q;c1;c2;c3;a\nBarks?;cat;dog;;2\n", several, "answer_is = 'index-from-1'"),
        (
            "r.tsv",
            "\u{feff}q\tc1\tc2\tc3\ta\nBarks?\tcat\tdog\t\t1\n",
            several,
            "answer_is = 'index-from-0'",
        ),
        ("r.csv", "q,c,a\nBarks?,\"[\"\"cat\"\", \"\"dog\"\"]\",dog\n", list, "answer_is = 'text'"),
    ];
    for (name, file, map, form) in cases {
        let questions = load(name, file, &format!("{map}{form}"));
        let questions = questions.unwrap_or_else(|e| panic!("{file}: {e}"));
        let [question] = &questions[..] else { panic!("{file}: {questions:?}") };
        assert_eq!(question.prompt(), "Barks?\ncat A dog B\n", "{file}");
        assert_eq!(
            (question.answer_key.as_str(), question.grader),
            ("B", Grader::Choice),
            "{file}"
        );
        assert!(question.id.starts_with("r-"), "{}", question.id);
    }
}

#[test]
fn columns_may_be_nested_and_joined() {
    let line = r#"{"x":{"stem":"Is it?"},"passage":"It is.","a":true,"why":["It","is."],"n":7,"k":"facts"}"#;
    let map =
        "question = ['passage', 'x.stem']\nanswer = 'a'\nrationale = 'why'\nid = 'n'\nfamily = 'k'";
    let question = load("r.jsonl", line, map).expect("a question").remove(0);
    assert_eq!(question.question, "It is.\nIs it?");
    assert_eq!((question.answer_key.as_str(), question.grader), ("yes", Grader::YesNo));
    assert_eq!((question.id.as_str(), question.family.as_deref()), ("7", Some("facts")));
    let cot = question.cot.as_deref().expect("a rationale");
    assert_eq!(cot, "It is.\nThe answer is yes.");
    assert!(grade(&question, cot, true));
    // A rationale that states its answer stays as it is.
    let line = r#"{"q":"6 * 7?","a":42,"why":"6 * 7 = 42"}"#;
    let question = load("r.jsonl", line, "question = 'q'\nanswer = 'a'\nrationale = 'why'");
    let question = question.expect("a question").remove(0);
    assert_eq!(
        (question.cot.as_deref(), question.grader),
        (Some("6 * 7 = 42"), Grader::FinalNumber)
    );
}

#[test]
fn truth_values_are_read_in_every_form() {
    let map = "question = 'q'\nanswer = 'a'\nanswer_is = 'bool'";
    for (value, key) in
        [("true", "yes"), ("False", "no"), ("1", "yes"), ("0", "no"), ("Yes", "yes"), ("no", "no")]
    {
        let question =
            load("r.csv", &format!("q,a\nIs it?,{value}\n"), map).expect(value).remove(0);
        assert_eq!(
            (question.answer_key.as_str(), question.grader),
            (key, Grader::YesNo),
            "{value}"
        );
    }
}

#[test]
fn rows_that_do_not_fit_are_named() {
    let list = "question = 'q'\nchoices = 'c'\nanswer = 'a'\n";
    let several = "question = 'q'\nchoices = ['c1', 'c2', 'c3']\nanswer = 'a'\n";
    let free = "question = 'q'\nanswer = 'a'\n";
    let cases = [
        ("r.csv", "frage,a\nWhy?,so\n", free, "", "line 2: `q` is missing; the row has a, frage"),
        ("r.csv", "q,a\n,so\n", free, "", "line 2: `q` is \"\"; expected a text"),
        ("r.csv", "q,a\nWhy?,\n", free, "", "line 2: `a` is \"\"; expected a text or a number"),
        ("r.csv", "q,a\nWhy?,so,more\n", free, "", "it has 3 values; expected 2"),
        ("r.csv", "q,a\nIs it?,perhaps\n", free, "answer_is = 'bool'", "expected true, false"),
        ("r.csv", "q,c1,c2,c3,a\nWhy?,x,,z,A\n", several, "", "`c2` is empty, but `c3` is \"z\""),
        ("r.csv", "q,c1,c2,c3,a\nWhy?,x,,,A\n", several, "", "hold 1 choices; expected at least 2"),
        ("r.csv", "q,c1,c2,c3,a\nWhy?,x,y,z,1\n", several, "", "set data.columns.answer_is"),
        (
            "r.csv",
            "q,c1,c2,c3,a\nWhy?,x,y,z,3\n",
            several,
            "answer_is = 'index-from-0'",
            "`a` is \"3\"; expected a choice's place, 0 to 2",
        ),
        (
            "r.csv",
            "q,c1,c2,c3,a\nWhy?,x,y,z,0\n",
            several,
            "answer_is = 'index-from-1'",
            "expected a choice's place, 1 to 3",
        ),
        (
            "r.csv",
            "q,c1,c2,c3,a\nWhy?,x,y,z,D\n",
            several,
            "",
            "expected one of A, B, C, or the text",
        ),
        (
            "r.csv",
            "q,c1,c2,c3,a\nWhy?,x,y,z,w\n",
            several,
            "answer_is = 'text'",
            "expected the text of a choice: x, y, z",
        ),
        ("r.csv", "q,c1,c2,c3,a\nWhy?,x,A,z,A\n", several, "", "the text of another"),
        ("r.json", "[{\"q\":\"?\"}, 3]", free, "", "row 1: `a` is missing"),
        ("r.json", "[3]", free, "", "row 1: not a JSON object: 3"),
        ("r.json", "[{]", free, "", "it is not JSON"),
        ("r.json", "{\"data\":[]}", free, "rows = 'items'", "it has no `items`"),
        ("r.json", "{\"data\":3}", free, "rows = 'data'", "its rows are 3; expected a list"),
        (
            "r.jsonl",
            r#"{"q":"?","c":"x, y","a":"A"}"#,
            list,
            "",
            "`c` is \"x, y\"; expected a list",
        ),
        ("r.html", "<html>", free, "", "it is XML or HTML"),
    ];
    for (name, file, map, form, cause) in cases {
        let error = load(name, file, &format!("{map}{form}")).expect_err(file);
        assert!(error.contains(name) && error.contains(cause), "{file}: {error}");
    }
}
