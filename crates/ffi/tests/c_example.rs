//! The example in C, compiled against the committed header and the library of this build: it
//! gives the answers of the runtime. Without a C compiler the test prints a note and passes.

mod support;

use std::path::PathBuf;
use std::process::Command;

use support::{LLM, PROMPT, ROUTER, Reference, SLM, path};

/// The folder of the library that cargo built beside this test.
fn library() -> PathBuf {
    let test = std::env::current_exe().expect("this test");
    test.parent().expect("its folder").to_owned()
}

#[test]
fn the_example_in_c_gives_the_answers_of_the_runtime() {
    let home = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::TempDir::new().expect("a folder");
    let program = folder.path().join("answer");
    let library = library();
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let compiled = Command::new(compiler)
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror"])
        .arg("-I")
        .arg(home.join("include"))
        .arg(home.join("examples/answer.c"))
        .arg("-L")
        .arg(&library)
        .arg(format!("-Wl,-rpath,{}", library.display()))
        .args(["-ltokenroute_ffi", "-o"])
        .arg(&program)
        .output();
    let compiled = match compiled {
        Ok(compiled) => compiled,
        Err(error) => return println!("skipped: no C compiler: {error}"),
    };
    let said = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "the example does not compile: {said}");

    let reference = Reference::open();
    for (tau, max_tokens) in [(0.0, 128), (0.5, 128), (0.98, 20), (1.0, 128)] {
        let (tokens, ended) = reference.answer(tau, max_tokens);
        let offloaded = tokens.iter().filter(|t| t.origin == tokenroute_core::Origin::Llm).count();
        let expected = format!(
            "{}\n{} tokens, {offloaded} by the large model, {}\n",
            reference.shown(&tokens),
            tokens.len(),
            if ended { "ended" } else { "cut" },
        );
        let run = Command::new(&program)
            .args([SLM, LLM, ROUTER].map(path))
            .args([tau.to_string(), PROMPT.to_owned(), max_tokens.to_string()])
            .output()
            .expect("the example");
        let error = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.success(), "{error}");
        assert_eq!(String::from_utf8(run.stdout).expect("UTF-8"), expected, "τ = {tau}");
    }
    let run = Command::new(&program).args(["nowhere", "-", "-", "0", "a"]).output();
    let run = run.expect("the example");
    let error = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(!run.status.success() && error.contains("tr_open: cannot read nowhere"), "{error}");
}
