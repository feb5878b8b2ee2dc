//! The policies that go on after a rollout's first token, and sampled rollouts, against a loop
//! that decodes one token at a time.

mod common;

use common::{MAX_TOKENS, Sure, config, finish, graded, items, labeller, models, questions, says};
use tokenroute_core::{
    Detail, Feed, LabelRow, LanguageModel, Relation, Sampling, Scorer, Side, Tau, TokenId,
    soft_target,
};
use tokenroute_label::{ContinuationPolicy, Item, LabelConfig, LabelError, Reference, Round};
use tokenroute_llm::{InProcess, ToyModel};
use tokenroute_runtime::Path;

const TAU: f64 = 0.2;

/// What a model draws after a prefix, canonical; its greedy token without sampling.
fn draws(model: &ToyModel, sampling: Option<Sampling>, side: Side, prefix: &[TokenId]) -> TokenId {
    let mut state = model.start();
    let mut feeds = [Feed { state: &mut state, tokens: prefix, from: prefix.len() - 1 }];
    let mut steps = model.advance(&mut feeds, Detail::Logits).expect("a good prefix");
    let said = steps.remove(0).remove(0).said(sampling, side, prefix.len());
    ToyModel::vocabulary().canonical(said)
}

/// The next token of a policy.
fn next(
    policy: ContinuationPolicy,
    sampling: Option<Sampling>,
    item: &Item<'_>,
    tokens: &[TokenId],
) -> TokenId {
    let (slm, llm) = models();
    let large = |tokens| draws(&llm, sampling, Side::Llm, tokens);
    let small = |tokens| draws(&slm, sampling, Side::Slm, tokens);
    match policy {
        ContinuationPolicy::Llm => large(tokens),
        ContinuationPolicy::Slm => small(tokens),
        ContinuationPolicy::Routed => {
            let vocabulary = ToyModel::vocabulary();
            let mut path = Path::new(&vocabulary, &item.prompt);
            for i in item.prompt.len()..tokens.len() {
                path.commit(tokens[i], &says(&slm, &tokens[..i]), None);
            }
            let step = says(&slm, tokens);
            let score = Sure.score(&path.position(&item.question.id, &step, None));
            let tau = Tau::new(TAU).expect("in range");
            if tau.offloads(score.expect("a number")) { large(tokens) } else { small(tokens) }
        }
    }
}

