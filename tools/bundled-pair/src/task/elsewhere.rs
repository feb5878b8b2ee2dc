//! Held-out families: bus, recipe, garden, reading. `circles::months` is the fifth.

use super::build::{Build, Op, Val};
use super::words::STOPS;

/// Passengers getting on and off.
pub(super) fn bus(b: &mut Build<'_>) -> Option<()> {
    let start = b.amount(3, 30);
    let mut amount = b.given(start);
    let vehicle = b.pick(&["bus", "train", "boat"]);
    b.say(format!("A {vehicle} has {start} passengers."));
    for _ in 0..b.steps {
        let stop = b.fresh(&STOPS);
        let on = b.chance(0.5);
        let n = b.draw(2, 12);
        let word = if on { "on" } else { "off" };
        b.tag(word);
        b.say_any(&[
            format!("At the {stop} {} people get {word}.", n.value),
            format!("{} people get {word} at the {stop}.", n.value),
        ]);
        let op = if on { Op::Add } else { Op::Sub };
        amount = b.calc(format!("the passengers after the {stop}"), amount, op, n)?;
    }
    b.ask(format!("How many passengers are on the {vehicle} now?"))
}

/// Ingredients for several dishes.
pub(super) fn recipe(b: &mut Build<'_>) -> Option<()> {
    let who = b.name();
    let food = b.fresh(&["eggs", "tomatoes", "onions", "carrots", "potatoes", "nuts"]);
    let mut need = dish(b, who, food)?;
    let mut left = b.steps - 1;
    if left >= 2 {
        b.tag("two");
        let second = dish(b, who, food)?;
        need = b.calc("the sum", need, Op::Add, second)?;
        left -= 2;
    }
    if left == 1 {
        if b.chance(0.6) {
            let n = b.number(2, 12);
            if n >= need.value {
                return None;
            }
            let n = b.given(n);
            b.tag("has");
            b.say(format!("{who} already has {} {food}.", n.value));
            b.calc("the rest", need, Op::Sub, n)?;
            return b.ask(format!("How many more {food} does {who} need?"));
        }
        let n = b.draw(2, 12);
        b.tag("spare");
        b.say(format!("{who} also wants {} spare {food}.", n.value));
        b.calc("the total", need, Op::Add, n)?;
    }
    b.ask(format!("How many {food} does {who} need?"))
}

fn dish(b: &mut Build<'_>, who: &str, food: &str) -> Option<Val> {
    let dish = b.fresh(&["cake", "pie", "soup", "salad", "pizza", "stew"]);
    let (n, each) = (b.draw(2, 9), b.draw(2, 9));
    b.say(format!("{who} makes {} {dish}s with {} {food} each.", n.value, each.value));
    b.calc(format!("the {food} for the {dish}s"), n, Op::Mul, each)
}

/// Rows of plants, or the fence around a plot.
pub(super) fn garden(b: &mut Build<'_>) -> Option<()> {
    if (b.steps == 2 || b.steps == 3) && b.chance(0.5) {
        return fence(b);
    }
    let mut plants = rows(b, true)?;
    let mut left = b.steps - 1;
    if left >= 2 {
        b.tag("two");
        let second = rows(b, false)?;
        plants = b.calc("the plants", plants, Op::Add, second)?;
        left -= 2;
    }
    if left == 1 {
        let grow = b.chance(0.5);
        let n = b.draw(2, 12);
        b.tag(if grow { "planted" } else { "died" });
        b.say(match grow {
            true => format!("Then {} more are planted.", n.value),
            false => format!("Then {} of the plants die.", n.value),
        });
        b.calc("the plants", plants, if grow { Op::Add } else { Op::Sub }, n)?;
    }
    b.ask("How many plants are in the garden?")
}

fn rows(b: &mut Build<'_>, first: bool) -> Option<Val> {
    let plant = b.fresh(&["beans", "peas", "herbs", "bushes", "trees"]);
    let (n, each) = (b.draw(2, 9), b.draw(2, 9));
    b.say(match first {
        true => format!("A garden has {} rows of {} {plant}.", n.value, each.value),
        false => format!("It also has {} rows of {} {plant}.", n.value, each.value),
    });
    b.calc(format!("the {plant}"), n, Op::Mul, each)
}

fn fence(b: &mut Build<'_>) -> Option<()> {
    let (long, wide) = (b.draw(3, 12), b.draw(2, 12));
    if wide.value > long.value {
        return None;
    }
    b.tag("fence");
    b.say(format!("A garden is {} metres long and {} metres wide.", long.value, wide.value));
    let half = b.calc("the two sides", long, Op::Add, wide)?;
    let around = b.calc("the fence", half, Op::Mul, Val { value: 2, from: None })?;
    if b.steps == 2 {
        return b.ask("How many metres of fence go around the garden?");
    }
    let gate = b.draw(2, 5);
    b.say(format!("A gate takes {} metres of the fence.", gate.value));
    b.calc("the rest", around, Op::Sub, gate)?;
    b.ask("How many metres of fence are left?")
}

/// Pages read and pages left.
pub(super) fn reading(b: &mut Build<'_>) -> Option<()> {
    let who = b.name();
    let (daily, days) = (b.number(2, 9), b.number(2, 9));
    if b.steps == 1 && b.chance(0.5) {
        let pages = b.given(daily * days);
        let daily = b.given(daily);
        b.tag("days");
        b.say(format!("{who} has a book of {} pages.", pages.value));
        b.say(format!("{who} reads {} pages a day.", daily.value));
        b.calc("the days", pages, Op::Div, daily)?;
        return b.ask(format!("How many days does {who} read?"));
    }
    let (daily, days) = (b.given(daily), b.given(days));
    b.say(format!("{who} reads {} pages a day for {} days.", daily.value, days.value));
    let mut read = b.calc("the pages", daily, Op::Mul, days)?;
    let split = b.steps == 4 || (b.steps == 3 && b.chance(0.5));
    if b.steps == 4 || (b.steps == 3 && !split) {
        let n = b.draw(2, 12);
        b.tag("more");
        b.say(format!("Then {who} reads {} more pages.", n.value));
        read = b.calc("the pages", read, Op::Add, n)?;
    }
    if b.steps == 1 {
        return b.ask(format!("How many pages does {who} read?"));
    }
    let (nights, each) = (b.number(2, 6), b.number(2, 6));
    let rest = if split { nights * each } else { b.number(1, 12) };
    let total = b.given(read.value + rest);
    if total.value > b.config.max_result {
        return None;
    }
    b.tag("book");
    b.say(format!("The book has {} pages.", total.value));
    let left = b.calc("the rest", total, Op::Sub, read)?;
    if !split {
        return b.ask(format!("How many pages are left for {who}?"));
    }
    let nights = b.given(nights);
    b.say(format!("{who} reads the rest in {} nights.", nights.value));
    b.calc("the pages a night", left, Op::Div, nights)?;
    b.ask(format!("How many pages does {who} read each night?"))
}
