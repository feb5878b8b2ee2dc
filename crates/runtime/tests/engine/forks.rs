//! Sessions that continue from committed tokens of others.

use tokenroute_core::{Llm, LlmError, Scorer, TokenId, Trace};
use tokenroute_llm::{InProcess, Scripted, ToyModel};
use tokenroute_runtime::{
    Committed, Engine, Event, Pair, Path, Policy, Request, RoutedDecoding, RuntimeError,
};

use crate::lab::{Hidden, MAX_TOKENS, Oracle, Sentence, prompts, tau};

type Walked<'v> = Committed<'v, Vec<u64>>;

/// Decodes from every start, three at a time.
fn walk<'a>(
    mut engine: Engine<'a, ToyModel, InProcess<ToyModel>>,
    policy: Policy,
    starts: Vec<Walked<'a>>,
) -> Vec<(Trace, Option<Walked<'a>>)> {
    let mut ended: Vec<_> = starts.iter().map(|_| None).collect();
    let mut starts = starts.into_iter();
    let mut begin = |engine: &mut Engine<'a, _, _>, _| {
        starts.next().map(|start| engine.resume(start, MAX_TOKENS, policy))
    };
    let mut heard = |engine: &mut Engine<'a, _, _>, number: usize, event| {
        if let Event::Ended { session, trace } = event {
            ended[number] = Some((trace, engine.committed(session)));
            assert!(engine.committed(session).is_none(), "it is handed out once");
        }
    };
    engine.drive(3, &mut begin, &mut heard).expect("no errors");
    ended.into_iter().map(|end| end.expect("every session ends")).collect()
}

#[test]
fn a_fork_by_its_own_token_is_the_rest_of_the_answer() {
    let vocabulary = ToyModel::vocabulary();
    let slm = ToyModel::new(1);
    let prompts = prompts(14);
    for scorer in [&Hidden as &dyn Scorer, &Oracle, &Sentence] {
        let llm = InProcess::new(ToyModel::following(2, &slm, 0.6));
        let pair = Pair::new(&slm, &llm, &vocabulary);
        let policy = Policy::new(tau(0.6));
        let start = |prompt: &Vec<TokenId>| Committed {
            question: "q".to_owned(),
            path: Path::new(&vocabulary, prompt),
            state: Vec::new(),
            steps: Vec::new(),
        };
        let engine = Engine::inline(pair, scorer).recording();
        let walked = walk(engine, policy, prompts.iter().map(start).collect());
        for (prompt, (trace, committed)) in prompts.iter().zip(&walked) {
            let committed = committed.as_ref().expect("it is recorded");
            let answer: Vec<TokenId> = trace.ids().collect();
            assert_eq!(committed.path.answer(), answer);
            let own: Vec<TokenId> = trace.tokens.iter().map(|t| t.slm_token).collect();
            let steps = committed.steps.iter().map(|step| vocabulary.canonical(step.token));
            assert_eq!(steps.collect::<Vec<_>>(), own, "the SLM at every position");
            let forks =
                (0..answer.len()).map(|i| committed.fork(&slm, i, answer[i])).collect::<Vec<_>>();
            for (i, (rest, recorded)) in
                walk(Engine::inline(pair, scorer), policy, forks).into_iter().enumerate()
            {
                assert_eq!(rest.tokens, trace.tokens[i + 1..], "{prompt:?} from {i}");
                assert_eq!(rest.ended, trace.ended);
                assert_eq!(rest.slm_positions, rest.tokens.len() as u64, "one for each token");
                assert!(recorded.is_none());
            }
        }
    }
}

#[test]
fn a_strict_session_ends_where_the_llm_fails() {
    let vocabulary = ToyModel::vocabulary();
    let slm = ToyModel::new(1);
    let gone = Scripted::new(|_: &[TokenId]| Err(LlmError::Refused("no".into())));
    let pair = Pair::new(&slm, &gone as &dyn Llm, &vocabulary);
    let run = |strict| {
        let policy = Policy { strict, ..Policy::new(tau(1.0)) };
        let request = Request { question: "q", prompt: &[1, 2], max_tokens: MAX_TOKENS };
        RoutedDecoding::new(pair, &Hidden, policy).run(&[request])
    };
    assert_eq!(run(true), Err(RuntimeError::Llm(LlmError::Refused("no".into()))));
    let traces = run(false).expect("tokens degrade");
    assert_eq!(traces[0].degraded(), traces[0].tokens.len());
}
