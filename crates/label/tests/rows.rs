//! Labels against a loop that decodes one token at a time, with no batches,
//! states or forks.

mod common;

use common::{
    MAX_TOKENS, Oracle, Remembers, Sure, config, decode, finish, graded, items, labeller, models,
    questions, says,
};
use tokenroute_core::{
    LabelRow, LlmStep, Origin, Relation, Scorer, Tau, TokenId, grade, prefix_hash, soft_target,
};
use tokenroute_label::{Item, LabelConfig, LabelError, Reference, Round};
use tokenroute_llm::{InProcess, Scripted, ToyModel};
use tokenroute_runtime::{Pair, Path, Request};

/// The routed choice after a prefix of prompt and answer.
fn routed(
    item: &Item<'_>,
    tokens: &[TokenId],
    scorer: &dyn Scorer,
    tau: Tau,
    slm: &ToyModel,
    llm: &ToyModel,
) -> TokenId {
    let vocabulary = ToyModel::vocabulary();
    let mut path = Path::new(&vocabulary, &item.prompt);
    for i in item.prompt.len()..tokens.len() {
        let step = says(slm, &tokens[..i]);
        let scored = (!scorer.needs_llm()).then(|| {
            scorer.scored(&path.position(&item.question.id, &step, None)).expect("a number")
        });
        path.commit(tokens[i], &step, scored.as_ref());
    }
    let (small, large) = (says(slm, tokens), says(llm, tokens).token);
    let known = scorer.needs_llm().then_some(LlmStep { token: large, top: None });
    let score = scorer.score(&path.position(&item.question.id, &small, known)).expect("a number");
    if tau.offloads(score) { large } else { small.token }
}

/// Checks the rows of one item along `answer` against both ways finished by `next`.
fn check(
    rows: &[LabelRow],
    item: &Item<'_>,
    answer: &[TokenId],
    next: &dyn Fn(&[TokenId]) -> TokenId,
) {
    let (slm, llm) = models();
    assert_eq!(rows.len(), answer.len(), "{}: one row per position", item.question.id);
    let mut sentence = None;
    for (i, row) in rows.iter().enumerate() {
        let prefix = [&item.prompt[..], &answer[..i]].concat();
        let (small, large) = (says(&slm, &prefix), says(&llm, &prefix).token);
        if sentence.is_none() || i == 0 || matches!(prefix.last(), Some(12 | 13)) {
            sentence = Some(small.entropy);
        }
        assert_eq!(row.question, item.question.id);
        assert_eq!((row.split.as_str(), row.position as usize), (item.split, i));
        assert_eq!(row.prefix_hash, prefix_hash(&prefix));
        assert_eq!(Some(&row.previous), prefix.last());
        assert_eq!((row.slm_token, row.llm_token), (small.token, large));
        assert_eq!((&row.top, row.entropy), (&small.top, small.entropy));
        assert_eq!(row.hidden, small.hidden.to_vec());
        assert_eq!(Some(row.sentence_entropy), sentence);
        let way = |token| graded(item, &finish(item, [&answer[..i], &[token]].concat(), next));
        if small.token == large {
            assert_eq!((row.relation, row.target), (Relation::Identical, 1.0));
            assert_eq!(row.rollouts, 0);
        } else {
            let (keep, offload) = (way(small.token), way(large));
            assert_eq!((row.keep_grade, row.offload_grade), (keep, offload), "{row:?}");
            assert_eq!(row.relation, Relation::from_grades(keep, offload));
            assert_eq!(row.target, soft_target(keep, offload));
            assert_eq!(row.rollouts, 1);
        }
        assert_eq!(row.weight, 1.0);
    }
}

fn of<'r>(rows: &'r [LabelRow], item: &Item<'_>) -> &'r [LabelRow] {
    let from = rows.iter().position(|r| r.question == item.question.id).unwrap_or(0);
    let len = rows.iter().filter(|r| r.question == item.question.id).count();
    &rows[from..from + len]
}

