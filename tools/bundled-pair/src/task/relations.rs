//! Families in which the wording of a relation decides the operator: ages, comparisons, most.

use super::build::{Build, Op, Val};
use super::words::NAMES;

/// The compared quantity: age or number of things.
#[derive(Clone, Copy)]
enum Scale {
    Age,
    Count(&'static str),
}

impl Scale {
    fn target(self, who: &str) -> String {
        match self {
            Self::Age => format!("the age of {who}"),
            Self::Count(what) => format!("the {what} of {who}"),
        }
    }

    fn given(self, who: &str, n: i64) -> String {
        match self {
            Self::Age => format!("{who} is {n} years old."),
            Self::Count(what) => format!("{who} has {n} {what}."),
        }
    }

    /// `a` exceeds (or falls short of) `b` by `n`.
    fn differs(self, a: &str, b: &str, more: bool, n: i64) -> String {
        match (self, more) {
            (Self::Age, true) => format!("{a} is {n} years older than {b}."),
            (Self::Age, false) => format!("{a} is {n} years younger than {b}."),
            (Self::Count(what), true) => format!("{a} has {n} more {what} than {b}."),
            (Self::Count(what), false) => format!("{a} has {n} fewer {what} than {b}."),
        }
    }

    fn twice(self, a: &str, b: &str) -> String {
        match self {
            Self::Age => format!("{a} is twice as old as {b}."),
            Self::Count(what) => format!("{a} has twice as many {what} as {b}."),
        }
    }
}

/// States how `next` relates to `known`, and calculates `next`. Two in five relations take the
/// view of `known`, which reverses the operator.
fn relate(b: &mut Build<'_>, scale: Scale, known: &str, value: Val, next: &str) -> Option<Val> {
    let reversed = b.chance(0.4);
    let (first, second) = if reversed { (known, next) } else { (next, known) };
    if b.chance(0.2) {
        let two = Val { value: 2, from: None };
        b.tag(if reversed { "half" } else { "twice" });
        b.say(scale.twice(first, second));
        return if reversed {
            b.calc(scale.target(next), value, Op::Div, two)
        } else {
            b.calc(scale.target(next), value, Op::Mul, two)
        };
    }
    let more = b.chance(0.5);
    let n = b.draw(2, 12);
    b.tag(match (more, reversed) {
        (true, false) => "more",
        (false, false) => "fewer",
        (true, true) => "exceeded",
        (false, true) => "undercut",
    });
    b.say(scale.differs(first, second, more, n.value));
    let op = if more == reversed { Op::Sub } else { Op::Add };
    b.calc(scale.target(next), value, op, n)
}

/// A chain of relations between ages, sometimes moved in time.
pub(super) fn ages(b: &mut Build<'_>) -> Option<()> {
    let moved = b.steps > 1 && b.chance(0.4);
    let links = b.steps - usize::from(moved);
    let (value, who) = chain(b, Scale::Age, 20, links)?;
    if !moved {
        return b.ask(format!("How old is {who}?"));
    }
    let later = b.chance(0.5);
    let n = b.draw(2, 12);
    b.tag(if later { "later" } else { "ago" });
    let op = if later { Op::Add } else { Op::Sub };
    b.calc(format!("the age of {who} then"), value, op, n)?;
    b.ask(match later {
        true => format!("How old will {who} be in {} years?", n.value),
        false => format!("How old was {who} {} years ago?", n.value),
    })
}

fn chain(b: &mut Build<'_>, scale: Scale, top: i64, links: usize) -> Option<(Val, &'static str)> {
    let mut who = b.name();
    let start = b.amount(3, top);
    let mut value = b.given(start);
    b.say(scale.given(who, start));
    for _ in 0..links {
        let next = b.name();
        value = relate(b, scale, who, value, next)?;
        who = next;
    }
    Some((value, who))
}

/// More, fewer and twice as many, sometimes with a sum.
pub(super) fn comparisons(b: &mut Build<'_>) -> Option<()> {
    let what = b.object();
    let scale = Scale::Count(what);
    if b.steps == 1 || b.chance(0.6) {
        let steps = b.steps;
        let (_, who) = chain(b, scale, 25, steps)?;
        return b.ask(format!("How many {what} does {who} have?"));
    }
    let links = b.steps - 2;
    let (value, who) = chain(b, scale, 20, links)?;
    let last = b.name();
    let next = relate(b, scale, who, value, last)?;
    b.tag("together");
    b.calc("the sum", value, Op::Add, next)?;
    b.ask(format!("How many {what} do {who} and {last} have together?"))
}

/// The person with the most or the fewest. The answer is a name.
pub(super) fn most(b: &mut Build<'_>) -> Option<()> {
    let what = b.object();
    let scale = if b.chance(0.3) { Scale::Age } else { Scale::Count(what) };
    let more = b.chance(0.5);
    b.tag(if more { "most" } else { "fewest" });
    let (people, links) = match b.steps {
        1 => (2, 0),
        2 => (2, 1),
        3 => (3, 1),
        _ => (3, 2),
    };
    let mut known: Vec<(&'static str, Val)> = Vec::new();
    for i in 0..people {
        let who = b.name();
        let value = if i == 0 || i > links {
            let n = b.amount(3, 25);
            b.say(scale.given(who, n));
            b.given(n)
        } else {
            let (other, value) = known[i - 1];
            relate(b, scale, other, value, who)?
        };
        known.push((who, value));
    }
    let word = match (scale, more) {
        (Scale::Age, true) => "older",
        (Scale::Age, false) => "younger",
        (Scale::Count(_), true) => "more",
        (Scale::Count(_), false) => "fewer",
    };
    let target = match scale {
        Scale::Age => format!("the {word} one"),
        Scale::Count(_) => format!("the one with {word}"),
    };
    let mut best = known[0];
    for &(who, value) in &known[1..] {
        let (x, y) = (best.1.value, value.value);
        if x == y {
            return None;
        }
        if (x < y) == more {
            best = (who, value);
        }
        let best_value = best.1.value;
        let other = x + y - best_value;
        let sign = if more { '>' } else { '<' };
        b.note(target.clone(), format!("{x} or {y}? {best_value}{sign}{other}, so {}", best.0));
    }
    let question = match (scale, people) {
        (Scale::Age, 2) => format!("Who is {word}?"),
        (Scale::Age, _) => format!("Who is the {}?", if more { "oldest" } else { "youngest" }),
        (Scale::Count(what), 2) => format!("Who has {word} {what}?"),
        (Scale::Count(what), _) => {
            format!("Who has the {} {what}?", if more { "most" } else { "fewest" })
        }
    };
    let mut wrong: Vec<&str> = known.iter().map(|k| k.0).collect();
    for _ in 0..4 {
        wrong.push(b.fresh(&NAMES));
    }
    b.ask_word(question, best.0, &wrong)
}
