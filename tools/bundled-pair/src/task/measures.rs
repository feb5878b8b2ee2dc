//! Families about measures: travel, units, points.

use super::build::{Build, Op, Val};

const MOVES: [(&str, &str); 5] =
    [("walks", "walk"), ("runs", "run"), ("rides", "ride"), ("drives", "drive"), ("sails", "sail")];

/// Distance from speed and time, or time from distance and speed.
pub(super) fn travel(b: &mut Build<'_>) -> Option<()> {
    let who = b.name();
    if b.steps <= 2 && b.chance(0.4) {
        return journey_time(b, who);
    }
    let first = b.rng_index(MOVES.len());
    let mut way = leg(b, who, first, false)?;
    let mut left = b.steps - 1;
    if left == 3 || (left == 2 && b.chance(0.5)) {
        b.tag("two");
        let shift = 1 + b.rng_index(MOVES.len() - 1);
        let second = leg(b, who, (first + shift) % MOVES.len(), true)?;
        way = b.calc("the distance", way, Op::Add, second)?;
        left -= 2;
    } else if left == 2 || (left == 1 && b.chance(0.5)) {
        b.tag("bus");
        let n = b.draw(2, 12);
        b.say(format!("Then {who} takes a bus for {} miles.", n.value));
        way = b.calc("the distance", way, Op::Add, n)?;
        left -= 1;
    }
    if left == 1 {
        let total = way.value + b.number(1, 12);
        if total > b.config.max_result {
            return None;
        }
        let total = b.given(total);
        b.tag("left");
        b.say(format!("The trip is {} miles long.", total.value));
        b.calc("the rest", total, Op::Sub, way)?;
        return b.ask(format!("How many miles are left for {who}?"));
    }
    b.ask(format!("How many miles does {who} go?"))
}

fn leg(b: &mut Build<'_>, who: &str, kind: usize, then: bool) -> Option<Val> {
    let (verb, noun) = MOVES[kind];
    let (speed, hours) = (b.draw(2, 9), b.draw(2, 9));
    let then = if then { "Then " } else { "" };
    b.say(format!("{then}{who} {verb} {} miles an hour for {} hours.", speed.value, hours.value));
    b.calc(format!("the {noun}"), speed, Op::Mul, hours)
}

fn journey_time(b: &mut Build<'_>, who: &str) -> Option<()> {
    let (verb, _) = b.pick(&MOVES);
    let (speed, hours) = (b.number(2, 9), b.number(2, 9));
    let way = b.given(speed * hours);
    let speed = b.given(speed);
    b.tag("time");
    b.say(format!("{who} {verb} {} miles at {} miles an hour.", way.value, speed.value));
    let time = b.calc("the hours", way, Op::Div, speed)?;
    if b.steps == 2 {
        let n = b.draw(2, 9);
        b.say(format!("Then {who} rests for {} hours.", n.value));
        b.calc("the total", time, Op::Add, n)?;
        return b.ask(format!("How many hours does {who} need in total?"));
    }
    b.ask(format!("How many hours does {who} need?"))
}

/// A learnt unit: plural, smaller unit's plural, factor, verb and its base form.
struct Unit {
    large: &'static str,
    small: &'static str,
    factor: i64,
    verb: (&'static str, &'static str),
}

const fn unit(
    large: &'static str,
    small: &'static str,
    factor: i64,
    verb: (&'static str, &'static str),
) -> Unit {
    Unit { large, small, factor, verb }
}

const PLANS: (&str, &str) = ("plans", "plan");
const SAVES: (&str, &str) = ("saves", "save");
const POURS: (&str, &str) = ("pours", "pour");
const MEASURES: (&str, &str) = ("measures", "measure");

const UNITS: [Unit; 12] = [
    unit("weeks", "days", 7, PLANS),
    unit("years", "months", 12, PLANS),
    unit("decades", "years", 10, PLANS),
    unit("fortnights", "days", 14, PLANS),
    unit("feet", "inches", 12, MEASURES),
    unit("yards", "feet", 3, MEASURES),
    unit("centimetres", "millimetres", 10, MEASURES),
    unit("nickels", "cents", 5, SAVES),
    unit("dimes", "cents", 10, SAVES),
    unit("dollars", "quarters", 4, SAVES),
    unit("gallons", "quarts", 4, POURS),
    unit("quarts", "pints", 2, POURS),
];

