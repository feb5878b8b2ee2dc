//! An LLM behind calls gives the steps of the model that it is.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokenroute_core::{Detail, Feed, LanguageModel, LlmError, ModelError, Run, TokenId};
use tokenroute_llm::{AsModel, InProcess, Scripted, ToyModel};

fn tokens<M: LanguageModel>(
    model: &M,
    state: &mut M::State,
    tokens: &[TokenId],
    from: usize,
) -> Result<Vec<TokenId>, ModelError> {
    let steps = model.advance(&mut [Feed { state, tokens, from }], Detail::Token)?;
    Ok(steps[0].iter().map(|step| step.token).collect())
}

#[test]
fn its_steps_are_the_models_and_forks_are_apart() {
    let plain = ToyModel::new(3);
    let info = plain.info().clone();
    let there = AsModel::new(InProcess::new(ToyModel::new(3)), info, Duration::ZERO, 1);
    let (mut a, mut b) = (plain.start(), there.start());
    for (fed, from) in [(&[1, 2, 3, 4][..], 0), (&[5], 0), (&[6, 7, 8], 2), (&[9, 1], 1)] {
        assert_eq!(tokens(&there, &mut b, fed, from), tokens(&plain, &mut a, fed, from));
    }
    let (mut fork, mut other) = (b.clone(), a.clone());
    there.truncate(&mut fork, 5);
    plain.truncate(&mut other, 5);
    assert_eq!(there.positions(&fork), 5);
    for (ours, theirs) in [(&mut fork, &mut other), (&mut b, &mut a)] {
        assert_eq!(tokens(&there, ours, &[3, 3], 0), tokens(&plain, theirs, &[3, 3], 0));
    }
    assert!(there.advance(&mut [], Detail::Full).is_err(), "greedy tokens alone");
    assert!(tokens(&there, &mut b, &[1], 1).is_err(), "nothing to say");
}

#[test]
fn a_state_that_ran_holds_all_but_the_last_token() {
    let (model, vocabulary) = (ToyModel::new(7), ToyModel::vocabulary());
    let there =
        AsModel::new(InProcess::new(ToyModel::new(7)), model.info().clone(), Duration::ZERO, 1);
    let (mut a, mut b) = (model.start(), there.start());
    let mut runs = [Run { state: &mut b, tokens: &[1, 2], most: 5 }];
    let run = there.run(&mut runs, &vocabulary).expect("it runs").expect("an answer").remove(0);
    let fed = [&[1, 2], &run[..run.len() - 1]].concat();
    assert_eq!(tokens(&model, &mut a, &fed, 1), Ok(run.clone()));
    assert_eq!(there.positions(&b), fed.len());
    assert!(model.run(&mut [], &vocabulary).is_none(), "who steps does not run");
}

#[test]
fn who_is_away_is_asked_again_and_who_refuses_is_not() {
    let info = ToyModel::new(1).info().clone();
    let count = AtomicU32::new(0);
    let away = Scripted::new(|_: &[TokenId]| match count.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Err(LlmError::Unavailable("away".into())),
        _ => Ok(7),
    });
    let patient = AsModel::new(away, info.clone(), Duration::from_secs(60), 1);
    assert_eq!(tokens(&patient, &mut Vec::new(), &[1, 2], 1), Ok(vec![7]));
    assert_eq!(patient.llm().asked(), 3);
    for (error, asked) in [(LlmError::Refused("no".into()), 1), (LlmError::Late("x".into()), 1)] {
        let text = error.to_string();
        let llm = Scripted::new(move |_: &[TokenId]| Err(error.clone()));
        let hasty = AsModel::new(llm, info.clone(), Duration::ZERO, 1);
        let error = tokens(&hasty, &mut Vec::new(), &[1], 0).expect_err("no answer");
        assert!(error.to_string().contains(&text), "{error}");
        assert_eq!(hasty.llm().asked(), asked);
    }
}
