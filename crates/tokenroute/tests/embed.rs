//! The library as a Rust program embeds it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use tokenroute::{
    Budget, Decoding, Error, Message, Origin, Policy, Position, RoutedPair, RoutedPairBuilder,
    Score, ScoreError, Scorer, Tau, Wait,
};

const QUESTION: &str = "The picnic is on Saturday. The picnic is 5 days before the party. The \
    party is 4 days before the concert. On which day is the concert?\n\
    Tuesday A Sunday B Saturday C Monday D Thursday E\n";

fn bundled(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models").join(name)
}

fn slm() -> RoutedPairBuilder<'static> {
    RoutedPair::builder(bundled("word-problems-slm")).max_tokens(60)
}

fn pair() -> RoutedPairBuilder<'static> {
    slm()
        .llm(bundled("word-problems-llm"))
        .router(bundled("word-problems-router/router.safetensors"))
}

/// Scores by the SLM's best probability.
struct Sure;

impl Scorer for Sure {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(position.step.max_probability())
    }
}

/// Needs the LLM's token.
struct Needy;

impl Scorer for Needy {
    fn score(&self, _: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(0.5)
    }

    fn needs_llm(&self) -> bool {
        true
    }
}

/// Keeps by the SLM's entropy.
struct Steady;

impl Scorer for Steady {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(1.0 - f64::from(position.step.entropy) / 8.0)
    }
}

#[test]
fn tokens_are_streamed_with_text_and_origin() {
    let pair = pair().tau(0.98).open().expect("the bundled pair");
    let mut streamed = Vec::new();
    let answer = pair.generate(QUESTION, |token| streamed.push(token)).expect("an answer");
    let text: String = streamed.iter().map(|token| token.text.as_str()).collect();
    assert_eq!(text, answer.text);
    let records: Vec<_> = streamed.iter().map(|token| token.record.clone()).collect();
    assert_eq!(records, answer.trace.tokens);
    let origins: BTreeSet<_> = streamed.iter().map(|t| format!("{:?}", t.origin())).collect();
    assert_eq!(origins, BTreeSet::from(["Llm".to_owned(), "Slm".to_owned()]));
    let llm = streamed.iter().filter(|token| token.origin() == Origin::Llm).count();
    assert_eq!(answer.offload_ratio(), llm as f64 / streamed.len() as f64);
    assert_eq!(answer.degraded(), 0);
}

#[test]
fn an_answer_is_handed_over_once_and_in_one_call() {
    let answer = |builder: RoutedPairBuilder<'_>| {
        let pair = builder.tau(0.9).open().expect("the bundled pair");
        pair.generate(QUESTION, |_| ()).expect("an answer")
    };
    let (routed, blocking) = (answer(pair()), answer(pair().handoff(true)));
    let origins: Vec<Origin> = blocking.trace.tokens.iter().map(|t| t.origin).collect();
    let at = origins.iter().position(|&o| o == Origin::Llm).expect("a token of the LLM");
    let first = routed.trace.tokens.iter().position(|t| t.origin == Origin::Llm);
    assert!(at > 0 && first == Some(at), "{origins:?}");
    assert!(origins[at..].iter().all(|&o| o == Origin::Llm), "{origins:?}");
    let relayed = answer(pair().handoff(true).relay(60));
    assert_eq!(relayed.trace.ids().collect::<Vec<_>>(), blocking.trace.ids().collect::<Vec<_>>());
    assert_eq!((relayed.trace.llm_calls, relayed.trace.waits), (1, 1));
}

