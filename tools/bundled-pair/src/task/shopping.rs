//! Families about owning things: purchases, sharing, stock.

use super::build::{Build, Op, Val};
use super::words::SINGLES;

/// A bill, sometimes with the change.
pub(super) fn purchases(b: &mut Build<'_>) -> Option<()> {
    let who = b.name();
    let mut cost = buy(b, who, false)?;
    let mut left = b.steps - 1;
    let two_kinds = left == 3 || (left == 2 && b.chance(0.5));
    if two_kinds {
        b.tag("two");
        let second = buy(b, who, true)?;
        cost = b.calc("the total", cost, Op::Add, second)?;
        left -= 2;
    } else if left == 2 || (left == 1 && b.chance(0.5)) {
        b.tag("one");
        let single = b.fresh(&SINGLES);
        let price = b.draw(2, 12);
        b.say(format!("{who} also buys {single} for {} dollars.", price.value));
        cost = b.calc("the total", cost, Op::Add, price)?;
        left -= 1;
    }
    if left == 1 {
        let paid = cost.value + b.number(1, 12);
        if paid > b.config.max_result {
            return None;
        }
        let paid = b.given(paid);
        b.tag("change");
        let verb = b.pick(&["gives", "pays with", "hands over"]);
        b.say(format!("{who} {verb} {} dollars.", paid.value));
        b.calc("the change", paid, Op::Sub, cost)?;
        let ask = b.pick(&["How much change does {} get?", "How many dollars does {} get back?"]);
        return b.ask(ask.replace("{}", who));
    }
    let ask = b.pick(&["How much does {} pay?", "How many dollars does {} pay?"]);
    b.ask(ask.replace("{}", who))
}

fn buy(b: &mut Build<'_>, who: &str, again: bool) -> Option<Val> {
    let what = b.object();
    let (n, price) = (b.draw(2, 9), b.draw(2, 9));
    let also = if again { " also" } else { "" };
    let (x, y) = (n.value, price.value);
    b.say_any(&[
        format!("{who}{also} buys {x} {what} at {y} dollars each."),
        format!("{who}{also} gets {x} {what} for {y} dollars each."),
    ]);
    b.calc(format!("the cost of {what}"), n, Op::Mul, price)
}

/// Things shared equally, with changes before and after.
pub(super) fn sharing(b: &mut Build<'_>) -> Option<()> {
    let (who, what) = (b.name(), b.object());
    let (parts, each) = (b.number(2, 9), b.number(2, 9));
    let (before, after) = match b.steps {
        1 => (0, 0),
        2 => *[(1, 0), (0, 1)].get(b.pick(&[0_usize, 1]))?,
        3 => *[(2, 0), (1, 1)].get(b.pick(&[0_usize, 1]))?,
        _ => (2, 1),
    };
    // The changes are drawn backwards from the share, so that the division is exact.
    let mut start = parts * each;
    let mut changes = Vec::new();
    for _ in 0..before {
        let gain = b.chance(0.5);
        let n = b.number(2, 12);
        start += if gain { -n } else { n };
        changes.insert(0, (gain, n));
    }
    if start < 2 || start > b.config.max_result {
        return None;
    }
    let mut amount = b.given(start);
    let has = b.pick(&["has", "owns", "keeps"]);
    b.say(format!("{who} {has} {start} {what}."));
    for (gain, n) in changes {
        let n = b.given(n);
        amount = change(b, who, what, gain, amount, n)?;
    }
    let parts = b.given(parts);
    let (d, unit) = (parts.value, b.pick(&["friend", "box"]));
    b.say(match unit {
        "friend" => format!("{who} shares the {what} equally among {d} friends."),
        _ => format!("{who} puts the {what} equally into {d} boxes."),
    });
    let share = b.calc(format!("the {what} per {unit}"), amount, Op::Div, parts)?;
    if after == 1 {
        let gain = b.chance(0.5);
        let n = b.draw(2, 12);
        b.tag(if gain { "more" } else { "less" });
        let k = n.value;
        b.say(match (unit, gain) {
            ("friend", true) => format!("Then each friend gets {k} more {what}."),
            ("friend", false) => format!("Then each friend gives back {k} {what}."),
            (_, true) => format!("Then {k} more {what} go into each box."),
            _ => format!("Then {who} takes {k} {what} out of each box."),
        });
        let op = if gain { Op::Add } else { Op::Sub };
        b.calc(format!("the {what} per {unit}"), share, op, n)?;
    }
    b.ask(match unit {
        "friend" => format!("How many {what} does each friend have?"),
        _ => format!("How many {what} are in each box?"),
    })
}

fn change(b: &mut Build<'_>, who: &str, what: &str, gain: bool, from: Val, n: Val) -> Option<Val> {
    let k = n.value;
    b.tag(if gain { "more" } else { "less" });
    let sentence = if gain {
        let verb = b.pick(&["finds", "wins", "gets"]);
        format!("{who} {verb} {k} more {what}.")
    } else {
        let verb = b.pick(&["loses", "sells", "throws away"]);
        format!("{who} {verb} {k} {what}.")
    };
    b.say(sentence);
    b.calc(format!("the {what} of {who}"), from, if gain { Op::Add } else { Op::Sub }, n)
}

/// Gains and losses. The direction of each gift decides the sign.
pub(super) fn stock(b: &mut Build<'_>) -> Option<()> {
    let (who, other, what) = (b.name(), b.name(), b.object());
    let start = b.amount(5, 30);
    let mut amount = b.given(start);
    let has = b.pick(&["has", "owns", "keeps"]);
    b.say(format!("{who} {has} {} {what}.", amount.value));
    for _ in 0..b.steps {
        let gain = b.chance(0.5);
        let n = b.draw(2, 12);
        if b.chance(0.4) {
            amount = change(b, who, what, gain, amount, n)?;
            continue;
        }
        b.tag(if gain { "from" } else { "to" });
        let (giver, taker) = if gain { (other, who) } else { (who, other) };
        b.say_any(&[
            format!("{giver} gives {} {what} to {taker}.", n.value),
            format!("{taker} takes {} {what} from {giver}.", n.value),
        ]);
        let op = if gain { Op::Add } else { Op::Sub };
        amount = b.calc(format!("the {what} of {who}"), amount, op, n)?;
    }
    b.ask_any(&[
        format!("How many {what} does {who} have now?"),
        format!("How many {what} does {who} have in the end?"),
    ])
}
