//! Families that need learnt knowledge: facts (number of legs) and kinds (is it a bird).

use rand::seq::SliceRandom;

use super::build::{Build, Op, Val};

/// Each counted part, with the things that have it and their number.
const FACTS: [(&str, &[(&str, i64)]); 7] = [
    (
        "legs",
        &[
            ("spiders", 8),
            ("ants", 6),
            ("bees", 6),
            ("dogs", 4),
            ("cats", 4),
            ("horses", 4),
            ("cows", 4),
            ("hens", 2),
            ("ducks", 2),
            ("crabs", 10),
            ("beetles", 6),
            ("frogs", 4),
        ],
    ),
    ("wheels", &[("cars", 4), ("bikes", 2), ("tricycles", 3), ("scooters", 2)]),
    ("strings", &[("violins", 4), ("cellos", 4), ("guitars", 6), ("ukuleles", 4)]),
    (
        "sides",
        &[
            ("triangles", 3),
            ("squares", 4),
            ("pentagons", 5),
            ("hexagons", 6),
            ("heptagons", 7),
            ("octagons", 8),
            ("nonagons", 9),
            ("decagons", 10),
        ],
    ),
    ("wings", &[("butterflies", 4), ("eagles", 2), ("wasps", 4), ("bats", 2)]),
    ("arms", &[("starfish", 5), ("octopuses", 8)]),
    (
        "members",
        &[
            ("duos", 2),
            ("trios", 3),
            ("quartets", 4),
            ("quintets", 5),
            ("sextets", 6),
            ("octets", 8),
        ],
    ),
];

/// Learnt numbers of legs, wheels, strings, sides, wings, arms and members.
pub(super) fn facts(b: &mut Build<'_>) -> Option<()> {
    let who = b.name();
    // Groups are drawn in proportion to their size, so that all things are equally likely.
    let total: usize = FACTS.iter().map(|f| f.1.len()).sum();
    let mut at = b.rng_index(total);
    let mut group = 0;
    while at >= FACTS[group].1.len() {
        at -= FACTS[group].1.len();
        group += 1;
    }
    let (part, things) = FACTS[group];
    let (thing, value) = things[at];
    b.tag(thing);
    let mut n = b.draw(2, 9);
    let verb = b.pick(&["sees", "draws", "counts"]);
    b.say(format!("{who} {verb} {} {thing}.", n.value));
    let summed = b.steps == 4 || (b.steps == 3 && b.chance(0.5));
    if summed {
        b.tag("more");
        let m = b.draw(2, 6);
        b.say(format!("Then {who} {verb} {} more {thing}.", m.value));
        n = b.calc(format!("the {thing}"), n, Op::Add, m)?;
    }
    b.note(format!("the {part}"), format!("{thing} have {value}"));
    let all = b.calc("the total", n, Op::Mul, Val { value, from: None })?;
    if b.rationale.len() == b.steps {
        return b.ask_any(&[
            format!("How many {part} do the {thing} have?"),
            format!("How many {part} do the {thing} have in all?"),
        ]);
    }
    let hidden = b.number(2, 12);
    if hidden >= all.value {
        return None;
    }
    let hidden = b.given(hidden);
    b.tag("hidden");
    b.say(format!("Of the {part}, {} are hidden.", hidden.value));
    b.calc("the rest", all, Op::Sub, hidden)?;
    b.ask(format!("How many {part} are not hidden?"))
}

/// Kinds and their members.
const KINDS: [(&str, [&str; 8]); 8] = [
    ("birds", ["robins", "crows", "owls", "swans", "parrots", "sparrows", "gulls", "hawks"]),
    ("fruits", ["apples", "pears", "plums", "lemons", "grapes", "melons", "bananas", "cherries"]),
    ("tools", ["hammers", "saws", "drills", "axes", "shovels", "rakes", "pliers", "wrenches"]),
    ("clothes", ["shirts", "socks", "coats", "dresses", "gloves", "jackets", "skirts", "sweaters"]),
    (
        "flowers",
        ["roses", "tulips", "daisies", "lilies", "violets", "poppies", "orchids", "irises"],
    ),
    ("vehicles", ["trucks", "trains", "vans", "tractors", "ships", "planes", "trams", "taxis"]),
    ("furniture", ["chairs", "tables", "beds", "desks", "sofas", "shelves", "stools", "benches"]),
    ("fish", ["trout", "sharks", "eels", "carp", "herrings", "salmon", "tuna", "pikes"]),
];

/// Counts the members of one kind among other things.
pub(super) fn kinds(b: &mut Build<'_>) -> Option<()> {
    let who = b.name();
    let given_away = (b.steps == 3 && b.chance(0.5)) || b.steps == 4;
    let members = b.steps - usize::from(given_away);
    let strangers = if members == 2 { b.pick(&[1_usize, 2]) } else { 1 };
    let kind = b.rng_index(KINDS.len());
    let (name, pool) = KINDS[kind];
    let mut items: Vec<(&'static str, bool)> = Vec::new();
    for _ in 0..members {
        items.push((b.fresh(&pool), true));
    }
    for _ in 0..strangers {
        let other = (kind + 1 + b.rng_index(KINDS.len() - 1)) % KINDS.len();
        items.push((b.fresh(&KINDS[other].1), false));
    }
    items.shuffle(b.rng);
    b.tag(name);
    let mut told = Vec::new();
    let mut listed: Vec<String> = Vec::new();
    let mut counts: Vec<Val> = Vec::new();
    for &(item, member) in &items {
        b.tag(item);
        let n = b.draw(2, 12);
        told.push(format!("{} {item}", n.value));
        if member {
            listed.push(format!("{item} {}", n.value));
            counts.push(n);
        }
    }
    let last = told.pop()?;
    let (verb, base) = b.pick(&[("sees", "see"), ("has", "have"), ("draws", "draw")]);
    b.say(format!("{who} {verb} {} and {last}.", told.join(", ")));
    b.note(format!("the {name}"), listed.join(", "));
    let mut sum = counts[0];
    for &n in &counts[1..] {
        sum = b.calc("the sum", sum, Op::Add, n)?;
    }
    if !given_away {
        return b.ask(format!("How many {name} does {who} {base}?"));
    }
    let n = b.draw(2, 12);
    b.tag("red");
    b.say(format!("Of the {name}, {} are red.", n.value));
    b.calc("the rest", sum, Op::Sub, n)?;
    b.ask(format!("How many {name} are not red?"))
}