#[test]
fn whole_answers_go_with_no_budget_and_no_scorer_that_needs_the_llm() {
    let whole = Policy { wait: Wait::Whole, ..Policy::new(Tau::LLM_ONLY) };
    let refused = |builder: RoutedPairBuilder<'_>| match builder.open() {
        Err(error) => error.to_string(),
        Ok(pair) => panic!("{pair:?}"),
    };
    let error = refused(pair().policy(whole).budget(0.3));
    assert!(error.contains("budget (max_offload) of 0.3"), "{error}");
    let needy = slm().llm(bundled("word-problems-llm")).scorer(Needy).policy(whole);
    let error = refused(needy);
    assert!(error.contains("the scorer needs the LLM's token at every position"), "{error}");
    // A policy that comes later is checked too.
    let mut open = pair().policy(whole).open().expect("the bundled pair");
    let budget = Budget::new(0.3).expect("a share");
    open.set_decoding(Decoding { policy: Policy { budget, ..whole }, ..open.decoding() });
    let error = open.generate(QUESTION, |_| ()).expect_err("a budget").to_string();
    assert!(error.contains("budget (max_offload) of 0.3"), "{error}");
}

#[test]
fn the_ends_of_tau_are_the_two_models_and_waiting_changes_no_token() {
    let answer = |builder: RoutedPairBuilder<'_>| {
        let pair = builder.open().expect("the bundled pair");
        pair.generate(QUESTION, |_| ()).expect("an answer")
    };
    let alone = |name: &str| answer(RoutedPair::builder(bundled(name)).max_tokens(60));
    assert_eq!(answer(pair().tau(0.0)).text, alone("word-problems-slm").text);
    assert_eq!(answer(pair().tau(1.0)).text, alone("word-problems-llm").text);

    let ids = |builder| answer(builder).trace.ids().collect::<Vec<_>>();
    let expected = ids(pair().tau(0.98));
    assert_eq!(ids(pair().tau(0.98).speculate(2).deadline(Duration::from_secs(60))), expected);
    assert_eq!(ids(pair().tau(0.98).lookahead(4)), expected);
    assert!(answer(pair().tau(1.0).budget(0.2)).offload_ratio() <= 0.2);
    assert!(answer(pair().tau(0.98).relay(4)).trace.llm_calls > 0);
    let drawn = |seed| ids(pair().tau(0.98).sampling(1.0, 0.95, seed));
    assert_eq!(drawn(7), drawn(7));
}

#[test]
fn an_offload_ratio_takes_the_routers_own_calibration() {
    let open = |builder: RoutedPairBuilder<'_>| builder.open().expect("the bundled pair");
    let tau = |share| open(pair().offload(share)).decoding().policy.tau;
    assert!(Tau::SLM_ONLY < tau(0.01) && tau(0.01) < tau(0.2) && tau(0.2) < Tau::LLM_ONLY);
    assert_eq!((tau(0.0), tau(1.0)), (Tau::SLM_ONLY, Tau::LLM_ONLY));
    let answer = open(pair().offload(0.2)).generate(QUESTION, |_| ()).expect("an answer");
    let same = open(pair().tau(tau(0.2).get())).generate(QUESTION, |_| ()).expect("an answer");
    assert_eq!(answer, same);
    assert!(answer.offload_ratio() > 0.0);
}

#[test]
fn scores_of_confident_tokens_differ() {
    let routed = || slm().llm(bundled("word-problems-llm"));
    let router = bundled("word-problems-router/router.safetensors");
    let mut in_f32 = 0;
    for builder in [routed().router(router), routed().scorer(Sure), routed().scorer(Steady)] {
        let pair = builder.tau(0.0).open().expect("the bundled pair");
        let mut scores = Vec::new();
        for number in 2..12 {
            let text = QUESTION.replace('5', &number.to_string());
            let answer = pair.generate(&text, |_| ()).expect("an answer");
            scores.extend(answer.trace.tokens.iter().map(|token| token.score));
        }
        scores.sort_unstable_by(f64::total_cmp);
        let ties = scores.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(ties < scores.len() / 100, "{ties} of {} tie", scores.len());
        in_f32 += scores.windows(2).filter(|pair| pair[0] as f32 == pair[1] as f32).count();
    }
    assert!(in_f32 > 30, "only {in_f32} of these scores tie in f32");
}

