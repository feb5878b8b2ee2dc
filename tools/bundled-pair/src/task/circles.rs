//! Families with cyclic answers: calendar, turning, and the held-out months.

use super::build::Build;
use super::words::{COMPASS, DAY_EVENTS, DAYS, MONTH_EVENTS, MONTHS};

/// Day-of-week arithmetic.
pub(super) fn calendar(b: &mut Build<'_>) -> Option<()> {
    timeline(b, &DAYS, &DAY_EVENTS, "on", ("days", "day"))
}

/// Month arithmetic.
pub(super) fn months(b: &mut Build<'_>) -> Option<()> {
    timeline(b, &MONTHS, &MONTH_EVENTS, "in", ("months", "month"))
}

fn timeline(
    b: &mut Build<'_>,
    circle: &[&'static str],
    events: &[&'static str],
    when: &str,
    unit: (&str, &str),
) -> Option<()> {
    let len = circle.len();
    let mut at = b.rng_index(len);
    let mut known = b.fresh(events);
    let mut seen = vec![circle[at]];
    b.tag(circle[at]);
    b.say(format!("The {known} is {when} {}.", circle[at]));
    let mut near = Vec::new();
    for _ in 0..b.steps {
        let next = b.fresh(events);
        let n = b.draw(2, 6).value;
        let (after, reversed) = (b.chance(0.5), b.chance(0.35));
        let word = if after { "after" } else { "before" };
        b.tag(word);
        if reversed {
            b.tag("reversed");
        }
        b.say(if reversed {
            format!("The {known} is {n} {} {word} the {next}.", unit.0)
        } else {
            format!("The {next} is {n} {} {word} the {known}.", unit.0)
        });
        let forward = after != reversed;
        let step = usize::try_from(n).ok()? % len;
        let to = if forward { (at + step) % len } else { (at + len - step) % len };
        let wrong = if forward { (at + len - step) % len } else { (at + step) % len };
        let sign = if forward { '+' } else { '-' };
        b.note(format!("the {next}"), format!("{}{sign}{n}={}", circle[at], circle[to]));
        near = vec![wrong, (to + 1) % len, (to + len - 1) % len];
        seen.push(circle[to]);
        (at, known) = (to, next);
    }
    // Likely mistakes: the last relation reversed, an earlier event, a neighbouring value.
    let mut wrong: Vec<&str> = vec![circle[near[0]]];
    wrong.extend(seen.iter().rev().skip(1));
    wrong.extend([circle[near[1]], circle[near[2]]]);
    wrong.extend((2..len).map(|k| circle[(at + k) % len]));
    let question = match when {
        "on" => format!("On which {} is the {known}?", unit.1),
        _ => format!("In which {} is the {known}?", unit.1),
    };
    b.ask_word(question, circle[at], &wrong)
}

/// Turns on the compass. The distances are irrelevant.
pub(super) fn turning(b: &mut Build<'_>) -> Option<()> {
    let who = b.name();
    let mut at = b.rng_index(COMPASS.len());
    b.tag(COMPASS[at]);
    let n = b.draw(2, 12).value;
    let verb = b.pick(&["walks", "runs", "drives"]);
    b.say(format!("{who} {verb} {n} miles {}.", COMPASS[at]));
    for i in 0..b.steps {
        let (turn, by) = b.pick(&[("right", 1), ("left", 3), ("back", 2)]);
        b.tag(turn);
        let then = if i > 0 { "Then " } else { "" };
        if i + 1 < b.steps && b.chance(0.5) {
            let n = b.draw(2, 12).value;
            b.say(format!("{then}{who} turns {turn} and {verb} {n} miles."));
        } else {
            b.say(format!("{then}{who} turns {turn}."));
        }
        let to = (at + by) % COMPASS.len();
        b.note("the direction", format!("{}+{turn}={}", COMPASS[at], COMPASS[to]));
        at = to;
    }
    let mut wrong: Vec<&str> = (1..4).map(|k| COMPASS[(at + k) % 4]).collect();
    wrong.push(b.pick(&["north-east", "south-west"]));
    let ask = b.pick(&["Which way does {} face now?", "Which way does {} look now?"]);
    b.ask_word(ask.replace("{}", who), COMPASS[at], &wrong)
}
