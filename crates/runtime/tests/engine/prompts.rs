//! Prefill in parts: other sessions continue, short prompts are first, and no position is
//! processed twice.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::time::Duration;

use tokenroute_core::{
    Detail, Feed, LanguageModel, ModelError, ModelInfo, Step, Tau, TokenId, Trace,
};
use tokenroute_llm::{InProcess, ToyModel};
use tokenroute_runtime::{Engine, Event, Pair, Policy, Request, Session, SessionId, decode};

use crate::lab::{Hidden, MAX_TOKENS};

/// A model that counts the tokens of every feed.
struct Counting {
    model: ToyModel,
    turns: Mutex<Vec<Vec<usize>>>,
}

impl Counting {
    fn new(seed: u64) -> Self {
        Counting { model: ToyModel::new(seed), turns: Mutex::default() }
    }
}

impl LanguageModel for Counting {
    type State = <ToyModel as LanguageModel>::State;

    fn info(&self) -> &ModelInfo {
        self.model.info()
    }

    fn start(&self) -> Self::State {
        self.model.start()
    }

    fn positions(&self, state: &Self::State) -> usize {
        self.model.positions(state)
    }

    fn truncate(&self, state: &mut Self::State, len: usize) {
        self.model.truncate(state, len);
    }

    fn advance(
        &self,
        feeds: &mut [Feed<'_, Self::State>],
        detail: Detail,
    ) -> Result<Vec<Vec<Step>>, ModelError> {
        let counts = feeds.iter().map(|feed| feed.tokens.len()).collect();
        self.turns.lock().expect("no panic").push(counts);
        self.model.advance(feeds, detail)
    }
}

fn session(prompt: &[TokenId]) -> Session {
    let policy = Policy::new(Tau::SLM_ONLY);
    Session { question: String::new(), prompt: prompt.to_vec(), max_tokens: MAX_TOKENS, policy }
}

/// Blocking decoding of a single prompt.
fn alone(seed: u64, prompt: &[TokenId]) -> Trace {
    let (slm, vocabulary) = (ToyModel::new(seed), ToyModel::vocabulary());
    let llm = InProcess::new(ToyModel::new(99));
    let request = Request { question: "", prompt, max_tokens: MAX_TOKENS };
    let pair = Pair::new(&slm, &llm, &vocabulary);
    decode(pair, &Hidden, Tau::SLM_ONLY, &[request], 1).expect("no errors").remove(0)
}

/// A prompt with a long answer.
fn talkative(seed: u64) -> Vec<TokenId> {
    let prompts = (0..14).flat_map(|a| (0..14).map(move |b| vec![a, b]));
    prompts.max_by_key(|prompt| alone(seed, prompt).tokens.len()).expect("many")
}

#[test]
fn a_long_prompt_holds_up_nobody_elses_tokens() {
    const LIMIT: usize = 8;
    let (slm, vocabulary) = (Counting::new(2), ToyModel::vocabulary());
    let llm = InProcess::new(ToyModel::new(99));
    let limit = NonZeroUsize::new(LIMIT).expect("positive");
    let mut engine = Engine::inline(Pair::new(&slm, &llm, &vocabulary), &Hidden).reading(limit);
    let long: Vec<TokenId> = (0..100).map(|i| i * i % 14).collect();
    let prompts = [talkative(2), long, vec![3, 1, 4, 1, 5]];
    let first = engine.add(session(&prompts[0])).expect("good");
    drop(engine.turn(Duration::ZERO));
    let mut ids = vec![first];
    ids.extend(prompts[1..].iter().map(|p| engine.add(session(p)).expect("good")));
    slm.turns.lock().expect("no panic").clear();

    let mut began: Vec<SessionId> = Vec::new();
    let mut traces = vec![Trace::default(); 3];
    let mut speaks = true;
    while engine.sessions() > 0 {
        let events = engine.turn(Duration::ZERO);
        let speaker = |event: &Event| match event {
            Event::Token { session, .. } => Some(*session),
            _ => None,
        };
        let heard: Vec<_> = events.iter().filter_map(speaker).collect();
        assert_eq!(heard.contains(&first), speaks, "a token in every turn");
        for id in heard {
            if !began.contains(&id) {
                began.push(id);
            }
        }
        for event in events {
            if let Event::Ended { session, trace } = event {
                speaks &= session != first;
                traces[ids.iter().position(|&id| id == session).expect("known")] = trace;
            }
        }
    }
    assert_eq!(began, [first, ids[2], ids[1]], "the short prompt does not wait for the long one");
    for (prompt, trace) in prompts.iter().zip(&traces) {
        assert_eq!(*trace, alone(2, prompt));
    }
    for turn in slm.turns.lock().expect("no panic").iter() {
        let of_prompts: usize = turn.iter().filter(|&&tokens| tokens > 1).sum();
        assert!(of_prompts <= LIMIT, "{turn:?}");
    }
}

#[test]
fn what_was_read_is_not_read_again() {
    let (slm, vocabulary) = (ToyModel::new(2), ToyModel::vocabulary());
    let llm = InProcess::new(ToyModel::new(99));
    let pair = Pair::new(&slm, &llm, &vocabulary);
    for keeps in [0, 1000] {
        let mut engine = Engine::inline(pair, &Hidden).keeping(keeps);
        let mut ask = |prompt: &[TokenId]| {
            engine.add(session(prompt)).expect("good");
            loop {
                for event in engine.turn(Duration::ZERO) {
                    if let Event::Ended { trace, .. } = event {
                        return trace;
                    }
                }
            }
        };
        let mut talk = talkative(2);
        let first = ask(&talk);
        assert_eq!(first, alone(2, &talk));
        // Its last token was not processed, nor were the new ones.
        talk.extend(first.ids().chain([5, 6]));
        let again = ask(&talk);
        let fresh = alone(2, &talk);
        assert_eq!(again.tokens, fresh.tokens);
        let read = if keeps > 0 { talk.len() as u64 - 3 } else { 0 };
        assert_eq!(fresh.slm_positions - again.slm_positions, read);
        // The same prompt again: only its last token is processed, since the next step comes
        // from it.
        let once_more = ask(&talk);
        assert_eq!(once_more.tokens, fresh.tokens);
        let read = if keeps > 0 { talk.len() as u64 - 1 } else { 0 };
        assert_eq!(fresh.slm_positions - once_more.slm_positions, read);
    }
}