#[test]
fn a_scorer_and_threads_of_ones_own() {
    let routed = slm().llm(bundled("word-problems-llm")).scorer(Sure).tau(0.8);
    let pair = routed.open().expect("a pair");
    let once = pair.generate(QUESTION, |_| ()).expect("an answer");
    assert!(once.offload_ratio() > 0.0 && once.offload_ratio() < 1.0, "{}", once.offload_ratio());
    let at_once = || pair.generate(QUESTION, |_| ()).expect("an answer").text;
    std::thread::scope(|scope| {
        let threads = [(); 3].map(|()| scope.spawn(at_once));
        for thread in threads {
            assert_eq!(thread.join().expect("no panic"), once.text);
        }
    });
}

#[test]
fn a_conversation_goes_through_the_template() {
    let pair = pair().tau(0.5).open().expect("the bundled pair");
    let text = QUESTION.trim_end();
    let messages = [Message::new("user", text)];
    // The bundled template is the last message and a line break.
    let expected = pair.generate(&format!("{text}\n"), |_| ()).expect("an answer");
    assert_eq!(pair.chat(&messages, |_| ()).expect("an answer"), expected);
}

#[test]
fn errors_name_value_expectation_and_remedy() {
    let says = |builder: RoutedPairBuilder<'_>, parts: &[&str]| {
        let error = builder.open().expect_err("refused").to_string();
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
    };
    says(pair().tau(1.5), &["τ is 1.5", "from 0"]);
    says(pair(), &["no τ", "an offload ratio"]);
    says(pair().offload(1.5), &["the offload ratio is 1.5", "from 0"]);
    let coded = slm().llm(bundled("word-problems-llm")).scorer(Sure).offload(0.1);
    says(coded, &["a scorer of your own has none", "give τ"]);
    says(pair().tau(0.5).budget(-1.0), &["-1", "from 0"]);
    says(pair().tau(0.5).max_tokens(0).relay(0), &["max_tokens is 0", "at least 1"]);
    says(pair().tau(0.5).sampling(9.0, 1.0, 0), &["temperature is 9"]);
    says(pair().tau(0.5).scorer(Sure), &["router.safetensors", "one of the two"]);
    let llm = || slm().llm(bundled("word-problems-llm"));
    says(llm().tau(0.5), &["word-problems-llm", "no router"]);
    says(slm().scorer(Sure), &["no LLM"]);
    let needs = slm().llm(bundled("word-problems-llm")).scorer(Needy).tau(0.5).handoff(true);
    says(needs, &["needs the LLM", "leave out handoff"]);
    says(llm().router("nowhere").tau(0.5), &["nowhere", "router file"]);
    says(slm().llm("127.0.0.1:1").scorer(Sure).tau(0.5), &["127.0.0.1:1", "http://"]);
    let backwards = RoutedPair::builder(bundled("word-problems-llm"))
        .llm(bundled("word-problems-slm"))
        .router(bundled("word-problems-router/router.safetensors"));
    says(backwards.tau(0.5), &["trained for SLM weights"]);

    let alone = slm().open().expect("the SLM alone");
    assert!(matches!(alone.generate("", |_| ()), Err(Error::EmptyPrompt)));
    let long = "Mia ".repeat(2000);
    let error = alone.generate(&long, |_| ()).expect_err("too long").to_string();
    assert!(error.contains("tokens and the SLM reads"), "{error}");
}

#[test]
fn a_server_that_is_away_is_reported_and_the_slm_goes_on() {
    let routed = slm().llm("http://127.0.0.1:9").scorer(Sure).tau(0.8);
    let pair = routed.llm_deadline(Duration::from_millis(200)).open().expect("a pair");
    let error = pair.unreachable().expect("nobody listens there").to_string();
    assert!(error.contains("127.0.0.1:9"), "{error}");
    let answer = pair.generate(QUESTION, |_| ()).expect("an answer");
    assert!(answer.degraded() > 0 && answer.trace.offloaded() == 0);
    assert!(matches!(pair.decoding().policy.wait, Wait::Block));
    let cached = slm().llm("http://127.0.0.1:9").scorer(Sure).tau(0.8).llm_cache("answers.redb");
    let error = cached.open().expect_err("no name").to_string();
    assert!(error.contains("answers.redb") && error.contains("name"), "{error}");
}
