//! A model that runs on into a next question: the text between the prompt's examples ends its
//! answer, at the same token in labels, in the sweep and in `generate`.

mod support;

use std::path::Path;

use support::{Lab, fail, model, succeed};
use tokenroute_core::{Silent, Tau, TokenId};
use tokenroute_lab::Chain;
use tokenroute_runtime::{Pair, decode};
use tokenroute_store::Columns;
use tokenroute_sweep::SweepOptions;
use tokenroute_sweep::policies::MaxProbability;

const FILE: &str = "experiments/e/experiment.toml";
/// The bundled pair answers in sentences. This text lies over two tokens.
const SEPARATOR: &str = ". ";

#[test]
fn a_run_on_answer_ends_at_the_same_token_everywhere() {
    let lab = Lab::new(20, 8, 6);
    let prompt = r#"[data.prompt]
between = ". "

[[data.prompt.examples]]
question = "Mia has 3 plates. Emma gives 2 plates to Mia. How many plates does Mia have now?"
choices = ["5", "1"]
answer = "Well, find the plates of Mia: 3+2=5: the answer is 5 (A)"

[label]
test = true
rounds = 0"#;
    lab.replace(FILE, "[label]", prompt);
    let experiment = lab.experiment();
    succeed(&["label", &experiment]);

    let chain = Chain::open(Path::new(&experiment), &[], &Silent).expect("an experiment");
    let (_, rows) = chain.label_rows(Columns::Scalars).expect("labels");
    let asked = chain.questions("test").expect("questions");
    let (pair, llm) = (chain.pair().expect("models"), chain.cloud().expect("an LLM"));
    let options = SweepOptions { keep_leaves: true, ..Default::default() };
    let swept = chain.sweep_part(&pair.slm, &*llm, &MaxProbability, &asked, 0..6, &options);
    let swept = swept.expect("a sweep");
    let both = Pair::new(&pair.slm, &*llm, &chain.slm().vocabulary);
    for tau in [0.3, 0.7, 0.9].map(|tau| Tau::new(tau).expect("in range")) {
        let traces = decode(both, &MaxProbability, tau, &chain.requests(&asked, 0..6), 8);
        for (trace, swept) in traces.expect("answers").iter().zip(&swept) {
            let leaf = swept.leaves.iter().find(|leaf| tau.get() <= leaf.upto).expect("a leaf");
            assert_eq!(trace.ids().collect::<Vec<_>>(), leaf.tokens, "τ = {tau}");
        }
    }
    let mut run_on = 0;
    for ((question, prompt), swept) in asked.questions.iter().zip(&asked.prompts).zip(&swept) {
        let labelled: Vec<TokenId> = rows
            .iter()
            .filter(|row| row.question == question.id && row.split == "test")
            .map(|row| row.llm_token)
            .collect();
        let leaf = swept.leaves.last().expect("a leaf");
        assert_eq!(leaf.tokens, labelled, "{}", question.id);
        let ids: Vec<String> = prompt.iter().map(TokenId::to_string).collect();
        let (ids, llm) = (ids.join(","), model("word-problems-llm"));
        let generate = ["generate", "--model", &llm, "--ids", &ids, "--json"];
        let [ended, whole] = [&["--separator", SEPARATOR][..], &[]].map(|more| {
            let answer = succeed(&[&generate[..], more].concat());
            serde_json::from_str::<serde_json::Value>(&answer).expect("JSON")
        });
        let tokens = serde_json::from_value::<Vec<TokenId>>(ended["tokens"].clone());
        assert_eq!(tokens.expect("ids"), labelled, "{}", question.id);
        let text = |answer: &serde_json::Value| answer["text"].as_str().expect("text").to_owned();
        let (before, _) = chain.answer_text(&labelled);
        assert_eq!(text(&ended), before);
        let first = text(&whole).split(SEPARATOR).next().unwrap_or_default().to_owned();
        assert_eq!(before, first, "all that stands before the separator, and no more");
        run_on += usize::from(text(&whole).contains(SEPARATOR));
        // A cut answer is one that nothing ended.
        let piece = swept.curve.pieces.last().expect("a piece");
        assert_eq!(piece.cut, !chain.answer_text(&labelled).1);
    }
    assert!(run_on > 3, "{run_on} of 6 answers ran on");

    // What ends an answer is part of the work: other text, other labels.
    lab.replace(FILE, "between = \". \"", "between = \"\\n###\\n\"");
    fail(&["train", &experiment], &["the label table is missing or stale"]);
    lab.replace(FILE, "between = \"\\n###\\n\"", "between = \"+\"");
    fail(&["label", &experiment], &["number 1 has \"+\" in its answer", "set `between`"]);
}