/// Learnt unit conversions, with a remainder and a second person.
pub(super) fn units(b: &mut Build<'_>) -> Option<()> {
    let who = b.name();
    let at = b.rng_index(UNITS.len());
    let Unit { large, small, factor, verb } = &UNITS[at];
    let learnt = Val { value: *factor, from: None };
    let count = b.number(2, 9);
    b.tag(large);
    b.tag(small);
    if b.steps == 1 && b.chance(0.4) {
        let amount = b.given(count * factor);
        b.say(format!("{who} {} {} {small}.", verb.0, amount.value));
        b.calc(format!("the {large}"), amount, Op::Div, learnt)?;
        return b.ask(format!("How many {large} does {who} {}?", verb.1));
    }
    let mut left = b.steps - 1;
    let rest = left >= 2 || (left == 1 && b.chance(0.5));
    let n = b.given(count);
    let mut amount;
    if rest {
        let extra = b.draw(2, 9);
        b.say(format!("{who} {} {count} {large} and {} {small}.", verb.0, extra.value));
        amount = b.calc(format!("the {small}"), n, Op::Mul, learnt)?;
        amount = b.calc(format!("the {small} of {who}"), amount, Op::Add, extra)?;
        left -= 1;
    } else {
        b.say(format!("{who} {} {count} {large}.", verb.0));
        amount = b.calc(format!("the {small}"), n, Op::Mul, learnt)?;
    }
    if left == 0 {
        return b.ask(format!("How many {small} does {who} {}?", verb.1));
    }
    let other = b.name();
    let more = b.chance(0.5);
    let diff = b.draw(2, 12);
    let (word, op) = if more { ("more", Op::Add) } else { ("fewer", Op::Sub) };
    b.tag(word);
    b.say(format!("{other} {} {} {word} {small} than {who}.", verb.0, diff.value));
    let second = b.calc(format!("the {small} of {other}"), amount, op, diff)?;
    if left == 1 {
        return b.ask(format!("How many {small} does {other} {}?", verb.1));
    }
    b.tag("together");
    b.calc("the sum", amount, Op::Add, second)?;
    b.ask(format!("How many {small} do {who} and {other} {} together?", verb.1))
}

/// Football points: three for a win, one for a draw, both learnt.
pub(super) fn points(b: &mut Build<'_>) -> Option<()> {
    let teams = ["Reds", "Blues", "Greens", "Lions", "Tigers", "Bears"];
    let (team, rival) = (b.fresh(&teams), b.fresh(&teams));
    let three = Val { value: 3, from: None };
    let wins = b.draw(2, 12);
    let drawn = (b.steps > 1).then(|| b.draw(1, 9));
    let lost = b.draw(1, 9);
    let (w, l) = (wins.value, lost.value);
    match drawn {
        None => b.say_any(&[
            format!("In football, the {team} win {w} games and lose {l}."),
            format!("In football, the {team} lose {l} games and win {w}."),
        ]),
        Some(d) => b.say_any(&[
            format!("In football, the {team} win {w} games, draw {} and lose {l}.", d.value),
            format!("In football, the {team} win {w} games, lose {l} and draw {}.", d.value),
        ]),
    }
    let mut score = b.calc("the points for wins", wins, Op::Mul, three)?;
    if let Some(drawn) = drawn {
        score = b.calc(format!("the points of the {team}"), score, Op::Add, drawn)?;
    }
    if b.steps == 4 || (b.steps == 3 && b.chance(0.5)) {
        let gain = b.chance(0.4);
        let n = b.draw(2, 6);
        b.tag(if gain { "bonus" } else { "penalty" });
        b.say(match gain {
            true => format!("The {team} also get {} bonus points.", n.value),
            false => format!("For a late start the {team} lose {} points.", n.value),
        });
        let op = if gain { Op::Add } else { Op::Sub };
        score = b.calc(format!("the points of the {team}"), score, op, n)?;
        if b.steps == 3 {
            return b.ask(format!("How many points do the {team} have?"));
        }
    }
    if b.steps < 3 {
        return b.ask(format!("How many points do the {team} have?"));
    }
    let more = b.chance(0.5);
    let n = b.draw(2, 12);
    b.tag(if more { "more" } else { "fewer" });
    let reversed = b.chance(0.4);
    let word = if more { "more" } else { "fewer" };
    let (first, second) = if reversed { (team, rival) } else { (rival, team) };
    if reversed {
        b.tag("reversed");
    }
    b.say(format!("The {first} have {} {word} points than the {second}.", n.value));
    let op = if more == reversed { Op::Sub } else { Op::Add };
    b.calc(format!("the points of the {rival}"), score, op, n)?;
    b.ask(format!("How many points do the {rival} have?"))
}
