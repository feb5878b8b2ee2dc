//! `tokenroute chat` with input lines: answers on standard output, notes on standard error.

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use support::{fail, model, succeed, tokenroute, write_router};
use tempfile::TempDir;

/// The output for these lines, and the notes.
fn talk(mut command: Command, lines: &[&str]) -> (Vec<String>, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("a process");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(lines.join("\n").as_bytes()).expect("lines");
    drop(input);
    let output = child.wait_with_output().expect("an end");
    let beside = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.success(), "{beside}");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    (said.lines().map(str::to_owned).collect(), beside)
}

#[test]
fn a_conversation_is_routed_message_by_message() {
    let folder = TempDir::new().expect("a folder");
    let router = folder.path().join("router.safetensors");
    write_router(&router);
    let router = router.display().to_string();
    let (slm, llm) = (model("word-problems-slm"), model("word-problems-llm"));
    let pair = ["--slm", &slm, "--llm", &llm, "--router", &router, "--max-tokens", "20"];
    let question = "Mia has 3 apples and buys 4 more. How many apples does Mia have?";
    // The bundled template is the last message and a line break.
    let text = format!("{question}\\n");
    let expected = |tau| {
        let command = [&["generate"], &pair[..], &["--text", &text, "--tau", tau]].concat();
        succeed(&command).trim_end().to_owned()
    };
    let mut command = tokenroute(&[&["chat"], &pair[..], &["--tau", "1"]].concat());
    command.env("NO_COLOR", "1");
    let lines = [
        question,
        "/tau 0",
        "",
        question,
        "/tau 2",
        "/nonsense",
        "/reset",
        "/tau 0.5",
        question,
        "/quit",
        "never read",
    ];
    let (said, beside) = talk(command, &lines);
    assert_eq!(said, [expected("1"), expected("0"), expected("0.5")]);
    assert_ne!(said[0], said[1], "the two models differ here");
    for part in ["τ is 2", "no /nonsense here"] {
        assert!(beside.contains(part), "{part:?} is not in: {beside}");
    }

    // `--quiet` hides the costs.
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenroute"));
    command.arg("chat").args(pair).args(["--tau", "1"]);
    let (_, beside) = talk(command, &[question]);
    for part in ["tokens offloaded (100.0%)", "LLM calls", "LLM positions", " s"] {
        assert!(beside.contains(part), "{part:?} is not in: {beside}");
    }
}

#[test]
fn special_tokens_in_messages_are_refused_unless_allowed() {
    let slm = model("word-problems-slm");
    let arguments = ["chat", "--slm", &slm, "--max-tokens", "5"];
    let lines = ["Mia has<|endoftext|> 3 apples.", "Mia has 3 apples."];
    let (answers, beside) = talk(tokenroute(&arguments), &lines);
    assert_eq!(answers.len(), 1, "{answers:?}");
    for part in ["<|endoftext|>", "--allow-special-tokens"] {
        assert!(beside.contains(part), "{part:?} is not in: {beside}");
    }
    let allowing = [&arguments[..], &["--allow-special-tokens"]].concat();
    let (answers, _) = talk(tokenroute(&allowing), &lines);
    assert_eq!(answers.len(), 2, "{answers:?}");
    fail(
        &[&arguments[..], &["--system", "a<|endoftext|>"]].concat(),
        &["--system", "<|endoftext|>"],
    );
}

#[test]
fn variables_reach_the_chat_template() {
    let folder = TempDir::new().expect("a folder");
    for file in std::fs::read_dir(model("word-problems-slm")).expect("a model") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), folder.path().join(file.file_name())).expect("a copy");
    }
    let template =
        "{% if say %}{{ say }}{% else %}{{ messages[-1].content }}{% endif %}{{ '\\n' }}";
    std::fs::write(folder.path().join("chat_template.jinja"), template).expect("a template");
    let slm = folder.path().display().to_string();
    let arguments = ["chat", "--slm", &slm, "--max-tokens", "20"];
    let with = |kwargs| [&arguments[..], &["--chat-template-kwargs", kwargs]].concat();
    let question = "Mia has 3 apples and buys 4 more. How many apples does Mia have?";
    let kwargs = format!(r#"{{"say": "{question}"}}"#);
    let (expected, _) = talk(tokenroute(&arguments), &[question]);
    let (said, _) = talk(tokenroute(&with(&kwargs)), &["Sam has 9 pens."]);
    assert_eq!(said, expected);
    assert_ne!(talk(tokenroute(&with("{}")), &["Sam has 9 pens."]).0, expected);
    let option = "--chat-template-kwargs";
    fail(&with("[]"), &[option, "enable_thinking"]);
    fail(&with(r#"{"messages": []}"#), &[option, "`messages`"]);
    fail(&with(r#"{"a": ["<|endoftext|>"]}"#), &[option, "<|endoftext|>"]);
}

#[test]
fn a_small_model_talks_alone() {
    let slm = model("word-problems-slm");
    let command = tokenroute(&["chat", "--slm", &slm, "--max-tokens", "5"]);
    let (said, beside) = talk(command, &["Mia has 3 apples.", "/tau 0.5"]);
    assert_eq!(said.len(), 1);
    assert!(beside.contains("--llm"), "{beside}");
    fail(&["chat", "--slm", &slm, "--llm", &slm], &["--router"]);
}