fn label(
    items: &[Item<'_>],
    round: &Round<'_>,
    config: LabelConfig,
) -> Result<Vec<LabelRow>, LabelError> {
    let (slm, llm) = models();
    labeller(&slm, &InProcess::new(llm), &ToyModel::vocabulary(), config).label(items, round)
}

#[test]
fn round_0_follows_the_llm_and_rolls_out_every_difference() {
    let (_, llm) = models();
    let questions = questions(30);
    let items = items(&questions);
    let rows = label(&items, &Round::Reference, config()).expect("good models");
    let next = |prefix: &[TokenId]| says(&llm, prefix).token;
    for item in &items {
        let answer = finish(item, Vec::new(), &next);
        check(of(&rows, item), item, &answer, &next);
    }
    for relation in
        [Relation::Identical, Relation::Neutral, Relation::BothWrong, Relation::Divergent]
    {
        assert!(rows.iter().any(|r| r.relation == relation), "no {relation:?} was exercised");
    }
}

#[test]
fn on_policy_rounds_follow_the_router() {
    let (slm, llm) = models();
    let vocabulary = ToyModel::vocabulary();
    let questions = questions(30);
    let items = items(&questions);
    let tau = Tau::new(0.4).expect("in range");
    for scorer in [&Sure as &dyn Scorer, &Oracle, &Remembers] {
        let round = Round::OnPolicy { number: 2, scorer, tau, router_hash: "r" };
        let rows = label(&items, &round, config()).expect("good models");
        let server = InProcess::new(models().1);
        let requests: Vec<_> = items
            .iter()
            .map(|i| Request {
                question: &i.question.id,
                prompt: &i.prompt,
                max_tokens: MAX_TOKENS,
            })
            .collect();
        let pair = Pair::new(&slm, &server, &vocabulary);
        let traces = tokenroute_runtime::decode(pair, scorer, tau, &requests, 8).expect("good");
        let kept = |o| traces.iter().flat_map(|t| &t.tokens).any(|t| t.origin == o);
        assert!(kept(Origin::Slm) && kept(Origin::Llm), "τ routes both ways");
        for (item, trace) in items.iter().zip(&traces) {
            let next = |prefix: &[TokenId]| routed(item, prefix, scorer, tau, &slm, &llm);
            let answer: Vec<_> = trace.ids().collect();
            check(of(&rows, item), item, &answer, &next);
        }
        assert!(rows.iter().all(|r| r.round == 2));
    }
}

#[test]
fn a_gold_rationale_takes_citers_shortcut() {
    let (slm, llm) = models();
    let questions = questions(24);
    let mut items = items(&questions);
    for (i, item) in items.iter_mut().enumerate() {
        // Mostly the LLM's answer with a stranger in the middle; 15 also ends.
        let next = |prefix: &[TokenId]| says(&llm, prefix).token;
        let mut gold = finish(item, Vec::new(), &next);
        gold.truncate(5);
        let small = says(&slm, &[&item.prompt[..], &gold].concat()).token;
        let stranger = if i % 3 == 0 { (i % 13) as TokenId } else { small };
        gold.extend([stranger, 4, 15, 2]);
        item.gold = Some(gold);
    }
    let config = LabelConfig { reference: Reference::Gold, ..config() };
    let rows = label(&items, &Round::Reference, config.clone()).expect("good models");
    let next = |prefix: &[TokenId]| says(&llm, prefix).token;
    let mut seen = [0; 4];
    for item in &items {
        let rows = of(&rows, item);
        let gold = item.gold.as_ref().expect("set above");
        let end = gold.iter().position(|&t| t >= 14).expect("it ends");
        let mut answer = gold[..end].to_vec();
        answer.push(14);
        assert_eq!(rows.len(), answer.len(), "up to the first end token");
        for (i, row) in rows.iter().enumerate() {
            let prefix = [&item.prompt[..], &answer[..i]].concat();
            let (small, large) = (says(&slm, &prefix).token, says(&llm, &prefix).token);
            let way = |token| graded(item, &finish(item, [&answer[..i], &[token]].concat(), &next));
            let (case, target, rollouts) = if small == large {
                (0, 1.0, 0)
            } else if small == answer[i] {
                (1, 1.0, 0)
            } else if large == answer[i] {
                (2, 0.0, 0)
            } else {
                (3, soft_target(way(small), way(large)), 2)
            };
            assert_eq!((row.target, row.rollouts, row.weight), (target, rollouts, 1.0), "{case}");
            seen[case] += 1;
        }
    }
    assert!(seen.iter().all(|&n| n > 0), "every case was exercised: {seen:?}");

    items[3].gold = None;
    let missing = label(&items, &Round::Reference, config).expect_err("no rationale").to_string();
    assert!(missing.contains("\"q3\""), "{missing}");
}

#[test]
fn the_walk_takes_in_slm_tokens_that_leave_the_answer_the_same() {
    let (slm, llm) = models();
    let questions = questions(12);
    let items = items(&questions);
    let config = LabelConfig { reference: Reference::Walk, ..config() };
    let rows = label(&items, &Round::Reference, config.clone()).expect("good models");
    let next = |tokens: &[TokenId]| says(&llm, tokens).token;
    let vocabulary = ToyModel::vocabulary();
    let large = InProcess::new(&llm);
    let walked = labeller(&slm, &large, &vocabulary, config).walk(&items).expect("good models");
    assert!(walked.llm_positions > 0 && walked.slm_positions > 0);
    let mut kept = 0;
    for (item, walked) in items.iter().zip(walked.walked) {
        let own = finish(item, Vec::new(), &next);
        let mut answer = own.clone();
        let (mut at, mut offloaded) = (0, 0);
        while at < answer.len() {
            let token = says(&slm, &[&item.prompt[..], &answer[..at]].concat()).token;
            if token != answer[at] {
                let swapped = finish(item, [&answer[..at], &[token]].concat(), &next);
                // A toy answer commits to right or wrong, unless it was cut.
                if graded(item, &swapped) == graded(item, &own) {
                    answer = swapped;
                    kept += 1;
                } else {
                    offloaded += 1;
                }
            }
            at += 1;
        }
        check(of(&rows, item), item, &answer, &next);
        let grades = (walked.grade, walked.llm_grade);
        assert_eq!(walked.answer, answer, "{}", item.question.id);
        assert_eq!(walked.offloaded, offloaded, "{}", item.question.id);
        assert_eq!(grades, (graded(item, &answer), graded(item, &own)), "{}", item.question.id);
    }
    assert!(kept > 0, "the walk kept nothing");
}

#[test]
fn a_cap_counts_positions_and_judged_rows_weigh_for_the_rest() {
    let questions = questions(20);
    let mut items = items(&questions);
    items[3].uncapped = true;
    let all = label(&items, &Round::Reference, config()).expect("good models");
    let capped = LabelConfig { max_rollouts_per_question: 2, ..config() };
    let some = label(&items, &Round::Reference, capped).expect("good models");
    assert_eq!(all.len(), some.len());
    let mut unjudged = 0;
    for (full, row) in all.iter().zip(&some) {
        if row.relation == Relation::Unjudged {
            assert_eq!((row.weight, row.target, row.rollouts), (0.0, 0.5, 0));
            assert!(row.keep_grade.is_nan());
            assert_ne!(row.slm_token, row.llm_token);
            unjudged += 1;
        } else {
            let row = LabelRow { weight: 1.0, ..row.clone() };
            assert_eq!(full, &row, "what a judged row says does not depend on the cap");
        }
    }
    assert!(unjudged > 0);
    for item in &items {
        let (some, all) = (of(&some, item), of(&all, item));
        let open = all.iter().filter(|r| r.rollouts > 0).count();
        let judged: Vec<_> = some.iter().filter(|r| r.rollouts > 0).collect();
        let most = if item.uncapped { open } else { open.min(2) };
        assert_eq!(judged.len(), most, "{}: the cap is used up", item.question.id);
        let weight: f32 = judged.iter().map(|r| r.weight).sum();
        assert!((weight - open as f32).abs() < 1e-4, "{}: {weight} for {open}", item.question.id);
    }
}

/// Weighted shares of a thinned table are those of the full one on average.
#[test]
fn thinning_does_not_bias_shares() {
    let questions = questions(6);
    let items = items(&questions);
    let share = |rows: &[LabelRow]| {
        let weight = |of: &dyn Fn(&LabelRow) -> bool| -> f64 {
            rows.iter().filter(|r| of(r)).map(|r| f64::from(r.weight)).sum()
        };
        weight(&|r| r.relation == Relation::Divergent) / weight(&|_| true)
    };
    let full = share(&label(&items, &Round::Reference, config()).expect("good models"));
    assert!(full > 0.0);
    let thinned: Vec<f64> = (0..1000)
        .map(|seed| {
            let config = LabelConfig { max_rollouts_per_question: 1, seed, ..config() };
            share(&label(&items, &Round::Reference, config).expect("good models"))
        })
        .collect();
    let mean = thinned.iter().sum::<f64>() / 1000.0;
    let variance = thinned.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 999.0;
    let error = (variance / 1000.0).sqrt();
    assert!(error > 0.0 && (mean - full).abs() < 4.0 * error, "{mean} ± {error}, not {full}");
}

#[test]
fn the_llms_probability_of_its_own_token_is_kept_where_it_is_asked_for() {
    let (slm, llm) = models();
    let vocabulary = ToyModel::vocabulary();
    let questions = questions(12);
    let items = items(&questions);
    let in_process = InProcess::new(models().1);
    let tau = Tau::new(0.6).expect("in range");
    for round in
        [Round::Reference, Round::OnPolicy { number: 1, scorer: &Sure, tau, router_hash: "toy" }]
    {
        let with = |llm_probabilities| {
            let config = LabelConfig { llm_probabilities, ..config() };
            labeller(&slm, &in_process, &vocabulary, config).label(&items, &round).expect("labels")
        };
        let (plain, rows) = (with(false), with(true));
        assert!(plain.iter().all(|row| row.llm_probability.is_none()));
        let without = |row: &LabelRow| LabelRow { llm_probability: None, ..row.clone() };
        let bare: Vec<LabelRow> = rows.iter().map(without).collect();
        assert_eq!(format!("{bare:?}"), format!("{plain:?}"), "nothing else changes");
        for answer in rows.chunk_by(|a, b| a.question == b.question) {
            let item = items.iter().find(|i| i.question.id == answer[0].question).expect("an item");
            let mut tokens = item.prompt.clone();
            for (i, row) in answer.iter().enumerate() {
                let expected = says(&llm, &tokens).max_probability() as f32;
                let found = row.llm_probability.expect("asked for");
                assert!((found - expected).abs() < 1e-6, "{found} {expected}");
                tokens.extend(answer.get(i + 1).map(|next| next.previous));
            }
        }
    }
    let silent = Scripted::new(|context: &[TokenId]| Ok(says(&models().1, context).token));
    let config = LabelConfig { llm_probabilities: true, ..config() };
    let error = labeller(&slm, &silent, &vocabulary, config).label(&items, &Round::Reference);
    let error = error.expect_err("no probabilities").to_string();
    assert!(error.contains("q0") && error.contains("label.llm_probabilities"), "{error}");
}

#[test]
fn bad_items_are_refused_by_name() {
    let questions = questions(3);
    let good = items(&questions);
    let message = |items: &[Item<'_>], config| {
        label(items, &Round::Reference, config).expect_err("this is bad").to_string()
    };
    let mut empty = good.clone();
    empty[1].prompt.clear();
    assert!(message(&empty, config()).contains("\"q1\""));
    let twice = [good.clone(), good[..1].to_vec()].concat();
    assert!(message(&twice, config()).contains("\"q0\""));
    assert!(message(&good, LabelConfig { max_tokens: 0, ..config() }).contains("max_tokens"));
}

#[test]
fn a_separator_ends_reference_answers_and_rollouts() {
    let questions = questions(30);
    let items = items(&questions);
    // Tokens 4 and 5 end in half a separator, 6 and 7 begin with the other half.
    let texts = (0..16).map(|t| ["", "|"][usize::from((4..8).contains(&t))].to_owned());
    let plain = ToyModel::vocabulary();
    let separated = plain.clone().with_separator("||".to_owned(), texts.collect());
    let label = |vocabulary| {
        let (slm, llm) = models();
        let llm = InProcess::new(llm);
        let labeller = labeller(&slm, &llm, vocabulary, config());
        let rows = labeller.label(&items, &Round::Reference).expect("good models");
        (rows, llm.model().processed())
    };
    let ((whole, dear), (ended, cheap)) = (label(&plain), label(&separated));
    assert!(cheap < dear, "{cheap} LLM positions with a separator, {dear} without");
    let mut closed = 0;
    for item in &items {
        let (whole, ended) = (of(&whole, item), of(&ended, item));
        let answer: Vec<TokenId> = whole.iter().map(|row| row.llm_token).collect();
        let end = separated.closed_at(&[], &answer);
        assert_eq!(ended.len(), end.map_or(answer.len(), |end| end + 1), "{}", item.question.id);
        closed += usize::from(ended.len() < whole.len());
        // The path's own grade is that of the text before the separator.
        let read = separated.read(&answer[..ended.len()], |ids| Ok::<_, ()>(decode(ids)));
        let (text, complete) = read.expect("text");
        let own = f32::from(u8::from(grade(item.question, &text, complete)));
        let same = ended.iter().filter(|row| row.slm_token == row.llm_token);
        same.for_each(|row| assert_eq!(row.keep_grade, own));
    }
    assert!(closed > 3, "{closed} answers ended at the separator");
}
