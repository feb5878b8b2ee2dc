//! A model that has read the common beginning of its prompts says what it says without.

use tokenroute_core::{CommonPrefix, Detail, Feed, LanguageModel, Step, TokenId, common_prefix};
use tokenroute_llm::ToyModel;

fn said<M: LanguageModel>(model: &M, prompts: &[&[TokenId]]) -> Vec<Vec<Step>> {
    let mut states: Vec<M::State> = prompts.iter().map(|_| model.start()).collect();
    let mut steps = Vec::new();
    // The prompt, then two tokens more.
    for more in [None, Some([3, 4].as_slice())] {
        let mut feeds: Vec<_> = states
            .iter_mut()
            .zip(prompts)
            .map(|(state, prompt)| {
                let tokens = more.unwrap_or(prompt);
                Feed { state, tokens, from: tokens.len() - 1 }
            })
            .collect();
        steps.extend(model.advance(&mut feeds, Detail::Full).expect("a toy"));
    }
    steps
}

#[test]
fn steps_are_the_models_own_and_the_beginning_is_read_once() {
    let long: Vec<TokenId> = (0..40).map(|i| i % 13).collect();
    let prompts: Vec<Vec<TokenId>> = (0..9).map(|i| [long.as_slice(), &[i, 5]].concat()).collect();
    let prompts: Vec<&[TokenId]> = prompts.iter().map(Vec::as_slice).collect();
    let prefix = common_prefix(prompts.iter().copied());
    assert_eq!(prefix, long);

    let plain = ToyModel::new(1);
    let shared = CommonPrefix::new(ToyModel::new(1));
    shared.read(prefix).expect("a toy");
    // Another prompt, one that ends inside the prefix, and the prefix itself.
    let others: [&[TokenId]; 3] = [&[7, 7, 7], &long[..8], &long];
    for asked in [prompts.as_slice(), &others] {
        assert_eq!(said(&shared, asked), said(&plain, asked));
    }
    let own = |prompts: &[&[TokenId]]| prompts.iter().map(|p| p.len() + 2).sum::<usize>() as u64;
    assert_eq!(plain.processed(), own(&prompts) + own(&others));
    assert_eq!(shared.model().processed(), 40 + 9 * 4 + own(&others));
}

#[test]
fn a_common_beginning_leaves_every_prompt_a_token() {
    let of = |prompts: &[&'static [TokenId]]| common_prefix(prompts.iter().copied()).to_vec();
    assert_eq!(of(&[&[1, 2, 3, 4], &[1, 2, 3]]), [1, 2]);
    assert!(of(&[&[1, 2], &[3]]).is_empty());
    assert_eq!(of(&[&[1, 2]]), [1]);
    assert!(of(&[]).is_empty());
}