fn label(
    items: &[Item<'_>],
    round: &Round<'_>,
    config: LabelConfig,
) -> Result<Vec<LabelRow>, LabelError> {
    let (slm, llm) = models();
    labeller(&slm, &InProcess::new(llm), &ToyModel::vocabulary(), config).label(items, round)
}

fn rounds() -> [(Round<'static>, ContinuationPolicy); 2] {
    let tau = Tau::new(TAU).expect("in range");
    let routed = Round::OnPolicy { number: 1, scorer: &Sure, tau, router_hash: "r" };
    [(Round::Reference, ContinuationPolicy::Llm), (routed, ContinuationPolicy::Routed)]
}

/// Checks all rows: the path is that of `path`, and both tokens of a difference are rolled out
/// as the configuration says, with `policy` after them. Returns the rows.
fn check(
    round: &Round<'_>,
    path: ContinuationPolicy,
    policy: ContinuationPolicy,
    config: &LabelConfig,
) -> Vec<LabelRow> {
    let (slm, llm) = models();
    let questions = questions(20);
    let items = items(&questions);
    let rows = label(&items, round, config.clone()).expect("good models");
    for item in &items {
        let answer = finish(item, Vec::new(), &|tokens| next(path, None, item, tokens));
        let of_item: Vec<_> = rows.iter().filter(|r| r.question == item.question.id).collect();
        assert_eq!(of_item.len(), answer.len(), "{}", item.question.id);
        for (i, row) in of_item.into_iter().enumerate() {
            let prefix = [&item.prompt[..], &answer[..i]].concat();
            let (small, large) = (says(&slm, &prefix).token, says(&llm, &prefix).token);
            assert_eq!((row.slm_token, row.llm_token), (small, large));
            if small == large {
                assert_eq!((row.relation, row.rollouts), (Relation::Identical, 0));
                continue;
            }
            let mean = |token, offloads| {
                let grade = |sample| {
                    let sampling = config.sampling(&item.question.id, i, offloads, sample);
                    let sampling = sampling.expect("in range");
                    let way = [&answer[..i], &[token]].concat();
                    let go = |tokens: &[TokenId]| next(policy, sampling, item, tokens);
                    graded(item, &finish(item, way, &go))
                };
                (0..config.samples).map(grade).sum::<f32>() / config.samples as f32
            };
            let (keep, offload) = (mean(small, false), mean(large, true));
            assert_eq!((row.keep_grade, row.offload_grade), (keep, offload), "{policy:?} {row:?}");
            assert_eq!(row.relation, Relation::from_grades(keep, offload));
            assert_eq!(row.target, soft_target(keep, offload));
            assert_eq!(row.rollouts as usize, 2 * config.samples);
        }
    }
    rows
}

#[test]
fn another_policy_goes_on_after_both_tokens() {
    use ContinuationPolicy::{Llm, Routed, Slm};
    let [(reference, of_reference), (on_policy, of_on_policy)] = rounds();
    for (round, path, policy) in [
        (&reference, of_reference, Slm),
        (&on_policy, of_on_policy, Llm),
        (&on_policy, of_on_policy, Slm),
    ] {
        let other = LabelConfig { continuation: Some(policy), ..config() };
        let rows = check(round, path, policy, &other);
        let usual = label(&items(&questions(20)), round, config()).expect("good models");
        let grades = |rows: &[LabelRow]| -> Vec<[f32; 2]> {
            rows.iter().map(|r| [r.keep_grade, r.offload_grade]).collect()
        };
        assert_ne!(grades(&rows), grades(&usual), "{policy:?} matters");
    }
    // The usual policy, given by name, makes the usual rows, with both rolled out.
    let named = LabelConfig { continuation: Some(Routed), ..config() };
    check(&on_policy, of_on_policy, Routed, &named);
}

#[test]
fn sampled_rollouts_give_soft_targets() {
    for (round, path) in rounds() {
        let sampled = LabelConfig { samples: 3, temperature: 0.9, ..config() };
        let rows = check(&round, path, path, &sampled);
        let soft = rows.iter().filter(|r| r.target > 0.0 && r.target < 1.0).count();
        assert!(soft >= 5, "{soft} soft targets");
        assert!(rows.iter().all(|r| (0.0..=1.0).contains(&r.target)));
        let seeded = LabelConfig { seed: 5, ..sampled.clone() };
        assert_ne!(check(&round, path, path, &seeded), rows, "the seed matters");
    }
    let [(reference, path), _] = rounds();
    let slm = Some(ContinuationPolicy::Slm);
    let alone = LabelConfig { samples: 2, temperature: 0.9, continuation: slm, ..config() };
    check(&reference, path, ContinuationPolicy::Slm, &alone);
}

#[test]
fn a_sample_does_not_depend_on_the_batch() {
    let questions = questions(12);
    let items = items(&questions);
    let sampled = LabelConfig { samples: 2, temperature: 0.9, ..config() };
    for (round, _) in rounds() {
        let whole = label(&items, &round, sampled.clone()).expect("good models");
        let parts = items.chunks(5).map(|part| label(part, &round, sampled.clone()));
        let parts = parts.collect::<Result<Vec<_>, _>>().expect("good models").concat();
        // Unjudged grades are NaN, which equals nothing.
        assert_eq!(format!("{whole:?}"), format!("{parts:?}"));
        let more = LabelConfig { samples: 3, ..sampled.clone() };
        let of = |config: &LabelConfig| config.sampling("q1", 4, true, 1).expect("in range");
        assert_eq!(of(&more), of(&sampled), "further samples leave the first ones as they are");
    }
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let questions = questions(2);
    let items = items(&questions);
    let walk = LabelConfig { reference: Reference::Walk, ..config() };
    let sampled = |samples, temperature| LabelConfig { samples, temperature, ..config() };
    for (config, parts) in [
        (
            LabelConfig { continuation: Some(ContinuationPolicy::Routed), ..config() },
            &["continuation", "no router yet"][..],
        ),
        (sampled(0, 0.0), &["samples is 0"]),
        (sampled(4, 0.0), &["samples is 4", "set `temperature`"]),
        (sampled(1, 2.5), &["temperature is 2.5"]),
        (sampled(1, f64::NAN), &["temperature"]),
        (LabelConfig { temperature: 0.5, ..walk.clone() }, &["temperature", "walk"]),
        (
            LabelConfig { continuation: Some(ContinuationPolicy::Slm), ..walk },
            &["continuation", "walk"],
        ),
    ] {
        let error = label(&items, &Round::Reference, config).expect_err("refused").to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn defaults_leave_manifests_as_they_were() {
    let json = serde_json::to_string(&LabelConfig::default()).expect("JSON");
    assert_eq!(
        json,
        "{\"reference\":\"llm\",\"max_tokens\":128,\"max_rollouts_per_question\":0,\
         \"questions_per_shard\":100,\"seed\":0}"
    );
    let read: LabelConfig = serde_json::from_str(&json).expect("an earlier manifest");
    assert_eq!(read, LabelConfig::default());
    assert!(LabelConfig { max_tokens: MAX_TOKENS, ..read }.check(0).is_ok());
}
